//! Takes a sandbox back from the target account. The pilot side.

use crate::confine::landlock::{Grant, MayLack};
use crate::confine::side::{CLEANUP_PILOT, filling, renaming};
use crate::copy::durable::write_down;
use crate::copy::origin::Origin;
use crate::copy::progress::Progress;
use crate::copy::receive::{Received, receive_tree};
use crate::files::metadata::Metadata;
use crate::files::proxy;
use crate::files::sandbox::Names;
use crate::ground::outcome::{Failure, OrFail, Outcome};
use crate::ground::program::Program;
use crate::ground::{frame, limits};
use crate::pilot::arguments::SandboxArguments;
use crate::pilot::home::{At, Home};
use crate::pilot::report;
use crate::pilot::staging::{self, Staging};
use crate::pilot::switch::{Switched, Switcher};
use crate::pilot::target_side::TargetSide;
use crate::pilot::watchdog::attend;
use crate::pilot::word::leave_word;
use crate::policy::{self, Policy};
use crate::protocol::greeting::Operation;
use crate::protocol::tree::Totals;
use rustix::fs::{AtFlags, RenameFlags, renameat_with, unlinkat};
use rustix::io::Errno;
use rustix::process::{Resource, geteuid};
use std::os::fd::{AsFd, OwnedFd};
use std::process::ExitCode;

const HELP: &str = include_str!("cleanup.txt");

/// Says that S gets another place afterwards, where what it is called now may be anybody's.
const MOVES: &[u8] = b"--moves";

/// The program.
pub fn main() -> ExitCode {
    frame::run(Program::Cleanup, HELP, |mut arguments| {
        let moves = arguments.take_flag(MOVES);
        let arguments = SandboxArguments::parse(arguments)?;
        attend(Program::Cleanup, || work(arguments, moves))
    })
}

/// What an earlier call has left to do.
#[derive(PartialEq, Eq)]
enum State {
    /// Nothing: the sandbox is the pilot's.
    TakenBack,
    /// The sandbox is the pilot's, but the target account's old copy is still there.
    Leftover,
    /// The job's sandbox is there to be taken back.
    WithTarget,
    /// The job's sandbox has gone, and if there is something at its name, it is no directory; the pilot's own one is
    /// still parked.
    Missing,
}

fn work(arguments: SandboxArguments, moves: bool) -> Outcome {
    let SandboxArguments { json, switcher, proxy, sandbox } = arguments;
    let policy = policy::load()?;
    let names = Names::find(&sandbox)?;
    names.require_own_parent()?;
    let state = state(&names)?;
    let at = match state {
        State::TakenBack => {
            return report::finished(Program::Cleanup, &Totals::default(), &[], json, Ok(()));
        }
        State::Leftover => At::Sandbox,
        State::WithTarget | State::Missing => At::Parked,
    };
    let home = Home::open(names, at, proxy)?;
    let _held = hold(&home, &state)?;
    match state {
        State::Missing => Err(restore(&home.names)?),
        State::WithTarget => {
            let mut back = None;
            let places = if moves { Vec::new() } else { home.names.places() };
            let done = take_back(&home, &switcher, &policy, &places, &mut back);
            match back {
                Some(Received { totals, left_out, .. }) => {
                    report::finished(Program::Cleanup, &totals, &left_out, json, done)
                }
                None => done,
            }
        }
        State::TakenBack | State::Leftover => {
            remove_leftover(&home, &switcher, policy.may_lack)?;
            report::finished(Program::Cleanup, &Totals::default(), &[], json, Ok(()))
        }
    }
}

/// Keeps other helpers away, and makes sure that none has changed the state before that.
fn hold(home: &Home, expected: &State) -> Outcome<OwnedFd> {
    proxy::close_to_others(home.directory(), &home.proxy);
    let held = home.lock()?;
    if state(&home.names)? == *expected {
        Ok(held)
    } else {
        let name = &home.names.sandbox;
        Err(Failure::permanent(format_args!("another helper was at work on the sandbox {name}; try again")))
    }
}

fn state(names: &Names) -> Outcome<State> {
    let own = |found: &Metadata| found.owner == geteuid().as_raw() && found.is_directory();
    let (sandbox, parked) = (names.look(&names.sandbox)?, names.look(&names.parked)?);
    match (sandbox, parked) {
        (Some(sandbox), None) if own(&sandbox) => Ok(State::TakenBack),
        (None, Some(parked)) if own(&parked) => Ok(State::Missing),
        (Some(sandbox), Some(parked)) if own(&parked) && !sandbox.is_directory() => Ok(State::Missing),
        // A switcher that stays in one account: both are ours, but the Starter sits in its own.
        (Some(sandbox), Some(parked)) if own(&sandbox) && own(&parked) => {
            if names.is_working_directory(&parked) {
                Ok(State::WithTarget)
            } else if names.is_working_directory(&sandbox) {
                Ok(State::Leftover)
            } else {
                Err(Failure::permanent(format_args!(
                    "{} and {} both belong to this account; call this with the pilot's own one as the working directory",
                    names.sandbox, names.parked
                )))
            }
        }
        (Some(_), Some(parked)) if own(&parked) => Ok(State::WithTarget),
        (Some(sandbox), Some(_)) if own(&sandbox) => Ok(State::Leftover),
        _ => Err(Failure::permanent(format_args!(
            "{} was not made by condor_glexec_setup: there is no {} of this account",
            names.sandbox, names.parked
        ))),
    }
}

/// The job has removed or moved its sandbox: at least the Starter gets its own back. Gives what is to be reported.
fn restore(names: &Names) -> Outcome<Failure> {
    let (parent, name, parked) = (&names.parent, names.sandbox.c_str(), names.parked.c_str());
    match renameat_with(parent, parked, parent, name, RenameFlags::NOREPLACE) {
        Err(Errno::EXIST) => {
            names.exchange()?;
            // A link, a FIFO or a file, which the job or somebody else has put there.
            unlinkat(parent, parked, AtFlags::empty())
        }
        other => other,
    }
    .or_fail(|| format!("cannot rename {} to {}", names.parked, names.sandbox))?;
    Ok(Failure::permanent(format_args!("the job removed its sandbox {}; there is nothing to take back", names.sandbox)))
}

fn start(home: &Home, switcher: &Switcher) -> Outcome<Switched> {
    home.open_proxy()?;
    let switched = switcher.switch(&home.proxy_path(), Operation::Cleanup)?;
    frame::raise_limit(Resource::Nofile);
    Ok(switched)
}

fn remove_leftover(home: &Home, switcher: &Switcher, may_lack: MayLack) -> Outcome {
    start(home, switcher)?.confined(&CLEANUP_PILOT, &[], may_lack, |target| {
        target.send_to(&home.names, &home.names.parked, &home.proxy, true, &[])?;
        target.await_done(limits::REMOVAL_DEADLINE)
    })
}

/// What has come `back` stays so, whatever fails after that.
fn take_back(
    home: &Home,
    switcher: &Switcher,
    policy: &Policy,
    places: &[Vec<u8>],
    back: &mut Option<Received>,
) -> Outcome {
    let grants = [
        Grant { object: home.directory(), rights: filling() },
        Grant { object: home.names.parent.as_fd(), rights: renaming() },
    ];
    start(home, switcher)?.confined(&CLEANUP_PILOT, &grants, policy.may_lack, |target| {
        let received = receive_and_exchange(target, home, policy, places)?;
        let totals = back.insert(received).totals;
        // What is left is that the target account removes its own copy.
        target.acknowledge(totals)?;
        target.await_done(limits::REMOVAL_DEADLINE)
    })
}

fn receive_and_exchange(
    target: &TargetSide<'_>,
    home: &Home,
    policy: &Policy,
    places: &[Vec<u8>],
) -> Outcome<Received> {
    staging::sweep(home.directory(), target.proof)?;
    target.send_to(&home.names, &home.names.sandbox, &home.proxy, false, &[])?;
    let staging = Staging::make(home.directory(), target.proof)?;
    let received = receive_tree(
        &target.connection,
        staging.tree(),
        Origin::Target(&home.proxy, places, policy.cleanup),
        Progress::new("taking the sandbox back"),
        target.proof,
    )?;
    if policy.left_out_file && received.totals.left_out > 0 {
        // It is only said once more there: no reason to keep the rest back.
        let _ = leave_word(staging.tree().as_fd(), &received.totals, &received.left_out);
    }
    staging.move_in(&home.proxy)?;
    if policy.durable {
        write_down(&target.connection, home.directory(), &received.totals)?;
    }
    home.names.exchange()?;
    Ok(received)
}

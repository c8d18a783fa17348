//! Takes a sandbox back from the target account. The pilot side.

#![forbid(unsafe_code)]

use crate::confine::landlock::{Grant, MayLack};
use crate::confine::phase::{CLEANUP_PILOT, filling, renaming};
use crate::confine::{Confined, confine};
use crate::copy::progress::Progress;
use crate::copy::receive::{Origin, Received, receive_tree};
use crate::copy::report::{self, LeftOutList};
use crate::copy::rules::CleanupRules;
use crate::files::component::Component;
use crate::files::metadata::Metadata;
use crate::files::proxy;
use crate::files::sandbox::Names;
use crate::files::walk::Opened;
use crate::ground::argv::SandboxArguments;
use crate::ground::frame;
use crate::ground::limits;
use crate::ground::outcome::{Failure, OrFail, Outcome};
use crate::ground::program::Program;
use crate::pilot::handover;
use crate::pilot::staging as merge;
use crate::pilot::switch::{Request, Switched, switch};
use crate::pilot::watchdog::attend;
use crate::policy::Policy;
use crate::protocol::answer::Done;
use crate::protocol::connection::Connection;
use crate::protocol::greeting::Operation;
use crate::protocol::request::Commit;
use crate::protocol::tree::{Totals, Verdict};
use crate::sys;
use rustix::fs::{AtFlags, RenameFlags, renameat_with, unlinkat};
use rustix::io::Errno;
use rustix::process::{Resource, geteuid};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::process::ExitCode;

const HELP: &str = "\
usage: condor_glexec_cleanup [--json] G P S R D

Takes the sandbox S back from the account that the job's proxy maps to. Called by HTCondor's Starter after the job.

  G  absolute path of the switcher (glexec)
  P  name of the proxy, a file in S.condor: this account's; gets mode 0600
  S  absolute path of the sandbox, a directory of the target account by now
  R  how often the switcher is called again after it exited with 202 or 203
  D  seconds to wait at least before that

  --json  on success, print the figures of the copy as one line of JSON

All that the job left is copied into S.condor; when it is whole, S.condor takes S's place in one step, and only then
the target account removes its own copy. What the proxy in S.condor holds is never touched. What the job left is not trusted:
modes are cut to 0755 (directories get 0700 at least); devices, FIFOs, sockets, and symbolic links that could lead out of the sandbox or to
the proxy are left out and reported. The site's bounds hold (/etc/glexec-rs/policy). If anything fails before that step, S is as the job left it, and the next call
begins anew. Called on a sandbox that was taken back already, it does nothing, or finishes what was interrupted.

Exit codes: 0 done, 1 anything else.
";

/// The program.
pub fn main() -> ExitCode {
    frame::run(Program::Cleanup, HELP, |arguments| {
        let arguments = SandboxArguments::parse(arguments)?;
        attend(Program::Cleanup, || work(&arguments))
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
    /// The job's sandbox has gone, and if there is something at its name, it is no directory; the pilot's own one is still parked.
    Missing,
}

fn work(arguments: &SandboxArguments) -> Outcome {
    let policy = Policy::load()?;
    let place = Names::find(&arguments.sandbox)?;
    place.require_own_parent()?;
    let (totals, left_out) = match state(&place)? {
        State::TakenBack => (Totals::default(), LeftOutList::new()),
        State::Missing => {
            let _held = hold(&place, &place.parked, &State::Missing, arguments)?;
            return Err(restore(&place)?);
        }
        State::Leftover => {
            let (home, _held) = hold(&place, &place.name, &State::Leftover, arguments)?;
            remove_leftover(&place, home.directory.as_fd(), arguments, policy.may_lack)?;
            (Totals::default(), LeftOutList::new())
        }
        State::WithTarget => {
            let (home, _held) = hold(&place, &place.parked, &State::WithTarget, arguments)?;
            let received = take_back(&place, home.directory.as_fd(), arguments, &policy)?;
            (received.totals, received.left_out)
        }
    };
    report::finished(Program::Cleanup, &totals, &left_out, arguments.json);
    Ok(())
}

/// Opens the pilot's own directory, keeps other helpers away, and makes sure that none has changed the state before that.
fn hold(place: &Names, home: &Component, expected: &State, arguments: &SandboxArguments) -> Outcome<(Opened, OwnedFd)> {
    let home = place.open_home(home)?;
    proxy::close_to_others(home.directory.as_fd(), &arguments.proxy);
    let held = place.lock(home.directory.as_fd(), &arguments.proxy)?;
    if state(place)? == *expected {
        Ok((home, held))
    } else {
        Err(Failure::permanent(format_args!("another helper was at work on the sandbox {}; try again", place.name)))
    }
}

fn state(place: &Names) -> Outcome<State> {
    let own = |found: &Metadata| found.owner == geteuid().as_raw() && found.is_directory();
    let (sandbox, parked) = (place.look(&place.name)?, place.look(&place.parked)?);
    match (sandbox, parked) {
        (Some(sandbox), None) if own(&sandbox) => Ok(State::TakenBack),
        (None, Some(parked)) if own(&parked) => Ok(State::Missing),
        (Some(sandbox), Some(parked)) if own(&parked) && !sandbox.is_directory() => Ok(State::Missing),
        // A switcher that stays in one account: both are ours, but the Starter sits in its own.
        (Some(sandbox), Some(parked)) if own(&sandbox) && own(&parked) => {
            if place.is_working_directory(&parked) {
                Ok(State::WithTarget)
            } else if place.is_working_directory(&sandbox) {
                Ok(State::Leftover)
            } else {
                Err(Failure::permanent(format_args!(
                    "{} and {} both belong to this account; call this with the pilot's own one as the working directory",
                    place.name, place.parked
                )))
            }
        }
        (Some(_), Some(parked)) if own(&parked) => Ok(State::WithTarget),
        (Some(sandbox), Some(_)) if own(&sandbox) => Ok(State::Leftover),
        _ => Err(Failure::permanent(format_args!(
            "{} was not made by condor_glexec_setup: there is no {} of this account",
            place.name, place.parked
        ))),
    }
}

/// The job has removed or moved its sandbox: at least the Starter gets its own back. Gives what is to be reported.
fn restore(place: &Names) -> Outcome<Failure> {
    let (parent, name, parked) = (&place.parent, place.name.c_str(), place.parked.c_str());
    match renameat_with(parent, parked, parent, name, RenameFlags::NOREPLACE) {
        Err(Errno::EXIST) => {
            place.exchange()?;
            // A link, a FIFO or a file, which the job or somebody else has put there.
            unlinkat(parent, parked, AtFlags::empty())
        }
        other => other,
    }
    .or_fail(|| format!("cannot rename {} to {}", place.parked, place.name))?;
    Ok(Failure::permanent(format_args!("the job removed its sandbox {}; there is nothing to take back", place.name)))
}

fn start(place: &Names, home: &Component, arguments: &SandboxArguments) -> Outcome<Switched> {
    let switched = switch(&Request {
        switcher: arguments.switcher.clone(),
        proxy: place.path_of(home, &arguments.proxy),
        operation: Operation::Cleanup,
        retries: arguments.retries,
        delay: arguments.delay,
    })?;
    sys::ignore_write_signals();
    frame::raise_limit(Resource::Nofile);
    Ok(switched)
}

fn remove_leftover(place: &Names, home: BorrowedFd<'_>, arguments: &SandboxArguments, may_lack: MayLack) -> Outcome {
    proxy::open(home, &arguments.proxy)?;
    let mut switched = start(place, &place.name, arguments)?;
    let proof = confine(&CLEANUP_PILOT, &[], may_lack)?;
    switched.connection.allow_silence(limits::REMOVAL_DEADLINE);
    let removed = handover::ask(&switched.connection, place, &place.parked, &arguments.proxy, true, &[])
        .and_then(|()| handover::expect::<Done>(&switched.connection, &proof));
    switched.conclude(removed).map(drop)
}

fn take_back(place: &Names, home: BorrowedFd<'_>, arguments: &SandboxArguments, policy: &Policy) -> Outcome<Received> {
    proxy::open(home, &arguments.proxy)?;
    let mut switched = start(place, &place.parked, arguments)?;
    let proof = confine(
        &CLEANUP_PILOT,
        &[Grant { object: home, rights: filling() }, Grant { object: place.parent.as_fd(), rights: renaming() }],
        policy.may_lack,
    )?;
    let received = receive_and_exchange(&switched.connection, place, home, &arguments.proxy, policy.cleanup, &proof);
    if received.is_err() {
        return switched.conclude(received);
    }
    // The sandbox is back. What is left is that the target account removes its own copy.
    switched.connection.allow_silence(limits::REMOVAL_DEADLINE);
    let removed = handover::expect::<Done>(&switched.connection, &proof);
    switched.conclude(removed).and(received)
}

fn receive_and_exchange(
    connection: &Connection,
    place: &Names,
    home: BorrowedFd<'_>,
    proxy: &Component,
    rules: CleanupRules,
    proof: &Confined,
) -> Outcome<Received> {
    merge::sweep(home)?;
    handover::ask(connection, place, &place.name, proxy, false, &[])?;
    let staging = merge::Staging::make(home)?;
    let received = receive_tree(
        connection,
        staging.tree(),
        Origin::Target(proxy, rules),
        Progress::new("taking the sandbox back"),
        proof,
    )?;
    staging.merge(proxy)?;
    place.exchange()?;
    let told = connection
        .send(&Verdict::Complete(received.totals).encode(), &[])
        .and_then(|()| connection.send(&Commit.encode(), &[]));
    told.or_fail(|| "the sandbox is back, but the target side cannot be told to remove its copy")?;
    Ok(received)
}

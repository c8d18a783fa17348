//! Hands a sandbox over to the target account. The pilot side.

#![forbid(unsafe_code)]

use crate::confine::confine;
use crate::confine::landlock::{Grant, MayLack};
use crate::confine::phase::{SETUP_PILOT, removing, renaming};
use crate::copy::progress::Progress;
use crate::copy::report::{self, LeftOutList};
use crate::copy::send::{Tree, send_tree};
use crate::files::component::Component;
use crate::files::proxy;
use crate::files::proxy_copy::nameless_copy;
use crate::files::remove::remove_contents;
use crate::files::sandbox::{Names, UNFINISHED};
use crate::files::walk::Opened;
use crate::ground::argv::SandboxArguments;
use crate::ground::frame;
use crate::ground::outcome::{Failure, OrFail, Outcome};
use crate::ground::program::Program;
use crate::pilot::handover;
use crate::pilot::switch::{Request, switch};
use crate::pilot::watchdog::attend;
use crate::policy::Policy;
use crate::protocol::answer::Ready;
use crate::protocol::connection::Connection;
use crate::protocol::greeting::Operation;
use crate::protocol::request::Commit;
use crate::protocol::tree::Totals;
use crate::sys;
use rustix::process::{Resource, geteuid};
use std::os::fd::{AsFd, OwnedFd};
use std::process::ExitCode;

const HELP: &str = "\
usage: condor_glexec_setup [--json] G P S R D

Hands the sandbox S over to the account that the job's proxy maps to. Called by HTCondor's Starter.

  G  absolute path of the switcher (glexec)
  P  name of the proxy, a file in S: this account's, mode 0600
  S  absolute path of the sandbox, a directory of this account; its parent must belong to this account and be
     writable for the target account (mode 1777), and every directory above must let it through (0711)
  R  how often the switcher is called again after it exited with 202 or 203
  D  seconds to wait at least before that

  --json  on success, print the figures of the copy as one line of JSON

The target account gets a copy with the same names, modes (less what umask 022 takes) and modification
times. When it has all of it, the copy takes S's place in one step, and S becomes S.condor, where only the proxy
is left. Devices, FIFOs and sockets are left out and reported. If anything fails before that step, S is as it was.
Called again after it was interrupted, it finishes.

Exit codes: 0 done, 1 usage, 2 failed, 3 failed after R retries.
";

/// The program.
pub fn main() -> ExitCode {
    frame::run(Program::Setup, HELP, |arguments| {
        let arguments = SandboxArguments::parse(arguments)?;
        attend(Program::Setup, || work(&arguments))
    })
}

fn work(arguments: &SandboxArguments) -> Outcome {
    let may_lack = Policy::load()?.may_lack;
    let place = Names::find(&arguments.sandbox)?;
    place.require_own_parent()?;
    if interrupted_after_exchange(&place)? {
        return finish(&place, arguments, may_lack);
    }
    let home = place.open_home(&place.name)?;
    let _held = place.lock(home.directory.as_fd(), &arguments.proxy)?;
    let proxy = proxy::open(home.directory.as_fd(), &arguments.proxy)?;
    let copy = nameless_copy(home.directory.as_fd(), &proxy)?;

    let switched = switch(&Request {
        switcher: arguments.switcher.clone(),
        proxy: place.path_of(&place.name, &arguments.proxy),
        operation: Operation::Setup,
        retries: arguments.retries,
        delay: arguments.delay,
    })?;
    sys::ignore_write_signals();
    frame::raise_limit(Resource::Nofile);
    let handed_over = hand_over(&switched.connection, &place, home, (&arguments.proxy, copy.as_ref()), may_lack);
    let (totals, left_out) = switched.conclude(handed_over)?;
    report::finished(Program::Setup, &totals, &left_out, arguments.json);
    Ok(())
}

/// Whether an earlier call got as far as the exchange: then the sandbox is the target account's already, and whole.
fn interrupted_after_exchange(place: &Names) -> Outcome<bool> {
    let own = geteuid().as_raw();
    let Some(sandbox) = place.look(&place.name)? else {
        return Err(Failure::permanent(format_args!("the sandbox {} does not exist", place.name)));
    };
    let Some(parked) = place.look(&place.parked)? else { return Ok(false) };
    // With a switcher that stays in one account the owners do not differ; but the Starter sits in its own directory.
    let is_own = parked.owner == own;
    if is_own
        && parked.is_directory()
        && sandbox.is_directory()
        && (sandbox.owner != own || place.is_working_directory(&parked))
    {
        return Ok(true);
    }
    if !is_own || parked.mode & UNFINISHED != 0 {
        // Left by an interrupted setup of the target account, which removes it, or planted, which it refuses.
        return Ok(false);
    }
    Err(Failure::permanent(format_args!("{} exists already; remove it if no job is using the sandbox", place.parked)))
}

fn finish(place: &Names, arguments: &SandboxArguments, may_lack: MayLack) -> Outcome {
    let home = place.open_home(&place.parked)?;
    let home = home.directory.as_fd();
    let _held = place.lock(home, &arguments.proxy)?;
    proxy::open(home, &arguments.proxy)?;
    confine(&SETUP_PILOT, &[Grant { object: home, rights: removing() }], may_lack)?;
    remove_contents(home, Some(&arguments.proxy)).or_fail(|| format!("cannot empty {}", place.parked))?;
    report::finished(Program::Setup, &Totals::default(), &[], arguments.json);
    Ok(())
}

fn hand_over(
    connection: &Connection,
    place: &Names,
    home: Opened,
    (proxy, copy): (&Component, Option<&OwnedFd>),
    may_lack: MayLack,
) -> Outcome<(Totals, LeftOutList)> {
    let own = rustix::io::fcntl_dupfd_cloexec(&home.directory, 3).or_fail(|| "cannot duplicate a descriptor")?;
    let proof = confine(
        &SETUP_PILOT,
        &[
            Grant { object: own.as_fd(), rights: removing() },
            Grant { object: place.parent.as_fd(), rights: renaming() },
        ],
        may_lack,
    )?;
    handover::ask(connection, place, &place.parked, proxy, false, &[])?;
    handover::expect::<Ready>(connection, &proof)?;
    let tree = Tree::Inputs(copy.map(|copy| (proxy, copy.as_fd())));
    let sent = send_tree(connection, home, tree, Progress::new("handing the sandbox over"), &proof)?;
    place.exchange()?;
    // From here on it is done. The target side only has to know that it may go, and looks at the names if it hears nothing.
    let _ = connection.send(&Commit.encode(), &[]);
    if let Err(errno) = remove_contents(own.as_fd(), Some(proxy)) {
        let parked = &place.parked;
        frame::report(
            Program::Setup,
            &format_args!("the sandbox is handed over, but {parked} could not be emptied: {errno}"),
        );
    }
    Ok(sent)
}

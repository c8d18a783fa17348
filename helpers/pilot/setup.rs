//! Hands a sandbox over to the target account. The pilot side.

use crate::confine::landlock::{Grant, MayLack};
use crate::confine::side::{SETUP_PILOT, removing, renaming};
use crate::confine::{Confined, confine};
use crate::copy::progress::Progress;
use crate::copy::report::LeftOutList;
use crate::copy::send::{Tree, send_tree};
use crate::files::metadata::Metadata;
use crate::files::remove::remove_contents;
use crate::files::sandbox::{Names, UNFINISHED};
use crate::ground::frame;
use crate::ground::installation::beside_self;
use crate::ground::outcome::{Failure, OrFail, Outcome};
use crate::ground::program::Program;
use crate::ground::root::require_ordinary_caller;
use crate::pilot::arguments::SandboxArguments;
use crate::pilot::home::{At, Home};
use crate::pilot::report;
use crate::pilot::target_side::TargetSide;
use crate::pilot::travelling_proxy::nameless_copy;
use crate::pilot::watchdog::attend;
use crate::policy;
use crate::protocol::greeting::Operation;
use crate::protocol::tree::Totals;
use rustix::fs::CWD;
use rustix::process::{Resource, geteuid};
use std::ffi::CString;
use std::os::fd::{AsFd, OwnedFd};
use std::process::ExitCode;

const HELP: &str = include_str!("setup.txt");

/// The permission bits that let anybody but the owner read.
const READABLE: u16 = 0o044;

/// The program.
pub fn main() -> ExitCode {
    frame::run(Program::Setup, HELP, |arguments| {
        let arguments = SandboxArguments::parse(arguments)?;
        attend(Program::Setup, || work(arguments))
    })
}

fn work(arguments: SandboxArguments) -> Outcome {
    require_ordinary_caller()?;
    let SandboxArguments { json, switcher, proxy, sandbox } = arguments;
    let may_lack = policy::load()?.may_lack;
    let names = Names::find(&sandbox)?;
    names.require_own_parent()?;
    if interrupted_after_exchange(&names)? {
        finish(&Home::open(names, At::Parked, proxy)?, may_lack)?;
        return report::finished(Program::Setup, &Totals::default(), &[], json, Ok(()));
    }
    let readable = readable_programs();
    let home = Home::open(names, At::Sandbox, proxy)?;
    let _held = home.lock()?;
    let proxy = home.open_proxy()?;
    let copy = nameless_copy(home.directory(), &proxy)?;
    let switched = switcher.switch(&home.proxy_path(), Operation::Setup)?;
    frame::raise_limit(Resource::Nofile);
    let grants = [
        Grant { object: home.directory(), rights: removing() },
        Grant { object: home.names.parent.as_fd(), rights: renaming() },
    ];
    let (totals, left_out) =
        switched.confined(&SETUP_PILOT, &grants, may_lack, |target| hand_over(target, &home, copy.as_ref()))?;
    if !readable.is_empty() {
        frame::report(Program::Setup, &format_args!("{}: install with mode 0711", readable.join(", ")));
    }
    report::finished(Program::Setup, &totals, &left_out, json, Ok(()))
}

/// The programs of the target side that the target account can read, so that its processes can also trace them when
/// they have just been started. Those that are the pilot's own it could change back anyway.
fn readable_programs() -> Vec<String> {
    [Program::Peer, Program::JobWrapper]
        .into_iter()
        .filter(|program| {
            let found = beside_self(*program).ok().and_then(|path| CString::new(path).ok());
            let found = found.and_then(|path| Metadata::at(CWD, &path).ok());
            found.is_some_and(|found| found.mode & READABLE != 0 && found.owner != geteuid().as_raw())
        })
        .map(|program| format!("{} can be read, and so traced, by the target account", program.name()))
        .collect()
}

/// Whether an earlier call got as far as the exchange: then the sandbox is the target account's already, and whole.
fn interrupted_after_exchange(names: &Names) -> Outcome<bool> {
    let own = geteuid().as_raw();
    let Some(sandbox) = names.look(&names.sandbox)? else {
        return Err(Failure::permanent(format_args!("the sandbox {} does not exist", names.sandbox)));
    };
    let Some(parked) = names.look(&names.parked)? else { return Ok(false) };
    // With a switcher that stays in one account the owners do not differ; but the Starter sits in its own directory.
    let is_own = parked.owner == own;
    if is_own
        && parked.is_directory()
        && sandbox.is_directory()
        && (sandbox.owner != own || names.is_working_directory(&parked))
    {
        return Ok(true);
    }
    if !is_own || parked.mode & UNFINISHED != 0 {
        // Left by an interrupted setup of the target account, which removes it, or planted, which it refuses.
        return Ok(false);
    }
    Err(Failure::permanent(format_args!("{} exists already; remove it if no job is using the sandbox", names.parked)))
}

/// What is left to do where everything has changed hands: the pilot's old directory holds the proxy alone.
fn finish(home: &Home, may_lack: MayLack) -> Outcome {
    let _held = home.lock()?;
    home.open_proxy()?;
    let proof = confine(&SETUP_PILOT, &[Grant { object: home.directory(), rights: removing() }], may_lack)?;
    empty(home, &proof).or_fail(|| format!("cannot empty {}", home.names.parked))
}

/// Removes all but the proxy from the pilot's own directory.
fn empty(home: &Home, proof: &Confined) -> rustix::io::Result<()> {
    remove_contents(home.directory(), Some(&home.proxy), proof)
}

/// Sends the tree, and lets it take the sandbox's place when it is whole.
fn hand_over(target: &TargetSide<'_>, home: &Home, copy: Option<&OwnedFd>) -> Outcome<(Totals, LeftOutList)> {
    target.send_to(&home.names, &home.names.parked, &home.proxy, false, &[])?;
    target.await_ready()?;
    let tree = Tree::Inputs(copy.map(|copy| (&home.proxy, copy.as_fd())));
    let progress = Progress::new("handing the sandbox over");
    let sent = send_tree(&target.connection, home.to_walk()?, tree, progress, target.proof)?;
    home.names.exchange()?;
    // From here on it is done.
    target.commit();
    if let Err(errno) = empty(home, target.proof) {
        let parked = &home.names.parked;
        frame::report(
            Program::Setup,
            &format_args!("the sandbox is handed over, but {parked} could not be emptied: {errno}"),
        );
    }
    Ok(sent)
}

//! The target side of setup, cleanup, kill and update_proxy: what the switcher starts as the target account.
//!
//! It is told what to do by the pilot over the socket that it finds as fd 0, and acts only on what belongs to its own account. When
//! the pilot goes away before the commit, it removes what it has made.

#![forbid(unsafe_code)]

use crate::confine::landlock::{Grant, MayLack};
use crate::confine::phase::{self, filling, reading, removing};
use crate::confine::{Confined, confine};
use crate::copy::progress::Progress;
use crate::copy::receive::{Origin, receive_tree};
use crate::copy::send::{Tree, send_tree};
use crate::files::component::Component;
use crate::files::metadata::Metadata;
use crate::files::name::Name;
use crate::files::path::trusted_directory;
use crate::files::proxy_copy::Staged;
use crate::files::remove::remove_directory;
use crate::files::sandbox::{PARKED_SUFFIX, UNFINISHED};
use crate::files::walk::{CHANGE, DIRECTORY, LIST, Opened, open_directory};
use crate::ground::argv::Arguments;
use crate::ground::escape::Escaped;
use crate::ground::frame;
use crate::ground::outcome::{Failure, OrFail, Outcome, Unmade};
use crate::ground::program::Program;
use crate::policy::Policy;
use crate::protocol::answer::{Done, Failed, Ready, Signalled};
use crate::protocol::connection::{Broken, Connection};
use crate::protocol::greeting::{GREETING, Operation};
use crate::protocol::packet::{Handed, Packet};
use crate::protocol::request::{self, Commit, Signal, receive_site_unconfined};
use crate::protocol::tree::Verdict;
use crate::sys;
use crate::target::job_mark::DomainCheck;
use landlock::AccessFs;
use rustix::fs::{Mode, OFlags, fchmod, futimens, mkdirat, openat};
use rustix::io::Errno;
use rustix::process::geteuid;
use std::os::fd::{AsFd, OwnedFd};
use std::process::ExitCode;

const HELP: &str = "\
usage: condor_glexec_peer setup|cleanup|kill|update_proxy

The target side of the condor_glexec helpers. It is started by a switcher, as the account that a job's
proxy maps to, with a socket to the helper as its standard input. It is of no use to people.
A site can let its switcher start this program and condor_glexec_job_wrapper, and nothing else.

Exit codes: 0 done, 1 anything else (the helper reports why).
";

/// The permission bits of a sandbox that is not whole yet.
const UNFINISHED_MODE: u16 = UNFINISHED | 0o700;

/// The program.
pub fn main() -> ExitCode {
    frame::run(Program::Peer, HELP, work)
}

/// What the program is called with.
///
/// # Errors
/// Usage.
pub fn parse(mut arguments: Arguments) -> Outcome<Operation> {
    let word = arguments.take("OPERATION")?;
    arguments.end()?;
    Operation::ALL
        .into_iter()
        .find(|operation| operation.word().as_bytes() == word)
        .ok_or_else(|| Failure::usage(format_args!("OPERATION is {}", Escaped(&word))))
}

fn work(arguments: Arguments) -> Outcome<ExitCode> {
    let operation = parse(arguments)?;
    frame::guard_memory()?;
    let may_lack = Policy::load()?.may_lack;
    sys::ignore_write_signals();
    let connection = take_connection()?;
    connection.send(GREETING, &[]).or_fail(|| "cannot greet the pilot side")?;
    let result = match operation {
        Operation::Setup => setup(&connection, may_lack),
        Operation::Cleanup => cleanup(&connection, may_lack),
        Operation::Kill => kill(&connection, may_lack),
        Operation::UpdateProxy => update_proxy(&connection, may_lack),
    };
    if let Err(failure) = &result {
        // The pilot may be gone; then nobody is left to tell.
        let _ = connection.send(&Failed(failure.to_string().as_bytes()).encode(), &[]);
    }
    result.map(|()| ExitCode::SUCCESS)
}

/// Takes the socket away from fd 0, and the switcher's output away from 1 and 2.
fn take_connection() -> Outcome<Connection> {
    let socket = rustix::io::fcntl_dupfd_cloexec(rustix::stdio::stdin(), 3).or_fail(|| "cannot take the socket")?;
    let kind = rustix::net::sockopt::socket_type(&socket);
    if kind != Ok(rustix::net::SocketType::SEQPACKET) {
        return Err(Failure::usage("standard input is not the socket of a condor_glexec helper"));
    }
    let null = rustix::fs::open(c"/dev/null", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty()).or_fail(|| "/dev/null")?;
    rustix::stdio::dup2_stdin(&null)
        .and_then(|()| rustix::stdio::dup2_stdout(&null))
        .and_then(|()| rustix::stdio::dup2_stderr(&null))
        .or_fail(|| "cannot replace the standard descriptors")?;
    Ok(Connection::new(socket))
}

/// Where the pilot wants us to work: the parent directory as we get to it ourselves, which must be the one that it means.
struct Site {
    parent: OwnedFd,
    name: Component,
    proxy: Component,
    remove_only: bool,
    content: Option<OwnedFd>,
}

fn receive_site(connection: &Connection) -> Outcome<Site> {
    let mut packet = Packet::default();
    let (said, content) = receive_site_unconfined(connection, &mut packet)?;
    let request::Site { parent: path, identity, name, proxy, remove_only } = said;
    let content = content.map(Handed::accept);
    // The pilot's word is taken for this account's own, as it may run anything as this account.
    let trusted = |name: Name<'_>| Component::new(name.bytes()).or_fail(|| "the sandbox's name");
    let (name, proxy) = (trusted(name)?, trusted(proxy)?);
    let pilot = connection.maker().or_fail(|| "cannot tell who the pilot is")?;
    let parent = trusted_directory(path, &[geteuid().as_raw(), pilot.as_raw()]).map_err(|failure| {
        Failure::permanent(format_args!(
            "the target account cannot get to the sandbox: {failure}; every directory above it needs mode 0711 or more"
        ))
    })?;
    let seen = Metadata::of(&parent).or_fail(|| "cannot look at the sandbox's parent")?.identity;
    if seen != identity {
        return Err(Failure::permanent("the path of the sandbox leads the target account to another directory"));
    }
    Ok(Site { parent, name, proxy, remove_only, content })
}

/// Goes on with `name` only if it is a directory of this account.
fn open_own(site: &Site, needed: u16) -> Outcome<Opened> {
    let Site { parent, name, .. } = site;
    let opened = open_directory(parent.as_fd(), name.c_str(), needed).or_fail(|| format!("cannot open {name}"))?;
    if opened.found.owner == geteuid().as_raw() {
        Ok(opened)
    } else {
        Err(Failure::permanent(format_args!(
            "{name} belongs to uid {}, not to the account that the proxy maps to",
            opened.found.owner
        )))
    }
}

fn setup(connection: &Connection, may_lack: MayLack) -> Outcome {
    let site = receive_site(connection)?;
    let Site { parent, name, .. } = &site;
    let sandbox = make_unfinished(&site)?;
    let made = Metadata::of(&sandbox).or_fail(|| format!("cannot look at {name}"))?;
    let filled = confine(
        &phase::SETUP_TARGET,
        &[
            Grant { object: sandbox.as_fd(), rights: filling() },
            Grant { object: parent.as_fd(), rights: AccessFs::RemoveDir.into() },
        ],
        may_lack,
    )
    .and_then(|proof| fill(connection, &sandbox, &proof).map(|mode| (mode, proof)));
    let (finished, may_undo) = match filled {
        Err(failure) => (Err(failure), true),
        Ok((mode, proof)) => match await_commit(connection, &proof) {
            Ok(()) => (fchmod(&sandbox, mode).or_fail(|| "cannot take the mark off the sandbox"), false),
            // What was acknowledged the pilot can put in the sandbox's place at any moment, as long as it is there.
            Err(broken) => (Err(Failure::permanent(format_args!("{COMMIT}: {broken}"))), broken == Broken::Closed),
        },
    };
    // Once the pilot has put it in the sandbox's place it is the job's, whoever was killed in between.
    let handed_over = || Metadata::at(parent, name.c_str()).is_ok_and(|now| now.identity != made.identity);
    if may_undo && !handed_over() {
        let _ = remove_directory(parent.as_fd(), name.c_str());
    }
    finished
}

/// Creates the directory, in the place of what an interrupted setup of this account may have left.
fn make_unfinished(site: &Site) -> Outcome<OwnedFd> {
    let Site { parent, name, .. } = site;
    let mode = Mode::from_raw_mode(UNFINISHED_MODE.into());
    let mut made = mkdirat(parent, name.c_str(), mode);
    if made == Err(Errno::EXIST) {
        let there = Metadata::at(parent, name.c_str()).or_fail(|| format!("cannot look at {name}"))?;
        if there.is_directory() && there.owner == geteuid().as_raw() && there.mode & UNFINISHED != 0 {
            remove_directory(parent.as_fd(), name.c_str())
                .or_fail(|| format!("cannot remove {name}, which an interrupted setup left"))?;
            made = mkdirat(parent, name.c_str(), mode);
        }
    }
    made.map_err(|errno| {
        let hint = match errno {
            Errno::ACCESS | Errno::EXIST => {
                "; the directory must be writable for the target account, mode 1777, and have no such name"
            }
            _ => "",
        };
        Failure::permanent(format_args!("cannot make {name} beside the sandbox: {}{hint}", Unmade(errno)))
    })?;
    let opened = openat(parent, name.c_str(), DIRECTORY, Mode::empty()).or_fail(|| format!("cannot open {name}"))?;
    let found = Metadata::of(&opened).or_fail(|| format!("cannot look at {name}"))?;
    if found.owner == geteuid().as_raw() && found.mode & 0o777 == UNFINISHED_MODE & 0o777 {
        Ok(opened)
    } else {
        Err(Failure::permanent(format_args!("{name} was replaced by something else while it was made")))
    }
}

/// Fills the sandbox and says so; it keeps its mark. Gives the mode that it is to have in the end.
fn fill(connection: &Connection, sandbox: &OwnedFd, proof: &Confined) -> Outcome<Mode> {
    connection.send(&Ready.encode(), &[]).or_fail(|| "cannot answer the pilot side")?;
    let received = receive_tree(connection, sandbox, Origin::Pilot, Progress::none(), proof)?;
    futimens(sandbox, &received.mtime.into())
        .and_then(|()| fchmod(sandbox, received.mode | Mode::from_raw_mode(UNFINISHED.into())))
        .or_fail(|| "cannot finish the sandbox's directory")?;
    connection.send(&Verdict::Complete(received.totals).encode(), &[]).or_fail(|| "cannot acknowledge the sandbox")?;
    Ok(received.mode)
}

/// What is being done when a commit does not come.
const COMMIT: &str = "waiting for the commit";

fn await_commit(connection: &Connection, proof: &Confined) -> Result<(), Broken> {
    let mut packet = Packet::without_descriptors();
    connection.receive(&mut packet, proof)?;
    match Commit::decode(packet.bytes(), proof) {
        Ok(Commit) => Ok(()),
        Err(_) => Err(Broken::Breach("something else than a commit")),
    }
}

fn cleanup(connection: &Connection, may_lack: MayLack) -> Outcome {
    let site = receive_site(connection)?;
    let Site { parent, name, proxy, remove_only, .. } = &site;
    let is_own = || Metadata::at(parent, name.c_str()).is_ok_and(|found| found.owner == geteuid().as_raw());
    if *remove_only && !is_own() {
        // Removed already; anybody may have the name since.
        return connection.send(&Done.encode(), &[]).or_fail(|| "cannot answer the pilot side");
    }
    let tree = open_own(&site, if *remove_only { CHANGE } else { LIST })?;
    let proof = confine(
        &phase::CLEANUP_TARGET,
        &[
            Grant { object: tree.directory.as_fd(), rights: removing() },
            Grant { object: parent.as_fd(), rights: AccessFs::RemoveDir.into() },
        ],
        may_lack,
    )?;
    let leftover = if *remove_only {
        name.clone()
    } else {
        let own = tree.found.identity;
        send_tree(connection, tree, Tree::Results(proxy), Progress::none(), &proof)?;
        await_commit(connection, &proof).or_fail(|| COMMIT)?;
        let parked = name.with_suffix(PARKED_SUFFIX).or_fail(|| "the sandbox's name")?;
        // The pilot has put its own directory in the sandbox's place, and ours where its own was.
        if !Metadata::at(parent, parked.c_str()).is_ok_and(|there| there.identity == own) {
            return Err(Failure::permanent("the job's sandbox was moved elsewhere; it was not removed"));
        }
        parked
    };
    remove_directory(parent.as_fd(), leftover.c_str())
        .or_fail(|| format!("cannot remove the job's own copy {leftover}"))?;
    connection.send(&Done.encode(), &[]).or_fail(|| "cannot answer the pilot side")
}

fn kill(connection: &Connection, may_lack: MayLack) -> Outcome {
    // The kernel lets SIGCONT pass between accounts within one session, and we are in the pilot's. It fails for a process group's
    // leader, which a switcher hardly starts us as; then nothing worse could happen than that.
    let _ = rustix::process::setsid();
    let pilot = connection.maker().or_fail(|| "cannot tell who the pilot is")?;
    let check = if pilot == geteuid() { Some(DomainCheck::new()?) } else { None };
    let grants = check.as_ref().map(|check| Grant { object: check.proc(), rights: reading() });
    let proof = confine(&phase::KILL_TARGET, grants.as_slice(), may_lack)?;
    let mut packet = Packet::default();
    loop {
        match connection.receive(&mut packet, &proof) {
            Ok(()) => {}
            Err(Broken::Closed) => return Ok(()),
            Err(other) => return Err(Failure::permanent(other)),
        }
        let (bytes, descriptors) = packet.parts();
        let Ok(Signal(signal)) = Signal::decode(bytes, &proof) else {
            return Err(Failure::permanent("the pilot side sent something else than a signal"));
        };
        let Some(process) = descriptors.pop().map(Handed::accept) else {
            return Err(Failure::permanent("the pilot side sent a signal without a process"));
        };
        let allowed = check.as_ref().map_or(Ok(()), |check| check.require_inside(process.as_fd()));
        let signalled = allowed.and_then(|()| sys::pidfd_signal(process.as_fd(), signal));
        let errno = signalled.err().map_or(0, |errno| u16::try_from(errno.raw_os_error()).unwrap_or(u16::MAX));
        connection.send(&Signalled(errno).encode(), &[]).or_fail(|| "cannot answer the pilot side")?;
    }
}

fn update_proxy(connection: &Connection, may_lack: MayLack) -> Outcome {
    let site = receive_site(connection)?;
    let sandbox = open_own(&site, CHANGE)?;
    let directory = sandbox.directory.as_fd();
    let content = site.content.ok_or_else(|| Failure::permanent("the pilot side sent no proxy"))?;
    confine(&phase::UPDATE_PROXY_TARGET, &[Grant { object: directory, rights: filling() }], may_lack)?;
    let installed = Staged::copy(directory, &content).and_then(|staged| staged.install(&site.proxy));
    if let Some(before) = sandbox.restore {
        let _ = fchmod(directory, before);
    }
    installed?;
    connection.send(&Done.encode(), &[]).or_fail(|| "cannot answer the pilot side")
}

//! The helpers and peers that run beside a job, and below the switcher.

use crate::attempts::{ATTACKS, attempts, status};
use crate::playground::{Playground, Started, text};
use crate::probe;
use libc::EPERM;
use std::fs;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

/// Starts a program through the switcher and waits until it is there.
fn started(playground: &Playground, program: &Path, argument: &str, stdin: impl Into<Stdio>) -> Started {
    let started = Started(playground.switcher().arg(program).arg(argument).stdin(stdin).spawn().unwrap());
    // The kernel keeps 15 bytes of the name.
    let name = program.file_name().unwrap().as_bytes();
    let running = || fs::read(format!("/proc/{}/comm", started.pid())).unwrap();
    for _ in 0..200 {
        if running().strip_suffix(b"\n") == name.get(..name.len().min(15)) {
            return started;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    panic!("{program:?} does not run: {:?}", running());
}

/// The two ends of what a helper and its peer talk through.
fn packets() -> (OwnedFd, OwnedFd) {
    use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};
    socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None).unwrap()
}

/// A peer that was started through the switcher and has greeted, and the helper's end.
fn greeted(playground: &Playground) -> (Started, OwnedFd) {
    let (ours, theirs) = packets();
    let peer = started(playground, &playground.programs.join("condor_glexec_peer"), "kill", theirs);
    let mut greeting = [0_u8; 64];
    let length = rustix::io::read(&ours, &mut greeting).unwrap();
    assert_eq!(&greeting[..length], glexec_rs::protocol::greeting::GREETING);
    (peer, ours)
}

/// Attempts on one process.
const ON_A_PROCESS: [&str; 19] = [
    "proc_environ",
    "proc_mem",
    "proc_maps",
    "proc_status",
    "proc_cmdline",
    "proc_fd",
    "proc_exe",
    "proc_cwd",
    "proc_root",
    "kill_0",
    "kill_cont",
    "tgkill_cont",
    "queue_cont",
    "pidfd_cont",
    "ptrace",
    "read_memory",
    "take_descriptor",
    "prlimit",
    "prlimit_high",
];

/// Those for which a process need not be open to tracing, so that they succeed outside.
const WITHOUT_TRACING: [&str; 9] = [
    "proc_status",
    "proc_cmdline",
    "kill_0",
    "kill_cont",
    "tgkill_cont",
    "queue_cont",
    "pidfd_cont",
    "prlimit",
    "prlimit_high",
];

#[test]
fn a_job_reaches_no_helper_and_no_peer_that_runs_already() {
    let playground = Playground::new();
    // Neither has confined itself yet: the peer waits for its first request, the helper for its own peer, which never
    // comes.
    let (peer, _ours) = greeted(&playground);
    let waits = playground.base.join("waits");
    playground.file(&waits, "#!/bin/sh\n: > \"${0%/*}/called\"; exec /bin/cat\n", 0o755);
    let mut helper = playground.pilot(playground.programs.join("condor_glexec_kill"));
    helper.arg(&waits).arg(&playground.proxy).args([&peer.pid().to_string(), "0", "0", "0"]);
    let helper = Started(helper.spawn().unwrap());
    while !playground.base.join("called").exists() {
        std::thread::sleep(Duration::from_millis(10));
    }
    for mut process in [peer, helper] {
        let chosen = format!(" {}", ON_A_PROCESS.join(" "));
        let probe = |mut command: Command, chosen: &str| {
            command.args(probe::ARGUMENTS);
            attempts(command, process.pid(), &playground, chosen).0
        };
        let inside = || {
            let mut switcher = playground.switcher();
            switcher.arg(&playground.probe);
            switcher
        };
        let results = probe(playground.pilot(&playground.probe), &chosen);
        for name in ON_A_PROCESS {
            let succeeds = WITHOUT_TRACING.contains(&name);
            assert_eq!(results.get(name).map(|errno| *errno == 0), Some(succeeds), "{name} outside: {results:?}");
        }
        let results = probe(inside(), &chosen);
        for (name, _, expected) in ATTACKS.iter().filter(|(name, ..)| ON_A_PROCESS.contains(name)) {
            assert!(results.get(*name).is_some_and(|errno| expected.contains(errno)), "{name} inside: {results:?}");
        }
        assert_eq!(probe(inside(), " kill_9").get("kill_9"), Some(&EPERM));
        assert!(process.lives());
    }
}

#[test]
fn only_the_peer_beside_it_is_started_without_a_domain() {
    let playground = Playground::new();
    let own = status(std::process::id()).seccomp_filters;
    let peer = playground.programs.join("condor_glexec_peer");
    let (started_peer, _ours) = greeted(&playground);
    assert!(!status(started_peer.pid()).is_inside_domain(own));

    // The same program elsewhere, or by another name, is any command.
    let copy = playground.sandbox.join("condor_glexec_peer");
    playground.copy(&peer, &copy);
    let (_ours, theirs) = packets();
    let started_copy = started(&playground, &copy, "kill", theirs);
    assert!(status(started_copy.pid()).is_inside_domain(own));

    let marked = started(&playground, Path::new("/bin/sleep"), "60", Stdio::null());
    assert!(status(marked.pid()).is_inside_domain(own));
    assert!(!status(std::process::id()).is_inside_domain(own));
}

#[test]
fn the_pilots_kill_reaches_into_the_domain_and_nowhere_else() {
    let playground = Playground::new();
    let kill = |process: &Started| {
        let mut command = playground.pilot(playground.programs.join("condor_glexec_kill"));
        command.arg(playground.programs.join("glexec_rootless")).arg(&playground.proxy);
        command.args([&process.pid().to_string(), "15", "0", "0"]).output().unwrap()
    };
    let mut job = started(&playground, Path::new("/bin/sleep"), "60", Stdio::null());
    let output = kill(&job);
    assert!(output.status.success(), "{:?}", text(&output));
    assert_eq!(job.0.wait().unwrap().signal(), Some(15));

    // What the kernel does not refuse within one account: a process of the pilot.
    let mut victim = playground.start_victim();
    let output = kill(&victim);
    assert_eq!(output.status.code(), Some(2), "{:?}", text(&output));
    assert!(victim.lives());
}

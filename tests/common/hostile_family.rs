//! Families of processes that do everything not to be killed. The test program itself is the job: with [`VARIABLE`]
//! set, its test `acts_as_a_family` becomes one of them.

#![allow(unsafe_code)] // fork and clone

use std::fs::File;
use std::os::fd::{FromRawFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::time::{Duration, Instant};

/// Which family.
pub const VARIABLE: &str = "HOSTILE_FAMILY";

/// How the test program is told to be one.
pub const ARGUMENTS: [&str; 4] = ["--ignored", "acts_as_a_family", "--nocapture", "--test-threads=1"];

/// The file that says that the family has come to what it is for.
pub const READY: &str = "ready";

/// How many processes a family may have: enough for a fork bomb, not enough to hurt the machine.
const PROCESSES: u64 = 400;

#[test]
#[ignore = "started by the other tests"]
fn acts_as_a_family() {
    let kind = std::env::var(VARIABLE).expect("started by the other tests only");
    if kind == "full" {
        return fill();
    }
    let most = rustix::process::Rlimit { current: Some(PROCESSES), maximum: Some(PROCESSES) };
    rustix::process::setrlimit(rustix::process::Resource::Nproc, most).unwrap();
    let ready = || File::create(READY).map(drop).unwrap();
    match kind.as_str() {
        "bomb" => {
            ready();
            loop {
                fork();
                nap(1);
            }
        }
        "chain" => {
            // Each link lives for a moment only, in a session of its own, without a parent. Two chains, to be sure.
            ready();
            fork();
            loop {
                match fork() {
                    // SAFETY: no argument.
                    0 => drop(unsafe { libc::setsid() }),
                    // There may be many processes of this account.
                    -1 => nap(1),
                    _ => exit(),
                }
            }
        }
        "threads" => {
            ready();
            std::thread::spawn(|| {
                loop {
                    if fork() == 0 {
                        nap(1_000_000);
                    }
                    nap(50);
                }
            });
            nap(100);
            // SAFETY: ends this thread only; nothing on its stack is used by another.
            unsafe { libc::syscall(libc::SYS_exit, 0) };
        }
        "vfork" => {
            ready();
            // SAFETY: without CLONE_VM this is fork, but the parent waits in the kernel until the child ends or
            // executes.
            if unsafe { libc::syscall(libc::SYS_clone, libc::CLONE_VFORK | libc::SIGCHLD, 0, 0, 0, 0) } == 0 {
                loop {
                    nap(1_000_000);
                }
            }
        }
        "stopped" => {
            ready();
            for _ in 0..5 {
                if fork() == 0 {
                    // SAFETY: no argument, and a signal to the own process.
                    unsafe {
                        libc::setsid();
                        libc::raise(libc::SIGSTOP);
                    }
                    loop {
                        nap(1_000_000);
                    }
                }
            }
            loop {
                // SAFETY: a signal to all that this process may signal; in its domain or account, that is its own
                // family.
                unsafe { libc::kill(0, libc::SIGCONT) };
                nap(1);
            }
        }
        "traced" => {
            // Its parent, which has not asked for it, is told of a stop as soon as this becomes another program.
            // SAFETY: the call reads and writes no memory.
            unsafe { libc::ptrace(libc::PTRACE_TRACEME, 0, 0, 0) };
            ready();
            let error = std::process::Command::new("/bin/sleep").arg("1000").exec();
            panic!("{error}");
        }
        "namespaces" => {
            // SAFETY: two flags. Where it is not allowed, what follows is a family like others.
            unsafe { libc::unshare(libc::CLONE_NEWUSER | libc::CLONE_NEWPID) };
            ready();
            for _ in 0..3 {
                if fork() == 0 {
                    loop {
                        fork();
                        nap(200);
                    }
                }
            }
        }
        other => panic!("there is no family {other}"),
    }
    loop {
        nap(1_000_000);
    }
}

/// Uses up what its caller lets it have, by itself or by raising its own limit, for a minute and a half at most.
fn fill() {
    File::create(READY).map(drop).unwrap();
    let maximum = glexec_rs::ground::resources::limit(rustix::process::Resource::Nproc).unwrap().maximum;
    assert!(maximum.is_some_and(|most| most <= PROCESSES), "{maximum:?}");
    let raised = rustix::process::Rlimit { current: maximum, maximum };
    rustix::process::setrlimit(rustix::process::Resource::Nproc, raised).unwrap();
    // SAFETY: a signal and a disposition.
    unsafe { libc::signal(libc::SIGTERM, libc::SIG_IGN) };
    let end = Instant::now() + Duration::from_secs(90);
    while Instant::now() < end {
        if fork() == 0 {
            nap(end.saturating_duration_since(Instant::now()).as_millis() as u64);
            exit();
        }
        nap(1);
    }
}

fn fork() -> i32 {
    // SAFETY: the child goes on with what this file does, which takes no lock and allocates nothing.
    unsafe { libc::fork() }
}

fn exit() -> ! {
    // SAFETY: a number.
    unsafe { libc::_exit(0) }
}

fn nap(milliseconds: u64) {
    std::thread::sleep(Duration::from_millis(milliseconds));
}

/// A terminal: the end of who watches, and the end of the program.
pub fn terminal() -> (File, OwnedFd) {
    let (mut ours, mut theirs) = (-1, -1);
    // SAFETY: the two numbers are written; the three other pointers may be null.
    let made = unsafe {
        libc::openpty(&mut ours, &mut theirs, core::ptr::null_mut(), core::ptr::null_mut(), core::ptr::null_mut())
    };
    assert_eq!(made, 0);
    // SAFETY: both descriptors have just been made for us.
    unsafe { (File::from_raw_fd(ours), OwnedFd::from_raw_fd(theirs)) }
}

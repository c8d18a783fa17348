//! Follows a call of a helper, with all processes behind it, from system call to system call (ptrace(2)).

#![allow(unsafe_code)]
#![allow(dead_code)] // each test program uses a part of it

use crate::common::{Finished, Running};
use libc::{c_void, pid_t, user_regs_struct};
use std::collections::{HashMap, HashSet};
use std::mem::zeroed;
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;
use std::ptr::null_mut;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::Duration;

/// After this long a traced call hangs, and the test has failed. Longer than every deadline that can end one.
const TIME_LIMIT: Duration = Duration::from_secs(170);

/// The signal of a stop at a system call's entry or exit (`PTRACE_O_TRACESYSGOOD`).
const AT_CALL: i32 = libc::SIGTRAP | 0x80;

/// What a process has come to.
#[derive(Debug)]
pub enum Event {
    /// A system call that is about to be made; changed registers have to be put back with [`set_registers`].
    Entry(user_regs_struct),
    /// A system call that was made.
    Exit(user_regs_struct),
    /// Its end, as wait(2) gives it.
    Ended(i32),
}

/// How a process goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// To the next entry or exit of a call.
    Call,
    /// To its end; no more events of its calls.
    End,
}

/// One thread of a process that is followed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tracee {
    /// The thread.
    pub thread: pid_t,
    /// Its process.
    pub process: pid_t,
    in_call: bool,
}

/// Which of the processes of a call is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Side {
    /// The process that was called, and waits for the worker.
    Attendant,
    /// The helper's worker.
    Pilot,
    /// What the helper has started, until it is the peer.
    Switcher,
    /// The peer.
    Target,
}

impl Side {
    /// What a process is by now.
    pub fn of(process: pid_t, helper: pid_t) -> Self {
        let command = std::fs::read(format!("/proc/{process}/cmdline")).unwrap_or_default();
        let program = command.split(|byte| *byte == 0).next().unwrap_or_default();
        match process == helper {
            true => Side::Attendant,
            false if program.ends_with(b"condor_glexec_peer") => Side::Target,
            false if parent_of(process) == Some(helper) => Side::Pilot,
            false => Side::Switcher,
        }
    }
}

/// Follows a call that was started with [`crate::common::Call::traced`] by this very thread until all of its processes
/// have ended: one that was left alone would stay stopped for ever, with the ends of pipes that somebody waits for.
///
/// A call that takes too long is killed, which shows in how it ended.
pub fn trace(running: Running, mut look: impl FnMut(Tracee, Event) -> Next) -> Finished {
    let helper = running.pid() as pid_t;
    let (over, is_over) = channel::<()>();
    let watch = std::thread::spawn(move || {
        let late = is_over.recv_timeout(TIME_LIMIT) == Err(RecvTimeoutError::Timeout);
        if late {
            // SAFETY: takes two numbers. The process group is the call's own, and its first process is not waited for
            // yet.
            unsafe { libc::kill(-helper, libc::SIGKILL) };
        }
        late
    });
    let mut tracees: HashMap<pid_t, Option<Tracee>> = HashMap::from([(helper, None)]);
    // Somebody may have ended before his parent's birth notice comes.
    let mut ended = HashSet::new();
    let mut end = 0;
    while !tracees.is_empty() {
        let mut status = 0;
        // SAFETY: the kernel writes one int into `status`.
        let thread = unsafe { libc::waitpid(-1, &mut status, libc::__WALL | libc::__WNOTHREAD) };
        assert!(thread > 0, "nobody is left to wait for, but {:?}", tracees.keys());
        if libc::WIFSIGNALED(status) || libc::WIFEXITED(status) {
            if thread == helper {
                end = status;
            }
            ended.insert(thread);
            if let Some(Some(tracee)) = tracees.remove(&thread) {
                look(tracee, Event::Ended(status));
            }
            continue;
        }
        let tracee = tracees.entry(thread).or_default();
        let Some(tracee) = tracee else {
            // Its first stop: after the helper's exec, or of a new process or thread.
            *tracee = Some(Tracee { thread, process: process_of(thread), in_call: false });
            let options = libc::PTRACE_O_TRACESYSGOOD
                | libc::PTRACE_O_TRACEFORK
                | libc::PTRACE_O_TRACEVFORK
                | libc::PTRACE_O_TRACECLONE
                | libc::PTRACE_O_TRACEEXEC
                | libc::PTRACE_O_EXITKILL;
            request(libc::PTRACE_SETOPTIONS as i64, thread, options as u64);
            request(libc::PTRACE_SYSCALL as i64, thread, 0);
            continue;
        };
        let signal = libc::WSTOPSIG(status);
        let event = status >> 16;
        if signal != AT_CALL {
            if [libc::PTRACE_EVENT_FORK, libc::PTRACE_EVENT_VFORK, libc::PTRACE_EVENT_CLONE].contains(&event) {
                let born = event_message(thread);
                if !ended.contains(&born) {
                    tracees.entry(born).or_default();
                }
            }
            // An event of ptrace is nothing that the process would see; any other signal is delivered.
            request(libc::PTRACE_SYSCALL as i64, thread, if event != 0 { 0 } else { signal as u64 });
            continue;
        }
        tracee.in_call = !tracee.in_call;
        let registers = get_registers(thread);
        let event = if tracee.in_call { Event::Entry(registers) } else { Event::Exit(registers) };
        let next = match look(*tracee, event) {
            Next::Call => libc::PTRACE_SYSCALL,
            Next::End => libc::PTRACE_CONT,
        };
        request(next as i64, thread, 0);
    }
    drop(over);
    let mut finished = running.ended(ExitStatus::from_raw(end));
    if watch.join().unwrap() {
        finished.errors.push_str("and it hung");
    }
    finished
}

/// The process of a thread that is stopped.
fn process_of(thread: pid_t) -> pid_t {
    number(thread, "Tgid:").unwrap_or(thread)
}

/// The worker is the only child of its watchdog.
fn parent_of(process: pid_t) -> Option<pid_t> {
    number(process, "PPid:")
}

fn number(thread: pid_t, field: &str) -> Option<pid_t> {
    let status = std::fs::read_to_string(format!("/proc/{thread}/status")).unwrap_or_default();
    status.lines().find_map(|line| line.strip_prefix(field)?.trim().parse().ok())
}

fn request(what: i64, thread: pid_t, data: u64) {
    // SAFETY: requests that take a number; a tracee that has been killed meanwhile is answered with an error, and its
    // end is the next event.
    unsafe { libc::ptrace(what as _, thread, null_mut::<c_void>(), data) };
}

fn event_message(thread: pid_t) -> pid_t {
    let mut message = 0_u64;
    // SAFETY: the kernel writes one unsigned long into `message`.
    unsafe { libc::ptrace(libc::PTRACE_GETEVENTMSG, thread, null_mut::<c_void>(), &raw mut message) };
    message as pid_t
}

fn get_registers(thread: pid_t) -> user_regs_struct {
    // SAFETY: a plain C structure of numbers, for which zero is a value, and which the kernel fills.
    unsafe {
        let mut registers: user_regs_struct = zeroed();
        libc::ptrace(libc::PTRACE_GETREGS, thread, null_mut::<c_void>(), &mut registers);
        registers
    }
}

/// Gives a stopped thread these registers.
pub fn set_registers(thread: pid_t, registers: &user_regs_struct) {
    // SAFETY: the kernel reads one structure, which lives through the call.
    unsafe { libc::ptrace(libc::PTRACE_SETREGS, thread, null_mut::<c_void>(), registers) };
}

/// Writes a word into a stopped thread's memory.
pub fn put_word(thread: pid_t, at: u64, word: u64) {
    // SAFETY: writes a word into the tracee's own memory.
    unsafe { libc::ptrace(libc::PTRACE_POKEDATA, thread, at, word) };
}

//! Makes a helper do what its code never does: under ptrace(2), one of its system calls is replaced by another one.

#![allow(unsafe_code)]

use crate::common::Running;
use libc::{c_long, c_void, pid_t};
use std::collections::HashMap;
use std::mem::{size_of, zeroed};
use std::ptr::null_mut;

/// Which of the processes of a call is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// The helper that was called.
    Pilot,
    /// The peer behind the switcher.
    Target,
}

/// A system call that is made in the place of the process's own.
#[derive(Clone, Copy, Debug)]
pub struct Foreign {
    /// Its number.
    pub number: c_long,
    /// Its arguments.
    pub arguments: [u64; 6],
    /// Bytes that are put onto the process's stack, if any, and which argument is to point to them.
    pub text: Option<(usize, &'static [u8])>,
}

/// What became of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// The kernel killed the process with this signal.
    Killed(i32),
    /// The call came back with this value, a negative one being an errno.
    Returned(i64),
}

/// Ends a stop for tracing: until the next call's entry or exit.
const TO_NEXT_CALL: i64 = libc::PTRACE_SYSCALL as i64;
/// Ends a stop: until the next event.
const ON: i64 = libc::PTRACE_CONT as i64;

/// The signal of a stop at a system call's entry or exit (`PTRACE_O_TRACESYSGOOD`).
const AT_CALL: i32 = libc::SIGTRAP | 0x80;

/// The bytes below a stack pointer that the ABI leaves to the function (x86_64), and some more.
const BELOW_STACK: u64 = 4096;

/// What a traced process is doing.
#[derive(Default)]
struct Tracee {
    in_call: bool,
    installs_filter: bool,
}

/// The call that was replaced.
struct Replaced {
    pid: pid_t,
    before: libc::user_regs_struct,
    is_over: bool,
}

/// Traces a call that was started with [`crate::common::Call::traced`] by this very thread to its end, and has the process of `side` make
/// a foreign call right after it has installed its seccomp filter; `look` sees that process at that moment. If it
/// survives, its own call is made after all. The helper itself is left to be waited for.
///
/// `None`: it never got there.
pub fn inject(running: &Running, side: Side, foreign: Option<Foreign>, look: impl Fn(pid_t)) -> Option<Answer> {
    let helper = running.pid() as pid_t;
    let mut tracees: HashMap<pid_t, Tracee> = HashMap::new();
    let mut armed: Option<pid_t> = None;
    let mut replaced: Option<Replaced> = None;
    let mut answer = None;
    while let Some((pid, status)) = next_event(helper) {
        if libc::WIFSIGNALED(status) || libc::WIFEXITED(status) {
            // The kernel still shows the end of a call for which it kills.
            if libc::WIFSIGNALED(status) && replaced.as_ref().is_some_and(|replaced| replaced.pid == pid) {
                answer = Some(Answer::Killed(libc::WTERMSIG(status)));
            }
            if pid == helper {
                break;
            }
            continue;
        }
        let is_new = !tracees.contains_key(&pid);
        let tracee = tracees.entry(pid).or_default();
        if is_new {
            let options = libc::PTRACE_O_TRACESYSGOOD
                | libc::PTRACE_O_TRACEFORK
                | libc::PTRACE_O_TRACEVFORK
                | libc::PTRACE_O_TRACECLONE
                | libc::PTRACE_O_TRACEEXEC
                | libc::PTRACE_O_EXITKILL;
            request(libc::PTRACE_SETOPTIONS as i64, pid, options as u64);
            request(TO_NEXT_CALL, pid, 0);
            continue;
        }
        let signal = libc::WSTOPSIG(status);
        if signal != AT_CALL {
            // An event of ptrace is nothing that the process would see; any other signal is delivered.
            let delivered = if status >> 16 != 0 { 0 } else { signal };
            request(if answer.is_some() { ON } else { TO_NEXT_CALL }, pid, delivered as u64);
            continue;
        }
        tracee.in_call = !tracee.in_call;
        let mut registers = get_registers(pid);
        if tracee.in_call {
            tracee.installs_filter = registers.orig_rax == libc::SYS_seccomp as u64 && registers.rdi == 1;
            if armed == Some(pid) && answer.is_none() {
                armed = None;
                look(pid);
                let Some(foreign) = foreign else {
                    answer = Some(Answer::Returned(0));
                    request(ON, pid, 0);
                    continue;
                };
                replaced = Some(Replaced { pid, before: registers, is_over: false });
                put(&mut registers, pid, foreign);
            }
        } else if let Some(Replaced { before, is_over, .. }) =
            replaced.as_mut().filter(|replaced| replaced.pid == pid && !replaced.is_over)
        {
            *is_over = true;
            answer = Some(Answer::Returned(registers.rax as i64));
            // Back to the instruction (two bytes) that makes the call, which is its own this time.
            set_registers(pid, &libc::user_regs_struct { rip: before.rip - 2, rax: before.orig_rax, ..*before });
        } else if tracee.installs_filter && registers.rax == 0 && is_meant(pid, helper, side) {
            armed = Some(pid);
        }
        request(if answer.is_some() { ON } else { TO_NEXT_CALL }, pid, 0);
    }
    answer
}

/// The helper, or a peer that is not the helper.
fn is_meant(pid: pid_t, helper: pid_t, side: Side) -> bool {
    let command = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    let program = command.split(|byte| *byte == 0).next().unwrap_or_default();
    match side {
        Side::Pilot => pid == helper,
        Side::Target => pid != helper && program.ends_with(b"condor_glexec_peer"),
    }
}

/// Waits for a child or tracee of this thread. The helper's end is only looked at.
fn next_event(helper: pid_t) -> Option<(pid_t, i32)> {
    let flags = libc::__WALL | libc::__WNOTHREAD;
    let mut about: libc::siginfo_t = unsafe {
        // SAFETY: a plain C structure of numbers, for which zero is a value.
        zeroed()
    };
    // SAFETY: the kernel writes one siginfo_t into `about`, which lives through the call.
    let result =
        unsafe { libc::waitid(libc::P_ALL, 0, &mut about, libc::WEXITED | libc::WSTOPPED | libc::WNOWAIT | flags) };
    // SAFETY: the kernel has filled these members for a child.
    let (pid, value) = unsafe { (about.si_pid(), about.si_status()) };
    if result != 0 {
        return None;
    }
    match about.si_code {
        libc::CLD_EXITED if pid == helper => Some((pid, value << 8)),
        libc::CLD_KILLED | libc::CLD_DUMPED if pid == helper => Some((pid, value)),
        _ => {
            let mut status = 0;
            // SAFETY: the kernel writes one int into `status`.
            let pid = unsafe { libc::waitpid(pid, &mut status, flags) };
            (pid > 0).then_some((pid, status))
        }
    }
}

fn request(what: i64, pid: pid_t, data: u64) {
    // SAFETY: requests that take a number; a tracee that has been killed meanwhile is answered with an error, and its end is the next event.
    unsafe { libc::ptrace(what as _, pid, null_mut::<c_void>(), data) };
}

fn get_registers(pid: pid_t) -> libc::user_regs_struct {
    // SAFETY: a plain C structure of numbers, for which zero is a value, and which the kernel fills.
    unsafe {
        let mut registers: libc::user_regs_struct = zeroed();
        libc::ptrace(libc::PTRACE_GETREGS, pid, null_mut::<c_void>(), &mut registers);
        registers
    }
}

fn set_registers(pid: pid_t, registers: &libc::user_regs_struct) {
    // SAFETY: the kernel reads one structure, which lives through the call.
    unsafe { libc::ptrace(libc::PTRACE_SETREGS, pid, null_mut::<c_void>(), registers) };
}

fn put(registers: &mut libc::user_regs_struct, pid: pid_t, foreign: Foreign) {
    let mut arguments = foreign.arguments;
    if let Some((index, text)) = foreign.text {
        let place = (registers.rsp - BELOW_STACK) & !7;
        arguments[index] = place;
        for (offset, piece) in text.chunks(size_of::<u64>()).enumerate() {
            let mut word = [0; size_of::<u64>()];
            word[..piece.len()].copy_from_slice(piece);
            let at = place + (offset * size_of::<u64>()) as u64;
            // SAFETY: writes a word into the tracee's own memory, below its stack.
            unsafe { libc::ptrace(libc::PTRACE_POKEDATA, pid, at, u64::from_ne_bytes(word)) };
        }
    }
    registers.orig_rax = foreign.number as u64;
    [registers.rdi, registers.rsi, registers.rdx, registers.r10, registers.r8, registers.r9] = arguments;
    set_registers(pid, registers);
}

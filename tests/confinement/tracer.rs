//! Makes a helper do what its code never does: one of its system calls is replaced by another one.

#![forbid(unsafe_code)]

use crate::common::{Finished, Running};
use crate::tracing::{Event, Next, Side, put_word, set_registers, trace};
use libc::{c_long, pid_t};
use std::mem::size_of;

/// A system call that is made in the place of the process's own.
#[derive(Clone, Debug)]
pub struct Foreign {
    /// Its number.
    pub number: c_long,
    /// Its arguments.
    pub arguments: [u64; 6],
    /// Bytes that are put onto the process's stack, and which argument is to point to them.
    pub texts: Vec<(usize, Vec<u8>)>,
}

/// What became of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// The kernel killed the process with this signal.
    Killed(i32),
    /// The call came back with this value, a negative one being an errno.
    Returned(i64),
}

/// The bytes below a stack pointer that the ABI leaves to the function (x86_64), and some more.
const BELOW_STACK: u64 = 4096;

/// How far it is.
#[derive(Clone, Copy)]
enum Stage {
    /// The process has not confined itself yet; which thread is just about to.
    Before(Option<pid_t>),
    /// The next call of this thread is the one.
    Armed(pid_t),
    /// It was replaced.
    Replaced(pid_t),
    /// The thread that made it goes on as ever, if it can.
    Over(pid_t),
}

/// Traces a call that was started with [`crate::common::Call::traced`] by this very thread to its end, and has the
/// process of `side` make a foreign call right after it has installed its seccomp filter; `look` sees that process at
/// that moment. If it survives, its own call is made after all.
///
/// `None`: it never got there.
pub fn inject(
    running: Running,
    side: Side,
    foreign: Option<Foreign>,
    look: impl Fn(pid_t),
) -> (Option<Answer>, Finished) {
    let helper = running.pid() as pid_t;
    let mut stage = Stage::Before(None);
    let mut answer = None;
    // The registers of the thread before its call was replaced.
    let mut own = None;
    let finished = trace(running, |tracee, event| {
        let pid = tracee.thread;
        match (stage, event) {
            (Stage::Before(_), Event::Entry(registers)) => {
                let is_filter = registers.orig_rax == libc::SYS_seccomp as u64 && registers.rdi == 1;
                if is_filter && Side::of(tracee.process, helper) == side {
                    stage = Stage::Before(Some(pid));
                }
            }
            (Stage::Before(Some(about_to)), Event::Exit(registers)) if about_to == pid && registers.rax == 0 => {
                stage = Stage::Armed(pid);
            }
            (Stage::Armed(armed), Event::Entry(before)) if armed == pid => {
                look(pid);
                if let Some(foreign) = &foreign {
                    put(before, pid, foreign);
                    own = Some(before);
                    stage = Stage::Replaced(pid);
                } else {
                    answer = Some(Answer::Returned(0));
                    stage = Stage::Over(pid);
                }
            }
            (Stage::Replaced(replaced), Event::Exit(registers)) if replaced == pid => {
                answer = Some(Answer::Returned(registers.rax as i64));
                if let Some(own) = own {
                    // Back to the instruction (two bytes) that makes the call, which is its own this time.
                    set_registers(pid, &libc::user_regs_struct { rip: own.rip - 2, rax: own.orig_rax, ..own });
                }
                stage = Stage::Over(pid);
            }
            // The kernel may have shown the exit of a call for which it kills.
            (Stage::Replaced(replaced) | Stage::Over(replaced), Event::Ended(status))
                if replaced == pid && foreign.is_some() && libc::WIFSIGNALED(status) =>
            {
                answer = Some(Answer::Killed(libc::WTERMSIG(status)));
            }
            _ => {}
        }
        if matches!(stage, Stage::Over(_)) { Next::End } else { Next::Call }
    });
    (answer, finished)
}

/// Puts a foreign call in the place of the one that a stopped thread is about to make.
fn put(mut registers: libc::user_regs_struct, pid: pid_t, foreign: &Foreign) {
    let mut arguments = foreign.arguments;
    let mut place = (registers.rsp - BELOW_STACK) & !7;
    for (index, text) in &foreign.texts {
        arguments[*index] = place;
        for piece in text.chunks(size_of::<u64>()) {
            let mut word = [0; size_of::<u64>()];
            word[..piece.len()].copy_from_slice(piece);
            put_word(pid, place, u64::from_ne_bytes(word));
            place += size_of::<u64>() as u64;
        }
    }
    registers.orig_rax = foreign.number as u64;
    [registers.rdi, registers.rsi, registers.rdx, registers.r10, registers.r8, registers.r9] = arguments;
    set_registers(pid, &registers);
}

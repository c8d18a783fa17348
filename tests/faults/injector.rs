//! Lets a call come to grief at one of its system calls.

#![forbid(unsafe_code)]

use crate::common::{Finished, Running};
use crate::tracing::{Event, Next, Side, Tracee, set_registers, trace};
use libc::{c_long, pid_t};
use rustix::process::{Pid, Signal, kill_process};
use std::collections::HashMap;

/// What goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// SIGKILL for the process in the place of the call.
    Kill,
    /// SIGKILL for all processes of the call at once.
    KillAll,
    /// The call is not made and fails with this errno.
    Fail(i32),
}

/// Where.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moment {
    /// In whose process.
    pub side: Side,
    /// At which of its system calls, counted from 0.
    pub number: usize,
}

/// The call that was hit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hit {
    /// The system call's number.
    pub call: c_long,
}

/// Calls that do not fail, whatever happens, or do not come back.
const NEVER: [c_long; 17] = [
    libc::SYS_exit,
    libc::SYS_exit_group,
    libc::SYS_rt_sigreturn,
    libc::SYS_rt_sigaction,
    libc::SYS_rt_sigprocmask,
    libc::SYS_getpid,
    libc::SYS_gettid,
    libc::SYS_getppid,
    libc::SYS_geteuid,
    libc::SYS_getuid,
    libc::SYS_umask,
    libc::SYS_set_tid_address,
    libc::SYS_arch_prctl,
    libc::SYS_clock_gettime,
    libc::SYS_sched_yield,
    libc::SYS_madvise,
    // What it waits for is looked at again in any case; and waking does not fail.
    libc::SYS_futex,
];
/// Calls that fail for want of memory only.
const MEMORY: [c_long; 6] =
    [libc::SYS_mmap, libc::SYS_munmap, libc::SYS_brk, libc::SYS_mprotect, libc::SYS_mremap, libc::SYS_sigaltstack];
/// Calls that wait.
const WAITS: [c_long; 4] = [libc::SYS_poll, libc::SYS_ppoll, libc::SYS_nanosleep, libc::SYS_clock_nanosleep];

/// All that can go wrong in any other call.
const ERRORS: [i32; 12] = [
    libc::EIO,
    libc::ENOSPC,
    libc::EDQUOT,
    libc::EMFILE,
    libc::ENOMEM,
    libc::EINTR,
    libc::EAGAIN,
    libc::EACCES,
    libc::EXDEV,
    libc::ENOSYS,
    libc::EPERM,
    libc::EINVAL,
];

/// The errors that this system call may plausibly come back with.
pub fn plausible(call: c_long) -> &'static [i32] {
    if NEVER.contains(&call) {
        &[]
    } else if MEMORY.contains(&call) {
        &[libc::ENOMEM]
    } else if WAITS.contains(&call) {
        &[libc::EINTR]
    } else {
        &ERRORS
    }
}

/// Follows a call that was started with [`crate::common::Call::traced`] to the end of all its processes, and lets it
/// come to grief at `moment`. `None`: there was no such moment.
pub fn strike(running: Running, moment: Moment, fault: Fault) -> (Option<Hit>, Finished) {
    let mut hit = None;
    let mut failing = None;
    let mut processes = vec![];
    let finished = walk(running, |side, number, tracee, event| {
        let thread = tracee.thread;
        if !processes.contains(&tracee.process) {
            processes.push(tracee.process);
        }
        match event {
            Event::Entry(registers)
                if hit.is_none() && moment == Moment { side, number } && fits(fault, &registers) =>
            {
                hit = Some(Hit { call: registers.orig_rax as c_long });
                match fault {
                    Fault::Kill => kill(thread),
                    Fault::KillAll => {
                        // The latest first, so that nobody can still tell how another one ended.
                        processes.iter().rev().copied().for_each(kill);
                    }
                    Fault::Fail(errno) => {
                        failing = Some((thread, errno, registers.rdi));
                        // The kernel closes the descriptor, whatever it answers. In the place of any other call:
                        // closing what there is none of, which every profile allows.
                        if registers.orig_rax != libc::SYS_close as u64 {
                            let harmless =
                                libc::user_regs_struct { orig_rax: libc::SYS_close as u64, rdi: u64::MAX, ..registers };
                            set_registers(thread, &harmless);
                        }
                    }
                }
            }
            Event::Exit(registers) => {
                if let Some((_, errno, rdi)) = failing.take_if(|(failing, ..)| *failing == thread) {
                    let rax = (-i64::from(errno)) as u64;
                    set_registers(thread, &libc::user_regs_struct { rax, rdi, ..registers });
                }
            }
            _ => {}
        }
    });
    (hit, finished)
}

/// Lets the file system say only when a file is closed that writing it failed: `errno`, of the file that `side` has
/// made as its `number`th. False: it has made fewer.
pub fn strike_close(running: Running, side: Side, number: usize, errno: i32) -> (bool, Finished) {
    let mut written = std::collections::HashSet::new();
    let mut closed = 0;
    let mut failing = None;
    let mut hit = false;
    let finished = walk(running, |whose, _, tracee, event| {
        if whose != side {
            return;
        }
        let (thread, process) = (tracee.thread, tracee.process);
        match event {
            Event::Entry(registers)
                if registers.orig_rax == libc::SYS_close as u64 && written.remove(&(process, registers.rdi)) =>
            {
                if closed == number {
                    failing = Some(thread);
                }
                closed += 1;
            }
            Event::Exit(registers) if failing.take_if(|failing| *failing == thread).is_some() => {
                hit = true;
                let rax = (-i64::from(errno)) as u64;
                set_registers(thread, &libc::user_regs_struct { rax, ..registers });
            }
            Event::Exit(registers) if registers.orig_rax == libc::SYS_openat as u64 => {
                let writes = registers.rdx & libc::O_ACCMODE as u64 == libc::O_WRONLY as u64;
                if writes && (registers.rax as i64) >= 0 {
                    written.insert((process, registers.rax));
                }
            }
            _ => {}
        }
    });
    (hit, finished)
}

/// Lets this side's `which`th call of this kind, counted from 0, not be made and come back with `answer`; `None`: all
/// of them. Gives how many that were.
pub fn answer(running: Running, side: Side, call: c_long, which: Option<usize>, answer: i64) -> (usize, Finished) {
    let (mut seen, mut answered, mut pending) = (0, 0, None);
    let finished = walk(running, |at, _, tracee, event| match event {
        Event::Entry(registers) if at == side && registers.orig_rax == call as u64 => {
            if which.is_none_or(|which| which == seen) {
                answered += 1;
                pending = Some((tracee.thread, registers.rdi));
                let harmless = libc::user_regs_struct { orig_rax: libc::SYS_close as u64, rdi: u64::MAX, ..registers };
                set_registers(tracee.thread, &harmless);
            }
            seen += 1;
        }
        Event::Exit(registers) => {
            if let Some((_, rdi)) = pending.take_if(|(thread, _)| *thread == tracee.thread) {
                set_registers(tracee.thread, &libc::user_regs_struct { rax: answer as u64, rdi, ..registers });
            }
        }
        _ => {}
    });
    (answered, finished)
}

/// Whether a fault can happen at this call: from run to run the count of calls varies by a few, with the threads and
/// the clock.
fn fits(fault: Fault, registers: &libc::user_regs_struct) -> bool {
    !matches!(fault, Fault::Fail(errno) if !plausible(registers.orig_rax as c_long).contains(&errno))
}

/// The system calls of a call that nothing happens to, by side.
pub fn calls(running: Running) -> (HashMap<Side, Vec<c_long>>, Finished) {
    let mut seen: HashMap<Side, Vec<c_long>> = HashMap::new();
    let finished = walk(running, |side, _, _, event| {
        if let Event::Entry(registers) = event {
            seen.entry(side).or_default().push(registers.orig_rax as c_long);
        }
    });
    (seen, finished)
}

/// Follows all processes of a call, and counts the system calls of each side.
fn walk(running: Running, mut look: impl FnMut(Side, usize, Tracee, Event)) -> Finished {
    let helper = running.pid() as pid_t;
    let mut sides: HashMap<pid_t, Side> = HashMap::new();
    let mut counts: HashMap<Side, usize> = HashMap::new();
    trace(running, |tracee, event| {
        let side = *sides.entry(tracee.process).or_insert_with(|| Side::of(tracee.process, helper));
        if let Event::Exit(registers) = &event {
            // It may be another program now.
            if registers.orig_rax == libc::SYS_execve as u64 {
                sides.remove(&tracee.process);
            }
        }
        let is_entry = matches!(event, Event::Entry(_));
        look(side, counts.get(&side).copied().unwrap_or(0), tracee, event);
        if is_entry {
            *counts.entry(side).or_default() += 1;
        }
        Next::Call
    })
}

fn kill(pid: pid_t) {
    let _ = kill_process(Pid::from_raw(pid).unwrap(), Signal::KILL);
}

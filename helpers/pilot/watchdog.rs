//! Two processes for one program: a worker, and the one that the caller has started and waits for.
//!
//! Whoever touches a job's descriptors and files can be made to wait in the kernel, beyond the reach of any signal:
//! to close a descriptor can mean to wait for the server of its file system (FUSE), which can be the job; so can any
//! access to a file or directory whose lock somebody holds meanwhile. So the process that the caller waits for
//! touches none of them. It passes on what the worker says, ends as the worker says, and gives it up when it shows no
//! sign of life.

use crate::ground::heartbeat::{self, ALIVE, Worker};
use crate::ground::outcome::{Failure, OrFail, Outcome};
use crate::ground::program::Program;
use crate::ground::wait::{pause, wait_for};
use crate::ground::{frame, limits, signals};
use crate::sys;
use core::time::Duration;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::{Pid, PidfdFlags, Resource, Signal, WaitOptions, pidfd_open, pidfd_send_signal, waitpid};
use std::io::Write;
use std::os::fd::{AsFd, OwnedFd};
use std::process::ExitCode;
use std::time::Instant;

/// How long a sign of life is waited for at least.
const LAST_CHANCE: Duration = Duration::from_secs(1);

/// The pause between two looks at a worker that is about to be gone.
const GONE_PAUSE: Duration = Duration::from_millis(1);

/// Lets a process of its own do `work` and say what came of it, and gives the program's exit code.
///
/// # Errors
/// When there can be no such process, or it ended or got stuck before it was done.
pub(crate) fn attend(program: Program, work: impl FnOnce() -> Outcome) -> Outcome<ExitCode> {
    frame::guard_memory()?;
    // A job can raise its own soft limit and then have as many processes as its account may have: a few more have to
    // be possible.
    frame::raise_limit(Resource::Nproc);
    let pipe = || pipe_with(PipeFlags::CLOEXEC).or_fail(|| "cannot make a pipe");
    let [(control, ours), (output, printed_to), (errors, reported_to)] = [pipe()?, pipe()?, pipe()?];
    let worker = Worker::new(ours);
    let watchdog = rustix::process::getpid();
    match sys::fork().or_fail(|| "cannot start a process")? {
        None => {
            drop((control, output, errors));
            let set_up = rustix::process::set_parent_process_death_signal(Some(Signal::KILL))
                .and_then(|()| rustix::stdio::dup2_stdout(&printed_to))
                .and_then(|()| rustix::stdio::dup2_stderr(&reported_to));
            drop((printed_to, reported_to));
            // Without a watchdog nobody is there to hear why.
            if set_up.is_err() || rustix::process::getppid() != Some(watchdog) || !worker.take_up() {
                std::process::exit(1);
            }
            heartbeat::end(frame::conclude(program, work()))
        }
        Some(process) => {
            drop((worker, printed_to, reported_to));
            signals::ignore_write_signals();
            Attended { process, control, output: Some(output), errors: Some(errors), last_sign: Instant::now() }.wait()
        }
    }
}

/// A worker in its watchdog's eyes.
struct Attended {
    process: Pid,
    control: OwnedFd,
    output: Option<OwnedFd>,
    errors: Option<OwnedFd>,
    last_sign: Instant,
}

impl Attended {
    fn wait(mut self) -> Outcome<ExitCode> {
        let failed = || "cannot watch the working process";
        for pipe in [Some(&self.control), self.output.as_ref(), self.errors.as_ref()].into_iter().flatten() {
            rustix::io::ioctl_fionbio(pipe, true).or_fail(failed)?;
        }
        let ended = pidfd_open(self.process, PidfdFlags::empty()).or_fail(failed)?;
        loop {
            let left = limits::STUCK_DEADLINE.saturating_sub(self.last_sign.elapsed()).max(LAST_CHANCE);
            let pipes = [Some(&self.control), self.output.as_ref(), self.errors.as_ref()].into_iter().flatten();
            let mut ready: Vec<_> = pipes.map(|pipe| PollFd::new(pipe, PollFlags::IN)).collect();
            match poll(&mut ready, Timespec::try_from(left).ok().as_ref()) {
                // Not whenever the time is over: both may have been stopped, or this one had to wait for who reads
                // what it passes on.
                Ok(0) if self.last_sign.elapsed() >= limits::STUCK_DEADLINE => {
                    let _ = pidfd_send_signal(&ended, Signal::KILL);
                    return Err(self.stuck());
                }
                Ok(_) | Err(Errno::INTR) => {}
                Err(errno) => return Err(errno).or_fail(failed),
            }
            // What it says of its end comes after all else that it says.
            let word = self.listen();
            relay(&mut self.output, &mut std::io::stdout());
            relay(&mut self.errors, &mut std::io::stderr());
            match word {
                Word::None => {}
                Word::Ended(code) => {
                    // It may have to wait for somebody before it is gone, but nobody has to wait for it.
                    let _ = wait_for(ended.as_fd(), PollFlags::IN, limits::WORKER_END_DEADLINE);
                    return Ok(ExitCode::from(code));
                }
                Word::Gone => return Err(self.unfinished()),
            }
        }
    }

    fn stuck(&self) -> Failure {
        Failure::permanent(format_args!(
            "its working process {} has been stuck in the kernel for {} s and is given up; what it waits for is in /proc/{0}/stack: \
             perhaps a file system that a process of the job serves (FUSE); end the job's processes, and call this again",
            self.process.as_raw_nonzero(),
            limits::STUCK_DEADLINE.as_secs(),
        ))
    }

    /// Why a worker that has gone did not say what came of its work.
    fn unfinished(&self) -> Failure {
        let gone = Instant::now();
        let status = loop {
            match waitpid(Some(self.process), WaitOptions::NOHANG) {
                Ok(None) | Err(Errno::INTR) if gone.elapsed() < limits::WORKER_END_DEADLINE => pause(GONE_PAUSE),
                other => break other.ok().flatten(),
            }
        };
        let signal = status.and_then(|(_, status)| status.terminating_signal());
        Failure::permanent(match signal {
            Some(libc::SIGSYS) => {
                "its working process was killed by SIGSYS: it made a system call that its seccomp profile does not know; the kernel's \
                 log names it"
                    .to_owned()
            }
            Some(signal) => format!("its working process was killed by signal {signal}"),
            None => "its working process ended before its work was done".to_owned(),
        })
    }

    fn listen(&mut self) -> Word {
        let mut bytes = [ALIVE; 64];
        match rustix::io::read(&self.control, &mut bytes) {
            Ok(0) => Word::Gone,
            Ok(count) => {
                self.last_sign = Instant::now();
                let said = bytes.get(..count).unwrap_or_default();
                said.iter().find(|byte| **byte != ALIVE).map_or(Word::None, |code| Word::Ended(*code))
            }
            Err(_) => Word::None,
        }
    }
}

/// What the worker has said of itself.
enum Word {
    None,
    Ended(u8),
    Gone,
}

/// Passes on what is in a pipe.
fn relay(pipe: &mut Option<OwnedFd>, to: &mut dyn Write) {
    let mut piece = [0_u8; 4096];
    while let Some(from) = pipe {
        match rustix::io::read(from, &mut piece) {
            Ok(count) if count > 0 => {
                // That nobody reads it any more is no reason to fail.
                let _ = to.write_all(piece.get(..count).unwrap_or_default()).and_then(|()| to.flush());
            }
            Err(Errno::INTR) => {}
            Err(Errno::AGAIN) => return,
            _ => *pipe = None,
        }
    }
}

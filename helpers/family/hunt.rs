//! The hunt for a family: all that can be found are stopped, then killed, until several looks find nobody.

use super::descent::{Descent, Numbers};
use super::{FAILED, Proc, Process};
use crate::ground::heartbeat::beat;
use crate::ground::limits;
use crate::ground::outcome::{Failure, OrFail, Outcome};
use crate::ground::wait::later;
use core::time::Duration;
use rustix::io::Errno;
use rustix::process::Signal;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Instant;

/// One attempt to end everything that descends from one process.
pub(crate) struct Hunt<'h, S> {
    proc: Proc<'h>,
    root: u32,
    except: u32,
    signal: S,
    /// How long the family is stopped before it is killed in whatever state it is.
    pub(super) stop_deadline: Duration,
    /// How long it may take to end after SIGKILL.
    pub(super) kill_deadline: Duration,
    /// When the present one of the two is over.
    until: Instant,
    descent: Descent,
    /// Who has had the present signal, by number. It may be another's by now, so this is forgotten again and again.
    sent: Numbers,
    found: Found,
}

/// What one look has found.
#[derive(Default)]
struct Found {
    /// How many members live.
    living: usize,
    /// One of them.
    first: Option<Process>,
    /// Whether a signal has changed something.
    news: bool,
}

/// What became of one signal.
enum Sent {
    Delivered,
    Gone,
    Refused,
}

impl<'h, S: FnMut(BorrowedFd<'_>, u8) -> Outcome<Result<(), Errno>>> Hunt<'h, S> {
    /// Every process that descends from `root`, but neither `root` nor `except` (the caller, who is one of them) nor
    /// what descends from `except` (a switcher and the peer behind it).
    ///
    /// `root` must be a child subreaper. `signal` delivers one signal to
    /// the process behind a pidfd and tells what the kernel answered: `ESRCH` means that it ended by itself, `EPERM`
    /// that it belongs to another account (a lingering switcher), which is waited for instead because it ends after
    /// what it has started.
    pub(crate) fn new(proc: Proc<'h>, root: u32, except: u32, signal: S) -> Self {
        Hunt {
            proc,
            root,
            except,
            signal,
            stop_deadline: limits::FAMILY_STOP_DEADLINE,
            kill_deadline: limits::FAMILY_KILL_DEADLINE,
            until: Instant::now(),
            descent: Descent::new(),
            sent: Numbers::none(),
            found: Found::default(),
        }
    }

    /// Stops and then kills all of them.
    ///
    /// # Errors
    /// When one still lives after the deadline, when `/proc` cannot be read, or when `signal` fails in another way.
    pub(crate) fn end(mut self) -> Outcome {
        self.stop_all()?;
        self.kill_all()
    }

    /// Stopping only makes the killing sure; what can't be stopped in time is killed all the same.
    fn stop_all(&mut self) -> Outcome {
        self.until = later(self.stop_deadline);
        let mut awake = true;
        while awake && !self.is_late() {
            self.look(Self::stop)?;
            awake = self.found.news;
        }
        Ok(())
    }

    /// Stops one that is new or was woken up.
    fn stop(&mut self, process: &Process) -> Outcome {
        // Each answer can take long: the clock is looked at for every process, here and below.
        if self.is_late() {
            return Ok(());
        }
        let known = !self.sent.insert(process.birth.pid);
        if known && !process.runs() {
            return Ok(());
        }
        match self.send(process, Signal::STOP)? {
            Sent::Delivered | Sent::Gone => self.found.news = true,
            Sent::Refused => {}
        }
        Ok(())
    }

    fn kill_all(&mut self) -> Outcome {
        self.until = later(self.kill_deadline);
        self.sent.clear();
        let mut pause = limits::FAMILY_PAUSE_LEAST;
        let mut empty_looks = 0_u32;
        let mut forget_at = later(limits::FAMILY_KILL_AGAIN);
        while empty_looks < limits::FAMILY_EMPTY_LOOKS {
            if Instant::now() >= forget_at {
                self.sent.clear();
                forget_at = later(limits::FAMILY_KILL_AGAIN);
            }
            self.look(Self::kill)?;
            empty_looks = if self.is_empty() { empty_looks.saturating_add(1) } else { 0 };
            self.require_time()?;
            pause = self.next_pause(pause);
            std::thread::sleep(pause);
        }
        Ok(())
    }

    /// Whether the last look has found nobody, and was whole.
    fn is_empty(&self) -> bool {
        self.found.living == 0 && !self.descent.is_unfinished()
    }

    fn kill(&mut self, process: &Process) -> Outcome {
        if !self.is_late()
            && !self.sent.contains(process.birth.pid)
            && let Sent::Delivered = self.send(process, Signal::KILL)?
        {
            self.sent.insert(process.birth.pid);
            self.found.news = true;
        }
        Ok(())
    }

    /// The time until the next look: a little longer each time that there is nothing new, and those that are left are
    /// about to end.
    fn next_pause(&self, before: Duration) -> Duration {
        if self.found.news || self.found.living == 0 {
            return limits::FAMILY_PAUSE_LEAST;
        }
        before.saturating_mul(2).min(limits::FAMILY_PAUSE_MOST)
    }

    fn is_late(&self) -> bool {
        Instant::now() >= self.until
    }

    /// Gives up when somebody still lives and the time is over.
    fn require_time(&self) -> Outcome {
        match self.found.first {
            Some(first) if self.is_late() => Err(Failure::permanent(format_args!(
                "{} processes of the job are still there {} s after SIGKILL, one of them process {} in state {}; look at what \
                 keeps them in the kernel, or whose they are",
                self.found.living,
                self.kill_deadline.as_secs(),
                first.birth.pid,
                char::from(first.state),
            ))),
            None if self.is_late() && !self.is_empty() => Err(Failure::permanent(format_args!(
                "who of the machine's processes belongs to the job could not be found out {} s after SIGKILL",
                self.kill_deadline.as_secs()
            ))),
            _ => Ok(()),
        }
    }

    /// Does something to every living member that can be found in one look at `/proc`.
    ///
    /// Whoever can be told to be one at first sight is dealt with at once: a process that does nothing but fork and end
    /// is only caught while it is young. The look is not whole when the time is over before.
    fn look(&mut self, act: fn(&mut Self, &Process) -> Outcome) -> Outcome {
        self.found = Found::default();
        self.descent.begin(self.root, self.except);
        loop {
            self.descent.begin_reading();
            self.proc.each_number(|number| self.meet(number, act))?;
            beat();
            if !self.descent.is_unfinished() || self.is_late() {
                return Ok(());
            }
        }
    }

    fn meet(&mut self, number: u32, act: fn(&mut Self, &Process) -> Outcome) -> Outcome {
        let proc = self.proc;
        if self.descent.verdict(number).is_some() {
            return Ok(());
        }
        let Some(process) = proc.look_at(number).or_fail(FAILED)? else { return Ok(()) };
        self.descent.trace(process, |other| proc.look_at(other)).or_fail(FAILED)?;
        while let Some(member) = self.descent.next_member() {
            if member.lives() {
                self.found.living = self.found.living.saturating_add(1);
                self.found.first.get_or_insert(member);
                act(self, &member)?;
            }
        }
        Ok(())
    }

    fn send(&mut self, process: &Process, signal: Signal) -> Outcome<Sent> {
        let Some(pidfd) = self.proc.hold(process).or_fail(FAILED)? else { return Ok(Sent::Gone) };
        let number = u8::try_from(signal.as_raw()).or_fail(FAILED)?;
        match (self.signal)(pidfd.as_fd(), number)? {
            Ok(()) => Ok(Sent::Delivered),
            Err(Errno::SRCH) => Ok(Sent::Gone),
            Err(Errno::PERM) => Ok(Sent::Refused),
            Err(error) => Err(error).or_fail(FAILED),
        }
    }
}

//! Starts programs and watches them, the job's orphans and the signals that end the whole, all in one place.

use crate::ground::child::{Leader, set_child_up};
use crate::ground::escape::Escaped;
use crate::ground::outcome::{Failure, OrFail, Outcome};
use crate::ground::pipe::Reader;
use crate::ground::resources::limit;
use crate::ground::signal_queue::SignalQueue;
use crate::ground::{frame, limits};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::process::{
    Pid, PidfdFlags, Resource, Rlimit, Signal, WaitId, WaitIdOptions, WaitOptions, WaitStatus, pidfd_open, wait, waitid,
};
use std::collections::HashMap;
use std::io::IsTerminal;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::process::{Command, Stdio};
use std::time::Instant;

/// The signals that ask for an early end.
const STOPPING: [i32; 3] = [libc::SIGTERM, libc::SIGINT, libc::SIGHUP];

/// Watches all children of this process and takes its signals, as long as it lives.
pub(super) struct Supervisor {
    signals: SignalQueue,
    subreaper_before: Option<Pid>,
    processes_before: Rlimit,
    /// Those that were started here.
    started: HashMap<Pid, Started>,
    /// Every stopping signal that has come, in order.
    stopped_by: Vec<i32>,
}

/// A process as long as it runs, and how it ended afterwards.
///
/// It is watched by its own descriptor: where another thread does not block SIGCHLD, that signal never gets into the
/// queue.
enum Started {
    Runs(OwnedFd),
    Ended(WaitStatus),
}

impl Supervisor {
    /// Becomes the one who takes in the orphans of the job and the stopping signals of this thread.
    ///
    /// # Errors
    /// When this process has children already: they could not be told from the job's.
    pub(super) fn new() -> Outcome<Self> {
        let none_yet = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
        if !matches!(waitid(WaitId::All, none_yet), Err(Errno::CHILD)) {
            return Err(Failure::permanent(
                "this process has children already, which could not be told from the job's; start it in a process of its own",
            ));
        }
        let subreaper_before =
            rustix::process::child_subreaper().or_fail(|| "cannot ask whether orphans come to this process")?;
        let processes_before =
            limit(Resource::Nproc).or_fail(|| "cannot ask how many processes this account may have")?;
        let signals =
            SignalQueue::new(&[&STOPPING[..], &[libc::SIGCHLD]].concat()).or_fail(|| "cannot queue signals")?;
        rustix::process::set_child_subreaper(Some(rustix::process::getpid()))
            .or_fail(|| "cannot take in the job's orphans (PR_SET_CHILD_SUBREAPER, Linux 3.4)")?;
        // What a job of this account can use up is less.
        frame::raise_limit(Resource::Nproc);
        Ok(Supervisor { signals, subreaper_before, processes_before, started: HashMap::new(), stopped_by: Vec::new() })
    }

    /// Starts `command` and watches it. The leader of a session is the job, and cannot use up its account's processes.
    ///
    /// # Errors
    /// When it cannot be started.
    pub(super) fn start(&mut self, mut command: Command, directory: BorrowedFd<'_>, leader: Leader) -> Outcome<Pid> {
        let program = command.get_program().to_owned();
        let failed = || format!("cannot start {}", Escaped(program.as_encoded_bytes()));
        let processes = (leader == Leader::Session).then(|| left_for_job(self.processes_before));
        set_child_up(&mut command, directory, leader, processes).or_fail(failed)?;
        let mut child = command.spawn().or_fail(failed)?;
        let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw).ok_or("no process id").or_fail(failed)?;
        let running = pidfd_open(pid, PidfdFlags::empty()).or_fail(failed).inspect_err(|_| {
            // Nobody could watch it, and what it does would race with what is done instead.
            let _ = child.kill().and_then(|()| child.wait());
        })?;
        self.started.insert(pid, Started::Runs(running));
        Ok(pid)
    }

    /// Waits until one of `descriptors` is ready, a child ends, a signal comes, or it is `until`.
    ///
    /// # Errors
    /// The kernel's.
    pub(super) fn wait(&mut self, descriptors: &[(BorrowedFd<'_>, PollFlags)], until: Option<Instant>) -> Outcome {
        let failed = || "cannot wait for the job";
        let timeout = until
            .map(|until| Timespec::try_from(until.saturating_duration_since(Instant::now())))
            .transpose()
            .or_fail(failed)?;
        let watched = descriptors.iter().map(|(fd, events)| PollFd::from_borrowed_fd(*fd, *events));
        let running = self.started.values().filter_map(|started| match started {
            Started::Runs(running) => Some(PollFd::new(running, PollFlags::IN)),
            Started::Ended(_) => None,
        });
        let signals = std::iter::once(PollFd::new(&self.signals, PollFlags::IN));
        let mut ready: Vec<_> = signals.chain(running).chain(watched).collect();
        match poll(&mut ready, timeout.as_ref()) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(error).or_fail(failed),
        }
        while let Some(signal) = self.signals.take().or_fail(failed)? {
            if STOPPING.contains(&signal) {
                self.stopped_by.push(signal);
            }
        }
        self.reap().map(drop)
    }

    /// Buries all children that have ended; true when there are no others, and so none of the job's processes at all.
    fn reap(&mut self) -> Outcome<bool> {
        loop {
            match wait(WaitOptions::NOHANG) {
                Ok(None) => return Ok(false),
                Err(Errno::CHILD) => return Ok(true),
                Err(Errno::INTR) => {}
                Err(error) => return Err(error).or_fail(|| "cannot wait for the job's processes"),
                // A child that has made this process its tracer (PTRACE_TRACEME) reports stops, too; and a number that
                // was given to another process after an end does not change that end.
                Ok(Some((pid, status))) => {
                    if let Some(known @ Started::Runs(_)) = self.started.get_mut(&pid)
                        && (status.exited() || status.signaled())
                    {
                        *known = Started::Ended(status);
                    }
                }
            }
        }
    }

    /// How a process that was started here ended; `None` as long as it runs.
    pub(super) fn status(&self, pid: Pid) -> Option<WaitStatus> {
        match self.started.get(&pid) {
            Some(Started::Ended(status)) => Some(*status),
            _ => None,
        }
    }

    /// The first signal that asked for an early end, if one has come.
    pub(super) fn stopped_by(&self) -> Option<i32> {
        self.stopped_by.first().copied()
    }

    /// Whether one has come again.
    pub(super) fn stopped_again(&self) -> bool {
        self.stopped_by.len() > 1
    }

    /// Waits until no process of the job is left, or it is `until`; true if none is.
    ///
    /// # Errors
    /// The kernel's.
    pub(super) fn wait_for_none(&mut self, until: Instant) -> Outcome<bool> {
        while !self.reap()? {
            let now = Instant::now();
            if now >= until {
                return Ok(false);
            }
            // Orphans are watched by SIGCHLD alone, which may not come.
            let look_again = now.checked_add(limits::FAMILY_PAUSE_MOST).map_or(until, |soon| soon.min(until));
            self.wait(&[], Some(look_again))?;
        }
        Ok(true)
    }

    /// Runs one of the helpers to its end.
    ///
    /// # Errors
    /// When it cannot be started.
    pub(super) fn call(&mut self, mut command: Command, directory: BorrowedFd<'_>, on_stop: OnStop) -> Outcome<Called> {
        let (mut answer, answer_to) = Reader::new(limits::RECORD_BYTES)?;
        // A helper that sees a terminal shows its progress there; otherwise what it says becomes part of our report.
        let watched = std::io::stderr().is_terminal();
        let (mut said, said_to) = Reader::new(limits::REPORT_BYTES)?;
        command.stdin(Stdio::null()).stdout(answer_to);
        command.stderr(if watched { Stdio::inherit() } else { Stdio::from(said_to) });
        let pid = self.start(command, directory, Leader::Group)?;
        let mut told = false;
        let status = loop {
            if let Some(status) = self.status(pid) {
                break status;
            }
            if on_stop == OnStop::PassOn && !told && self.stopped_by().is_some() {
                told = true;
                // It is our child and not yet buried, so the number is still its own.
                let _ = rustix::process::kill_process(pid, Signal::TERM);
            }
            let open: Vec<_> = [&answer, &said].into_iter().filter_map(Reader::watched).collect();
            self.wait(&open, None)?;
            answer.read();
            said.read();
        };
        answer.read();
        said.read();
        Ok(Called { status, answer: answer.kept, said: said.kept })
    }
}

impl Drop for Supervisor {
    fn drop(&mut self) {
        // Nothing is lost when that fails: orphans keep coming to a process that waits for none.
        let _ = rustix::process::set_child_subreaper(self.subreaper_before);
        let _ = rustix::process::setrlimit(Resource::Nproc, self.processes_before);
    }
}

/// The job's limit of processes where ours is `before`: the hard one is lower, unless it is tiny.
fn left_for_job(before: Rlimit) -> Rlimit {
    let maximum = before.maximum.map(|most| match most {
        ..limits::PROCESSES_SHARED => most,
        _ => most.saturating_sub(limits::PROCESSES_KEPT),
    });
    let current = before.current.map(|most| maximum.map_or(most, |maximum| most.min(maximum)));
    Rlimit { current, maximum }
}

/// What a stopping signal means for a helper that runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum OnStop {
    /// It is to end, too.
    PassOn,
    /// It has to finish.
    Finish,
}

/// A helper that has ended.
pub(super) struct Called {
    /// How.
    pub(super) status: WaitStatus,
    /// The beginning of what it wrote on stdout.
    pub(super) answer: Vec<u8>,
    /// The beginning of what it wrote on stderr, unless that is a terminal.
    pub(super) said: Vec<u8>,
}

#[cfg(test)]
mod tests {
    use super::{Rlimit, left_for_job};

    #[test]
    fn a_job_is_left_less_than_its_supervisor() {
        let left = |current, maximum| {
            let Rlimit { current, maximum } = left_for_job(Rlimit { current, maximum });
            (current, maximum)
        };
        assert_eq!(left(None, None), (None, None));
        assert_eq!(left(Some(100), None), (Some(100), None));
        assert_eq!(left(Some(100), Some(200)), (Some(100), Some(184)));
        assert_eq!(left(Some(200), Some(200)), (Some(184), Some(184)));
        assert_eq!(left(Some(60), Some(64)), (Some(48), Some(48)));
        assert_eq!(left(Some(63), Some(63)), (Some(63), Some(63)));
        assert_eq!(left(Some(0), Some(0)), (Some(0), Some(0)));
    }
}

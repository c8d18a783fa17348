//! Starts the switcher, the only way to act as the target account, and gets hold of the peer behind it.

use crate::confine::confine;
use crate::confine::landlock::{Grant, MayLack};
use crate::confine::side::Side;
use crate::ground::escape::{Escaped, Said};
use crate::ground::inherited::leave_session_keyring;
use crate::ground::installation::beside_self;
use crate::ground::outcome::{Failure, Kind, OrFail, Outcome};
use crate::ground::pipe::Reader;
use crate::ground::program::Program;
use crate::ground::switcher_end::{End, TRANSIENT};
use crate::ground::wait::{pause, wait_for};
use crate::ground::{limits, signals};
use crate::pilot::credential::environment;
use crate::pilot::target_side::TargetSide;
use crate::protocol::connection::{self, Connection};
use crate::protocol::greeting::{self, Operation};
use crate::sys;
use core::time::Duration;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use std::ffi::OsStr;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Instant;

/// The switcher as helpers are told of it: G, R and D.
pub struct Switcher {
    /// G, its absolute path.
    pub path: Vec<u8>,
    /// R, how often 202 and 203 are tried again.
    pub retries: u32,
    /// D, the least pause before that, in seconds.
    pub delay: u32,
}

/// The longest wait for a switcher's end without a look at what it prints.
const END_PAUSE: Duration = Duration::from_millis(100);

/// A peer that has greeted.
pub(crate) struct Switched {
    connection: Connection,
    operation: Operation,
    switcher: Running,
}

/// The switcher's process and what it prints.
struct Running {
    child: Child,
    ended: OwnedFd,
    output: Reader,
}

impl Switcher {
    /// Starts the switcher with the proxy at this absolute path, until the peer greets.
    ///
    /// # Errors
    /// [`Kind::RetriesExhausted`] when it answered 202 or 203 once more than R times; permanent for everything else,
    /// with what the switcher printed.
    pub(crate) fn switch(&self, proxy: &[u8], operation: Operation) -> Outcome<Switched> {
        let peer = beside_self(Program::Peer)?;
        leave_session_keyring().or_fail(|| "cannot leave the caller's session keyring")?;
        let mut tries = 0_u32;
        loop {
            let refused = match self.attempt(proxy, operation, &peer)? {
                Ok(switched) => return Ok(switched),
                Err(refused) => refused,
            };
            if tries == self.retries {
                let tries = u64::from(tries).saturating_add(1);
                return Err(Failure::new(Kind::RetriesExhausted, format_args!("tried {tries} times: {refused}")));
            }
            pause(before_retry(operation, self.delay, tries, jitter(self.delay)));
            tries = tries.saturating_add(1);
        }
    }

    /// One try. The inner error is a refusal that may pass.
    fn attempt(&self, proxy: &[u8], operation: Operation, peer: &[u8]) -> Outcome<Result<Switched, Failure>> {
        let (ours, theirs) = connection::pair().or_fail(|| "cannot make a socket pair")?;
        // Only a sandbox that comes back brings descriptors.
        if operation != Operation::Cleanup {
            sys::refuse_descriptors(ours.as_fd());
        }
        let (output, printed_to) = Reader::new(limits::SWITCHER_OUTPUT_BYTES)?;
        let errors_to = printed_to.try_clone().or_fail(|| "cannot duplicate a descriptor")?;
        let child = Command::new(OsStr::from_bytes(&self.path))
            .arg(OsStr::from_bytes(peer))
            .arg(operation.word())
            .env_clear()
            .envs(environment(proxy))
            .current_dir("/")
            .stdin(Stdio::from(theirs))
            .stdout(Stdio::from(printed_to))
            .stderr(Stdio::from(errors_to))
            .spawn()
            .or_fail(|| format!("cannot start the switcher {}", Escaped(&self.path)))?;
        let ended = pidfd_open(Pid::from_child(&child), PidfdFlags::empty())
            .or_fail(|| "cannot watch the switcher (pidfd_open, Linux 5.3)")?;
        let mut running = Running { child, ended, output };
        let connection = Connection::new(ours);
        let greeted = running.await_greeting(&connection, &self.path)?;
        Ok(greeted.map(|()| Switched { connection, operation, switcher: running }))
    }
}

/// The pause before the next try when there were `retries`: the least one, doubled each time, and the jitter.
///
/// For kill it is the least one: all other requests to a node's ProcD wait for it, and HTCondor gives a kill up after
/// 30 s.
fn before_retry(operation: Operation, least: u32, retries: u32, jitter: Duration) -> Duration {
    let least = Duration::from_secs(least.into());
    let pause = match operation {
        Operation::Kill => least,
        _ => least.saturating_mul(2_u32.saturating_pow(retries)).saturating_add(jitter),
    };
    pause.min(limits::RETRY_DELAY_MOST)
}

/// Up to `seconds` at random, so that the slots of a node do not all come back at the same moment.
fn jitter(seconds: u32) -> Duration {
    let mut random = [0_u8; 4];
    let _ = rustix::rand::getrandom(&mut random, rustix::rand::GetRandomFlags::NONBLOCK);
    let milliseconds = u64::from(seconds).saturating_mul(1000);
    Duration::from_millis(u64::from(u32::from_le_bytes(random)).checked_rem(milliseconds).unwrap_or(0))
}

impl Running {
    fn await_greeting(&mut self, connection: &Connection, path: &[u8]) -> Outcome<Result<(), Failure>> {
        let started = Instant::now();
        // Once the socket is closed it stays readable for ever, and says nothing any more.
        let mut closed = false;
        loop {
            // The greeting first: a switcher may have come and gone before we look.
            if !closed && connection.has_arrived() {
                if self.greeted(connection)? {
                    return Ok(Ok(()));
                }
                closed = true;
            }
            self.output.read();
            if let Some(status) = self.child.try_wait().or_fail(|| "cannot wait for the switcher")? {
                // What it wrote last may have come between the two looks.
                if !closed && connection.has_arrived() && self.greeted(connection)? {
                    return Ok(Ok(()));
                }
                self.output.read();
                return self.refused(status, path);
            }
            let Some(left) = limits::GREETING_DEADLINE.checked_sub(started.elapsed()) else {
                // A setuid switcher cannot be killed by us; without its socket it has nothing to do any more.
                let _ = self.child.kill();
                return Err(Failure::permanent(format_args!(
                    "the switcher {} did not start the peer within {} seconds; look at its log{}",
                    Escaped(path),
                    limits::GREETING_DEADLINE.as_secs(),
                    self.said()
                )));
            };
            self.wait((!closed).then_some(connection), left)?;
        }
    }

    /// Takes the greeting; false when the socket was closed instead.
    fn greeted(&self, connection: &Connection) -> Outcome<bool> {
        match greeting::receive_unconfined(connection) {
            Ok(true) => Ok(true),
            Ok(false) => Err(Failure::permanent("what the switcher started is not the peer of this version")),
            Err(connection::Broken::Closed) => Ok(false),
            Err(other) => Err(Failure::permanent(other)),
        }
    }

    /// Waits until the switcher prints, ends or the peer speaks.
    fn wait(&self, connection: Option<&Connection>, left: Duration) -> Outcome {
        let timeout =
            Timespec { tv_sec: i64::try_from(left.as_secs()).unwrap_or(1), tv_nsec: left.subsec_nanos().into() };
        let mut fds = vec![PollFd::new(&self.ended, PollFlags::IN)];
        fds.extend(self.output.watched().map(|(output, events)| PollFd::from_borrowed_fd(output, events)));
        fds.extend(connection.map(|connection| PollFd::new(connection, PollFlags::IN)));
        match poll(&mut fds, Some(&timeout)) {
            Ok(_) | Err(Errno::INTR) => Ok(()),
            Err(errno) => Err(Failure::permanent(format_args!("cannot wait for the switcher: {errno}"))),
        }
    }

    fn refused(&self, status: ExitStatus, path: &[u8]) -> Outcome<Result<(), Failure>> {
        let end = End { code: status.code(), signal: status.signal() };
        let failure =
            format!("the switcher {} ended before the peer was started, with {end}{}", Escaped(path), self.said());
        match status.code() {
            Some(code) if TRANSIENT.contains(&code) => Ok(Err(Failure::permanent(failure))),
            _ => Err(Failure::permanent(failure)),
        }
    }

    /// Waits for its end; gives the signal that brought it, if one did.
    fn await_end(mut self) -> Option<i32> {
        let started = Instant::now();
        while let Some(left) = limits::SWITCHER_END_DEADLINE.checked_sub(started.elapsed()) {
            self.output.read();
            match self.child.try_wait() {
                Ok(None) => {}
                Ok(Some(status)) => return status.signal(),
                Err(_) => return None,
            }
            let _ = wait_for(self.ended.as_fd(), PollFlags::IN, left.min(END_PAUSE));
        }
        None
    }

    /// What it printed, for the report.
    fn said(&self) -> String {
        match self.output.kept.trim_ascii() {
            [] => String::new(),
            text => format!("; it said: {}", Said(text)),
        }
    }
}

impl Switched {
    /// Takes on the confinement of `side` with these grants, lets `work` speak with the target side, and ends the
    /// conversation.
    ///
    /// # Errors
    /// The confinement's, and those of `work`. After a failure the target side can undo its part before; and if a
    /// signal ended it, the failure says so.
    pub(crate) fn confined<T>(
        self,
        side: &Side,
        grants: &[Grant<'_>],
        may_lack: MayLack,
        work: impl FnOnce(&mut TargetSide<'_>) -> Outcome<T>,
    ) -> Outcome<T> {
        let Switched { connection, operation, switcher } = self;
        // A closed socket or a limit of file sizes is an error to report, from here on: the switcher has its signals
        // as they came.
        signals::ignore_write_signals();
        let (connection, result) = match confine(side, grants, may_lack) {
            Ok(proof) => {
                let mut target = TargetSide { connection, proof: &proof };
                let result = work(&mut target);
                (target.connection, result)
            }
            Err(failure) => (connection, Err(failure)),
        };
        // Whoever only signals has nothing to undo.
        if result.is_err() && operation != Operation::Kill {
            connection.finish_sending();
            connection.wait_for_end(limits::UNDO_DEADLINE);
        }
        drop(connection);
        let signal = switcher.await_end();
        result.map_err(|failure| match signal {
            Some(libc::SIGSYS) => Failure::new(
                failure.kind,
                format_args!(
                    "{failure}; the target side was killed by SIGSYS for a system call that its seccomp profile does not allow (the \
                     kernel's log names the call)"
                ),
            ),
            Some(signal) => {
                Failure::new(failure.kind, format_args!("{failure}; the target side was ended by signal {signal}"))
            }
            None => failure,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::before_retry;
    use crate::ground::limits::RETRY_DELAY_MOST;
    use crate::protocol::greeting::Operation;
    use core::time::Duration;

    fn seconds(operation: Operation, least: u32, jitter: u64) -> Vec<u64> {
        (0..3).map(|retries| before_retry(operation, least, retries, Duration::from_secs(jitter)).as_secs()).collect()
    }

    #[test]
    fn p3_kill_waits_for_the_least_delay_and_no_longer() {
        assert_eq!(seconds(Operation::Kill, 5, 4), [5, 5, 5]);
        assert_eq!(seconds(Operation::Kill, 0, 0), [0, 0, 0]);
    }

    #[test]
    fn the_others_back_off() {
        for operation in Operation::ALL.into_iter().filter(|operation| *operation != Operation::Kill) {
            assert_eq!(seconds(operation, 5, 4), [9, 14, 24]);
        }
        let longest = before_retry(Operation::Setup, 3600, u32::MAX, Duration::from_secs(3600));
        assert_eq!(longest, RETRY_DELAY_MOST);
    }
}

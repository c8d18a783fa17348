//! Starts the switcher, the only way to act as the target account, and gets hold of the peer behind it.

#![forbid(unsafe_code)]

use crate::ground::escape::Escaped;
use crate::ground::installation::beside_self;
use crate::ground::limits;
use crate::ground::outcome::{Failure, Kind, OrFail, Outcome};
use crate::ground::pipe::Reader;
use crate::ground::program::Program;
use crate::ground::wait::{pause, wait_for};
use crate::protocol::connection::{self, Connection};
use crate::protocol::greeting::{self, Operation};
use crate::sys;
use core::time::Duration;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use std::ffi::{OsStr, OsString};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Instant;

/// The switcher's "refused by configuration or a failed system call" and "not authorised": both may pass (a mapping service that is
/// down), and are the only ones that are tried again.
const TRANSIENT: [i32; 2] = [202, 203];

/// What a switcher is told about the job's credential, and what it is handed on from our own environment.
mod variable {
    pub const CLIENT_CERT: &str = "GLEXEC_CLIENT_CERT";
    pub const SOURCE_PROXY: &str = "GLEXEC_SOURCE_PROXY";
    pub const TARGET_PROXY: &str = "GLEXEC_TARGET_PROXY";
    /// The pilot's own credential to a mapping service; and what glexec itself documents for its callers.
    pub const PASSED_ON: [&str; 4] = ["X509_USER_PROXY", "GLEXEC_MODE", "GLEXEC_ENV", "GLEXEC_ID"];
}

/// One call of the switcher.
pub struct Request {
    /// Its absolute path.
    pub switcher: Vec<u8>,
    /// The absolute path of the job's proxy.
    pub proxy: Vec<u8>,
    /// What the peer is to do.
    pub operation: Operation,
    /// How often 202 and 203 are tried again.
    pub retries: u32,
    /// The least pause before that, in seconds.
    pub delay: u32,
}

/// A peer that has greeted.
pub struct Switched {
    /// The way to it.
    pub connection: Connection,
    switcher: Running,
}

/// The switcher's process and what it prints.
struct Running {
    child: Child,
    ended: OwnedFd,
    output: Reader,
}

/// The environment of a switcher, built from nothing.
///
/// `GLEXEC_TARGET_PROXY=/dev/null`: the sandbox holds the job's copy already, and glexec's own would stay in `/tmp` for ever.
pub fn environment(proxy: &[u8]) -> Vec<(OsString, OsString)> {
    let proxy = OsString::from_vec(proxy.to_vec());
    let own = [
        (variable::CLIENT_CERT.into(), proxy.clone()),
        (variable::SOURCE_PROXY.into(), proxy),
        (variable::TARGET_PROXY.into(), "/dev/null".into()),
    ];
    let passed_on = variable::PASSED_ON.iter().filter_map(|name| Some(((*name).into(), std::env::var_os(name)?)));
    own.into_iter().chain(passed_on).collect()
}

/// Starts the switcher until the peer greets.
///
/// # Errors
/// [`Kind::RetriesExhausted`] when it answered 202 or 203 once more than `retries` times; permanent for everything else, with what
/// the switcher printed.
pub fn switch(request: &Request) -> Outcome<Switched> {
    let peer = beside_self(Program::Peer)?;
    sys::leave_session_keyring().or_fail(|| "cannot leave the caller's session keyring")?;
    let mut tries_left = request.retries;
    let mut least = Duration::from_secs(request.delay.into());
    loop {
        let refused = match attempt(request, &peer)? {
            Ok(switched) => return Ok(switched),
            Err(refused) => refused,
        };
        if tries_left == 0 {
            let tries = u64::from(request.retries).saturating_add(1);
            return Err(Failure::new(Kind::RetriesExhausted, format_args!("{refused} ({tries} tries)")));
        }
        tries_left = tries_left.saturating_sub(1);
        pause(least.saturating_add(jitter(request.delay)).min(limits::RETRY_DELAY_MOST));
        least = least.saturating_mul(2).min(limits::RETRY_DELAY_MOST);
    }
}

/// Up to `seconds` at random, so that the slots of a node do not all come back at the same moment.
fn jitter(seconds: u32) -> Duration {
    let mut random = [0_u8; 4];
    let _ = rustix::rand::getrandom(&mut random, rustix::rand::GetRandomFlags::NONBLOCK);
    let milliseconds = u64::from(seconds).saturating_mul(1000);
    Duration::from_millis(u64::from(u32::from_le_bytes(random)).checked_rem(milliseconds).unwrap_or(0))
}

/// One try. The inner error is a refusal that may pass.
fn attempt(request: &Request, peer: &[u8]) -> Outcome<Result<Switched, Failure>> {
    let (ours, theirs) = connection::pair().or_fail(|| "cannot make a socket pair")?;
    // Only a sandbox that comes back brings descriptors.
    if request.operation != Operation::Cleanup {
        sys::refuse_descriptors(ours.as_fd());
    }
    let (output, printed_to) = Reader::new(limits::SWITCHER_OUTPUT_BYTES)?;
    let errors_to = printed_to.try_clone().or_fail(|| "cannot duplicate a descriptor")?;
    let child = Command::new(OsStr::from_bytes(&request.switcher))
        .arg(OsStr::from_bytes(peer))
        .arg(request.operation.word())
        .env_clear()
        .envs(environment(&request.proxy))
        .current_dir("/")
        .stdin(Stdio::from(theirs))
        .stdout(Stdio::from(printed_to))
        .stderr(Stdio::from(errors_to))
        .spawn()
        .or_fail(|| format!("cannot start the switcher {}", Escaped(&request.switcher)))?;
    let ended = i32::try_from(child.id())
        .ok()
        .and_then(Pid::from_raw)
        .ok_or(Errno::SRCH)
        .and_then(|pid| pidfd_open(pid, PidfdFlags::empty()))
        .or_fail(|| "cannot watch the switcher (pidfd_open, Linux 5.3)")?;
    let switcher = Running { child, ended, output };
    switcher.await_greeting(Connection::new(ours), &request.switcher)
}

impl Running {
    fn await_greeting(mut self, connection: Connection, path: &[u8]) -> Outcome<Result<Switched, Failure>> {
        let started = Instant::now();
        // Once the socket is closed it stays readable for ever, and says nothing any more.
        let mut closed = false;
        loop {
            // The greeting first: a switcher may have come and gone before we look.
            if !closed && connection.has_arrived() {
                if self.greeted(&connection)? {
                    return Ok(Ok(Switched { connection, switcher: self }));
                }
                closed = true;
            }
            self.output.read();
            if let Some(status) = self.child.try_wait().or_fail(|| "cannot wait for the switcher")? {
                // What it wrote last may have come between the two looks.
                if !closed && connection.has_arrived() && self.greeted(&connection)? {
                    return Ok(Ok(Switched { connection, switcher: self }));
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
            self.wait((!closed).then_some(&connection), left)?;
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

    fn refused(&self, status: ExitStatus, path: &[u8]) -> Outcome<Result<Switched, Failure>> {
        let meaning = match (status.code(), status.signal()) {
            (Some(201), _) => {
                "201: the proxy is missing, expired or unfit, or the peer is not where the switcher may start it".into()
            }
            (Some(202), _) => "202: the site's switcher is not set up, or a system call failed; see its log".into(),
            (Some(203), _) => "203: not authorised, no mapping, or the mapping service is down; see its log".into(),
            (Some(126), _) => "126: it could not execute the peer; can the target account reach this directory?".into(),
            (Some(code), _) => format!("{code} before the peer was started"),
            (None, signal) => format!("signal {}", signal.unwrap_or(0)),
        };
        let failure = format!("the switcher {} ended with {meaning}{}", Escaped(path), self.said());
        match status.code() {
            Some(code) if TRANSIENT.contains(&code) => Ok(Err(Failure::permanent(failure))),
            _ => Err(Failure::permanent(failure)),
        }
    }

    /// What it printed, for the report.
    fn said(&self) -> String {
        match self.output.kept.trim_ascii() {
            [] => String::new(),
            text => format!("; it said {}", Escaped(text)),
        }
    }
}

impl Switched {
    /// Ends the conversation with its result. After a failure the other side can undo its part before; and if a signal ended it, the
    /// failure says so.
    ///
    /// # Errors
    /// The result's.
    pub fn conclude<T>(self, result: Outcome<T>) -> Outcome<T> {
        if result.is_err() {
            self.connection.finish_sending();
            self.connection.wait_for_end(limits::UNDO_DEADLINE);
        }
        let signal = self.end();
        result.map_err(|failure| match signal {
            Some(libc::SIGSYS) => Failure::new(
                failure.kind,
                format_args!(
                    "{failure}; the target side was killed by SIGSYS for a system call that its seccomp profile does not allow (the kernel's log names the call)"
                ),
            ),
            Some(signal) => {
                Failure::new(failure.kind, format_args!("{failure}; the target side was ended by signal {signal}"))
            }
            None => failure,
        })
    }

    /// Ends the conversation and waits for the switcher to end, too. Gives the signal that ended it, if one did.
    pub fn end(self) -> Option<i32> {
        let Switched { connection, mut switcher } = self;
        drop(connection);
        let started = Instant::now();
        while let Some(left) = limits::SWITCHER_END_DEADLINE.checked_sub(started.elapsed()) {
            switcher.output.read();
            match switcher.child.try_wait() {
                Ok(None) => {}
                Ok(Some(status)) => return status.signal(),
                Err(_) => return None,
            }
            let _ = wait_for(switcher.ended.as_fd(), PollFlags::IN, left.min(Duration::from_millis(100)));
        }
        None
    }
}

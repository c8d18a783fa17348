//! The Starter's side of the environment channel: the wrapper's hello, the job's environment and standard streams, a
//! fresh socket, and then the end of file that means that the job runs. (HTCondor up to 9.10, `GLexecStarter`.)

use super::streams::Stream;
use super::supervise::Supervisor;
use crate::ground::limits;
use crate::ground::pipe::Reader;
use crate::ground::wait::{later, wait_for};
use crate::protocol::job_channel::HELLO;
use crate::protocol::socket::{Broken, offer, take};
use core::time::Duration;
use rustix::event::PollFlags;
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};
use rustix::process::{Pid, WaitStatus};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Instant;

/// Why the job does not run.
#[derive(Debug)]
pub(crate) enum Unstarted {
    /// The process ended before the wrapper's hello: the switcher refused, or the wrapper could not be started.
    Refused(WaitStatus),
    /// The wrapper said so on the fresh socket, in up to 255 bytes that may be anything.
    Wrapper(Vec<u8>),
    /// A stopping signal came.
    Stopped,
    /// The wrapper was silent for too long.
    Late,
    /// It broke the protocol, or the socket failed; says what.
    Broken(String),
}

impl From<Errno> for Unstarted {
    fn from(error: Errno) -> Self {
        Unstarted::Broken(Broken::System(error).to_string())
    }
}

impl From<crate::ground::outcome::Failure> for Unstarted {
    fn from(failure: crate::ground::outcome::Failure) -> Self {
        Unstarted::Broken(failure.to_string())
    }
}

/// The conversation with one wrapper.
pub(crate) struct Conversation<'s> {
    /// Who watches meanwhile.
    pub supervisor: &'s mut Supervisor,
    /// The process that becomes the switcher, the wrapper and the job.
    pub root: Pid,
    /// What it prints before it is the job.
    pub printed: &'s mut Reader,
}

/// How a wait ended, if it did not fail.
enum Ready {
    Yes,
    /// The process has ended, and nothing more will come.
    Ended(WaitStatus),
}

impl Conversation<'_> {
    /// Starts the job: returns when it runs (or has run already).
    ///
    /// # Errors
    /// See [`Unstarted`].
    pub(crate) fn start_job(
        &mut self,
        socket: OwnedFd,
        environment: &[u8],
        streams: &[Stream; 3],
    ) -> Result<(), Unstarted> {
        self.await_hello(socket.as_fd())?;
        let until = later(limits::CHANNEL_DEADLINE);
        let length = i32::try_from(environment.len()).map_err(|_| Unstarted::Broken("too much environment".into()))?;
        self.send_all(socket.as_fd(), &length.to_ne_bytes(), until)?;
        self.send_all(socket.as_fd(), environment, until)?;
        for passed in streams.iter().filter_map(Stream::passed) {
            self.send_descriptor(socket.as_fd(), passed, until)?;
        }
        let (fresh, theirs) = socketpair(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
        self.send_descriptor(socket.as_fd(), theirs.as_fd(), until)?;
        drop((theirs, socket));
        self.await_end(fresh.as_fd(), until)
    }

    fn await_hello(&mut self, socket: BorrowedFd<'_>) -> Result<(), Unstarted> {
        let until = later(limits::GREETING_DEADLINE);
        let mut hello = [0_u8; 4];
        let mut got = 0_usize;
        while let Some(rest) = hello.get_mut(got..).filter(|rest| !rest.is_empty()) {
            match self.ready(Some((socket, PollFlags::IN)), until)? {
                Ready::Ended(status) => return Err(Unstarted::Refused(status)),
                Ready::Yes => {}
            }
            match said(socket, rest) {
                Ok(0) | Err(Errno::CONNRESET) => return Err(self.closed_early(until)?),
                Ok(count) => got = got.saturating_add(count),
                Err(Errno::AGAIN | Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
        if u32::from_ne_bytes(hello) == HELLO {
            Ok(())
        } else {
            Err(Unstarted::Broken(
                "what the switcher started is not the job wrapper: it said something else first".into(),
            ))
        }
    }

    /// Nobody is at the other end any more, so the process is about to end.
    fn closed_early(&mut self, until: Instant) -> Result<Unstarted, Unstarted> {
        match self.ready(None, until)? {
            Ready::Ended(status) => Ok(Unstarted::Refused(status)),
            Ready::Yes => Ok(Unstarted::Broken("the wrapper closed its socket".into())),
        }
    }

    fn send_all(&mut self, socket: BorrowedFd<'_>, mut bytes: &[u8], until: Instant) -> Result<(), Unstarted> {
        while !bytes.is_empty() {
            match offer(socket, bytes, &[]) {
                Ok(count) => bytes = bytes.get(count..).unwrap_or_default(),
                error => self.retry(socket, error.map(drop), until)?,
            }
        }
        Ok(())
    }

    fn send_descriptor(
        &mut self,
        socket: BorrowedFd<'_>,
        descriptor: BorrowedFd<'_>,
        until: Instant,
    ) -> Result<(), Unstarted> {
        loop {
            match offer(socket, &[0], &[descriptor]) {
                Ok(_) => return Ok(()),
                error => self.retry(socket, error.map(drop), until)?,
            }
        }
    }

    /// After a send that did not succeed: waits until another one may.
    fn retry(&mut self, socket: BorrowedFd<'_>, sent: Result<(), Errno>, until: Instant) -> Result<(), Unstarted> {
        match sent {
            Err(Errno::AGAIN) => match self.ready(Some((socket, PollFlags::OUT)), until)? {
                Ready::Yes => Ok(()),
                Ready::Ended(status) => Err(Unstarted::Refused(status)),
            },
            Err(Errno::PIPE | Errno::CONNRESET) => Err(self.closed_early(until)?),
            Ok(()) | Err(Errno::INTR) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Reads the fresh socket: its end means that the job runs, text that it does not.
    fn await_end(&mut self, fresh: BorrowedFd<'_>, until: Instant) -> Result<(), Unstarted> {
        let mut word = LastWord::default();
        loop {
            // A lingering switcher may keep the socket under way open although the job has ended.
            let ended = matches!(self.ready(Some((fresh, PollFlags::IN)), until)?, Ready::Ended(_));
            let mut piece = [0_u8; limits::CHANNEL_ERROR_BYTES + 1];
            match said(fresh, &mut piece) {
                Ok(count) if count > 0 && word.add(piece.get(..count).unwrap_or_default()) => {}
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) if !ended => {}
                Ok(_) | Err(Errno::CONNRESET | Errno::AGAIN) => break,
                Err(error) => return Err(error.into()),
            }
        }
        word.text().map_or(Ok(()), |text| Err(Unstarted::Wrapper(text)))
    }

    /// Waits until `watched` is ready, or the process has ended and it will never be.
    fn ready(&mut self, watched: Option<(BorrowedFd<'_>, PollFlags)>, until: Instant) -> Result<Ready, Unstarted> {
        loop {
            // Asked for before the descriptor: what the process did before its end is seen then.
            let ended = self.supervisor.status(self.root);
            if let Some((descriptor, events)) = watched
                && wait_for(descriptor, events, Duration::ZERO)?
            {
                return Ok(Ready::Yes);
            }
            if let Some(status) = ended {
                return Ok(Ready::Ended(status));
            }
            if self.supervisor.stopped_by().is_some() {
                return Err(Unstarted::Stopped);
            }
            if Instant::now() >= until {
                return Err(Unstarted::Late);
            }
            let descriptors: Vec<_> = watched.into_iter().chain(self.printed.watched()).collect();
            self.supervisor.wait(&descriptors, Some(until))?;
            self.printed.read();
        }
    }
}

/// What the wrapper says on the fresh socket instead of executing the job: at most [`limits::CHANNEL_ERROR_BYTES`]
/// that may be anything, up to a NUL.
#[derive(Default)]
pub struct LastWord(Vec<u8>);

impl LastWord {
    /// Takes what has come next. False: it is not wanted any more.
    pub fn add(&mut self, piece: &[u8]) -> bool {
        let room = limits::CHANNEL_ERROR_BYTES.saturating_sub(self.0.len());
        self.0.extend(piece.iter().take(room));
        room > 0
    }

    /// The text; none if nothing was said.
    pub fn text(self) -> Option<Vec<u8>> {
        self.0.split(|byte| *byte == 0).next().filter(|text| !text.is_empty()).map(<[u8]>::to_vec)
    }
}

/// Receives what is there; descriptors do not arrive, whatever the wrapper sends.
fn said(socket: BorrowedFd<'_>, room: &mut [u8]) -> Result<usize, Errno> {
    take(socket, room, 0, drop).map(|arrived| arrived.bytes)
}

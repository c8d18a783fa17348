//! The wrapper's end of the channel between the Starter and the job ([`crate::protocol::job_channel`]): reads exactly
//! what was promised, and no byte more.

use crate::ground::limits;
use crate::ground::wait::wait_for;
use crate::protocol::job_channel::HELLO;
use crate::protocol::socket::{Broken, offer, take, wait};
use arrayvec::ArrayVec;
use core::fmt::{self, Display, Formatter};
use core::time::Duration;
use rustix::event::PollFlags;
use rustix::io::Errno;
use rustix::net::{SocketType, sockopt};
use std::os::fd::{AsFd, OwnedFd};
use std::time::Instant;

/// How much is thrown away at a time.
const DISCARD_BYTES: usize = 4096;

/// The Starter sends everything without waiting, so that a silence of this length means that nothing more will come.
const QUIET: Duration = Duration::from_secs(1);

/// Room for the descriptors of one message: one is allowed, a few more are taken to be closed.
const DESCRIPTORS: usize = 8;

/// The wrapper's end of one of the two sockets.
pub struct Channel {
    socket: OwnedFd,
    until: Instant,
    /// The last stream socket that came with what is not of the agreed form: perhaps the fresh one.
    stray: Option<OwnedFd>,
    /// How many descriptors have come, or were missing where one was due.
    passed: usize,
}

/// What is wrong with the channel: as with every socket, but said of the Starter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trouble(Broken);

impl Display for Trouble {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Broken::Closed => f.write_str("the Starter closed the channel too early"),
            Broken::Late => f.write_str("the Starter did not send everything in time"),
            Broken::Breach(what) => write!(f, "the Starter broke the protocol: {what}"),
            Broken::System(errno) => write!(f, "the channel to the Starter failed: {errno}"),
        }
    }
}

impl<B: Into<Broken>> From<B> for Trouble {
    fn from(broken: B) -> Self {
        Trouble(broken.into())
    }
}

const CLOSED: Trouble = Trouble(Broken::Closed);

const fn breach(what: &'static str) -> Trouble {
    Trouble(Broken::Breach(what))
}

impl Channel {
    /// Takes a socket that the Starter passed on.
    ///
    /// # Errors
    /// When it is no stream socket.
    pub fn new(socket: OwnedFd) -> Result<Self, Trouble> {
        if !is_stream(&socket) {
            return Err(breach("this is no stream socket"));
        }
        let now = Instant::now();
        let until = now.checked_add(limits::CHANNEL_DEADLINE).unwrap_or(now);
        Ok(Channel { socket, until, stray: None, passed: 0 })
    }

    fn wait(&self, events: PollFlags) -> Result<(), Trouble> {
        Ok(wait(&self.socket, events, self.until.saturating_duration_since(Instant::now()))?)
    }

    /// Sends the hello.
    ///
    /// # Errors
    /// When nobody is there.
    pub(crate) fn greet(&self) -> Result<(), Trouble> {
        self.write(&HELLO.to_ne_bytes())
    }

    /// Says why the job could not be started: printable ASCII, at most [`limits::CHANNEL_ERROR_BYTES`] bytes, and a
    /// NUL.
    ///
    /// # Errors
    /// When nobody is there.
    pub fn explain(&self, why: &str) -> Result<(), Trouble> {
        let mut text: Vec<u8> = why
            .bytes()
            .take(limits::CHANNEL_ERROR_BYTES)
            .map(|byte| if (b' '..=b'~').contains(&byte) { byte } else { b'?' })
            .collect();
        text.push(0);
        self.write(&text)
    }

    fn write(&self, mut bytes: &[u8]) -> Result<(), Trouble> {
        while !bytes.is_empty() {
            match offer(&self.socket, bytes, &[]) {
                Ok(count) => bytes = bytes.get(count..).unwrap_or_default(),
                Err(Errno::AGAIN) => self.wait(PollFlags::OUT)?,
                Err(Errno::INTR) => {}
                Err(errno) => return Err(errno.into()),
            }
        }
        Ok(())
    }

    /// Fills `room` to the last byte and takes no byte more.
    ///
    /// # Errors
    /// When the Starter closes or is silent before, or descriptors come, which do not belong here.
    pub(crate) fn read(&mut self, room: &mut [u8]) -> Result<(), Trouble> {
        let mut filled = 0_usize;
        while let Some(rest) = room.get_mut(filled..).filter(|rest| !rest.is_empty()) {
            let received = self.receive(rest)?;
            if received.truncated || !received.descriptors.is_empty() {
                self.keep_stray(received);
                return Err(breach("a descriptor came before the end of the environment"));
            }
            match received.count {
                0 => return Err(CLOSED),
                count => filled = filled.saturating_add(count),
            }
        }
        Ok(())
    }

    /// Takes one message: one byte NUL with exactly one descriptor, which is close-on-exec.
    ///
    /// # Errors
    /// For anything else; what came is closed then.
    pub(crate) fn read_descriptor(&mut self) -> Result<OwnedFd, Trouble> {
        let mut byte = [0_u8];
        let mut received = self.receive(&mut byte)?;
        let missing = received.descriptors.is_empty() && !received.truncated;
        self.passed = self.passed.saturating_add(usize::from(missing));
        let what = match (received.count, received.descriptors.len(), received.truncated) {
            (0, ..) => return Err(CLOSED),
            (_, 0, true) => "a message does not fit, because no descriptor is free",
            (_, 0, false) => "a message has no descriptor",
            (_, 1, false) if byte == [0] => return received.descriptors.pop().ok_or(CLOSED),
            (_, 1, false) => "a message with a descriptor is not a NUL",
            _ => "a message has more than one descriptor",
        };
        self.keep_stray(received);
        Err(breach(what))
    }

    /// After the last message: nothing may be left of it.
    ///
    /// # Errors
    /// When there is.
    pub(crate) fn expect_no_more(&mut self) -> Result<(), Trouble> {
        let something_came = wait_for(self.socket.as_fd(), PollFlags::IN, Duration::ZERO)?;
        if something_came && self.receive(&mut [0]).is_ok_and(|received| received.count > 0) {
            return Err(breach("there is more than was agreed"));
        }
        Ok(())
    }

    /// After a [`Trouble`]: forgets all that is still under way and gives the fresh socket, where the Starter wants
    /// to hear of it. That is the last stream socket to come; `None` when none came. `agreed` is how many messages
    /// with descriptors were to come in all: before that many, a socket may be one of the job's streams.
    pub(crate) fn read_on(&mut self, agreed: usize) -> Option<Channel> {
        let mut room = [0_u8; DISCARD_BYTES];
        loop {
            let left = self.until.saturating_duration_since(Instant::now());
            let complete = self.stray.is_some() && self.passed >= agreed;
            let patience = if complete { left.min(QUIET) } else { left };
            if patience.is_zero() || !wait_for(self.socket.as_fd(), PollFlags::IN, patience).unwrap_or(false) {
                break;
            }
            match self.receive(&mut room) {
                Ok(received) if received.count > 0 => self.keep_stray(received),
                _ => break,
            }
        }
        Channel::new(self.stray.take()?).ok()
    }

    fn keep_stray(&mut self, received: Portion) {
        self.stray = received.descriptors.into_iter().rfind(is_stream).or_else(|| self.stray.take());
    }

    /// What comes in one piece. The kernel ends a piece with the bytes of the first message that has descriptors.
    fn receive(&mut self, room: &mut [u8]) -> Result<Portion, Trouble> {
        loop {
            let mut descriptors = ArrayVec::new();
            let mut too_many = false;
            // There may have been room for one more than the most.
            let keep = |descriptor| too_many |= descriptors.try_push(descriptor).is_err();
            match take(&self.socket, room, DESCRIPTORS, keep) {
                Ok(arrived) => {
                    let truncated = arrived.descriptors_lost || too_many;
                    self.passed = self.passed.saturating_add(descriptors.len().max(usize::from(truncated)));
                    return Ok(Portion { count: arrived.bytes, descriptors, truncated });
                }
                Err(Errno::AGAIN) => self.wait(PollFlags::IN)?,
                Err(Errno::INTR) => {}
                Err(errno) => return Err(errno.into()),
            }
        }
    }
}

fn is_stream(socket: &OwnedFd) -> bool {
    sockopt::socket_type(socket) == Ok(SocketType::STREAM)
}

/// What came in one piece.
struct Portion {
    count: usize,
    descriptors: ArrayVec<OwnedFd, DESCRIPTORS>,
    /// There were more descriptors than had room; they are closed.
    truncated: bool,
}

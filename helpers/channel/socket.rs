//! Reading exactly what was promised from the channel, and one error text to it.

#![forbid(unsafe_code)]

use crate::connection::wait_for;
use crate::limits;
use core::fmt::{self, Display, Formatter};
use core::mem::MaybeUninit;
use rustix::event::PollFlags;
use rustix::io::Errno;
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SendFlags, SocketType, recvmsg, send, sockopt,
};
use std::io::IoSliceMut;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Instant;

/// What the wrapper says first.
pub const HELLO: u32 = 0xdead_beef;

/// How much is thrown away at a time.
const DISCARD_BYTES: usize = 4096;

/// Room for the descriptors of one message: one is allowed, a few more are taken to be closed.
const CONTROL_BYTES: usize = rustix::cmsg_space!(ScmRights(8));

/// The wrapper's end of one of the two sockets.
pub struct Channel {
    socket: OwnedFd,
    until: Instant,
}

/// What is wrong with the channel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// The Starter has closed it.
    Closed,
    /// The Starter was silent for longer than [`limits::CHANNEL_DEADLINE`].
    Late,
    /// A message is not one NUL with one descriptor; says what it is.
    Message(&'static str),
    /// The kernel refused.
    System(Errno),
}

impl Display for Trouble {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Trouble::Closed => f.write_str("the Starter closed the channel too early"),
            Trouble::Late => f.write_str("the Starter did not send everything in time"),
            Trouble::Message(what) => write!(f, "a descriptor message from the Starter {what}"),
            Trouble::System(errno) => write!(f, "the channel to the Starter failed: {errno}"),
        }
    }
}

impl From<Errno> for Trouble {
    fn from(errno: Errno) -> Self {
        match errno {
            Errno::PIPE | Errno::CONNRESET => Trouble::Closed,
            other => Trouble::System(other),
        }
    }
}

impl Channel {
    /// Takes a socket that the Starter passed on.
    ///
    /// # Errors
    /// When it is no stream socket.
    pub fn new(socket: OwnedFd) -> Result<Self, Trouble> {
        let now = Instant::now();
        match sockopt::socket_type(&socket) {
            Ok(SocketType::STREAM) => {
                Ok(Channel { socket, until: now.checked_add(limits::CHANNEL_DEADLINE).unwrap_or(now) })
            }
            _ => Err(Trouble::Message("has something else than a stream socket")),
        }
    }

    fn wait(&self, events: PollFlags) -> Result<(), Trouble> {
        let left = self.until.saturating_duration_since(Instant::now());
        if wait_for(self.socket.as_fd(), events, left)? { Ok(()) } else { Err(Trouble::Late) }
    }

    /// Sends the hello.
    ///
    /// # Errors
    /// When nobody is there.
    pub fn greet(&self) -> Result<(), Trouble> {
        self.write(&HELLO.to_ne_bytes())
    }

    /// Says why the job could not be started: printable ASCII, at most [`limits::CHANNEL_ERROR_BYTES`] bytes, and a NUL.
    pub fn explain(&self, why: &str) {
        let mut text: Vec<u8> = why
            .bytes()
            .take(limits::CHANNEL_ERROR_BYTES)
            .map(|byte| if (b' '..=b'~').contains(&byte) { byte } else { b'?' })
            .collect();
        text.push(0);
        // There is nobody else to tell.
        let _ = self.write(&text);
    }

    fn write(&self, mut bytes: &[u8]) -> Result<(), Trouble> {
        while !bytes.is_empty() {
            match send(&self.socket, bytes, SendFlags::NOSIGNAL | SendFlags::DONTWAIT) {
                Ok(count) => bytes = bytes.get(count..).unwrap_or_default(),
                Err(Errno::AGAIN) => self.wait(PollFlags::OUT)?,
                Err(Errno::INTR) => {}
                Err(errno) => return Err(errno.into()),
            }
        }
        Ok(())
    }

    /// Fills `room` to the last byte. Descriptors that come with bytes where none belong are closed.
    ///
    /// # Errors
    /// When the Starter closes or is silent before.
    pub fn read(&self, room: &mut [u8]) -> Result<(), Trouble> {
        let mut filled = 0_usize;
        while let Some(rest) = room.get_mut(filled..).filter(|rest| !rest.is_empty()) {
            match self.receive(rest, &mut RecvAncillaryBuffer::default())?.0 {
                0 => return Err(Trouble::Closed),
                count => filled = filled.saturating_add(count),
            }
        }
        Ok(())
    }

    /// Reads `count` bytes and forgets them.
    ///
    /// # Errors
    /// As [`Channel::read`].
    pub fn discard(&self, mut count: usize) -> Result<(), Trouble> {
        let mut room = [0_u8; DISCARD_BYTES];
        while count > 0 {
            let piece = count.min(DISCARD_BYTES);
            self.read(room.get_mut(..piece).unwrap_or_default())?;
            count = count.saturating_sub(piece);
        }
        Ok(())
    }

    fn receive(&self, room: &mut [u8], control: &mut RecvAncillaryBuffer<'_>) -> Result<(usize, ReturnFlags), Trouble> {
        loop {
            let mut parts = [IoSliceMut::new(room)];
            let flags = RecvFlags::CMSG_CLOEXEC | RecvFlags::DONTWAIT;
            match recvmsg(&self.socket, &mut parts, control, flags) {
                Ok(received) => return Ok((received.bytes, received.flags)),
                Err(Errno::AGAIN) => self.wait(PollFlags::IN)?,
                Err(Errno::INTR) => {}
                Err(errno) => return Err(errno.into()),
            }
        }
    }

    /// Takes one message: one byte NUL with exactly one descriptor, which is close-on-exec.
    ///
    /// # Errors
    /// [`Trouble::Message`] for anything else; what came is closed then, and the next message can be read.
    pub fn read_descriptor(&self) -> Result<OwnedFd, Trouble> {
        let mut space = [MaybeUninit::uninit(); CONTROL_BYTES];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let mut byte = [0_u8];
        let (count, flags) = self.receive(&mut byte, &mut control)?;
        let mut descriptors: Vec<OwnedFd> = Vec::new();
        for message in control.drain() {
            if let RecvAncillaryMessage::ScmRights(more) = message {
                descriptors.extend(more);
            }
        }
        if count == 0 {
            return Err(Trouble::Closed);
        }
        if byte != [0] {
            return Err(Trouble::Message("is not a NUL"));
        }
        if descriptors.len() > 1 {
            return Err(Trouble::Message("has more than one descriptor"));
        }
        match descriptors.pop() {
            Some(descriptor) if !flags.contains(ReturnFlags::CTRUNC) => Ok(descriptor),
            Some(_) => Err(Trouble::Message("has more than one descriptor")),
            None if flags.contains(ReturnFlags::CTRUNC) => Err(Trouble::Message("does not fit: no descriptor is free")),
            None => Err(Trouble::Message("has no descriptor")),
        }
    }
}

impl AsFd for Channel {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

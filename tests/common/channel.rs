//! The Starter's end of the environment channel, as far as an honest run needs it: what a job without streams of the
//! Starter's is sent, and what comes back.

#![forbid(unsafe_code)]

use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};
use std::io::{IoSlice, Read, Write};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::time::Duration;

/// The first thing that the wrapper says.
const HELLO: u32 = 0xdead_beef;

/// The Starter's end.
pub struct Channel {
    socket: UnixStream,
}

impl Channel {
    /// Both ends; the second one is for the wrapper's fd 0.
    pub fn open() -> (Self, OwnedFd) {
        let (socket, theirs) = UnixStream::pair().unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        (Channel { socket }, theirs.into())
    }

    /// Sends the environment (V2 raw, without the final NUL) and a fresh socket; what comes on that one until its end:
    /// nothing when the job was started, else the reason.
    ///
    /// # Panics
    /// When there is no hello.
    pub fn start_job(mut self, environment: &[u8]) -> String {
        let mut hello = [0; 4];
        self.socket.read_exact(&mut hello).expect("a hello");
        assert_eq!(u32::from_ne_bytes(hello), HELLO);
        let length = i32::try_from(environment.len() + 1).unwrap();
        // The wrapper may have given up by now.
        let _ = self.socket.write_all(&[&length.to_ne_bytes()[..], environment, b"\0"].concat());
        let (mut fresh, theirs) = UnixStream::pair().unwrap();
        fresh.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        let passed = [theirs.as_fd()];
        let mut room = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut ancillary = SendAncillaryBuffer::new(&mut room);
        assert!(ancillary.push(SendAncillaryMessage::ScmRights(&passed)));
        let _ = sendmsg(&self.socket, &[IoSlice::new(b"\0")], &mut ancillary, SendFlags::NOSIGNAL);
        drop(theirs);
        let mut text = Vec::new();
        fresh.read_to_end(&mut text).expect("an end of file");
        String::from_utf8(text).expect("a text")
    }
}

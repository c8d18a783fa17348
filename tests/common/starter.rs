//! A stand-in for HTCondor's Starter that speaks the environment channel as the original does, step by step, so that a test can also do
//! one of the steps wrong.

#![forbid(unsafe_code)]

use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};
use std::io::{IoSlice, Read, Write};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

/// What the wrapper says first.
const HELLO: u32 = 0xdead_beef;

/// Longer than the wrapper's own deadline.
const PATIENCE: Duration = Duration::from_secs(90);

/// A wrapper (or what becomes one) and our end of its channel.
pub struct Starter {
    /// Our end of the first socket.
    pub socket: UnixStream,
    /// The process.
    pub child: Child,
}

impl Starter {
    /// Starts `command` with the other end as its fd 0.
    pub fn start(command: &mut Command) -> Self {
        let (socket, theirs) = UnixStream::pair().unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        let child = command.stdin(Stdio::from(OwnedFd::from(theirs))).spawn().unwrap();
        command.stdin(Stdio::null());
        Starter { socket, child }
    }

    /// Takes the hello.
    pub fn hello(&mut self) {
        let mut hello = [0; 4];
        self.socket.read_exact(&mut hello).unwrap();
        assert_eq!(u32::from_ne_bytes(hello), HELLO);
    }

    /// Sends bytes as they are. The wrapper may be gone by then.
    pub fn raw(&mut self, bytes: &[u8]) {
        let _ = self.socket.write_all(bytes);
    }

    /// Sends the environment in two writes, as the original does; `environment` is with its final NUL.
    pub fn environment(&mut self, environment: &[u8]) {
        self.raw(&i32::try_from(environment.len()).unwrap().to_ne_bytes());
        self.raw(environment);
    }

    /// Sends `bytes` with descriptors.
    pub fn message(&self, bytes: &[u8], descriptors: &[BorrowedFd<'_>]) {
        let mut room = vec![MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(253))];
        let mut ancillary = SendAncillaryBuffer::new(&mut room);
        assert!(descriptors.is_empty() || ancillary.push(SendAncillaryMessage::ScmRights(descriptors)));
        let _ = sendmsg(&self.socket, &[IoSlice::new(bytes)], &mut ancillary, SendFlags::NOSIGNAL);
    }

    /// Sends one descriptor the way it should be.
    pub fn descriptor(&self, descriptor: impl AsFd) {
        self.message(b"\0", &[descriptor.as_fd()]);
    }

    /// Sends a fresh socket and reads it to its end: the text that came on it.
    pub fn fresh(&self) -> Vec<u8> {
        let (ours, theirs) = UnixStream::pair().unwrap();
        ours.set_read_timeout(Some(PATIENCE)).unwrap();
        self.descriptor(&theirs);
        drop(theirs);
        read_text(ours)
    }

    /// What comes on the first socket until its end.
    pub fn first_socket(self) -> (Vec<u8>, ExitStatus) {
        let Starter { socket, mut child } = self;
        (read_text(socket), child.wait().unwrap())
    }

    /// Waits for the process.
    pub fn end(mut self) -> ExitStatus {
        self.child.wait().unwrap()
    }
}

/// Reads to the end; a text has to be fit for the Starter: at most 255 printable bytes and a NUL.
fn read_text(mut socket: UnixStream) -> Vec<u8> {
    let mut text = Vec::new();
    socket.read_to_end(&mut text).unwrap();
    if let Some((last, text)) = text.split_last() {
        assert_eq!(*last, 0);
        assert!(text.len() <= 255 && text.iter().all(|byte| (b' '..=b'~').contains(byte)), "{text:?}");
    }
    text
}

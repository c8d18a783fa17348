//! The Starter's end of the environment channel: says and expects what the original does, and lets a test say anything
//! else.
//!
//! In order, native byte order, over a `SOCK_STREAM` pair whose other end is the wrapper's fd 0 (HTCondor up to 9.10):
//!
//! 1. wrapper → Starter: `u32` 0xdeadbeef.
//! 2. Starter → wrapper: `i32` length, then that many bytes of environment with a final NUL, in two writes.
//! 3. Starter → wrapper, for each stream that is passed: one byte NUL with one descriptor.
//! 4. Starter → wrapper: one byte NUL with a fresh socket.
//! 5. On the fresh socket: end of file when the job has started, else text.

#![forbid(unsafe_code)]
#![allow(dead_code)] // each test program uses a part of it

use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};
use std::io::{ErrorKind, IoSlice, Read, Write};
use std::mem::MaybeUninit;
use std::net::Shutdown;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::time::Duration;

/// What the wrapper says first.
pub const HELLO: u32 = 0xdead_beef;

/// After this long without a byte the wrapper hangs, and the test has failed. Longer than any deadline of the
/// wrapper's.
const PATIENCE: Duration = Duration::from_secs(90);

/// The most descriptors that the kernel lets one message have (`SCM_MAX_FD`).
pub const MOST_DESCRIPTORS: usize = 253;

/// The Starter's end of the first socket.
pub struct Starter {
    socket: UnixStream,
}

impl Starter {
    /// A Starter, and what is to be the wrapper's fd 0.
    pub fn new() -> (Self, OwnedFd) {
        let (ours, theirs) = UnixStream::pair().unwrap();
        ours.set_read_timeout(Some(PATIENCE)).unwrap();
        ours.set_write_timeout(Some(PATIENCE)).unwrap();
        (Starter { socket: ours }, theirs.into())
    }

    /// Waits for the wrapper's hello.
    ///
    /// # Panics
    /// When something else comes.
    #[track_caller]
    pub fn expect_hello(&mut self) {
        let mut hello = [0; 4];
        self.socket.read_exact(&mut hello).expect("the wrapper should say hello");
        assert_eq!(u32::from_ne_bytes(hello), HELLO, "this is no hello: {hello:02x?}");
    }

    /// All of a conversation with a wrapper that wants these descriptors: the job runs, or why it does not.
    #[track_caller]
    pub fn start_job(mut self, raw: &[u8], passed: &[BorrowedFd]) -> Result<(), String> {
        self.expect_hello();
        self.send_environment(raw);
        for descriptor in passed {
            self.send_descriptor(descriptor);
        }
        self.send_fresh_socket().outcome()
    }

    /// Length and bytes, in two writes. `raw` has the final NUL.
    pub fn send_environment(&mut self, raw: &[u8]) {
        self.send_length(i32::try_from(raw.len()).unwrap());
        self.send_bytes(raw);
    }

    /// A length of the environment.
    pub fn send_length(&mut self, length: i32) {
        self.send_bytes(&length.to_ne_bytes());
    }

    /// Anything, in one write. A wrapper that has gone away meanwhile is no error here.
    pub fn send_bytes(&mut self, bytes: &[u8]) {
        match self.socket.write_all(bytes) {
            Err(error) if !matches!(error.kind(), ErrorKind::BrokenPipe | ErrorKind::ConnectionReset) => {
                panic!("cannot send: {error}")
            }
            _ => {}
        }
    }

    /// Anything, each byte by itself.
    pub fn drip_bytes(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.send_bytes(&[*byte]);
            std::thread::yield_now();
        }
    }

    /// One NUL with one descriptor.
    pub fn send_descriptor(&mut self, descriptor: &impl AsFd) {
        self.send_message(&[0], &[descriptor.as_fd()]);
    }

    /// Any bytes with any number of descriptors.
    pub fn send_message(&mut self, bytes: &[u8], descriptors: &[BorrowedFd]) {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MOST_DESCRIPTORS))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        if !descriptors.is_empty() {
            assert!(control.push(SendAncillaryMessage::ScmRights(descriptors)));
        }
        match sendmsg(&self.socket, &[IoSlice::new(bytes)], &mut control, SendFlags::NOSIGNAL) {
            Err(rustix::io::Errno::PIPE | rustix::io::Errno::CONNRESET) => {}
            sent => assert_eq!(sent, Ok(bytes.len())),
        }
    }

    /// One NUL with a fresh socket, whose other end it gives.
    pub fn send_fresh_socket(&mut self) -> Fresh {
        let (fresh, theirs) = Fresh::new();
        self.send_descriptor(&theirs);
        fresh
    }

    /// Nothing more will be sent; what the wrapper says is still heard.
    pub fn fall_silent(&self) {
        self.socket.shutdown(Shutdown::Write).unwrap();
    }

    /// All that the wrapper still says on the first socket.
    #[track_caller]
    pub fn rest(mut self) -> Vec<u8> {
        read_to_end(&mut self.socket)
    }
}

impl AsFd for Starter {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

/// The Starter's end of the fresh socket.
pub struct Fresh {
    socket: UnixStream,
}

impl Fresh {
    /// A fresh socket, and the end that is the wrapper's.
    pub fn new() -> (Self, OwnedFd) {
        let (ours, theirs) = UnixStream::pair().unwrap();
        ours.set_read_timeout(Some(PATIENCE)).unwrap();
        (Fresh { socket: ours }, theirs.into())
    }

    /// The end of file, which means that the job runs, or the wrapper's text.
    ///
    /// # Panics When neither comes, or a text that the original would not show whole: it has at most 255 printable
    /// bytes and a NUL.
    #[track_caller]
    pub fn outcome(mut self) -> Result<(), String> {
        let said = read_to_end(&mut self.socket);
        if said.is_empty() { Ok(()) } else { Err(text(&said)) }
    }
}

#[track_caller]
fn read_to_end(socket: &mut UnixStream) -> Vec<u8> {
    let mut said = Vec::new();
    match socket.read_to_end(&mut said) {
        // A wrapper that ends with something unread resets the connection; what it said comes first.
        Err(error) if error.kind() != ErrorKind::ConnectionReset => {
            panic!("neither an end of file nor a text, but: {error} (so far: {said:?})")
        }
        _ => said,
    }
}

/// What the Starter shows of a text on the channel.
///
/// # Panics
/// When it is not of the agreed form.
#[track_caller]
pub fn text(said: &[u8]) -> String {
    let (end, text) = said.split_last().expect("a text should have come");
    assert_eq!(*end, 0, "the text does not end with a NUL: {said:?}");
    assert!(text.len() <= 255, "the text has {} bytes", text.len());
    assert!(!text.is_empty() && text.iter().all(|byte| (b' '..=b'~').contains(byte)), "not printable: {text:?}");
    String::from_utf8(text.to_vec()).unwrap()
}

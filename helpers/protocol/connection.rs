//! The one socket between the pilot side and the target side: whole packets with descriptors, and a deadline on everything.
//!
//! It is a `SOCK_SEQPACKET` pair, so that a packet arrives whole or not at all and a reader cannot take more than one.

#![forbid(unsafe_code)]

use crate::files::metadata::Metadata;
use crate::ground::escape::Escaped;
use crate::ground::heartbeat::is_worker;
use crate::ground::limits;
use crate::ground::wait::{pause, wait_for};
use core::fmt::{self, Display, Formatter};
use core::mem::{ManuallyDrop, MaybeUninit};
use core::time::Duration;
use rustix::event::PollFlags;
use rustix::fs::FileType;
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, SocketFlags, SocketType, recvmsg, sendmsg, socketpair,
};
use std::io::{IoSlice, IoSliceMut};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Instant;
use zeroize::Zeroize;

/// The largest packet, in bytes. Larger ones are refused.
pub const PACKET_BYTES: usize = 64 * 1024;

/// The most descriptors in one packet. More are refused; the kernel closes what does not fit.
pub const PACKET_DESCRIPTORS: usize = 64;

const CONTROL_BYTES: usize = rustix::cmsg_space!(ScmRights(PACKET_DESCRIPTORS));

/// How long to wait before descriptors are offered again that the kernel refused because too many are under way.
const IN_FLIGHT_PAUSE: Duration = Duration::from_millis(5);

/// One end of the pair.
pub struct Connection {
    socket: OwnedFd,
    silence: Duration,
    until: Instant,
}

/// What ended the conversation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Broken {
    /// The other side has closed its end.
    Closed,
    /// The other side was silent for too long, or the whole took too long.
    Late,
    /// The other side sent what the protocol does not allow; says what.
    Malformed(&'static str),
    /// The kernel refused.
    System(Errno),
}

impl Display for Broken {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Broken::Closed => f.write_str("the other side has ended before its work was done"),
            Broken::Late => f.write_str("the other side did not answer in time"),
            Broken::Malformed(what) => write!(f, "the other side broke the protocol: {what}"),
            Broken::System(Errno::TOOMANYREFS) => {
                f.write_str("too many descriptors of this account are under way between its processes (RLIMIT_NOFILE)")
            }
            Broken::System(Errno::MFILE) => f.write_str("this process may not open as many files (RLIMIT_NOFILE)"),
            Broken::System(errno) => write!(f, "the socket failed: {errno}"),
        }
    }
}

impl From<Errno> for Broken {
    fn from(errno: Errno) -> Self {
        match errno {
            Errno::PIPE | Errno::CONNRESET => Broken::Closed,
            other => Broken::System(other),
        }
    }
}

/// Room for one packet, reused from packet to packet, and wiped in the end: a proxy may have come in one.
pub struct Packet {
    bytes: Box<[u8; PACKET_BYTES]>,
    length: usize,
    longest: usize,
    control_bytes: usize,
    /// The descriptors that came with the packet, in order, all close-on-exec.
    pub descriptors: Vec<Handed>,
}

impl Default for Packet {
    fn default() -> Self {
        Packet {
            bytes: Box::new([0; PACKET_BYTES]),
            length: 0,
            longest: 0,
            control_bytes: CONTROL_BYTES,
            descriptors: Vec::with_capacity(PACKET_DESCRIPTORS),
        }
    }
}

impl Drop for Packet {
    fn drop(&mut self) {
        self.refuse_descriptors();
        self.bytes.get_mut(..self.longest).unwrap_or_default().zeroize();
    }
}

impl Packet {
    /// Room for a packet of bytes alone; one with descriptors is refused.
    ///
    /// Descriptors that are not asked for must not even arrive: closing one waits for the server of its file system, which can be the job
    /// and never answer. Where there is no room, the kernel drops them without that.
    pub fn without_descriptors() -> Self {
        let mut packet = Packet::default();
        packet.control_bytes = 0;
        packet
    }

    fn refuse_descriptors(&mut self) {
        self.descriptors.drain(..).for_each(Handed::refuse);
    }

    /// The packet's bytes.
    pub fn bytes(&self) -> &[u8] {
        self.bytes.get(..self.length).unwrap_or_default()
    }
}

/// A descriptor that the other side has handed over, of whatever it likes.
///
/// Closing one of a regular file can wait, beyond the reach of any signal, for the server of its file system, which can be a process of the job
/// (FUSE). So a worker, for whose end nobody waits ([`crate::ground::heartbeat`]), keeps those open that it does not accept, and any that is just dropped stays open.
pub struct Handed(ManuallyDrop<OwnedFd>);

impl Handed {
    fn new(descriptor: OwnedFd) -> Self {
        Handed(ManuallyDrop::new(descriptor))
    }

    /// Takes it: closing it waits for nobody.
    pub fn accept(self) -> OwnedFd {
        ManuallyDrop::into_inner(self.0)
    }

    /// Closes it, but for a worker if it is a file.
    pub fn refuse(self) {
        if !is_worker() || Metadata::of(&self).is_ok_and(|found| found.kind != FileType::RegularFile) {
            drop(self.accept());
        }
    }
}

impl AsFd for Handed {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// Makes a connected pair, both ends close-on-exec.
///
/// # Errors
/// The kernel's.
pub fn pair() -> Result<(OwnedFd, OwnedFd), Errno> {
    socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)
}

impl Connection {
    /// Speaks over `socket`, giving up after [`limits::SILENCE_DEADLINE`] of silence or [`limits::COPY_DEADLINE`] in all.
    pub fn new(socket: OwnedFd) -> Self {
        let now = Instant::now();
        Connection {
            socket,
            silence: limits::SILENCE_DEADLINE,
            until: now.checked_add(limits::COPY_DEADLINE).unwrap_or(now),
        }
    }

    /// From here on the other side may be silent for this long.
    pub fn allow_silence(&mut self, silence: Duration) {
        self.silence = silence;
    }

    /// Waits until one of `events` holds.
    fn wait(&self, events: PollFlags) -> Result<(), Broken> {
        let patience = self.silence.min(self.until.saturating_duration_since(Instant::now()));
        if wait_for(self.socket.as_fd(), events, patience)? { Ok(()) } else { Err(Broken::Late) }
    }

    /// An endless stream leaves nothing to wait for, so the time is looked at for every packet.
    fn require_time(&self) -> Result<(), Broken> {
        if Instant::now() < self.until { Ok(()) } else { Err(Broken::Late) }
    }

    /// Whether something has arrived (or the other side has closed).
    pub fn has_arrived(&self) -> bool {
        wait_for(self.socket.as_fd(), PollFlags::IN, Duration::ZERO).unwrap_or(true)
    }

    /// Waits until there is room to send or something to receive; true if something has arrived.
    ///
    /// # Errors
    /// [`Broken::Late`].
    pub fn wait_for_room(&self) -> Result<bool, Broken> {
        self.wait(PollFlags::OUT | PollFlags::IN)?;
        Ok(self.has_arrived())
    }

    /// Sends one packet.
    ///
    /// # Errors
    /// When the other side is gone or does not take it in time.
    pub fn send(&self, bytes: &[u8], descriptors: &[BorrowedFd<'_>]) -> Result<(), Broken> {
        let started = Instant::now();
        loop {
            self.require_time()?;
            match self.offer(bytes, descriptors) {
                Ok(()) => return Ok(()),
                Err(Errno::AGAIN) => self.wait(PollFlags::OUT)?,
                Err(Errno::INTR) => {}
                // The limit counts the descriptors under way of all processes of this account: wait for the others.
                Err(Errno::TOOMANYREFS) if started.elapsed() < self.silence => pause(IN_FLIGHT_PAUSE),
                Err(errno) => return Err(errno.into()),
            }
        }
    }

    /// Sends one packet if there is room for it at once; drops it otherwise. For news that may be missed.
    pub fn send_if_room(&self, bytes: &[u8]) {
        let _ = self.offer(bytes, &[]);
    }

    fn offer(&self, bytes: &[u8], descriptors: &[BorrowedFd<'_>]) -> Result<(), Errno> {
        let mut space = [MaybeUninit::uninit(); CONTROL_BYTES];
        let mut control = SendAncillaryBuffer::new(&mut space);
        if !descriptors.is_empty() && !control.push(SendAncillaryMessage::ScmRights(descriptors)) {
            return Err(Errno::NOBUFS);
        }
        sendmsg(&self.socket, &[IoSlice::new(bytes)], &mut control, SendFlags::NOSIGNAL | SendFlags::DONTWAIT)?;
        Ok(())
    }

    /// Receives one packet, with at most [`PACKET_DESCRIPTORS`] descriptors.
    ///
    /// # Errors
    /// When the other side is gone, silent, or sends a packet that is too large or has too many descriptors (whether
    /// by its fault or because this process has no free slots for them). All that came is closed then.
    pub fn receive(&self, packet: &mut Packet) -> Result<(), Broken> {
        packet.length = 0;
        packet.refuse_descriptors();
        self.require_time()?;
        let mut space = [MaybeUninit::uninit(); CONTROL_BYTES];
        let mut control = RecvAncillaryBuffer::new(space.get_mut(..packet.control_bytes).unwrap_or_default());
        let received = loop {
            let mut parts = [IoSliceMut::new(packet.bytes.as_mut_slice())];
            match recvmsg(&self.socket, &mut parts, &mut control, RecvFlags::CMSG_CLOEXEC | RecvFlags::DONTWAIT) {
                Ok(received) => break received,
                Err(Errno::AGAIN) => self.wait(PollFlags::IN)?,
                // The kernel says once that the other side closed without having read everything; what it said before comes after.
                Err(Errno::INTR | Errno::CONNRESET) => {}
                Err(errno) => return Err(errno.into()),
            }
        };
        for message in control.drain() {
            if let RecvAncillaryMessage::ScmRights(descriptors) = message {
                packet.descriptors.extend(descriptors.map(Handed::new));
            }
        }
        let room = packet.control_bytes > 0;
        // The buffer is rounded up, so that one more than the most may still have fitted.
        if received.flags.contains(ReturnFlags::CTRUNC) || packet.descriptors.len() > PACKET_DESCRIPTORS {
            let some_fitted = packet.descriptors.len() < PACKET_DESCRIPTORS;
            packet.refuse_descriptors();
            // Where there was room for more, this process may not open more.
            if room && some_fitted {
                return Err(Broken::System(Errno::MFILE));
            }
            return Err(Broken::Malformed("more descriptors in a packet than there is room for"));
        }
        if received.flags.contains(ReturnFlags::TRUNC) {
            packet.refuse_descriptors();
            return Err(Broken::Malformed("a packet that is too large"));
        }
        if received.bytes == 0 {
            // An empty packet cannot be told from the end, and the protocol has none. It can bring descriptors, though.
            packet.refuse_descriptors();
            return Err(Broken::Closed);
        }
        packet.length = received.bytes;
        packet.longest = packet.longest.max(received.bytes);
        Ok(())
    }

    /// Waits until the other side has closed its end, for `patience` at the most; what still arrives is dropped.
    pub fn wait_for_end(&self, patience: Duration) {
        let started = Instant::now();
        let mut packet = Packet::without_descriptors();
        while let Some(left) = patience.checked_sub(started.elapsed()) {
            match wait_for(self.socket.as_fd(), PollFlags::IN, left) {
                Ok(true) if matches!(self.receive(&mut packet), Ok(()) | Err(Broken::Malformed(_))) => {}
                _ => return,
            }
        }
    }

    /// Tells the other side that nothing more will be sent, while its answers can still be read.
    pub fn finish_sending(&self) {
        let _ = rustix::net::shutdown(&self.socket, rustix::net::Shutdown::Write);
    }

    /// The account of the process that made the pair.
    ///
    /// # Errors
    /// The kernel's.
    pub fn maker(&self) -> Result<rustix::process::Uid, Errno> {
        Ok(rustix::net::sockopt::socket_peercred(&self.socket)?.uid)
    }
}

impl AsFd for Connection {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

/// Text from the other side, fit to be shown.
pub fn quoted(text: &[u8]) -> String {
    Escaped(text).to_string()
}

#[cfg(test)]
mod tests {
    use super::{Broken, Connection, PACKET_BYTES, PACKET_DESCRIPTORS, Packet, pair};
    use std::os::fd::AsFd;

    fn connected() -> (Connection, Connection) {
        let (one, other) = pair().unwrap();
        (Connection::new(one), Connection::new(other))
    }

    #[test]
    fn a_packet_at_the_bound_arrives_and_one_past_it_is_refused() {
        let (one, other) = connected();
        let mut packet = Packet::default();
        one.send(&vec![7; PACKET_BYTES], &[]).unwrap();
        other.receive(&mut packet).unwrap();
        assert_eq!(packet.bytes().len(), PACKET_BYTES);
        one.send(&vec![7; PACKET_BYTES + 1], &[]).unwrap();
        assert!(matches!(other.receive(&mut packet), Err(Broken::Malformed(_))));
        assert!(packet.bytes().is_empty());
    }

    #[test]
    fn descriptors_at_the_bound_arrive_close_on_exec_and_one_past_it_are_refused() {
        let (one, other) = connected();
        let file = std::fs::File::open("/dev/null").unwrap();
        let mut packet = Packet::default();
        one.send(b"x", &vec![file.as_fd(); PACKET_DESCRIPTORS]).unwrap();
        other.receive(&mut packet).unwrap();
        assert_eq!(packet.descriptors.len(), PACKET_DESCRIPTORS);
        for fd in &packet.descriptors {
            assert!(rustix::io::fcntl_getfd(fd).unwrap().contains(rustix::io::FdFlags::CLOEXEC));
        }
        let (raw, end) = pair().unwrap();
        let other = Connection::new(end);
        let mut space = [core::mem::MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(PACKET_DESCRIPTORS + 1))];
        let mut control = rustix::net::SendAncillaryBuffer::new(&mut space);
        let many = vec![file.as_fd(); PACKET_DESCRIPTORS + 1];
        assert!(control.push(rustix::net::SendAncillaryMessage::ScmRights(&many)));
        rustix::net::sendmsg(&raw, &[std::io::IoSlice::new(b"x")], &mut control, rustix::net::SendFlags::empty())
            .unwrap();
        assert!(matches!(other.receive(&mut packet), Err(Broken::Malformed(_))));
        assert!(packet.descriptors.is_empty());
    }

    #[test]
    fn descriptors_that_nobody_asked_for_do_not_arrive() {
        let (one, other) = connected();
        let (end, watched) = pair().unwrap();
        one.send(b"x", &[end.as_fd()]).unwrap();
        drop(end);
        let mut packet = Packet::without_descriptors();
        assert!(matches!(other.receive(&mut packet), Err(Broken::Malformed(_))));
        assert!(packet.bytes().is_empty() && packet.descriptors.is_empty());
        // The kernel had the last one.
        assert_eq!(Connection::new(watched).receive(&mut packet), Err(Broken::Closed));
        one.send(b"x", &[]).unwrap();
        other.receive(&mut packet).unwrap();
        assert_eq!(packet.bytes(), b"x");
    }

    #[test]
    fn an_empty_packet_is_the_end_and_leaves_no_descriptor() {
        let (one, other) = connected();
        let (end, watched) = pair().unwrap();
        one.send(b"", &[end.as_fd()]).unwrap();
        drop(end);
        let mut packet = Packet::default();
        assert_eq!(other.receive(&mut packet), Err(Broken::Closed));
        assert!(packet.bytes().is_empty() && packet.descriptors.is_empty());
        assert_eq!(Connection::new(watched).receive(&mut packet), Err(Broken::Closed));
    }

    #[test]
    fn the_end_is_waited_for_whatever_still_arrives() {
        let (one, other) = connected();
        let file = std::fs::File::open("/dev/null").unwrap();
        one.send(b"x", &[file.as_fd()]).unwrap();
        one.send(b"x", &[]).unwrap();
        drop(one);
        other.wait_for_end(core::time::Duration::from_secs(60));
        assert_eq!(other.receive(&mut Packet::default()), Err(Broken::Closed));
    }

    #[test]
    fn last_words_are_heard_although_the_speaker_did_not_listen() {
        let (one, other) = connected();
        one.send(b"unheard", &[]).unwrap();
        other.send(b"last words", &[]).unwrap();
        drop(other);
        let mut packet = Packet::default();
        one.receive(&mut packet).unwrap();
        assert_eq!(packet.bytes(), b"last words");
        assert_eq!(one.receive(&mut packet), Err(Broken::Closed));
    }

    #[test]
    fn the_end_is_told_from_silence() {
        let (one, other) = connected();
        drop(one);
        assert_eq!(other.receive(&mut Packet::default()), Err(Broken::Closed));
        assert_eq!(other.send(b"x", &[]), Err(Broken::Closed));
        let (_one, mut other) = connected();
        other.silence = core::time::Duration::from_millis(10);
        assert_eq!(other.receive(&mut Packet::default()), Err(Broken::Late));
    }

    #[test]
    fn an_endless_stream_ends_at_the_deadline() {
        let (one, mut other) = connected();
        one.send(b"x", &[]).unwrap();
        other.until = std::time::Instant::now();
        assert_eq!(other.receive(&mut Packet::default()), Err(Broken::Late));
        assert_eq!(other.send(b"x", &[]), Err(Broken::Late));
    }
}

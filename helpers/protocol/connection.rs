//! The one socket between the pilot side and the target side: whole packets with descriptors, and a deadline on
//! everything.
//!
//! It is a `SOCK_SEQPACKET` pair, so that a packet arrives whole or not at all and a reader cannot take more than one.

use super::packet::{Handed, PACKET_DESCRIPTORS, Packet};
use super::socket::{offer, take, wait};
use crate::confine::Confined;
use crate::ground::limits;
use crate::ground::wait::{pause, wait_for};
use core::time::Duration;
use rustix::event::PollFlags;
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Instant;

pub use super::socket::Broken;

/// How long to wait before descriptors are offered again that the kernel refused because too many are under way.
const IN_FLIGHT_PAUSE: Duration = Duration::from_millis(5);

/// One end of the pair.
pub struct Connection {
    socket: OwnedFd,
    silence: Duration,
    until: Instant,
}

/// Makes a connected pair, both ends close-on-exec.
///
/// # Errors
/// The kernel's.
pub fn pair() -> Result<(OwnedFd, OwnedFd), Errno> {
    socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)
}

impl Connection {
    /// Speaks over `socket`, giving up after [`limits::SILENCE_DEADLINE`] of silence or [`limits::COPY_DEADLINE`] in
    /// all.
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
        wait(&self.socket, events, self.silence.min(self.until.saturating_duration_since(Instant::now())))
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
    pub(crate) fn wait_for_room(&self) -> Result<bool, Broken> {
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
            match offer(&self.socket, bytes, descriptors) {
                Ok(_) => return Ok(()),
                Err(Errno::AGAIN) => self.wait(PollFlags::OUT)?,
                Err(Errno::INTR) => {}
                // The limit counts the descriptors under way of all processes of this account: wait for the others.
                Err(Errno::TOOMANYREFS) if started.elapsed() < self.silence => pause(IN_FLIGHT_PAUSE),
                Err(errno) => return Err(errno.into()),
            }
        }
    }

    /// Sends one packet if there is room for it at once; drops it otherwise. For news that may be missed.
    pub(crate) fn send_if_room(&self, bytes: &[u8]) {
        let _ = offer(&self.socket, bytes, &[]);
    }

    /// Receives one packet, with at most as many descriptors as it has room for.
    ///
    /// # Errors
    /// When the other side is gone, silent, or sends a packet that is too large or has too many descriptors (whether
    /// by its fault or because this process has no free slots for them). All that came is closed then.
    pub fn receive(&self, packet: &mut Packet, _: &Confined) -> Result<(), Broken> {
        self.receive_unproven(packet)
    }

    /// As [`Self::receive`], for what is dropped without a look and for the two exceptions ([`super`]).
    pub(super) fn receive_unproven(&self, packet: &mut Packet) -> Result<(), Broken> {
        let most = packet.most_descriptors();
        let (room, descriptors) = packet.clear();
        self.require_time()?;
        let mut too_many = false;
        let arrived = loop {
            let keep = |descriptor| {
                // There may have been room for one more than the most.
                if let Err(one_more) = descriptors.try_push(Handed::new(descriptor)) {
                    too_many = true;
                    one_more.element().refuse();
                }
            };
            match take(&self.socket, room, most, keep) {
                Ok(arrived) => break arrived,
                Err(Errno::AGAIN) => self.wait(PollFlags::IN)?,
                // The kernel says once that the other side closed without having read everything; what it said before
                // comes after.
                Err(Errno::INTR | Errno::CONNRESET) => {}
                Err(errno) => return Err(errno.into()),
            }
        };
        let refused = if too_many || arrived.descriptors_lost {
            // Where there was room for more, this process may not open more.
            if !too_many && most > 0 && descriptors.len() < PACKET_DESCRIPTORS {
                Some(Broken::System(Errno::MFILE))
            } else {
                Some(Broken::Breach("more descriptors in a packet than there is room for"))
            }
        } else if arrived.cut {
            Some(Broken::Breach("a packet that is too large"))
        } else {
            // An empty packet cannot be told from the end, and the protocol has none. It can bring descriptors, though.
            (arrived.bytes == 0).then_some(Broken::Closed)
        };
        match refused {
            Some(broken) => {
                packet.refuse_descriptors();
                Err(broken)
            }
            None => {
                packet.filled(arrived.bytes);
                Ok(())
            }
        }
    }

    /// Waits until the other side has closed its end, for `patience` at the most; what still arrives is
    /// dropped without a look.
    pub fn wait_for_end(&self, patience: Duration) {
        let started = Instant::now();
        let mut packet = Packet::without_descriptors();
        while let Some(left) = patience.checked_sub(started.elapsed()) {
            match wait_for(self.socket.as_fd(), PollFlags::IN, left) {
                Ok(true) if matches!(self.receive_unproven(&mut packet), Ok(()) | Err(Broken::Breach(_))) => {}
                _ => return,
            }
        }
    }

    /// Tells the other side that nothing more will be sent, while its answers can still be read.
    pub(crate) fn finish_sending(&self) {
        let _ = rustix::net::shutdown(&self.socket, rustix::net::Shutdown::Write);
    }

    /// The account of the process that made the pair.
    ///
    /// # Errors
    /// The kernel's.
    pub(crate) fn maker(&self) -> Result<rustix::process::Uid, Errno> {
        Ok(rustix::net::sockopt::socket_peercred(&self.socket)?.uid)
    }
}

impl AsFd for Connection {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::{Broken, Connection, PACKET_DESCRIPTORS, Packet, pair};
    use crate::confine::Confined;
    use crate::protocol::packet::PACKET_BYTES;
    use std::os::fd::AsFd;

    fn receive(connection: &Connection, packet: &mut Packet) -> Result<(), Broken> {
        connection.receive(packet, &Confined::assumed())
    }

    fn connected() -> (Connection, Connection) {
        let (one, other) = pair().unwrap();
        (Connection::new(one), Connection::new(other))
    }

    #[test]
    fn a_packet_at_the_bound_arrives_and_one_past_it_is_refused() {
        let (one, other) = connected();
        let mut packet = Packet::default();
        one.send(&vec![7; PACKET_BYTES], &[]).unwrap();
        receive(&other, &mut packet).unwrap();
        assert_eq!(packet.bytes().len(), PACKET_BYTES);
        one.send(&vec![7; PACKET_BYTES + 1], &[]).unwrap();
        assert!(matches!(receive(&other, &mut packet), Err(Broken::Breach(_))));
        assert!(packet.bytes().is_empty());
    }

    #[test]
    fn descriptors_at_the_bound_arrive_close_on_exec_and_one_past_it_are_refused() {
        let (one, other) = connected();
        let file = std::fs::File::open("/dev/null").unwrap();
        let mut packet = Packet::default();
        one.send(b"x", &vec![file.as_fd(); PACKET_DESCRIPTORS]).unwrap();
        receive(&other, &mut packet).unwrap();
        assert_eq!(packet.descriptors().len(), PACKET_DESCRIPTORS);
        for fd in packet.descriptors() {
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
        assert!(matches!(receive(&other, &mut packet), Err(Broken::Breach(_))));
        assert!(packet.descriptors().is_empty());
    }

    #[test]
    fn descriptors_that_nobody_asked_for_do_not_arrive() {
        let (one, other) = connected();
        let (end, watched) = pair().unwrap();
        one.send(b"x", &[end.as_fd()]).unwrap();
        drop(end);
        let mut packet = Packet::without_descriptors();
        assert!(matches!(receive(&other, &mut packet), Err(Broken::Breach(_))));
        assert!(packet.bytes().is_empty() && packet.descriptors().is_empty());
        // The kernel had the last one.
        assert_eq!(receive(&Connection::new(watched), &mut packet), Err(Broken::Closed));
        one.send(b"x", &[]).unwrap();
        receive(&other, &mut packet).unwrap();
        assert_eq!(packet.bytes(), b"x");
    }

    #[test]
    fn an_empty_packet_is_the_end_and_leaves_no_descriptor() {
        let (one, other) = connected();
        let (end, watched) = pair().unwrap();
        one.send(b"", &[end.as_fd()]).unwrap();
        drop(end);
        let mut packet = Packet::default();
        assert_eq!(receive(&other, &mut packet), Err(Broken::Closed));
        assert!(packet.bytes().is_empty() && packet.descriptors().is_empty());
        assert_eq!(receive(&Connection::new(watched), &mut packet), Err(Broken::Closed));
    }

    #[test]
    fn the_end_is_waited_for_whatever_still_arrives() {
        let (one, other) = connected();
        let file = std::fs::File::open("/dev/null").unwrap();
        one.send(b"x", &[file.as_fd()]).unwrap();
        one.send(b"x", &[]).unwrap();
        drop(one);
        other.wait_for_end(core::time::Duration::from_secs(60));
        assert_eq!(receive(&other, &mut Packet::default()), Err(Broken::Closed));
    }

    #[test]
    fn last_words_are_heard_although_the_speaker_did_not_listen() {
        let (one, other) = connected();
        one.send(b"unheard", &[]).unwrap();
        other.send(b"last words", &[]).unwrap();
        drop(other);
        let mut packet = Packet::default();
        receive(&one, &mut packet).unwrap();
        assert_eq!(packet.bytes(), b"last words");
        assert_eq!(receive(&one, &mut packet), Err(Broken::Closed));
    }

    #[test]
    fn the_end_is_told_from_silence() {
        let (one, other) = connected();
        drop(one);
        assert_eq!(receive(&other, &mut Packet::default()), Err(Broken::Closed));
        assert_eq!(other.send(b"x", &[]), Err(Broken::Closed));
        let (_one, mut other) = connected();
        other.silence = core::time::Duration::from_millis(10);
        assert_eq!(receive(&other, &mut Packet::default()), Err(Broken::Late));
    }

    #[test]
    fn an_endless_stream_ends_at_the_deadline() {
        let (one, mut other) = connected();
        one.send(b"x", &[]).unwrap();
        other.until = std::time::Instant::now();
        assert_eq!(receive(&other, &mut Packet::default()), Err(Broken::Late));
        assert_eq!(other.send(b"x", &[]), Err(Broken::Late));
    }
}

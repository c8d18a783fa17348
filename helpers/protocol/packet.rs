//! Room for one packet, and what to do with a descriptor of whatever somebody else likes.

use crate::files::metadata::Metadata;
use crate::ground::heartbeat::is_worker;
use arrayvec::ArrayVec;
use core::mem::ManuallyDrop;
use rustix::fs::FileType;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use zeroize::Zeroize;

/// The largest packet, in bytes. Larger ones are refused.
pub const PACKET_BYTES: usize = 64 * 1024;

/// The most descriptors in one packet. More are refused; the kernel closes what does not fit.
pub const PACKET_DESCRIPTORS: usize = 64;

/// The descriptors of one packet.
pub type Descriptors = ArrayVec<Handed, PACKET_DESCRIPTORS>;

/// Room for one packet, reused from packet to packet, and wiped in the end: a proxy may have come in one.
pub struct Packet {
    bytes: Box<[u8; PACKET_BYTES]>,
    length: usize,
    longest: usize,
    most_descriptors: usize,
    descriptors: Descriptors,
}

impl Default for Packet {
    fn default() -> Self {
        Packet::with_room_for(PACKET_DESCRIPTORS)
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
    /// Descriptors that are not asked for must not even arrive: closing one waits for the server of its file system,
    /// which can be the job and never answer. Where there is no room, the kernel drops them without that.
    pub fn without_descriptors() -> Self {
        Packet::with_room_for(0)
    }

    fn with_room_for(most_descriptors: usize) -> Self {
        let bytes = Box::new([0; PACKET_BYTES]);
        Packet { bytes, length: 0, longest: 0, most_descriptors, descriptors: Descriptors::new() }
    }

    /// The packet's bytes.
    pub fn bytes(&self) -> &[u8] {
        self.bytes.get(..self.length).unwrap_or_default()
    }

    /// The descriptors that came with the packet, in order, all close-on-exec.
    pub fn descriptors(&self) -> &[Handed] {
        &self.descriptors
    }

    /// The packet's bytes, and its descriptors to be taken away.
    pub fn parts(&mut self) -> (&[u8], &mut Descriptors) {
        (self.bytes.get(..self.length).unwrap_or_default(), &mut self.descriptors)
    }

    /// How many descriptors there is room for.
    pub(super) fn most_descriptors(&self) -> usize {
        self.most_descriptors
    }

    /// Forgets what it holds, and gives the room for the next packet.
    pub(super) fn clear(&mut self) -> (&mut [u8], &mut Descriptors) {
        self.length = 0;
        self.refuse_descriptors();
        (self.bytes.as_mut_slice(), &mut self.descriptors)
    }

    /// So many bytes came.
    pub(super) fn filled(&mut self, length: usize) {
        self.length = length;
        self.longest = self.longest.max(length);
    }

    pub(super) fn refuse_descriptors(&mut self) {
        self.descriptors.drain(..).for_each(Handed::refuse);
    }
}

/// A descriptor that the other side has handed over, of whatever it likes.
///
/// Closing one of a regular file can wait, beyond the reach of any signal, for the server of its file system, which
/// can be a process of the job (FUSE). So a worker, for whose end nobody waits ([`crate::ground::heartbeat`]), keeps
/// those open that it does not accept, and any that is just dropped stays open.
#[derive(Debug)]
pub struct Handed(ManuallyDrop<OwnedFd>);

impl Handed {
    pub(super) fn new(descriptor: OwnedFd) -> Self {
        Handed(ManuallyDrop::new(descriptor))
    }

    /// Takes it: closing it waits for nobody.
    pub fn accept(self) -> OwnedFd {
        ManuallyDrop::into_inner(self.0)
    }

    /// Closes it, but for a worker if it is a file.
    pub(crate) fn refuse(self) {
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

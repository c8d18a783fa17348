//! What the target side answers to a request: the one thing that is waited for, or why it cannot be had.

use super::tag;
use super::write::packet;

/// The longest text of a [`Failed`] that is sent, in bytes.
pub(super) const FAILED_BYTES: usize = 512;

/// Ready for the tree.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ready;

/// What was asked for, or what followed the commit, is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Done;

/// What became of a signal: 0, or an errno, at most 4095.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Signalled(pub u16);

/// It cannot be done; the text is for people.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Failed<'p>(pub &'p [u8]);

impl Ready {
    /// The answer as a packet.
    pub fn encode(self) -> Vec<u8> {
        packet(tag::READY, |writer| writer)
    }
}

impl Done {
    /// The answer as a packet.
    pub fn encode(self) -> Vec<u8> {
        packet(tag::DONE, |writer| writer)
    }
}

impl Signalled {
    /// The answer as a packet.
    pub fn encode(self) -> Vec<u8> {
        packet(tag::SIGNALLED, |writer| writer.number(self.0.to_le_bytes()))
    }
}

impl<'p> Failed<'p> {
    /// The reason as a packet, cut to what one can hold.
    pub fn encode(self) -> Vec<u8> {
        packet(tag::FAILED, |writer| writer.text(self.0.get(..FAILED_BYTES).unwrap_or(self.0)))
    }
}

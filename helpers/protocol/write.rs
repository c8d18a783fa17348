//! How the fields of a packet are written.

use crate::files::metadata::Time;
use crate::files::name::Name;

/// Appends fields to a packet.
pub(super) struct Writer<'v>(&'v mut Vec<u8>);

impl<'v> Writer<'v> {
    /// Goes on behind what is there.
    pub(super) fn behind(packet: &'v mut Vec<u8>) -> Self {
        Writer(packet)
    }

    pub(super) fn byte(self, value: u8) -> Self {
        self.0.push(value);
        self
    }

    pub(super) fn number<const N: usize>(self, bytes: [u8; N]) -> Self {
        self.0.extend_from_slice(&bytes);
        self
    }

    /// At most 65,535 bytes; callers send names, link targets and paths, all of which are shorter.
    pub(super) fn text(self, text: &[u8]) -> Self {
        let length = u16::try_from(text.len()).unwrap_or(u16::MAX);
        self.0.extend_from_slice(&length.to_le_bytes());
        self.0.extend_from_slice(text.get(..usize::from(length)).unwrap_or_default());
        self
    }

    pub(super) fn name(self, name: Name<'_>) -> Self {
        self.text(name.bytes())
    }

    pub(super) fn time(self, time: Time) -> Self {
        self.number(time.seconds.to_le_bytes()).number(time.nanoseconds.to_le_bytes())
    }
}

/// A packet of one thing: its tag, and its fields.
pub(super) fn packet(tag: u8, fields: impl FnOnce(Writer<'_>) -> Writer<'_>) -> Vec<u8> {
    let mut packet = Vec::new();
    fields(Writer::behind(&mut packet).byte(tag));
    packet
}

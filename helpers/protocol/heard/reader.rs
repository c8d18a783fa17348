//! The fields of a packet, taken from bytes that may be anything.

use crate::files::metadata::Time;
use crate::files::name::Name;
use crate::ground::limits;

/// Bytes that are not what the protocol allows; says what.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Malformed(pub &'static str);

/// Takes fields from the front of a packet. Pure: nothing but the bytes decides.
pub(super) struct Reader<'p>(&'p [u8]);

impl<'p> Reader<'p> {
    pub(super) fn of(packet: &'p [u8]) -> Self {
        Reader(packet)
    }

    /// What was not taken yet.
    pub(super) fn rest(&self) -> &'p [u8] {
        self.0
    }

    /// Nothing may be left.
    pub(super) fn end<T>(self, read: T) -> Result<T, Malformed> {
        if self.0.is_empty() { Ok(read) } else { Err(Malformed("bytes behind the last field")) }
    }

    /// What follows the first byte of a packet that must begin with this one.
    pub(super) fn behind(tag: u8, packet: &'p [u8]) -> Result<Self, Malformed> {
        let mut reader = Reader::of(packet);
        if reader.byte()? == tag { Ok(reader) } else { Err(UNEXPECTED) }
    }

    fn take(&mut self, count: usize) -> Result<&'p [u8], Malformed> {
        let (front, rest) = self.0.split_at_checked(count).ok_or(CUT)?;
        self.0 = rest;
        Ok(front)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Malformed> {
        self.take(N)?.try_into().map_err(|_| CUT)
    }

    pub(super) fn byte(&mut self) -> Result<u8, Malformed> {
        self.array::<1>().map(|[byte]| byte)
    }

    pub(super) fn u16(&mut self) -> Result<u16, Malformed> {
        self.array().map(u16::from_le_bytes)
    }

    pub(super) fn u32(&mut self) -> Result<u32, Malformed> {
        self.array().map(u32::from_le_bytes)
    }

    pub(super) fn u64(&mut self) -> Result<u64, Malformed> {
        self.array().map(u64::from_le_bytes)
    }

    pub(super) fn text(&mut self, most: usize) -> Result<&'p [u8], Malformed> {
        let length = usize::from(self.u16()?);
        if length > most {
            return Err(Malformed("a text that is too long"));
        }
        self.take(length)
    }

    pub(super) fn name(&mut self) -> Result<Name<'p>, Malformed> {
        Name::new(self.text(limits::NAME_BYTES)?).map_err(|_| Malformed("a name that is not a single file name"))
    }

    pub(super) fn mode(&mut self) -> Result<u16, Malformed> {
        let mode = self.u16()?;
        if mode > 0o7777 { Err(Malformed("a mode with more than permission bits")) } else { Ok(mode) }
    }

    pub(super) fn time(&mut self) -> Result<Time, Malformed> {
        let time = Time { seconds: self.array().map(i64::from_le_bytes)?, nanoseconds: self.u32()? };
        if time.nanoseconds < 1_000_000_000 { Ok(time) } else { Err(Malformed("a time out of range")) }
    }
}

const CUT: Malformed = Malformed("a packet that is cut short");

/// A packet of another kind than the one that may come now.
pub(super) const UNEXPECTED: Malformed = Malformed("a packet of an unknown kind");

#[cfg(test)]
pub(super) mod tests {
    /// For the tests of everything that is read.
    #[track_caller]
    pub(crate) fn refuses_every_cut_and_longer_one(packet: &[u8], is_refused: impl Fn(&[u8]) -> bool) {
        for cut in 0..packet.len() {
            assert!(is_refused(&packet[..cut]), "cut at {cut}");
        }
        assert!(is_refused(&[packet, b"x"].concat()), "longer");
    }
}

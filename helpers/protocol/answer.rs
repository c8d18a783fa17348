//! What the target side answers to a request: the one thing that is waited for, or why it cannot be had.

#![forbid(unsafe_code)]

use super::codec::{Malformed, Reader, UNEXPECTED, packet};
use super::tag;
use crate::confine::Confined;

/// The largest errno of Linux.
const ERRNO_MOST: u16 = 4095;

/// The longest text of a [`Failed`] that is sent, in bytes.
const FAILED_BYTES: usize = 512;

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

    /// Reads what follows the tag.
    pub(super) fn read(mut reader: Reader<'p>) -> Result<&'p [u8], Malformed> {
        let text = reader.text(FAILED_BYTES)?;
        reader.end(text)
    }
}

/// What came where a `T` was waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer<'p, T> {
    /// It.
    Given(T),
    /// The reason why not, for people.
    Failed(&'p [u8]),
}

/// What can be waited for.
pub trait Awaited: Sized {
    /// What its packet begins with.
    #[doc(hidden)]
    const TAG: u8;

    /// Reads all that follows.
    #[doc(hidden)]
    fn read(fields: &[u8]) -> Result<Self, Malformed>;
}

impl Awaited for Ready {
    const TAG: u8 = tag::READY;

    fn read(fields: &[u8]) -> Result<Self, Malformed> {
        Reader::of(fields).end(Ready)
    }
}

impl Awaited for Done {
    const TAG: u8 = tag::DONE;

    fn read(fields: &[u8]) -> Result<Self, Malformed> {
        Reader::of(fields).end(Done)
    }
}

impl Awaited for Signalled {
    const TAG: u8 = tag::SIGNALLED;

    fn read(fields: &[u8]) -> Result<Self, Malformed> {
        let mut reader = Reader::of(fields);
        match reader.u16()? {
            errno @ 0..=ERRNO_MOST => reader.end(Signalled(errno)),
            _ => Err(Malformed("an errno out of range")),
        }
    }
}

impl<'p, T: Awaited> Answer<'p, T> {
    /// Reads a packet that may be a `T`, or the reason why there is none, and nothing else.
    ///
    /// # Errors
    /// When it is anything else.
    pub fn decode(packet: &'p [u8], _: &Confined) -> Result<Self, Malformed> {
        let mut reader = Reader::of(packet);
        match reader.byte()? {
            tag if tag == T::TAG => T::read(reader.rest()).map(Answer::Given),
            tag::FAILED => Failed::read(reader).map(Answer::Failed),
            _ => Err(UNEXPECTED),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Answer, Awaited, Done, ERRNO_MOST, FAILED_BYTES, Failed, Ready, Signalled};
    use crate::confine::Confined;
    use crate::protocol::codec::Malformed;
    use crate::protocol::codec::tests::refuses_every_cut_and_longer_one;
    use core::fmt::Debug;

    fn survives<T: Awaited + Copy + Debug + PartialEq>(answer: T, packet: &[u8], others: [&[u8]; 2]) {
        let proof = Confined::assumed();
        assert_eq!(Answer::decode(packet, &proof), Ok(Answer::Given(answer)));
        let failed = Failed(b"no\xff").encode();
        assert_eq!(Answer::<T>::decode(&failed, &proof), Ok(Answer::Failed(b"no\xff")));
        for packet in [packet, &failed] {
            refuses_every_cut_and_longer_one(packet, |packet| Answer::<T>::decode(packet, &proof).is_err());
        }
        for other in others {
            assert!(Answer::<T>::decode(other, &proof).is_err(), "{other:?} for {answer:?}");
        }
    }

    #[test]
    fn only_what_is_waited_for_is_taken_whole() {
        let (ready, done, signalled) = (Ready.encode(), Done.encode(), Signalled(ERRNO_MOST).encode());
        survives(Ready, &ready, [&done, &signalled]);
        survives(Done, &done, [&ready, &signalled]);
        survives(Signalled(ERRNO_MOST), &signalled, [&ready, &done]);
    }

    #[test]
    fn an_errno_past_the_largest_is_refused() {
        let packet = Signalled(ERRNO_MOST + 1).encode();
        let read = Answer::<Signalled>::decode(&packet, &Confined::assumed());
        assert_eq!(read, Err(Malformed("an errno out of range")));
    }

    #[test]
    fn a_reason_is_cut_when_it_is_sent_and_refused_when_it_was_not() {
        let proof = Confined::assumed();
        let long = [b'x'; FAILED_BYTES + 1];
        let mut packet = Failed(&long).encode();
        assert_eq!(Answer::<Done>::decode(&packet, &proof), Ok(Answer::Failed(&long[..FAILED_BYTES])));
        packet[1..3].copy_from_slice(&u16::try_from(FAILED_BYTES + 1).unwrap().to_le_bytes());
        packet.push(b'x');
        assert_eq!(Answer::<Done>::decode(&packet, &proof), Err(Malformed("a text that is too long")));
    }

    #[test]
    fn the_bytes_are_those_of_version_1() {
        assert_eq!((Ready.encode(), Done.encode()), (b"Y".to_vec(), b"D".to_vec()));
        assert_eq!((Signalled(1).encode(), Failed(b"a").encode()), (b"G\x01\0".to_vec(), b"F\x01\0a".to_vec()));
    }
}

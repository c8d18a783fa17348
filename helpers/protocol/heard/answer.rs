//! What the target side was heard to answer: the one thing that is waited for, or why it cannot be had.

use super::reader::{Malformed, Reader, UNEXPECTED};
use crate::confine::Confined;
use crate::ground::limits;
use crate::protocol::answer::{Done, FAILED_BYTES, Ready, Signalled};
use crate::protocol::tag;

/// What came where a `T` was waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer<'p, T> {
    /// It.
    Given(T),
    /// The reason why not, for people.
    Failed(&'p [u8]),
}

/// Reads a packet that may say that the target side is ready, or why it is not, and nothing else.
///
/// # Errors
/// When it is anything else.
pub fn ready<'p>(packet: &'p [u8], _: &Confined) -> Result<Answer<'p, Ready>, Malformed> {
    one_of(packet, tag::READY, |_| Ok(Ready))
}

/// Reads a packet that may say that it is done, or why it is not, and nothing else.
///
/// # Errors
/// When it is anything else.
pub fn done<'p>(packet: &'p [u8], _: &Confined) -> Result<Answer<'p, Done>, Malformed> {
    one_of(packet, tag::DONE, |_| Ok(Done))
}

/// Reads a packet that may say what became of a signal, or why nothing did, and nothing else.
///
/// # Errors
/// When it is anything else.
pub fn signalled<'p>(packet: &'p [u8], _: &Confined) -> Result<Answer<'p, Signalled>, Malformed> {
    one_of(packet, tag::SIGNALLED, |reader| match reader.u16()? {
        errno @ 0..=limits::ERRNO => Ok(Signalled(errno)),
        _ => Err(Malformed("an errno out of range")),
    })
}

fn one_of<'p, T>(
    packet: &'p [u8],
    wanted: u8,
    read: impl FnOnce(&mut Reader<'p>) -> Result<T, Malformed>,
) -> Result<Answer<'p, T>, Malformed> {
    let mut reader = Reader::of(packet);
    match reader.byte()? {
        tag if tag == wanted => {
            let answer = read(&mut reader)?;
            reader.end(Answer::Given(answer))
        }
        tag::FAILED => failed(reader).map(Answer::Failed),
        _ => Err(UNEXPECTED),
    }
}

/// The text of who cannot go on, from either side.
pub(super) fn failed(mut reader: Reader<'_>) -> Result<&[u8], Malformed> {
    let text = reader.text(FAILED_BYTES)?;
    reader.end(text)
}

#[cfg(test)]
mod tests {
    use super::{Answer, done, limits, ready, signalled};
    use crate::confine::Confined;
    use crate::protocol::answer::{Done, FAILED_BYTES, Failed, Ready, Signalled};
    use crate::protocol::heard::Malformed;
    use crate::protocol::heard::reader::tests::refuses_every_cut_and_longer_one;
    use core::fmt::Debug;

    type Decode<T> = for<'p> fn(&'p [u8], &Confined) -> Result<Answer<'p, T>, Malformed>;

    fn survives<T: Copy + Debug + PartialEq>(answer: T, decode: Decode<T>, packet: &[u8], others: [&[u8]; 2]) {
        let proof = Confined::assumed();
        assert_eq!(decode(packet, &proof), Ok(Answer::Given(answer)));
        let failed = Failed(b"no\xff").encode();
        assert_eq!(decode(&failed, &proof), Ok(Answer::Failed(b"no\xff")));
        for packet in [packet, &failed] {
            refuses_every_cut_and_longer_one(packet, |packet| decode(packet, &proof).is_err());
        }
        for other in others {
            assert!(decode(other, &proof).is_err(), "{other:?} for {answer:?}");
        }
    }

    #[test]
    fn only_what_is_waited_for_is_taken_whole() {
        let packets = (Ready.encode(), Done.encode(), Signalled(limits::ERRNO).encode());
        survives(Ready, ready, &packets.0, [&packets.1, &packets.2]);
        survives(Done, done, &packets.1, [&packets.0, &packets.2]);
        survives(Signalled(limits::ERRNO), signalled, &packets.2, [&packets.0, &packets.1]);
    }

    #[test]
    fn an_errno_past_the_largest_is_refused() {
        let packet = Signalled(limits::ERRNO + 1).encode();
        assert_eq!(signalled(&packet, &Confined::assumed()), Err(Malformed("an errno out of range")));
    }

    #[test]
    fn a_reason_is_cut_when_it_is_sent_and_refused_when_it_was_not() {
        let proof = Confined::assumed();
        let long = [b'x'; FAILED_BYTES + 1];
        let mut packet = Failed(&long).encode();
        assert_eq!(done(&packet, &proof), Ok(Answer::Failed(&long[..FAILED_BYTES])));
        packet[1..3].copy_from_slice(&u16::try_from(FAILED_BYTES + 1).unwrap().to_le_bytes());
        packet.push(b'x');
        assert_eq!(done(&packet, &proof), Err(Malformed("a text that is too long")));
    }

    #[test]
    fn the_bytes_are_those_of_version_1() {
        assert_eq!((Ready.encode(), Done.encode()), (b"Y".to_vec(), b"D".to_vec()));
        assert_eq!((Signalled(1).encode(), Failed(b"a").encode()), (b"G\x01\0".to_vec(), b"F\x01\0a".to_vec()));
    }
}

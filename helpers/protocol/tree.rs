//! What the two sides of a copy say to each other, whichever of them is the pilot's.

#![forbid(unsafe_code)]

use super::answer::Failed;
use super::codec::{Malformed, Reader, UNEXPECTED, Writer, packet};
use super::record::Records;
use super::tag;
use crate::confine::Confined;

/// How a packet of records begins; the records follow, whole ones only. The descriptors of its files come with it, in
/// the same order.
pub const RECORDS_BEGIN: &[u8] = &[tag::RECORDS];

/// What the sender says.
pub enum Piece<'p> {
    /// The next records of the tree, none left over or cut.
    Records(Records<'p>),
    /// It cannot go on; the text is for people.
    Failed(&'p [u8]),
}

impl<'p> Piece<'p> {
    /// Reads a packet from the sender.
    ///
    /// # Errors
    /// When it is anything else. What the records hold is looked at one by one.
    pub fn decode(packet: &'p [u8], _: &Confined) -> Result<Self, Malformed> {
        let mut reader = Reader::of(packet);
        match reader.byte()? {
            tag::RECORDS => Ok(Piece::Records(Records::read(reader))),
            tag::FAILED => Failed::read(reader).map(Piece::Failed),
            _ => Err(UNEXPECTED),
        }
    }
}

/// What the receiver has made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Entries of all kinds, those left out included.
    pub entries: u64,
    /// Regular files that were created.
    pub files: u64,
    /// Directories below the sandbox.
    pub directories: u64,
    /// Symbolic links.
    pub symlinks: u64,
    /// Further names of files that were already there.
    pub hard_links: u64,
    /// Bytes of data, holes not counted.
    pub bytes: u64,
    /// Entries that were left out.
    pub left_out: u64,
}

/// What the receiver says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict<'p> {
    /// It is alive, this is done.
    Progress(Totals),
    /// It has all of the tree, whole.
    Complete(Totals),
    /// It cannot go on; the text is for people.
    Failed(&'p [u8]),
}

impl<'p> Verdict<'p> {
    /// The verdict as a packet.
    pub fn encode(&self) -> Vec<u8> {
        match self {
            Verdict::Progress(made) => packet(tag::PROGRESS, |writer| totals(writer, made)),
            Verdict::Complete(made) => packet(tag::COMPLETE, |writer| totals(writer, made)),
            Verdict::Failed(text) => Failed(text).encode(),
        }
    }

    /// Reads a packet from the receiver.
    ///
    /// # Errors
    /// When it is anything else.
    pub fn decode(packet: &'p [u8], _: &Confined) -> Result<Self, Malformed> {
        let mut reader = Reader::of(packet);
        match reader.byte()? {
            tag::PROGRESS => read_totals(reader).map(Verdict::Progress),
            tag::COMPLETE => read_totals(reader).map(Verdict::Complete),
            tag::FAILED => Failed::read(reader).map(Verdict::Failed),
            _ => Err(UNEXPECTED),
        }
    }
}

fn totals<'v>(writer: Writer<'v>, made: &Totals) -> Writer<'v> {
    let Totals { entries, files, directories, symlinks, hard_links, bytes, left_out } = *made;
    [entries, files, directories, symlinks, hard_links, bytes, left_out]
        .iter()
        .fold(writer, |writer, number| writer.number(number.to_le_bytes()))
}

fn read_totals(mut reader: Reader<'_>) -> Result<Totals, Malformed> {
    let totals = Totals {
        entries: reader.u64()?,
        files: reader.u64()?,
        directories: reader.u64()?,
        symlinks: reader.u64()?,
        hard_links: reader.u64()?,
        bytes: reader.u64()?,
        left_out: reader.u64()?,
    };
    reader.end(totals)
}

#[cfg(test)]
mod tests {
    use super::{Piece, RECORDS_BEGIN, Totals, Verdict};
    use crate::confine::Confined;
    use crate::protocol::answer::{Done, Failed};
    use crate::protocol::codec::tests::refuses_every_cut_and_longer_one;
    use crate::protocol::request::Commit;

    const TOTALS: Totals =
        Totals { entries: 1, files: 2, directories: 3, symlinks: 4, hard_links: 5, bytes: u64::MAX, left_out: 7 };

    #[test]
    fn every_verdict_survives_and_every_cut_or_longer_one_is_refused() {
        let proof = Confined::assumed();
        for verdict in [Verdict::Progress(TOTALS), Verdict::Complete(TOTALS), Verdict::Failed(b"no\xff")] {
            let packet = verdict.encode();
            assert_eq!(Verdict::decode(&packet, &proof), Ok(verdict));
            refuses_every_cut_and_longer_one(&packet, |packet| Verdict::decode(packet, &proof).is_err());
        }
        for other in [&Done.encode()[..], &Commit.encode(), RECORDS_BEGIN, b""] {
            assert!(Verdict::decode(other, &proof).is_err(), "{other:?}");
        }
    }

    #[test]
    fn a_sender_says_records_or_that_it_failed() {
        let proof = Confined::assumed();
        assert!(matches!(Piece::decode(RECORDS_BEGIN, &proof), Ok(Piece::Records(records)) if records.is_empty()));
        let failed = Failed(b"no").encode();
        assert!(matches!(Piece::decode(&failed, &proof), Ok(Piece::Failed(b"no"))));
        refuses_every_cut_and_longer_one(&failed, |packet| Piece::decode(packet, &proof).is_err());
        for other in [&Done.encode()[..], &Commit.encode(), &Verdict::Complete(TOTALS).encode(), b""] {
            assert!(Piece::decode(other, &proof).is_err(), "{other:?}");
        }
    }

    #[test]
    fn the_bytes_are_those_of_version_1() {
        let numbers: Vec<u8> = [1, 2, 3, 4, 5, u64::MAX, 7].iter().flat_map(|number| number.to_le_bytes()).collect();
        assert_eq!(Verdict::Complete(TOTALS).encode(), [b"A", &numbers[..]].concat());
        assert_eq!(Verdict::Progress(TOTALS).encode(), [b"P", &numbers[..]].concat());
        assert_eq!((RECORDS_BEGIN, Verdict::Failed(b"a").encode()), (&b"R"[..], b"F\x01\0a".to_vec()));
    }
}

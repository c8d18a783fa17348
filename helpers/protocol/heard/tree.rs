//! What the other side of a copy was heard to say.

use super::answer::failed;
use super::reader::{Malformed, Reader, UNEXPECTED};
use super::record::Records;
use crate::confine::Confined;
use crate::protocol::tag;
use crate::protocol::tree::{Totals, Verdict};

/// What the sender says.
pub enum Piece<'p> {
    /// The next records of the tree, none left over or cut.
    Records(Records<'p>),
    /// It cannot go on; the text is for people.
    Failed(&'p [u8]),
}

/// Reads a packet from the sender.
///
/// # Errors
/// When it is anything else. What the records hold is looked at one by one.
pub fn piece<'p>(packet: &'p [u8], _: &Confined) -> Result<Piece<'p>, Malformed> {
    let mut reader = Reader::of(packet);
    match reader.byte()? {
        tag::RECORDS => Ok(Piece::Records(Records::read(reader))),
        tag::FAILED => failed(reader).map(Piece::Failed),
        _ => Err(UNEXPECTED),
    }
}

/// Reads a packet from the receiver.
///
/// # Errors
/// When it is anything else.
pub fn verdict<'p>(packet: &'p [u8], _: &Confined) -> Result<Verdict<'p>, Malformed> {
    let mut reader = Reader::of(packet);
    match reader.byte()? {
        tag::PROGRESS => totals(reader).map(Verdict::Progress),
        tag::COMPLETE => totals(reader).map(Verdict::Complete),
        tag::FAILED => failed(reader).map(Verdict::Failed),
        _ => Err(UNEXPECTED),
    }
}

fn totals(mut reader: Reader<'_>) -> Result<Totals, Malformed> {
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
    use super::{Piece, piece, verdict};
    use crate::confine::Confined;
    use crate::protocol::answer::{Done, Failed};
    use crate::protocol::heard::reader::tests::refuses_every_cut_and_longer_one;
    use crate::protocol::request::Commit;
    use crate::protocol::tree::{RECORDS_BEGIN, Totals, Verdict};

    const TOTALS: Totals =
        Totals { entries: 1, files: 2, directories: 3, symlinks: 4, hard_links: 5, bytes: u64::MAX, left_out: 7 };

    #[test]
    fn every_verdict_survives_and_every_cut_or_longer_one_is_refused() {
        let proof = Confined::assumed();
        for said in [Verdict::Progress(TOTALS), Verdict::Complete(TOTALS), Verdict::Failed(b"no\xff")] {
            let packet = said.encode();
            assert_eq!(verdict(&packet, &proof), Ok(said));
            refuses_every_cut_and_longer_one(&packet, |packet| verdict(packet, &proof).is_err());
        }
        for other in [&Done.encode()[..], &Commit.encode(), RECORDS_BEGIN, b""] {
            assert!(verdict(other, &proof).is_err(), "{other:?}");
        }
    }

    #[test]
    fn a_sender_says_records_or_that_it_failed() {
        let proof = Confined::assumed();
        assert!(matches!(piece(RECORDS_BEGIN, &proof), Ok(Piece::Records(records)) if records.is_empty()));
        let failed = Failed(b"no").encode();
        assert!(matches!(piece(&failed, &proof), Ok(Piece::Failed(b"no"))));
        refuses_every_cut_and_longer_one(&failed, |packet| piece(packet, &proof).is_err());
        for other in [&Done.encode()[..], &Commit.encode(), &Verdict::Complete(TOTALS).encode(), b""] {
            assert!(piece(other, &proof).is_err(), "{other:?}");
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

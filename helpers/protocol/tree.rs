//! What the two sides of a copy say to each other, whichever of them is the pilot's.

use super::answer::Failed;
use super::tag;
use super::write::{Writer, packet};

/// How a packet of records begins; the records follow, whole ones only. The descriptors of its files come with it, in
/// the same order.
pub const RECORDS_BEGIN: &[u8] = &[tag::RECORDS];

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
}

fn totals<'v>(writer: Writer<'v>, made: &Totals) -> Writer<'v> {
    let Totals { entries, files, directories, symlinks, hard_links, bytes, left_out } = *made;
    [entries, files, directories, symlinks, hard_links, bytes, left_out]
        .iter()
        .fold(writer, |writer, number| writer.number(number.to_le_bytes()))
}

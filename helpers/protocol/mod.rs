//! All bytes between the two accounts, and the one place that says who may say what, and when.
//!
//! What may come at a point of the conversation is a type, and has a function in [`heard`] that reads it and nothing
//! else; each comes from one side only. In place of every answer, and of every packet of a copy, may come why it
//! cannot be had.
//!
//! | phase | the pilot side says | the target side says |
//! |---|---|---|
//! | every one | | the [`greeting`], once, when the switcher has started it |
//! | setup | [`request::Site`] | [`answer::Ready`] |
//! | | [`heard::tree::Piece`], any number | [`tree::Verdict`], any number; the last one is complete |
//! | | [`request::Commit`] | nothing: it is done |
//! | cleanup | [`request::Site`] | [`heard::tree::Piece`], any number |
//! | | [`tree::Verdict`], any number; the last one is complete | |
//! | | [`request::Commit`] | [`answer::Done`] |
//! | cleanup of a leftover | [`request::Site`] (remove only) | [`answer::Done`] |
//! | kill | [`request::Signal`] with the process, any number of times | [`answer::Signalled`] to each |
//! | update_proxy | [`request::Site`] with the new proxy | [`answer::Done`] |
//!
//! Every packet begins with one byte that says what it is. Integers are little-endian, texts and names are a `u16`
//! length and that many bytes; nothing may be left over behind the last field. Descriptors come where the table says
//! so, with [`record::Record::File`], and nowhere else.
//!
//! What comes from the other side is received and read by a confined process only: both ask for
//! [`crate::confine::Confined`]. There are two exceptions, each a function of its own:
//! [`greeting::receive_unconfined`] and [`heard::request::receive_site_unconfined`].
//!
//! Between the Starter and the job's wrapper another protocol is spoken, HTCondor's: [`job_channel`].

#![forbid(unsafe_code)]

pub mod answer;
pub mod connection;
pub mod greeting;
pub mod heard;
pub mod job_channel;
pub mod packet;
pub mod record;
pub mod record_writer;
pub mod request;
pub(crate) mod socket;
pub mod tree;
mod write;

/// What a packet is, by its first byte. Each stands for one type, whatever the phase.
mod tag {
    pub(crate) const RECORDS: u8 = b'R';
    pub(crate) const PROGRESS: u8 = b'P';
    pub(crate) const COMPLETE: u8 = b'A';
    pub(crate) const COMMIT: u8 = b'C';
    pub(crate) const DONE: u8 = b'D';
    pub(crate) const FAILED: u8 = b'F';
    pub(crate) const SITE: u8 = b'L';
    pub(crate) const READY: u8 = b'Y';
    pub(crate) const SIGNAL: u8 = b'S';
    pub(crate) const SIGNALLED: u8 = b'G';
}

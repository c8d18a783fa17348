//! What was heard from the other side, read from bytes that may be anything: all decoding of the protocol, and no
//! encoding.
//!
//! Each function takes the one kind of packet that may come at that point ([`super`] has the table) and refuses
//! whatever else does. All of them ask for the proof of confinement, but [`request::receive_site_unconfined`].

pub mod answer;
mod reader;
pub mod record;
pub mod request;
pub mod tree;

pub use reader::Malformed;

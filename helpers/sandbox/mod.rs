//! A sandbox: where it is, and how a tree travels from one account to another.
//!
//! The sender ([`send`]) walks its own tree and passes names and open descriptors; the receiver ([`receive`]) makes its own
//! copy of them. Only when the receiver has all of it does either side remove anything ([`remove`]).

#![forbid(unsafe_code)]

pub mod component;
pub mod content;
pub mod link;
pub mod merge;
pub mod metadata;
pub mod progress;
pub mod proxy;
pub mod receive;
pub mod remove;
pub mod report;
pub mod resolve;
pub mod send;
pub mod walk;
pub mod wire;

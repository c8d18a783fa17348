//! A tree on its way from one account to the other.
//!
//! The sender ([`send`]) walks its own tree and passes names and open descriptors; the receiver ([`receive`]) makes
//! its own copy of them. Only when the receiver has all of it does either side remove anything.

#![forbid(unsafe_code)]

mod bounds;
pub(crate) mod durable;
mod hard_links;
pub mod link;
pub mod origin;
pub mod progress;
pub mod receive;
pub(crate) mod report;
pub mod rules;
pub mod send;

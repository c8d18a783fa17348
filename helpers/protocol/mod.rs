//! All bytes between the two accounts.

#![forbid(unsafe_code)]

pub mod connection;
pub mod wire;

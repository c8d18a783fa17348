//! All bytes between the two accounts.

#![forbid(unsafe_code)]

pub mod connection;
pub mod greeting;
pub mod job_channel;
pub mod wire;

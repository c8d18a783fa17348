//! Processes as `/proc` and pidfds show them.

#![forbid(unsafe_code)]

pub mod domain;
pub mod family;
pub mod status;

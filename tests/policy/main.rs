//! The site's policy against the built programs, with two accounts: what a job sees of it, what cleanup holds to, and
//! that nothing works under a policy that is not exactly right.

#![deny(unsafe_code)]

#[path = "../common/call_numbers.rs"]
mod call_numbers;
mod cleanup;
#[path = "../common/mod.rs"]
mod common;
mod durable;
#[path = "../common/etc.rs"]
mod etc;
mod file;
mod job;
mod playground;
mod probe;

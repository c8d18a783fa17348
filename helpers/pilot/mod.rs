//! What runs as the pilot. Hostile to it: the target side's bytes and descriptors, the job's files and processes.

#![forbid(unsafe_code)]

pub mod arguments;
pub mod cleanup;
pub mod credential;
pub mod family;
pub mod home;
pub mod kill;
pub mod run;
pub mod setup;
pub mod staging;
pub mod switch;
pub mod target_side;
pub mod update_proxy;
pub mod watchdog;

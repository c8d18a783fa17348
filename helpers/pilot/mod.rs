//! What runs as the pilot. Hostile to it: the target side's bytes and descriptors, the job's files and processes.

#![forbid(unsafe_code)]

pub mod arguments;
pub mod cleanup;
pub(crate) mod credential;
pub mod home;
pub mod kill;
mod report;
pub mod run;
pub mod setup;
pub mod staging;
pub(crate) mod switch;
pub mod target_side;
mod travelling_proxy;
pub mod update_proxy;
pub(crate) mod watchdog;
mod word;

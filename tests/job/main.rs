//! `condor_glexec_job` against the built programs: one job, as an ordinary user and without root through
//! `glexec_rootless` or a switcher that changes nothing, and with two accounts through the test switcher.

#![deny(unsafe_code)]

mod command;
#[path = "../common/mod.rs"]
mod common;
mod ends;
mod families;
mod files;
#[path = "../common/hostile_family.rs"]
mod hostile_family;
mod playground;
mod refusals;
mod reopened;
mod streams;
mod trees;
mod two_accounts;

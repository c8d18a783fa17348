//! `glexec_rootless` against a job that attacks, a job that works, and callers that get the contract wrong.
//!
//! Needs no privilege: as root the pilot is an unprivileged account, otherwise it is whoever runs the tests.

mod account;
mod attempts;
mod border;
#[path = "../common/call_numbers.rs"]
mod call_numbers;
mod contract;
#[path = "../common/directory.rs"]
mod directory;
mod helpers;
mod homes;
mod playground;
mod probe;
#[path = "../common/programs.rs"]
mod programs;
mod refusals;
mod set_id;
mod terminal;

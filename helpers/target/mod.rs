//! What a switcher starts as the target account. Hostile to it: the submitter's environment and file names, names
//! that other accounts plant, the job's processes.

#![forbid(unsafe_code)]

pub mod channel;
pub mod cleanup;
pub mod environment;
mod interpreter;
pub(crate) mod job_mark;
mod job_policy;
pub mod kill;
pub mod peer;
pub(crate) mod pilot_side;
pub mod setup;
pub mod site;
pub mod status;
mod switched;
pub mod update_proxy;
pub mod wrapper;

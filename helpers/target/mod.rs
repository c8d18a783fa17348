//! What a switcher starts as the target account. Hostile to it: the submitter's environment and file names, names that other
//! accounts plant, the job's processes.

#![forbid(unsafe_code)]

pub mod channel;
pub mod environment;
pub mod job_mark;
pub mod peer;
pub mod status;
pub mod wrapper;

//! What every program stands on: arguments, failures, limits, its frame from the first instruction to the exit code.

#![forbid(unsafe_code)]

pub mod argv;
pub mod escape;
pub mod frame;
pub mod heartbeat;
pub mod installation;
pub mod json;
pub mod limits;
pub mod outcome;
pub mod pipe;
pub mod program;
pub mod wait;

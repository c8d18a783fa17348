//! What every program stands on: arguments, failures, limits, its frame from the first instruction to the exit code.

#![forbid(unsafe_code)]

pub mod argv;
pub mod child;
pub(crate) mod errno;
pub mod escape;
pub(crate) mod frame;
pub(crate) mod heartbeat;
pub mod inherited;
pub(crate) mod installation;
pub mod json;
pub mod limits;
pub mod outcome;
pub mod pipe;
pub mod program;
pub mod resources;
pub(crate) mod root;
pub(crate) mod signal_queue;
pub mod signals;
pub(crate) mod switcher_end;
pub mod terminal;
pub mod wait;

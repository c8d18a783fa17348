//! What holds the helpers: every phase is confined, no proxy stays in memory, and calls that somebody else refuses lose
//! nothing.

#![deny(unsafe_code)]

#[cfg(target_arch = "x86_64")]
mod abort;
mod absent_calls;
#[path = "../common/mod.rs"]
mod common;
#[cfg(target_arch = "x86_64")]
mod domains;
#[cfg(target_arch = "x86_64")]
mod first_instruction;
#[cfg(target_arch = "x86_64")]
mod memory;
#[cfg(target_arch = "x86_64")]
mod phases;
#[path = "../common/starter.rs"]
mod starter;
#[cfg(target_arch = "x86_64")]
mod tracer;
#[cfg(target_arch = "x86_64")]
#[path = "../common/tracing.rs"]
mod tracing;

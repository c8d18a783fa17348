//! Whatever a helper comes to grief at, nothing is lost: it is killed at each of its system calls, and each of them
//! fails.
//!
//! A part of the moments is tried by default, all of them with `tests/run --full`.

#![deny(unsafe_code)]
#![cfg(target_arch = "x86_64")]

mod calls;
mod closes;
#[path = "../common/mod.rs"]
mod common;
mod hardships;
mod injector;
mod kill;
mod playground;
#[path = "../common/tracing.rs"]
mod tracing;

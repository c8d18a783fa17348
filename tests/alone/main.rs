//! Tests that go one at a time, with no other test beside them: they leave on purpose what others would complain about,
//! use up what all processes of an account share, change a limit of this whole process, or need all of the machine.

#![deny(unsafe_code)]

#[path = "../common/mod.rs"]
mod common;
mod descriptors_under_way;
mod harness;
mod job_library;
mod load;
mod own_namespaces;
mod slot;

use std::sync::{Mutex, MutexGuard, PoisonError};

/// Waits until no other test of this program is at work.
fn turn() -> MutexGuard<'static, ()> {
    static TURN: Mutex<()> = Mutex::new(());
    TURN.lock().unwrap_or_else(PoisonError::into_inner)
}

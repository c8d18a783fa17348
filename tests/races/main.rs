//! Races as loops: attackers' processes change names without pause while the built programs work, round after round,
//! and must never win.
//!
//! `GLEXEC_RS_RACE_ROUNDS` sets the number of rounds.

#![deny(unsafe_code)]

mod attacker;
#[path = "../common/mod.rs"]
mod common;
#[path = "../common/etc.rs"]
mod etc;
mod loops;
mod race;
mod trap;

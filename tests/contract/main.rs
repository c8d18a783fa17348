//! What HTCondor's Starter and ProcD give the helpers and expect of them, against the built programs; a file for each
//! program, and one for the trees that go there and back.

#![deny(unsafe_code)]

mod cleanup;
#[path = "../common/mod.rs"]
mod common;
mod kill;
mod run;
mod setup;
#[path = "../common/starter.rs"]
mod starter;
mod switching;
mod texts;
mod trees;
mod update_proxy;
mod wrapper;

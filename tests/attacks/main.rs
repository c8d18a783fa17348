//! The attacks on the helpers, run by the accounts that would run them against the built programs. The numbers are those of the ledger in `audit/`.

#![deny(unsafe_code)]

mod cleanup;
#[path = "../common/mod.rs"]
mod common;
mod kill;
mod run;
mod setup;
mod update_proxy;

//! The attacks on the helpers, run by the accounts that would run them against the built programs. The numbers are
//! those of the ledger in `audit/`.

#![deny(unsafe_code)]

mod cleanup;
#[path = "../common/mod.rs"]
mod common;
mod forms_of_proxies;
#[path = "../common/fuse.rs"]
mod fuse;
mod kill;
#[cfg(target_arch = "x86_64")]
mod meetings;
mod run;
mod setup;
#[cfg(target_arch = "x86_64")]
#[path = "../common/tracing.rs"]
mod tracing;
mod update_proxy;

//! The helpers that let an unprivileged grid pilot run another person's job under that person's local account.
//!
//! The pilot has one power only: a *switcher* with glexec's contract, which runs a command as the account that the
//! job's X.509 proxy maps to. Every program of `helpers/bin` is a few lines that call one module of this library.
//!
//! Which module runs as whom, and what it may believe:
//!
//! | module | runs as | hostile to it |
//! |---|---|---|
//! | [`setup`], [`cleanup`], [`kill`], [`update_proxy`], [`run`], [`job`] | the pilot | the target side's bytes and descriptors, the job's files |
//! | [`peer`] | the target account | names that other accounts plant; the job's processes |
//! | [`job_wrapper`] | the target account | the submitter's environment, file names |
//! | [`rootless`] | the pilot, then a confined domain | the command's name and files |

#![deny(unsafe_code)]
#![warn(missing_docs)]
#![deny(clippy::undocumented_unsafe_blocks)]
#![cfg_attr(
    not(test),
    deny(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::panic,
        clippy::indexing_slicing,
        clippy::arithmetic_side_effects
    )
)]

pub mod argv;
pub mod attendant;
pub mod channel;
pub mod cleanup;
pub mod confine;
pub mod connection;
pub mod escape;
pub mod handover;
pub mod job;
pub mod job_wrapper;
pub mod json;
pub mod kill;
pub mod limits;
pub mod outcome;
pub mod peer;
pub mod policy;
pub mod process;
pub mod program;
pub mod rootless;
pub mod run;
pub mod sandbox;
pub mod setup;
pub mod switch;
pub mod sys;
pub mod update_proxy;

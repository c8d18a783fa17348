//! The helpers that let an unprivileged grid pilot run another person's job under that person's local account.
//!
//! The pilot has one power only: a *switcher* with glexec's contract, which runs a command as the account that the
//! job's X.509 proxy maps to. Every program of `helpers/bin` is a few lines that call one module of this library.
//!
//! Where things are, whose account runs them, and what is hostile to them:
//!
//! | folder | runs as | hostile to it |
//! |---|---|---|
//! | [`pilot`] | the pilot | the target side's bytes and descriptors, the job's files and processes |
//! | [`target`] | the target account | the submitter's environment and names; names that others plant; the job's processes |
//! | [`job`] | the pilot | what the switcher and the wrapper say |
//! | [`rootless`] | the pilot, then a confined domain | the command's name and files |
//! | [`family`] | both sides | the names, parents and states of the job's processes |
//! | [`copy`], [`protocol`] | both sides | all that the other side sends |
//! | [`files`] | everybody | names and files that the job can change meanwhile |
//! | [`policy`], [`confine`], [`ground`], `sys` | everybody | nothing: the site's, the caller's and the kernel's word |
//!
//! Each folder uses only those that stand below it in the audit tool's table of layers (`audit/tool`).

#![deny(unsafe_code)]
#![warn(missing_docs, unreachable_pub)]
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

pub mod confine;
pub mod copy;
pub mod family;
pub mod files;
pub mod ground;
pub mod job;
pub mod pilot;
pub mod policy;
pub mod protocol;
pub mod rootless;
mod sys;
pub mod target;

//! The Landlock domain of a job.

#![forbid(unsafe_code)]

use super::system;
use crate::confine::landlock::{Domain, Grant, REQUIRED};
use crate::ground::outcome::{Failure, Kind, Outcome};
use landlock::{Access, AccessFs, Scope};
use std::os::fd::{AsFd, BorrowedFd};

/// Enters the domain for good: full use of `sandbox`, reading and executing `command`, and what `system` grants; of everything
/// else nothing. No signals, no tracing and no abstract UNIX sockets across its border. TCP stays open: jobs fetch data.
///
/// Whatever the site's policy says, the kernel has to know all of it: nothing else keeps the job from the pilot.
///
/// # Errors
/// The administrator's, when the kernel lacks a part (it is named) or does not enforce all of it.
pub fn enter(sandbox: BorrowedFd<'_>, command: BorrowedFd<'_>, system: &[system::Grant]) -> Outcome {
    // A sandbox has no devices.
    let full_use = AccessFs::from_all(REQUIRED) & !(AccessFs::MakeChar | AccessFs::MakeBlock | AccessFs::IoctlDev);
    let grants: Vec<Grant<'_>> = [(sandbox, full_use), (command, AccessFs::ReadFile | AccessFs::Execute)]
        .into_iter()
        .chain(system.iter().map(|grant| (grant.object.as_fd(), grant.rights)))
        .map(|(object, rights)| Grant { object, rights })
        .collect();
    Domain { network: false, scopes: Scope::from_all(REQUIRED) }
        .enter(&grants, None)
        .map_err(|failure| Failure::new(Kind::SiteFault, failure))
}

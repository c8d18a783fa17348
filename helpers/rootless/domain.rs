//! The Landlock domain of a job.

#![forbid(unsafe_code)]

use super::site_fault;
use super::system::Grant;
use crate::outcome::{Failure, Kind, Outcome};
use landlock::{
    ABI, Access, AccessFs, BitFlags, CompatLevel, Compatible, PathBeneath, Ruleset, RulesetAttr, RulesetCreatedAttr,
    RulesetError, RulesetStatus, Scope,
};
use std::os::fd::{AsFd, BorrowedFd};

/// The Landlock ABI whose file system rights and scopes are all required. Fixed, so that a domain means the same on every kernel.
const REQUIRED: ABI = ABI::V6;

/// Enters the domain for good: full use of `sandbox`, reading and executing `command`, and what `system` grants; of everything
/// else nothing. No signals, no tracing and no abstract UNIX sockets across its border. TCP stays open: jobs fetch data.
///
/// # Errors
/// The administrator's, when the kernel lacks a part (it is named) or does not enforce all of it.
pub fn enter(sandbox: BorrowedFd<'_>, command: BorrowedFd<'_>, system: &[Grant]) -> Outcome {
    require_kernel()?;
    let context = "cannot enter a Landlock domain";
    // A sandbox has no devices.
    let full_use = AccessFs::from_all(REQUIRED) & !(AccessFs::MakeChar | AccessFs::MakeBlock | AccessFs::IoctlDev);
    let rules = [(sandbox, full_use), (command, AccessFs::ReadFile | AccessFs::Execute)]
        .into_iter()
        .chain(system.iter().map(|grant| (grant.object.as_fd(), grant.rights)));
    let ruleset = strict()
        .handle_access(AccessFs::from_all(REQUIRED))
        .and_then(|ruleset| ruleset.scope(Scope::from_all(REQUIRED)))
        .and_then(Ruleset::create)
        .map_err(site_fault(context))?;
    let status = rules
        .into_iter()
        .try_fold(ruleset, |ruleset, (object, rights)| ruleset.add_rule(PathBeneath::new(object, rights)))
        .and_then(landlock::RulesetCreated::restrict_self)
        .map_err(site_fault(context))?;
    let locked = rustix::thread::no_new_privs().map_err(site_fault("cannot read no_new_privs back"))?;
    if status.ruleset == RulesetStatus::FullyEnforced && status.no_new_privs && locked {
        Ok(())
    } else {
        Err(Failure::new(Kind::SiteFault, format_args!("{context}: the kernel enforces only a part of it")))
    }
}

/// A ruleset for which anything that the kernel does not know is an error.
fn strict() -> Ruleset {
    Ruleset::default().set_compatibility(CompatLevel::HardRequirement)
}

/// What the domain is made of, one by one, so that what a kernel lacks can be named.
fn parts() -> [(&'static str, Result<Ruleset, RulesetError>); 5] {
    let files = |rights: BitFlags<AccessFs>| strict().handle_access(rights);
    [
        ("file system rights (Linux 5.13)", files(AccessFs::from_all(ABI::V1))),
        ("moves between directories (5.19)", files(AccessFs::Refer.into())),
        ("truncation (6.2)", files(AccessFs::Truncate.into())),
        ("device ioctls (6.10)", files(AccessFs::IoctlDev.into())),
        ("scopes of signals and abstract UNIX sockets (6.12)", strict().scope(Scope::from_all(REQUIRED))),
    ]
}

fn require_kernel() -> Outcome {
    let parts = parts();
    let lacking: Vec<&str> = parts.iter().filter(|(_, known)| known.is_err()).map(|(name, _)| *name).collect();
    let why = match lacking.as_slice() {
        [] => return Ok(()),
        all if all.len() == parts.len() => {
            "has no Landlock, or it is off (add landlock to the kernel's lsm= list)".to_owned()
        }
        some => format!("has a Landlock without {}", some.join(", ")),
    };
    Err(Failure::new(
        Kind::SiteFault,
        format_args!(
            "this kernel {why}; a job cannot be kept apart from the pilot without it, Linux 6.12 or later is needed"
        ),
    ))
}

//! Landlock domains, with nothing that the kernel lacks passed over in silence.

use crate::ground::outcome::{Failure, OrFail, Outcome};
use landlock::{
    ABI, Access, AccessFs, AccessNet, BitFlags, CompatLevel, Compatible, PathBeneath, Ruleset, RulesetAttr,
    RulesetCreatedAttr, RulesetStatus, Scope,
};
use std::os::fd::BorrowedFd;

/// The Landlock ABI whose rights and scopes are all required: file system rights with truncation and device ioctls,
/// TCP, and the scopes of signals and abstract sockets (Linux 6.12). Fixed, so that a domain means the same on every
/// newer kernel.
pub(crate) const REQUIRED: ABI = ABI::V6;

/// The oldest ABI that is of any use: with the one before it nothing can be moved between directories (Linux 5.19).
const LEAST: ABI = ABI::V2;

/// A part of Landlock that some kernels lack.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// All of it (before Linux 5.19, or switched off): only the seccomp profile and the accounts hold without.
    Landlock,
    /// The right to truncate (before Linux 6.2).
    Truncate,
    /// Rules for TCP (before Linux 6.7).
    Network,
    /// The right to device ioctls (before Linux 6.10).
    Ioctl,
    /// Scopes of signals and abstract sockets (before Linux 6.12).
    Scope,
}

impl Part {
    /// All of them, with their names in a site's policy and what people call them.
    pub const ALL: [(Part, &str, &str); 5] = [
        (Part::Landlock, "landlock", "Landlock (5.19)"),
        (Part::Truncate, "landlock-truncate", "truncation (6.2)"),
        (Part::Network, "landlock-network", "TCP (6.7)"),
        (Part::Ioctl, "landlock-ioctl", "device ioctls (6.10)"),
        (Part::Scope, "landlock-scope", "scopes of signals and abstract UNIX sockets (6.12)"),
    ];
}

/// The parts that the site lets the helpers do without. By default none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MayLack([bool; Part::ALL.len()]);

impl MayLack {
    /// Whether a part may be missing.
    pub fn permits(self, part: Part) -> bool {
        self.0.get(part as usize).is_some_and(|permitted| *permitted)
    }

    /// Lets a part be missing; false if it may already.
    pub(crate) fn permit(&mut self, part: Part) -> bool {
        self.0.get_mut(part as usize).is_some_and(|permitted| !core::mem::replace(permitted, true))
    }
}

/// What may be done below a directory, or with a file, that is open already.
#[derive(Clone, Copy)]
pub struct Grant<'fd> {
    /// The directory or file.
    pub object: BorrowedFd<'fd>,
    /// The rights.
    pub rights: BitFlags<AccessFs>,
}

/// What a domain shuts off, besides everything of every file system that is not granted.
#[derive(Clone, Copy)]
pub(crate) struct Domain {
    /// TCP: no port can be bound or connected to.
    pub network: bool,
    /// What is outside and cannot be signalled or, through abstract UNIX sockets, connected to.
    pub scopes: BitFlags<Scope>,
}

impl Domain {
    /// Enters the domain for good; it passes on to all that is executed later. Sets no_new_privs.
    ///
    /// `may_lack` holds what the site's policy lets be missing; `None`: whatever the policy says, nothing may.
    ///
    /// # Errors
    /// When the kernel lacks a part that it must have (it is named), or does not enforce everything else.
    pub(crate) fn enter(self, grants: &[Grant<'_>], may_lack: Option<MayLack>) -> Outcome {
        let lacking = self.lacking();
        require(&lacking, may_lack)?;
        let lacks = |part: Part| lacking.contains(&part);
        if lacks(Part::Landlock) {
            return Ok(());
        }
        let handled = [(Part::Truncate, AccessFs::Truncate), (Part::Ioctl, AccessFs::IoctlDev)]
            .into_iter()
            .filter(|(part, _)| lacks(*part))
            .fold(AccessFs::from_all(REQUIRED), |rights, (_, right)| rights & !BitFlags::from(right));

        let context = || "cannot enter a Landlock domain";
        let mut ruleset = strict().handle_access(handled).or_fail(context)?;
        if self.network && !lacks(Part::Network) {
            ruleset = ruleset.handle_access(AccessNet::from_all(REQUIRED)).or_fail(context)?;
        }
        if !lacks(Part::Scope) {
            ruleset = ruleset.scope(self.scopes).or_fail(context)?;
        }
        let status = grants
            .iter()
            .map(|grant| (grant.object, grant.rights & handled))
            .try_fold(ruleset.create().or_fail(context)?, |ruleset, (object, rights)| {
                ruleset.add_rule(PathBeneath::new(object, rights))
            })
            .and_then(landlock::RulesetCreated::restrict_self)
            .or_fail(context)?;
        if status.ruleset == RulesetStatus::FullyEnforced && status.no_new_privs {
            Ok(())
        } else {
            Err(Failure::permanent(format_args!("{}: the kernel enforces only a part of it", context())))
        }
    }

    /// Asks the kernel for each part; gives those that it does not know.
    fn lacking(self) -> Vec<Part> {
        let knows = |part: Part| match part {
            Part::Landlock => strict().handle_access(AccessFs::from_all(LEAST)).is_ok(),
            Part::Truncate => strict().handle_access(AccessFs::Truncate).is_ok(),
            Part::Network => !self.network || strict().handle_access(AccessNet::from_all(REQUIRED)).is_ok(),
            Part::Ioctl => strict().handle_access(AccessFs::IoctlDev).is_ok(),
            Part::Scope => strict().scope(self.scopes).is_ok(),
        };
        Part::ALL.into_iter().map(|(part, ..)| part).filter(|part| !knows(*part)).collect()
    }
}

/// A ruleset for which anything that the kernel does not know is an error.
fn strict() -> Ruleset {
    Ruleset::default().set_compatibility(CompatLevel::HardRequirement)
}

/// Fails when a part is lacking that must be there. Where there is no Landlock at all, nothing else of it is asked for.
fn require(lacking: &[Part], may_lack: Option<MayLack>) -> Outcome {
    let permitted = |part: &Part| may_lack.is_some_and(|may_lack| may_lack.permits(*part));
    let missing = |(part, ..): &(Part, &str, &str)| lacking.contains(part) && !permitted(part);
    let missing: Vec<_> = Part::ALL.into_iter().filter(missing).collect();
    let (what, names) = match missing.as_slice() {
        [(Part::Landlock, name, _), ..] => {
            let what = "has no Landlock as of Linux 5.19, or it is off (add landlock to the kernel's lsm= list)";
            (what.to_owned(), (*name).to_owned())
        }
        _ if missing.is_empty() || lacking.contains(&Part::Landlock) => return Ok(()),
        _ => {
            let list = |choose: fn(&(Part, &'static str, &'static str)) -> &'static str, between| {
                missing.iter().map(choose).collect::<Vec<_>>().join(between)
            };
            (format!("has a Landlock without {}", list(|part| part.2, ", ")), list(|part| part.1, " "))
        }
    };
    let remedy = match may_lack {
        Some(_) => format!("; or the site does without (kernel-may-lack = {names} in its policy)"),
        None => String::new(),
    };
    Err(Failure::permanent(format_args!(
        "this kernel {what}; Linux 6.12 or later is needed to confine this process{remedy}"
    )))
}

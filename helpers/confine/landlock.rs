//! Landlock domains, with nothing that the kernel lacks passed over in silence.

use crate::ground::outcome::{Failure, OrFail, Outcome};
use landlock::{
    ABI, Access, AccessFs, AccessNet, BitFlags, CompatLevel, Compatible, PathBeneath, Ruleset, RulesetAttr,
    RulesetCreatedAttr, RulesetError, RulesetStatus, Scope,
};
use std::os::fd::BorrowedFd;

/// The Landlock ABI whose rights and scopes are all required: file system rights with truncation and device ioctls, TCP, and the scopes
/// of signals and abstract sockets (Linux 6.12). Fixed, so that a domain means the same on every newer kernel.
pub(crate) const REQUIRED: ABI = ABI::V6;

/// The oldest ABI that is of any use: with the one before it nothing can be moved between directories (Linux 5.19).
const LEAST: ABI = ABI::V2;

/// The parts of the kernel that the site lets the helpers do without, each by name. By default none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MayLack {
    /// Landlock altogether (before Linux 5.19, or switched off): only the seccomp profile and the accounts hold then.
    pub landlock: bool,
    /// Landlock's right to truncate (before Linux 6.2).
    pub landlock_truncate: bool,
    /// Landlock's rules for TCP (before Linux 6.7).
    pub landlock_network: bool,
    /// Landlock's right to device ioctls (before Linux 6.10).
    pub landlock_ioctl: bool,
    /// Landlock's scopes of signals and abstract sockets (before Linux 6.12).
    pub landlock_scope: bool,
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

/// A part of Landlock that some kernels lack.
struct Part {
    /// For people.
    description: &'static str,
    /// In the policy file.
    name: &'static str,
    lacking: bool,
    permitted: bool,
}

impl Domain {
    /// Enters the domain for good; it passes on to all that is executed later. Sets no_new_privs.
    ///
    /// `may_lack` holds what the site's policy lets be missing; `None`: whatever the policy says, nothing may.
    ///
    /// # Errors
    /// When the kernel lacks a part that it must have (it is named), or does not enforce everything else.
    pub(crate) fn enter(self, grants: &[Grant<'_>], may_lack: Option<MayLack>) -> Outcome {
        let parts = self.parts(may_lack.unwrap_or_default());
        require(&parts, may_lack.is_some())?;
        let lacks = |name: &str| parts.iter().any(|part| part.name == name && part.lacking);
        if lacks("landlock") {
            return Ok(());
        }
        let unknown = [("landlock-truncate", AccessFs::Truncate), ("landlock-ioctl", AccessFs::IoctlDev)];
        let handled = unknown
            .into_iter()
            .filter(|(name, _)| lacks(name))
            .fold(AccessFs::from_all(REQUIRED), |rights, (_, right)| rights & !BitFlags::from(right));

        let context = || "cannot enter a Landlock domain";
        let mut ruleset = strict().handle_access(handled).or_fail(context)?;
        if self.network && !lacks("landlock-network") {
            ruleset = ruleset.handle_access(AccessNet::from_all(REQUIRED)).or_fail(context)?;
        }
        if !lacks("landlock-scope") {
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

    /// Looks at what the kernel knows, part by part.
    fn parts(self, may_lack: MayLack) -> [Part; 5] {
        let part = |description, name, known: Result<Ruleset, RulesetError>, permitted| Part {
            description,
            name,
            lacking: known.is_err(),
            permitted,
        };
        let files = |rights: BitFlags<AccessFs>| strict().handle_access(rights);
        let network = if self.network { strict().handle_access(AccessNet::from_all(REQUIRED)) } else { Ok(strict()) };
        [
            part("Landlock (5.19)", "landlock", files(AccessFs::from_all(LEAST)), may_lack.landlock),
            part("truncation (6.2)", "landlock-truncate", files(AccessFs::Truncate.into()), may_lack.landlock_truncate),
            part("TCP (6.7)", "landlock-network", network, may_lack.landlock_network),
            part("device ioctls (6.10)", "landlock-ioctl", files(AccessFs::IoctlDev.into()), may_lack.landlock_ioctl),
            part(
                "scopes of signals and abstract UNIX sockets (6.12)",
                "landlock-scope",
                strict().scope(self.scopes),
                may_lack.landlock_scope,
            ),
        ]
    }
}

/// A ruleset for which anything that the kernel does not know is an error.
fn strict() -> Ruleset {
    Ruleset::default().set_compatibility(CompatLevel::HardRequirement)
}

/// Fails when a part is lacking that must be there.
fn require(parts: &[Part], policy_counts: bool) -> Outcome {
    let [landlock, others @ ..] = parts else { return Ok(()) };
    if landlock.lacking && landlock.permitted {
        return Ok(());
    }
    let missing: Vec<&Part> = others.iter().filter(|part| part.lacking && !part.permitted).collect();
    let (what, names) = if landlock.lacking {
        let what = "has no Landlock as of Linux 5.19, or it is off (add landlock to the kernel's lsm= list)".to_owned();
        (what, landlock.name.to_owned())
    } else if missing.is_empty() {
        return Ok(());
    } else {
        let list = |choose: fn(&Part) -> &'static str, between| {
            missing.iter().map(|part| choose(part)).collect::<Vec<_>>().join(between)
        };
        (format!("has a Landlock without {}", list(|part| part.description, ", ")), list(|part| part.name, " "))
    };
    let remedy = if policy_counts {
        format!("; or the site does without (kernel-may-lack = {names} in its policy)")
    } else {
        String::new()
    };
    Err(Failure::permanent(format_args!(
        "this kernel {what}; Linux 6.12 or later is needed to confine this process{remedy}"
    )))
}

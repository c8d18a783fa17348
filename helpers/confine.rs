//! Confinement of the helpers themselves, taken on before the other side's first byte is parsed.

#![forbid(unsafe_code)]

use crate::outcome::{Failure, OrFail, Outcome};
use landlock::{
    ABI, Access, AccessFs, AccessNet, BitFlags, CompatLevel, Compatible, PathBeneath, Ruleset, RulesetAttr,
    RulesetCreatedAttr, RulesetStatus, Scope,
};
use std::os::fd::BorrowedFd;

/// The Landlock ABI that must be enforced in full: file system rights with truncation and device ioctls, TCP, and the scopes of signals
/// and abstract sockets (Linux 6.12).
const REQUIRED: ABI = ABI::V6;

/// The proof that this process is confined. Only [`confine`] makes one, and what touches hostile data asks for it.
pub struct Confined(());

/// What may be done below a directory that is open already.
pub struct Grant<'fd> {
    /// The directory.
    pub directory: BorrowedFd<'fd>,
    /// The rights below it.
    pub rights: BitFlags<AccessFs>,
}

/// To list directories and read files.
pub fn reading() -> BitFlags<AccessFs> {
    AccessFs::ReadDir | AccessFs::ReadFile
}

/// To list and read, and to remove what is there.
pub fn removing() -> BitFlags<AccessFs> {
    reading() | AccessFs::RemoveDir | AccessFs::RemoveFile
}

/// To make directories, files and links of a tree, and to remove them again. No devices, FIFOs or sockets, nothing is executed.
pub fn filling() -> BitFlags<AccessFs> {
    removing()
        | AccessFs::MakeDir
        | AccessFs::MakeReg
        | AccessFs::MakeSym
        | AccessFs::WriteFile
        | AccessFs::Truncate
        | AccessFs::Refer
}

/// To exchange or remove a directory among its siblings.
pub fn renaming() -> BitFlags<AccessFs> {
    AccessFs::MakeDir | AccessFs::RemoveDir
}

/// Takes on the Landlock domain: nothing of any file system but the grants, no TCP, no abstract sockets and, unless
/// `may_signal`, no signal to anything outside. For good, and for all that is executed later.
///
/// # Errors
/// When the kernel lacks a part, or does not enforce everything.
pub fn confine(grants: &[Grant<'_>], may_signal: bool) -> Outcome<Confined> {
    let context = || "cannot confine this process with Landlock (ABI 6 or later is needed: Linux 6.12, with landlock in the kernel's lsm= list)";
    let scopes = if may_signal { Scope::AbstractUnixSocket.into() } else { Scope::from_all(REQUIRED) };
    let ruleset = Ruleset::default()
        .set_compatibility(CompatLevel::HardRequirement)
        .handle_access(AccessFs::from_all(REQUIRED))
        .and_then(|ruleset| ruleset.handle_access(AccessNet::from_all(REQUIRED)))
        .and_then(|ruleset| ruleset.scope(scopes))
        .and_then(Ruleset::create)
        .or_fail(context)?;
    let status = grants
        .iter()
        .try_fold(ruleset, |ruleset, grant| ruleset.add_rule(PathBeneath::new(grant.directory, grant.rights)))
        .and_then(landlock::RulesetCreated::restrict_self)
        .or_fail(context)?;
    let locked = rustix::thread::no_new_privs().or_fail(|| "cannot read no_new_privs back")?;
    if status.ruleset == RulesetStatus::FullyEnforced && locked {
        Ok(Confined(()))
    } else {
        Err(Failure::permanent(format_args!("{}: the kernel enforces only a part of it", context())))
    }
}

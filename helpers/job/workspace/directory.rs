//! The directory that is the sandbox, made or taken.

use super::entry::Entry;
use crate::files::sandbox::Names;
use crate::ground::outcome::Outcome;
use std::os::fd::OwnedFd;

/// The sandbox S. As long as the job has it, `home` is the directory S.condor.
pub(super) struct Directory {
    /// Its names in its parent.
    pub(super) names: Names,
    /// The pilot's own directory, under whichever of the two names it is at the moment.
    pub(super) home: OwnedFd,
    /// Whether it was made by us.
    pub(super) made: bool,
    /// The directory that was made for this job only and holds the sandbox.
    pub(super) run_directory: Option<Entry>,
}

impl Directory {
    /// Takes a directory as the sandbox.
    pub(super) fn enter(names: Names, made: bool) -> Outcome<Self> {
        names.require_own_parent()?;
        let home = names.open_own(&names.sandbox)?.directory;
        Ok(Directory { names, home, made, run_directory: None })
    }
}

//! Whom a tree comes from, and what follows from that.

use crate::copy::rules::CleanupRules;
use crate::files::component::Component;
use crate::files::walk::{CHANGE, mode_of};
use rustix::fs::Mode;

/// The permission bits that can be kept: never set-id or sticky, never writable by group or others.
pub(super) const KEPT_MODE: u16 = 0o755;

/// Whom the tree comes from.
#[derive(Clone, Copy)]
pub enum Origin<'a> {
    /// The pilot, who may have any link in it.
    Pilot,
    /// The target side: the proxy with this name is not its to send, absolute links may lead below these paths of the
    /// sandbox, and the site's rules hold.
    Target(&'a Component, &'a [Vec<u8>], CleanupRules),
}

impl Origin<'_> {
    /// What a directory of this mode gets. The pilot has to move, to read and in the end to remove what a job left,
    /// whatever its old owner did to it. A job gets its directories as the submitter made them.
    pub(super) fn directory_mode(&self, mode: u16) -> Mode {
        self.mode(mode, CHANGE)
    }

    /// What a file of this mode gets: the pilot has to read it.
    pub(super) fn file_mode(&self, mode: u16) -> Mode {
        self.mode(mode, 0o400)
    }

    fn mode(&self, mode: u16, for_the_pilot: u16) -> Mode {
        mode_of(mode & KEPT_MODE | if matches!(self, Origin::Pilot) { 0 } else { for_the_pilot })
    }

    /// The bounds; of what comes from the pilot the largest that a site could choose.
    pub(super) fn rules(&self) -> CleanupRules {
        match self {
            Origin::Pilot => CleanupRules::default(),
            Origin::Target(_, _, rules) => *rules,
        }
    }
}

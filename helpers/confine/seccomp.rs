//! The seccomp profiles, compiled from `seccomp-profiles/` when the package was built.

use seccompiler::{apply_filter, sock_filter};

/// A compiled profile.
pub struct Profile(&'static [sock_filter]);

impl Profile {
    /// Installs the profile for this thread and all that come from it, for good. Sets no_new_privs.
    ///
    /// # Errors
    /// The kernel's, in words: it has no seccomp filters, or something around this process forbids them.
    pub fn install(&self) -> Result<(), seccompiler::Error> {
        apply_filter(self.0)
    }
}

/// How many filters a confined helper has put on itself: its one profile.
pub(crate) const OWN_FILTERS: u32 = 1;

/// The filters that `glexec_rootless` puts on a job, in this order. How many they are is also a mark: see
/// `target::job_mark`.
pub(crate) const ROOTLESS_FILTERS: [Profile; 3] = [ROOTLESS_JOB, ROOTLESS_JOB_ABSENT, ROOTLESS_JOB_UNSUPPORTED];

include!(concat!(env!("OUT_DIR"), "/profiles.rs"));

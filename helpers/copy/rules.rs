//! What may come back from a job: bounds and links, by default or as the site decides.

use crate::ground::limits;
use core::time::Duration;

/// Bounds on what the pilot takes back from a job. Past one of them cleanup fails, and the job's sandbox stays as it
/// is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CleanupRules {
    /// The most bytes of data, holes not counted. At most [`limits::DATA_BYTES`].
    pub bytes: u64,
    /// The most entries of all kinds. At most [`limits::ENTRIES`].
    pub entries: u64,
    /// The deepest directory. At most [`limits::DEPTH`].
    pub depth: usize,
    /// How long the copy may take, whole seconds. At most [`limits::COPY_DEADLINE`].
    pub time: Duration,
    /// Which symbolic links come back.
    pub symlinks: Symlinks,
}

impl Default for CleanupRules {
    fn default() -> Self {
        CleanupRules {
            bytes: limits::DATA_BYTES,
            entries: limits::ENTRIES,
            depth: limits::DEPTH,
            time: limits::COPY_DEADLINE,
            symlinks: Symlinks::Inside,
        }
    }
}

/// Which of a job's symbolic links come back; the others are left out and reported.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Symlinks {
    /// None.
    None,
    /// Those that cannot lead out of the sandbox or to the proxy ([`super::link::stays_inside`]).
    Inside,
    /// All: whoever reads the sandbox afterwards must not follow links out of it.
    All,
}

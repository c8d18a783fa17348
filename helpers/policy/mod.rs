//! What a site has decided for all jobs: the policy file. `example.conf` beside this file explains every key, and is what
//! the tests hold the parser to.
//!
//! [`file`] finds and reads the file, [`parse`] understands its bytes, [`job`] is what the job wrapper does with its part.

#![forbid(unsafe_code)]

mod file;
mod job;
mod parse;

pub use file::PATH;
pub use job::JobPolicy;
pub use parse::Refused;

use crate::ground::limits;
use crate::ground::outcome::{Failure, Outcome};
use core::time::Duration;

/// What a site has decided. The default is what holds without a file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Policy {
    /// What the kernel may lack.
    pub may_lack: MayLack,
    /// What a job is kept from.
    pub job: JobPolicy,
    /// Names of variables that no job gets, besides those of [`crate::target::environment::SECRET_NAMES`].
    pub secret_variables: Vec<Vec<u8>>,
    /// What may come back from a job.
    pub cleanup: CleanupRules,
}

impl Policy {
    /// Reads the site's policy, [`PATH`]. Without that file the defaults hold.
    ///
    /// # Errors
    /// When the file is there and not exactly as it must be: a site that wanted something must not get less without a word.
    pub fn load() -> Outcome<Self> {
        let Some(text) = file::read()? else { return Ok(Policy::default()) };
        Policy::parse(&text)
            .map_err(|refused| Failure::permanent(format_args!("{PATH}:{}: {}", refused.line, refused.why)))
    }

    /// Understands the bytes of a policy file. Pure: nothing but the bytes decides.
    ///
    /// # Errors
    /// The first line that is wrong, and why.
    pub fn parse(text: &[u8]) -> Result<Self, Refused> {
        parse::parse(text)
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

/// Bounds on what the pilot takes back from a job. Past one of them cleanup fails, and the job's sandbox stays as it is.
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
    /// Those that cannot lead out of the sandbox or to the proxy ([`crate::copy::link::stays_inside`]).
    Inside,
    /// All: whoever reads the sandbox afterwards must not follow links out of it.
    All,
}

//! What a site can decide, and what holds where it does not.

use crate::confine::landlock::MayLack;
use crate::copy::rules::CleanupRules;

/// What a site has decided. The default is what holds without a file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Policy {
    /// What the kernel may lack.
    pub may_lack: MayLack,
    /// What a job is kept from.
    pub job: JobPolicy,
    /// Names of variables that no job gets, besides those that the wrapper knows by itself (`target::environment`).
    pub secret_variables: Vec<Vec<u8>>,
    /// What may come back from a job.
    pub cleanup: CleanupRules,
    /// Whether a file in a sandbox that comes back says what was left out.
    pub left_out_file: bool,
    /// Whether a sandbox has to be on the disk before it changes hands.
    pub durable: bool,
}

/// What the wrapper takes on right before it becomes the job.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct JobPolicy {
    /// Nothing that the job executes gains privileges. Implied by the other two: the kernel asks for it.
    pub no_new_privs: bool,
    /// The filters `seccomp-profiles/job.policy.json` and `job.policy.absent.json`.
    pub seccomp: bool,
    /// The files that the job has besides its sandbox; `None`: all.
    pub view: Option<View>,
}

/// Absolute paths: each stands for what is below, if it is a directory. Symbolic links in them are followed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct View {
    /// Can be listed and read.
    pub read: Vec<Vec<u8>>,
    /// Can be executed, too.
    pub execute: Vec<Vec<u8>>,
    /// Can be listed, read and changed; devices answer ioctls. Nothing there is executed.
    pub write: Vec<Vec<u8>>,
}

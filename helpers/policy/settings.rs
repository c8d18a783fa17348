//! What a site can decide, and what holds where it does not.

#![forbid(unsafe_code)]

use crate::confine::landlock::MayLack;
use crate::copy::rules::CleanupRules;
use crate::policy::job::JobPolicy;

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
}

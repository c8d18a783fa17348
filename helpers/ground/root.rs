//! Root's own account is nobody's to run jobs in: what confines a job leaves to it what its account owns.

use crate::ground::outcome::{Failure, Outcome};
use rustix::process::{geteuid, getuid};

/// Set for the helpers by `condor_glexec_job --allow-root`.
pub(crate) const ALLOW_ROOT: &str = "_CONDOR_GLEXEC_ALLOW_ROOT";

/// For what starts jobs.
///
/// # Errors
/// When the caller is root and has not said that it is meant to be.
pub(crate) fn require_ordinary_account(root_is_allowed: bool) -> Outcome {
    if root_is_allowed || !(geteuid().is_root() || getuid().is_root()) {
        return Ok(());
    }
    Err(Failure::permanent(
        "called as root: the job could be root, too; call it as another account, or condor_glexec_job with \
         --allow-root where uid 0 is a container's and all that belongs to it may be the job's",
    ))
}

/// The same, as `condor_glexec_job` or whoever else calls a helper has put it into its environment.
///
/// # Errors
/// As above.
pub(crate) fn require_ordinary_caller() -> Outcome {
    require_ordinary_account(std::env::var_os(ALLOW_ROOT).is_some())
}

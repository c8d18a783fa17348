//! The seccomp filters of a job: what one account can do to itself and Landlock does not know about.
//!
//! Everything is allowed but the calls that `seccomp-profiles/rootless.job.json` lists, since nobody knows what a job
//! needs; those of `rootless.job.absent.json` are answered as by a kernel that does not have them, those of
//! `rootless.job.unsupported.json` as by a file system, because programs then do without. Calls of another
//! architecture's convention (32 bit programs) kill the process, because their numbers mean something else; those of
//! the x32 convention do not exist.
//!
//! The filters are also a mark: whoever carries them is inside a domain (`target::status` tells by it).

use super::fault::site_fault;
use crate::confine::seccomp::{Profile, ROOTLESS_FILTERS};
use crate::ground::outcome::Outcome;

/// Installs the filters for good.
///
/// # Errors
/// The administrator's: the kernel has no seccomp filters, or something around us forbids them.
pub(super) fn install() -> Outcome {
    let context = "cannot install the seccomp filter";
    ROOTLESS_FILTERS.iter().try_for_each(Profile::install).map_err(site_fault(context))
}

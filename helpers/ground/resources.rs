//! The limits that the kernel puts on this process (`setrlimit(2)`). What bounds bytes from outside is in `limits`.

use crate::sys;
use rustix::process::{Resource, Rlimit, setrlimit};
use std::io;

/// The limit on a resource.
///
/// # Errors
/// The kernel's.
pub fn limit(resource: Resource) -> io::Result<Rlimit> {
    let found = sys::limits(resource)?;
    let bound = |value| (value != libc::RLIM_INFINITY).then_some(value);
    Ok(Rlimit { current: bound(found.rlim_cur), maximum: bound(found.rlim_max) })
}

/// No core file for this process and what it starts, unless that raises the limit again.
///
/// # Errors
/// The kernel's.
pub(crate) fn switch_core_off() -> io::Result<()> {
    let maximum = limit(Resource::Core)?.maximum;
    Ok(setrlimit(Resource::Core, Rlimit { current: Some(0), maximum })?)
}

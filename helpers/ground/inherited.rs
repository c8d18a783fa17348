//! What the caller leaves to this process by starting it: descriptors, timers, a keyring.

use crate::sys;
use rustix::io::Errno;
use std::io;
use std::os::fd::RawFd;

/// Closes every descriptor from `first` on.
///
/// # Errors
/// The kernel's; a kernel or filter without `close_range` is asked through `/proc/self/fd` instead.
pub(crate) fn close_from(first: RawFd) -> io::Result<()> {
    let Ok(start) = u32::try_from(first) else { return Err(io::ErrorKind::InvalidInput.into()) };
    if sys::close_range(start).is_ok() {
        return Ok(());
    }
    let open: Vec<RawFd> = std::fs::read_dir("/proc/self/fd")?
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .filter(|fd| *fd >= first)
        .collect();
    // The directory's own descriptor is in the list but already closed, which the kernel answers with EBADF.
    open.into_iter().for_each(sys::close);
    Ok(())
}

/// Switches off the timers that the caller has set for itself: an exec passes them on, and their signals would end what
/// comes after it.
pub(crate) fn cancel_timers() {
    for timer in [libc::ITIMER_REAL, libc::ITIMER_VIRTUAL, libc::ITIMER_PROF] {
        let _ = sys::switch_timer_off(timer);
    }
}

/// Leaves the session keyring of the caller for a new, empty one: whoever possesses a keyring reads the keys in it,
/// whatever account it becomes later. Where the kernel has no keyrings or a filter refuses them, there is none to be
/// used later, either.
///
/// # Errors
/// When the account may have no more keyrings.
pub(crate) fn leave_session_keyring() -> io::Result<()> {
    match sys::new_session_keyring() {
        Err(Errno::DQUOT) => Err(Errno::DQUOT.into()),
        _ => Ok(()),
    }
}

//! Waiting, in pieces short enough for signs of life.

use crate::ground::heartbeat::beat;
use crate::sys;
use core::time::Duration;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use std::os::fd::BorrowedFd;
use std::time::Instant;

/// The longest wait without a sign of life.
const PIECE: Duration = Duration::from_secs(30);

/// Does nothing for a while, with a call that every profile has.
pub(crate) fn pause(duration: Duration) {
    let started = Instant::now();
    while let Some(left) = duration.checked_sub(started.elapsed()) {
        beat();
        let _ = poll(&mut [], Timespec::try_from(left.min(PIECE)).ok().as_ref());
    }
}

/// The moment when `patience` is used up.
pub(crate) fn later(patience: Duration) -> Instant {
    let now = Instant::now();
    now.checked_add(patience).unwrap_or(now)
}

/// Lets the kernel end this process by SIGALRM (whose disposition is the default) in `patience`, in whole seconds,
/// unless it is called again before; with zero no more.
pub(crate) fn end_after(patience: Duration) {
    sys::alarm(u32::try_from(patience.as_secs()).unwrap_or(u32::MAX));
}

/// Waits for one of `events` on `fd`, or for its end; false when `patience` is used up.
///
/// # Errors
/// The kernel's; interruptions are waited out.
pub(crate) fn wait_for(fd: BorrowedFd<'_>, events: PollFlags, patience: Duration) -> Result<bool, Errno> {
    let started = Instant::now();
    loop {
        beat();
        let left = patience.saturating_sub(started.elapsed());
        match poll(&mut [PollFd::from_borrowed_fd(fd, events)], Timespec::try_from(left.min(PIECE)).ok().as_ref()) {
            Ok(0) if left > PIECE => {}
            Ok(ready) => return Ok(ready > 0),
            Err(Errno::INTR) => {}
            Err(errno) => return Err(errno),
        }
    }
}

//! What signals do to this process: nothing inherited, and no death by a closed pipe.

use crate::sys::{self, Disposition};

/// The largest signal number of Linux.
const SIGNAL_LAST: i32 = 64;

/// Gives every signal its default disposition and unblocks all.
///
/// Rust's start-up ignores SIGPIPE and callers leave what they like; neither is for the programs that we execute.
pub(crate) fn reset_signals() {
    for signal in 1..=SIGNAL_LAST {
        // Refused for SIGKILL and SIGSTOP, which nobody can have changed.
        let _ = sys::set_disposition(signal, Disposition::Default);
    }
    let _ = sys::change_mask(libc::SIG_SETMASK, 0);
}

/// Ignores SIGPIPE and SIGXFSZ, so that a closed socket or a file size limit is an error that is reported.
pub(crate) fn ignore_write_signals() {
    for signal in [libc::SIGPIPE, libc::SIGXFSZ] {
        let _ = sys::set_disposition(signal, Disposition::Ignore);
    }
}

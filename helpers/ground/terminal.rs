//! Getting rid of the caller's terminal.

use crate::sys::{self, Disposition};
use rustix::fs::{Mode, OFlags, open};
use rustix::io::Errno;
use std::io;
use std::os::fd::AsFd;

/// Leaves this process without a controlling terminal: in a session of its own, or, where it leads a process group and
/// so cannot get one, by giving the terminal up.
///
/// # Errors
/// The kernel's. A process that leads a group where `/dev/tty` cannot be asked for is refused, too.
pub(crate) fn leave_terminal() -> io::Result<()> {
    if rustix::process::setsid().is_ok() { Ok(()) } else { drop_terminal() }
}

/// Whether this process has a controlling terminal: field 7 of its `/proc/self/stat`, the fifth behind its name
/// (proc_pid_stat(5)).
fn has_terminal() -> io::Result<bool> {
    let line = std::fs::read("/proc/self/stat")?;
    let behind_name = line.rsplit(|byte| *byte == b')').next().unwrap_or_default();
    let number = behind_name.split(|byte| *byte == b' ').nth(5);
    Ok(number != Some(b"0"))
}

/// Gives the controlling terminal up, if there is one; the session stays as it is.
///
/// # Errors
/// The kernel's. A process where `/dev/tty` cannot be asked for is refused, too.
pub(crate) fn drop_terminal() -> io::Result<()> {
    let terminal =
        match open(c"/dev/tty", OFlags::RDWR | OFlags::NOCTTY | OFlags::NONBLOCK | OFlags::CLOEXEC, Mode::empty()) {
            Ok(terminal) => terminal,
            // There is none; or, in a bare container, not even the device to ask for it.
            Err(Errno::NXIO | Errno::NOENT) => return Ok(()),
            // A domain of glexec_rootless lets nobody ask, but leaves no terminal, either.
            Err(Errno::ACCESS | Errno::PERM) if !has_terminal()? => return Ok(()),
            Err(errno) => return Err(errno.into()),
        };
    // The leader of a session hangs up on the terminal's foreground, which it may be part of itself.
    let _ = sys::set_disposition(libc::SIGHUP, Disposition::Ignore);
    let outcome = sys::disown_terminal(terminal.as_fd());
    let _ = sys::set_disposition(libc::SIGHUP, Disposition::Default);
    Ok(outcome?)
}

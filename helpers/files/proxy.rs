//! The job's proxy in the pilot's directory: is it a file that a credential may be in?

use crate::files::component::Component;
use crate::files::metadata::Metadata;
use crate::ground::limits;
use crate::ground::outcome::{Failure, OrFail, Outcome};
use rustix::fs::{FileType, Mode, OFlags, chmod, openat};
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};

/// Opens the proxy `name` in `directory` for reading, without following a link or waiting for a FIFO, and checks that
/// it can only be ours: a regular file of this account with one name, not open to group or others, 1 byte to
/// [`limits::PROXY_BYTES`] long.
///
/// # Errors
/// Says which of these does not hold.
pub fn open(directory: BorrowedFd<'_>, name: &Component) -> Outcome<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let file =
        openat(directory, name.c_str(), flags, Mode::empty()).or_fail(|| format!("cannot open the proxy {name}"))?;
    let found = Metadata::of(&file).or_fail(|| format!("cannot look at the proxy {name}"))?;
    let complaint = if found.kind != FileType::RegularFile {
        "is not a regular file"
    } else if found.owner != rustix::process::geteuid().as_raw() {
        "does not belong to this account"
    } else if found.mode & 0o077 != 0 {
        "can be read or written by others; chmod 600"
    } else if found.links != 1 {
        "has more than one name (hard links)"
    } else if found.size == 0 {
        "is empty; get a new one"
    } else if found.size > limits::PROXY_BYTES {
        "is larger than any proxy (1 MiB)"
    } else {
        return Ok(file);
    };
    Err(Failure::permanent(format_args!("the proxy {name} {complaint}")))
}

/// Gives the proxy `name` in `directory` mode 0600 again if it is a regular file of this account with one name and
/// its mode is why [`open`] would refuse it. Under a switcher that stays in one account the job can take the mode
/// away, and must not keep itself from being ended so. What cannot be repaired is left for [`open`] to refuse.
///
/// Only for those who end a job (kill, cleanup): they give the content to nobody. Whoever could change it meanwhile
/// could at most have the switch go to another account; that one's peer can signal its own processes only and takes
/// no sandbox but its own, and is believed no more than any.
pub(crate) fn close_to_others(directory: BorrowedFd<'_>, name: &Component) {
    let handle = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let Ok(file) = openat(directory, name.c_str(), handle, Mode::empty()) else { return };
    let unfit = Metadata::of(&file).is_ok_and(|found| {
        found.kind == FileType::RegularFile
            && found.owner == rustix::process::geteuid().as_raw()
            && found.links == 1
            && found.mode & 0o477 != 0o400
    });
    if unfit {
        // By way of /proc, since fchmod takes no handle, and without the right to read there is nothing else to be had.
        let _ = chmod(format!("/proc/self/fd/{}", file.as_raw_fd()), Mode::RUSR | Mode::WUSR);
    }
}

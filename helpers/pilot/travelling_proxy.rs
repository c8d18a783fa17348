//! The proxy's way to the target side: a copy, since the pilot's own file is what its helpers lock.

use crate::files::metadata::Metadata;
use crate::files::proxy_copy::fill;
use crate::ground::limits::INLINE_BYTES;
use crate::ground::outcome::{OrFail, Outcome};
use crate::sys::close_written;
use rustix::fs::{CWD, Mode, OFlags, openat};
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};

/// A copy of `proxy`, a file that [`crate::files::proxy::open`] accepted in `directory`, without a name and open for
/// reading; `None` if it is small enough to travel as bytes.
///
/// The pilot's helpers keep each other away by a lock on the pilot's own file: nobody else may get hold of that.
///
/// # Errors
/// When it cannot be copied.
pub(crate) fn nameless_copy(directory: BorrowedFd<'_>, proxy: &OwnedFd) -> Outcome<Option<OwnedFd>> {
    let context = || "cannot copy the proxy (the file system must know O_TMPFILE)";
    let source = Metadata::of(proxy).or_fail(context)?;
    if usize::try_from(source.size).is_ok_and(|size| size <= INLINE_BYTES) {
        return Ok(None);
    }
    let flags = OFlags::RDWR | OFlags::TMPFILE | OFlags::CLOEXEC;
    let own = openat(directory, c".", flags, Mode::RUSR | Mode::WUSR).or_fail(context)?;
    fill(directory, proxy, &own, &source, context)?;
    rustix::fs::futimens(&own, &source.mtime.into()).or_fail(context)?;
    let magic = format!("/proc/self/fd/{}", own.as_raw_fd());
    let read_only = openat(CWD, magic.as_str(), OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()).or_fail(context)?;
    close_written(own).or_fail(context).map(|()| Some(read_only))
}

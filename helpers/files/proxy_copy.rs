//! Copies of a proxy: one without a name that travels to the target side, and a new one that waits until it takes the old one's place.

#![forbid(unsafe_code)]

use crate::files::component::Component;
use crate::files::content::{Copier, Uncopied};
use crate::files::metadata::Metadata;
use crate::ground::limits::{self, INLINE_BYTES};
use crate::ground::outcome::{Failure, OrFail, Outcome};
use core::convert::Infallible;
use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags, openat, renameat, unlinkat};
use rustix::io::Errno;
use std::ffi::CStr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

/// A copy of `proxy`, a file that [`crate::files::proxy::open`] accepted in `directory`, without a name and open for reading; `None` if it is small enough to travel as
/// bytes.
///
/// The pilot's helpers keep each other away by a lock on the pilot's own file: nobody else may get hold of that.
///
/// # Errors
/// When it cannot be copied.
pub fn nameless_copy(directory: BorrowedFd<'_>, proxy: &OwnedFd) -> Outcome<Option<OwnedFd>> {
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
    openat(CWD, magic.as_str(), OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()).or_fail(context).map(Some)
}

/// The name under which a new proxy waits in a sandbox until it is whole. What an interrupted helper left there may be removed.
pub const STAGED_NAME: &CStr = c".glexec-new-proxy";

/// A new proxy that is whole but not yet in its place. It is removed again unless it gets there.
pub struct Staged<'d> {
    directory: BorrowedFd<'d>,
    installed: bool,
}

impl<'d> Staged<'d> {
    /// Copies `content`, a file that [`crate::files::proxy::open`] accepted, into `directory`, mode 0600.
    ///
    /// # Errors
    /// When it is none any more, or cannot be copied.
    pub fn copy(directory: BorrowedFd<'d>, content: &OwnedFd) -> Outcome<Self> {
        let context = || "cannot copy the new proxy into the sandbox";
        let source = Metadata::of(content).or_fail(context)?;
        if source.kind != FileType::RegularFile || source.size == 0 || source.size > limits::PROXY_BYTES {
            return Err(Failure::permanent("the new proxy is not a file of a proxy's size"));
        }
        match unlinkat(directory, STAGED_NAME, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => {}
            Err(errno) => return Err(Failure::permanent(format_args!("{}: {errno}", context()))),
        }
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let own = openat(directory, STAGED_NAME, flags, Mode::RUSR | Mode::WUSR).or_fail(context)?;
        let staged = Staged { directory, installed: false };
        fill(directory, content, &own, &source, context).map(|()| staged)
    }

    /// Puts it in the place of `name`, atomically. A link that is there is replaced, not followed.
    ///
    /// # Errors
    /// When a directory is there (the job may have made one), or the kernel refuses.
    pub fn install(mut self, name: &Component) -> Outcome {
        renameat(self.directory, STAGED_NAME, self.directory, name.c_str())
            .or_fail(|| format!("cannot put the new proxy in the place of {name}"))?;
        self.installed = true;
        Ok(())
    }
}

impl Drop for Staged<'_> {
    fn drop(&mut self) {
        if !self.installed {
            let _ = unlinkat(self.directory, STAGED_NAME, AtFlags::empty());
        }
    }
}

fn fill(
    directory: BorrowedFd<'_>,
    from: &OwnedFd,
    to: &OwnedFd,
    source: &Metadata,
    context: impl Fn() -> &'static str,
) -> Outcome {
    match Copier::new(directory).copy(from.as_fd(), to.as_fd(), source, |_| Ok::<(), Infallible>(())) {
        Ok(()) => Ok(()),
        Err(Uncopied::System(errno)) => Err(Failure::permanent(format_args!("{}: {errno}", context()))),
        Err(Uncopied::Changed) => Err(Failure::permanent("the proxy changed while it was copied")),
        Err(Uncopied::Stopped(never)) => match never {},
    }
}

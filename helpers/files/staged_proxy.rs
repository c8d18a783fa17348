//! A new proxy that waits beside the old one until it takes its place.

use crate::files::component::Component;
use crate::files::metadata::Metadata;
use crate::files::proxy_copy::fill;
use crate::files::sandbox::STAGED_NAME;
use crate::ground::limits;
use crate::ground::outcome::{Failure, OrFail, Outcome};
use crate::sys::close_written;
use rustix::fs::{AtFlags, FileType, Mode, OFlags, openat, renameat, unlinkat};
use rustix::io::Errno;
use std::os::fd::{BorrowedFd, OwnedFd};

/// A new proxy that is whole but not yet in its place. It is removed again unless it gets there.
pub(crate) struct Staged<'d> {
    directory: BorrowedFd<'d>,
    installed: bool,
}

impl<'d> Staged<'d> {
    /// Copies `content`, a file that [`crate::files::proxy::open`] accepted, into `directory`, mode 0600.
    ///
    /// # Errors
    /// When it is none any more, or cannot be copied.
    pub(crate) fn copy(directory: BorrowedFd<'d>, content: &OwnedFd) -> Outcome<Self> {
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
        fill(directory, content, &own, &source, context)?;
        close_written(own).or_fail(context).map(|()| staged)
    }

    /// Puts it in the place of `name`, atomically. A link that is there is replaced, not followed.
    ///
    /// # Errors
    /// When a directory is there (the job may have made one), or the kernel refuses.
    pub(crate) fn install(mut self, name: &Component) -> Outcome {
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

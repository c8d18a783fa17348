//! A name in an open directory.

use crate::files::component::Component;
use crate::files::sandbox::below;
use crate::ground::escape::Escaped;
use crate::ground::outcome::{OrFail, Outcome};
use rustix::fs::{AtFlags, CWD, Mode, OFlags, openat, unlinkat};
use rustix::io::Errno;
use std::ffi::CStr;
use std::os::fd::{AsFd, OwnedFd};

/// How a directory of the caller's is opened; what is below it, with `NOFOLLOW` besides.
pub(super) const DIRECTORY: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);

/// A name, whether there is something of that name or not.
pub(super) struct Entry {
    pub(super) directory: OwnedFd,
    pub(super) directory_path: Vec<u8>,
    pub(super) name: Component,
}

impl Entry {
    /// A name in the directory of this path.
    pub(super) fn new(directory_path: Vec<u8>, name: Component) -> Result<Self, Errno> {
        let directory = openat(CWD, directory_path.as_slice(), DIRECTORY, Mode::empty())?;
        Ok(Entry { directory, directory_path, name })
    }

    pub(super) fn path(&self) -> Vec<u8> {
        below(&self.directory_path, &self.name)
    }

    /// Removes the empty directory of that name.
    pub(super) fn remove_directory(&self) -> Outcome {
        unlinkat(&self.directory, self.name.c_str(), AtFlags::REMOVEDIR)
            .or_fail(|| format!("cannot remove {}", Escaped(&self.path())))
    }
}

/// Removes a file, should it still be there.
pub(super) fn remove_file(directory: impl AsFd, name: &CStr) -> Result<(), Errno> {
    match unlinkat(directory, name, AtFlags::empty()) {
        Err(Errno::NOENT) => Ok(()),
        removed => removed,
    }
}

//! Which of the files that were made are further names of one: an index that is a directory of our own, with an entry
//! for each inode that may come again, so that memory does not grow with it.

use crate::confine::Confined;
use crate::files::component::Component;
use crate::files::metadata::Metadata;
use crate::files::name::Name;
use crate::files::remove::remove_directory;
use crate::files::walk::DIRECTORY;
use crate::ground::outcome::{OrFail, Outcome, Unmade};
use arrayvec::ArrayString;
use core::fmt::Write;
use rustix::fs::{AtFlags, Mode, linkat, mkdirat, openat, unlinkat};
use rustix::io::Errno;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// The digits of the largest device and inode numbers: each btrfs subvolume counts its inodes by itself.
const KEY_BYTES: usize = 33;

/// The index. It is made when the first file is remembered.
#[derive(Default)]
pub(super) struct HardLinks(Option<(OwnedFd, Component)>);

/// What became of a file's further name.
pub(super) enum Linked {
    /// It is there.
    Yes,
    /// There is no such file yet, or it takes no more names.
    No,
    /// There is one, but the source has changed since.
    Changed,
}

impl HardLinks {
    /// Makes `name` in `here` a further name of the file that was remembered for the source's inode.
    ///
    /// The inode number is the kernel's word about the descriptor, not the sender's.
    ///
    /// # Errors
    /// The kernel's.
    pub(super) fn link(&self, here: BorrowedFd<'_>, name: Name<'_>, source: &Metadata) -> Result<Linked, Errno> {
        let Some((index, _)) = &self.0 else { return Ok(Linked::No) };
        let key = key(source);
        match linkat(index, key.as_str(), here, name.bytes(), AtFlags::empty()) {
            Ok(()) if Metadata::at(index, key.as_str())?.has_content_of(source) => Ok(Linked::Yes),
            Ok(()) => Ok(Linked::Changed),
            Err(Errno::NOENT) => Ok(Linked::No),
            // The file system holds no more names of one file: begin another one.
            Err(Errno::MLINK) => unlinkat(index, key.as_str(), AtFlags::empty()).map(|()| Linked::No),
            Err(errno) => Err(errno),
        }
    }

    /// Remembers `name` in `here` as what was made of the source. The index is made in `root`.
    ///
    /// # Errors
    /// When there is no room for it.
    pub(super) fn remember(
        &mut self,
        root: &OwnedFd,
        here: BorrowedFd<'_>,
        name: Name<'_>,
        source: &Metadata,
    ) -> Outcome {
        let context = || "cannot keep track of hard links";
        let index = match &self.0 {
            Some((index, _)) => index,
            None => {
                // No sender can have foreseen the name, so it cannot be one of the tree's.
                let name = Component::unforeseen(".glexec-links-").or_fail(context)?;
                mkdirat(root, name.c_str(), Mode::RWXU).map_err(Unmade).or_fail(context)?;
                let opened = openat(root, name.c_str(), DIRECTORY, Mode::empty()).or_fail(context)?;
                &self.0.insert((opened, name)).0
            }
        };
        linkat(here, name.bytes(), index, key(source).as_str(), AtFlags::empty()).map_err(Unmade).or_fail(context)
    }

    /// Removes the index from `root`.
    ///
    /// # Errors
    /// The kernel's.
    pub(super) fn forget(&mut self, root: &OwnedFd, proof: &Confined) -> Outcome {
        let Some((opened, name)) = self.0.take() else { return Ok(()) };
        drop(opened);
        remove_directory(root.as_fd(), name.c_str(), proof).or_fail(|| "cannot remove the index of hard links")
    }
}

/// What a file is called in the index.
fn key(source: &Metadata) -> ArrayString<KEY_BYTES> {
    let mut key = ArrayString::new();
    // The largest numbers fit.
    let _ = write!(key, "{:x}-{:x}", source.identity.0, source.identity.1);
    key
}

//! A private place inside the pilot's directory where a tree arrives, and its move into that directory once it is
//! whole.

use crate::confine::Confined;
use crate::files::component::Component;
use crate::files::remove::remove_directory;
use crate::files::sandbox::STAGED_NAME;
use crate::files::walk::DIRECTORY;
use crate::ground::heartbeat::beat;
use crate::ground::outcome::{OrFail, Outcome, Unmade};
use core::mem::MaybeUninit;
use rustix::fs::{Mode, RawDir, RenameFlags, SeekFrom, mkdirat, openat, renameat, renameat_with, seek};
use rustix::io::Errno;
use std::ffi::CStr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// What the names of staging directories begin with. The rest is random: the job cannot take it in advance.
const PREFIX: &str = ".glexec-incoming-";

/// Inside it, where the tree arrives.
const TREE: &CStr = c"tree";

/// Inside it, where entries go that the tree replaces.
const REPLACED: &CStr = c"replaced";

/// Room for the directory entries of one read.
const ENTRIES_BYTES: usize = 8 * 1024;

/// A tree on its way into `home`. What is not moved in is removed.
pub struct Staging<'d> {
    home: BorrowedFd<'d>,
    name: Component,
    tree: OwnedFd,
    replaced: OwnedFd,
    proof: &'d Confined,
}

/// Removes what interrupted helpers left in the pilot's own directory.
///
/// A file of the job's could have such a name, too, if an earlier call was interrupted while it moved in; but then
/// the job's sandbox is still whole, and it comes again.
///
/// # Errors
/// When something cannot be removed.
pub fn sweep(home: BorrowedFd<'_>, proof: &Confined) -> Outcome {
    let context = || "cannot remove what an interrupted helper left";
    // A move that was interrupted may have brought something of the job's with this name, a directory, too.
    remove_directory(home, STAGED_NAME, proof).or_fail(context)?;
    for_each_entry(home, |name| {
        let ours = name.to_bytes().starts_with(PREFIX.as_bytes());
        if ours { remove_directory(home, name, proof).map(|()| true) } else { Ok(false) }
    })
    .or_fail(context)
}

impl<'d> Staging<'d> {
    /// Makes an empty one.
    ///
    /// # Errors
    /// The kernel's: no space, quota.
    pub fn make(home: BorrowedFd<'d>, proof: &'d Confined) -> Outcome<Self> {
        let context = || "cannot make a place for the incoming sandbox";
        let name = Component::unforeseen(PREFIX).or_fail(context)?;
        let make = |parent: BorrowedFd<'_>, name: &CStr| {
            mkdirat(parent, name, Mode::RWXU)
                .and_then(|()| openat(parent, name, DIRECTORY, Mode::empty()))
                .map_err(Unmade)
        };
        let made = make(home, name.c_str())
            .and_then(|top| Ok((make(top.as_fd(), TREE)?, make(top.as_fd(), REPLACED)?)))
            .or_fail(context);
        match made {
            Ok((tree, replaced)) => Ok(Staging { home, name, tree, replaced, proof }),
            Err(failure) => {
                // There may have been room for a part of it.
                let _ = remove_directory(home, name.c_str(), proof);
                Err(failure)
            }
        }
    }

    /// The directory where the tree arrives.
    pub fn tree(&self) -> &OwnedFd {
        &self.tree
    }

    /// Puts the tree's entries in the place of all that is in the pilot's directory but its proxy, and removes the
    /// rest.
    ///
    /// What was there has come back before, in a call that was interrupted, and the job may have removed it since; or
    /// setup could not remove it, and it can be moved no more than removed.
    ///
    /// # Errors
    /// The kernel's; then a part of the tree, or what it replaced, may still be in the staging directory.
    pub fn move_in(self, proxy: &Component) -> Outcome {
        let moved = for_each_entry(self.home, |name| {
            if name == proxy.c_str() || name == self.name.c_str() {
                return Ok(false);
            }
            match renameat(self.home, name, &self.replaced, name) {
                Err(Errno::PERM | Errno::ACCESS | Errno::BUSY) => Ok(false),
                other => other.map(|()| true),
            }
        });
        moved
            .and_then(|()| {
                for_each_entry(self.tree.as_fd(), |name| {
                    renameat_with(&self.tree, name, self.home, name, RenameFlags::NOREPLACE).map(|()| true)
                })
            })
            .or_fail(|| "cannot move the sandbox's content to its place")?;
        // What is left here would be an output of the job's in the Starter's eyes.
        self.remove().or_fail(|| "cannot remove the place of the incoming sandbox")
    }

    fn remove(&self) -> Result<(), Errno> {
        remove_directory(self.home, self.name.c_str(), self.proof)
    }
}

impl Drop for Staging<'_> {
    fn drop(&mut self) {
        // Should this fail, the next call sweeps it.
        let _ = self.remove();
    }
}

/// Calls `act` for every entry. As long as it says that it took entries away the listing may have missed some, and
/// begins anew.
fn for_each_entry(directory: BorrowedFd<'_>, mut act: impl FnMut(&CStr) -> Result<bool, Errno>) -> Result<(), Errno> {
    loop {
        seek(directory, SeekFrom::Start(0))?;
        let mut taken = false;
        let mut room = [MaybeUninit::uninit(); ENTRIES_BYTES];
        let mut listing = RawDir::new(directory, &mut room);
        while let Some(entry) = listing.next() {
            beat();
            let entry = entry?;
            if entry.file_name() != c"." && entry.file_name() != c".." {
                taken |= act(entry.file_name())?;
            }
        }
        if !taken {
            return Ok(());
        }
    }
}

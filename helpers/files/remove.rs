//! Removes trees of this account, whatever their owner did to them.

use crate::confine::Confined;
use crate::files::component::Component;
use crate::files::walk::{CHANGE, Walk, open_directory, open_unmounted};
use crate::ground::heartbeat::beat;
use crate::ground::limits;
use core::mem::MaybeUninit;
use rustix::fs::{AtFlags, FileType, RawDir, SeekFrom, seek, unlinkat};
use rustix::io::Errno;
use std::ffi::{CStr, CString};
use std::os::fd::{AsFd, BorrowedFd};

/// Room for the directory entries of one read.
const ENTRIES_BYTES: usize = 8 * 1024;

/// What the second thread needs: a listing's buffer and little else.
const REMOVER_STACK_BYTES: usize = 128 * 1024;

/// How often one directory is gone through again because something keeps filling it.
const PASSES: u32 = 64;

/// What is to be known again when a directory has been emptied.
struct Note {
    /// Its name in its parent.
    name: CString,
    /// How often its parent was gone through.
    passes: u32,
    /// Where to go on listing its parent.
    cookie: u64,
}

/// Removes all that is in the directory `root` but its entry `keep`.
///
/// A second thread takes half of the directories at the top: file systems remove in parallel, and a tree of many
/// files takes as long to remove as to copy.
///
/// # Errors
/// The first reason why something could not be removed; the rest was removed all the same where possible. `ENOTEMPTY`
/// when something keeps filling a directory.
pub(crate) fn remove_contents(root: BorrowedFd<'_>, keep: Option<&Component>, _: &Confined) -> Result<(), Errno> {
    empty(root, keep)
}

fn empty(root: BorrowedFd<'_>, keep: Option<&Component>) -> Result<(), Errno> {
    let kept = keep.map(Component::c_str);
    std::thread::scope(|scope| {
        // Whatever it cannot remove, or if there can be no second thread, the pass below comes to it, too.
        let _ = std::thread::Builder::new()
            .stack_size(REMOVER_STACK_BYTES)
            .spawn_scoped(scope, move || remove_where(root, |name| kept != Some(name) && is_for_second(name)));
        let _ = remove_where(root, |name| kept != Some(name) && !is_for_second(name));
    });
    remove_where(root, |name| kept != Some(name))
}

/// Splits names in two halves of about the same size.
fn is_for_second(name: &CStr) -> bool {
    name.to_bytes().iter().fold(0_u8, |sum, byte| sum.wrapping_mul(31).wrapping_add(*byte)) & 1 == 1
}

/// Removes the entries of `root` of which `wanted` is true, with all that is in them.
fn remove_where(root: BorrowedFd<'_>, wanted: impl Fn(&CStr) -> bool) -> Result<(), Errno> {
    let top = open_directory(root, c".", CHANGE)?;
    let mut walk: Walk<Note> = Walk::new(top.directory, limits::REMOVAL_DEPTH);
    let mut trouble = None;
    let (mut passes, mut cookie) = (0_u32, 0_u64);
    loop {
        let at_top = walk.depth() == 0;
        match next_directory(walk.directory(), &mut cookie, |name| !at_top || wanted(name), &mut trouble)? {
            // What somebody mounted there was not copied, and is not this sandbox's.
            Some(name) => match open_unmounted(walk.directory(), &name, CHANGE, &top.found)
                .and_then(|unmounted| unmounted.ok_or(Errno::BUSY))
            {
                Ok(child) => {
                    walk.enter(child.directory, Note { name, passes, cookie })?;
                    (passes, cookie) = (0, 0);
                }
                // It was swapped for something else since it was listed: look again.
                Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) if passes < PASSES => {
                    (passes, cookie) = (passes.saturating_add(1), 0);
                }
                // Another account's: an empty one can be removed all the same. A mount point cannot.
                Err(errno) => match unlinkat(walk.directory(), name.as_c_str(), AtFlags::REMOVEDIR) {
                    Ok(()) | Err(Errno::NOENT) => {}
                    Err(_) => trouble = trouble.or(Some(errno)),
                },
            },
            None => {
                let Some(left) = walk.leave()? else { return trouble.map_or(Ok(()), Err) };
                (passes, cookie) = (left.note.passes, left.note.cookie);
                match unlinkat(walk.directory(), left.note.name.as_c_str(), AtFlags::REMOVEDIR) {
                    Ok(()) | Err(Errno::NOENT) => {}
                    // The listing missed something, or somebody adds to it: from the parent's beginning once more.
                    Err(Errno::NOTEMPTY | Errno::EXIST) if trouble.is_none() && passes < PASSES => {
                        (passes, cookie) = (passes.saturating_add(1), 0);
                    }
                    Err(errno) => trouble = trouble.or(Some(errno)),
                }
            }
        }
    }
}

/// Removes the files of a directory, from `cookie` on, until it meets a directory, whose name it gives; `None` at its
/// end.
fn next_directory(
    directory: BorrowedFd<'_>,
    cookie: &mut u64,
    wanted: impl Fn(&CStr) -> bool,
    trouble: &mut Option<Errno>,
) -> Result<Option<CString>, Errno> {
    seek(directory, SeekFrom::Start(*cookie))?;
    let mut room = [MaybeUninit::uninit(); ENTRIES_BYTES];
    let mut listing = RawDir::new(directory, &mut room);
    while let Some(entry) = listing.next() {
        beat();
        let entry = entry?;
        let name = entry.file_name();
        if name == c"." || name == c".." || !wanted(name) {
            continue;
        }
        *cookie = entry.next_entry_cookie();
        if entry.file_type() == FileType::Directory {
            return Ok(Some(name.to_owned()));
        }
        match unlinkat(directory, name, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => {}
            // Only a file system that does not tell types in its listings gets here.
            Err(Errno::ISDIR) => return Ok(Some(name.to_owned())),
            Err(errno) => *trouble = trouble.or(Some(errno)),
        }
    }
    Ok(None)
}

/// Removes the entry `name` of `parent`, a directory with all that is in it or anything else, without following it.
///
/// # Errors
/// As [`remove_contents`]; nothing to remove is none.
pub(crate) fn remove_directory(parent: BorrowedFd<'_>, name: &CStr, _: &Confined) -> Result<(), Errno> {
    remove_unconfined(parent, name)
}

/// As [`remove_directory`], in a process that is **not confined** yet.
///
/// Only for what this very account has left half-made, where the next attempt has to begin before it knows what it
/// may be confined to. Names are acted on by descriptor, one at a time, and nothing is read of what they hold.
///
/// # Errors
/// As [`remove_contents`].
pub fn remove_unconfined(parent: BorrowedFd<'_>, name: &CStr) -> Result<(), Errno> {
    match open_directory(parent, name, CHANGE) {
        Ok(opened) => {
            let mut passes = 0_u32;
            loop {
                empty(opened.directory.as_fd(), None)?;
                match unlinkat(parent, name, AtFlags::REMOVEDIR) {
                    Err(Errno::NOTEMPTY | Errno::EXIST) if passes < PASSES => passes = passes.saturating_add(1),
                    other => return other,
                }
            }
        }
        Err(Errno::NOENT) => Ok(()),
        Err(Errno::NOTDIR | Errno::LOOP) => unlinkat(parent, name, AtFlags::empty()),
        Err(errno) => Err(errno),
    }
}

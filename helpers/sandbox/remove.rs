//! Removes trees of this account, whatever their owner did to them.

#![forbid(unsafe_code)]

use crate::sandbox::component::Component;
use crate::sandbox::walk::{CHANGE, Walk, open_directory};
use core::mem::MaybeUninit;
use rustix::fs::{AtFlags, FileType, RawDir, SeekFrom, seek, unlinkat};
use rustix::io::Errno;
use std::ffi::{CStr, CString};
use std::os::fd::{AsFd, BorrowedFd};

/// Room for the directory entries of one read.
const ENTRIES_BYTES: usize = 8 * 1024;

/// How often one directory is gone through again because something keeps filling it.
const PASSES: u32 = 64;

/// Where the walk is, and how often it has been through.
struct Note {
    name: CString,
    passes: u32,
}

/// Removes all that is in the directory `root` but its entry `keep`.
///
/// # Errors
/// The first reason why something could not be removed; the rest was removed all the same where possible. `ENOTEMPTY` when
/// something keeps filling a directory.
pub fn remove_contents(root: BorrowedFd<'_>, keep: Option<&Component>) -> Result<(), Errno> {
    let top = open_directory(root, c".", CHANGE)?;
    let mut walk: Walk<Note> = Walk::new(top.directory);
    let mut trouble = None;
    let mut passes = 0_u32;
    loop {
        let skip = keep.filter(|_| walk.depth() == 0).map(Component::c_str);
        match next_directory(walk.directory(), skip, &mut trouble)? {
            Some(name) => match open_directory(walk.directory(), &name, CHANGE) {
                Ok(child) => walk.enter(child.directory, Note { name, passes })?,
                // It was swapped for something else since it was listed: look again.
                Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) if passes < PASSES => {
                    passes = passes.saturating_add(1);
                }
                Err(errno) => return Err(trouble.unwrap_or(errno)),
            },
            None => {
                let Some(left) = walk.leave()? else { return trouble.map_or(Ok(()), Err) };
                drop(left.directory);
                passes = left.note.passes;
                match unlinkat(walk.directory(), left.note.name.as_c_str(), AtFlags::REMOVEDIR) {
                    Ok(()) | Err(Errno::NOENT) => {}
                    Err(Errno::NOTEMPTY | Errno::EXIST) if trouble.is_none() && passes < PASSES => {
                        passes = passes.saturating_add(1);
                    }
                    Err(errno) => return Err(trouble.unwrap_or(errno)),
                }
            }
        }
    }
}

/// Removes the files of a directory until it meets a directory, whose name it gives; `None` when there is none any more.
fn next_directory(
    directory: BorrowedFd<'_>,
    skip: Option<&CStr>,
    trouble: &mut Option<Errno>,
) -> Result<Option<CString>, Errno> {
    seek(directory, SeekFrom::Start(0))?;
    let mut room = [MaybeUninit::uninit(); ENTRIES_BYTES];
    let mut listing = RawDir::new(directory, &mut room);
    while let Some(entry) = listing.next() {
        let entry = entry?;
        let name = entry.file_name();
        if name == c"." || name == c".." || skip == Some(name) {
            continue;
        }
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
pub fn remove_directory(parent: BorrowedFd<'_>, name: &CStr) -> Result<(), Errno> {
    match open_directory(parent, name, CHANGE) {
        Ok(opened) => {
            let mut passes = 0_u32;
            loop {
                remove_contents(opened.directory.as_fd(), None)?;
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

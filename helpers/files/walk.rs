//! A place in a tree: one open directory at a time, however deep the tree is.
//!
//! Going up uses `..` and checks that this is the directory we came from, so neither memory nor descriptors grow with
//! the depth by more than a few words, and a directory that is moved elsewhere meanwhile is noticed instead of
//! followed.

use crate::files::metadata::{Identity, Metadata};
use rustix::fs::{CWD, Mode, OFlags, chmodat, fchmod, openat};
use rustix::io::Errno;
use rustix::path::Arg;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

/// How a directory is opened for work: never through a link.
pub const DIRECTORY: OFlags =
    OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC).union(OFlags::NONBLOCK);

/// The permission bits to list and enter a directory of one's own.
pub const LIST: u16 = 0o500;

/// The permission bits to change a directory of one's own, too.
pub(crate) const CHANGE: u16 = 0o700;

/// A position in a tree. `T` is what the owner wants to know again on the way up.
pub(crate) struct Walk<T> {
    directory: OwnedFd,
    above: Vec<(Identity, T)>,
    deepest: usize,
}

/// A directory that was left.
pub(crate) struct Left<T> {
    /// The directory itself, still open.
    pub(crate) directory: OwnedFd,
    /// What was noted when it was entered.
    pub(crate) note: T,
}

impl<T> Walk<T> {
    /// Starts at a tree's root, to go so many directories down at the most.
    pub(crate) fn new(root: OwnedFd, deepest: usize) -> Self {
        Walk { directory: root, above: Vec::new(), deepest }
    }

    /// The current directory.
    pub(crate) fn directory(&self) -> BorrowedFd<'_> {
        self.directory.as_fd()
    }

    /// How deep the current directory is; the root has depth 0.
    pub(crate) fn depth(&self) -> usize {
        self.above.len()
    }

    /// Goes into `child`, a directory opened in the current one.
    ///
    /// # Errors
    /// `ENAMETOOLONG` when this is as deep as it may go; the kernel's.
    pub(crate) fn enter(&mut self, child: OwnedFd, note: T) -> Result<(), Errno> {
        if self.above.len() >= self.deepest {
            return Err(Errno::NAMETOOLONG);
        }
        let identity = Metadata::of(&self.directory)?.identity;
        self.above.push((identity, note));
        self.directory = child;
        Ok(())
    }

    /// Goes back up; `None` at the root.
    ///
    /// # Errors
    /// `ESTALE` when the directory's parent is another one by now.
    pub(crate) fn leave(&mut self) -> Result<Option<Left<T>>, Errno> {
        let Some((identity, note)) = self.above.pop() else { return Ok(None) };
        let parent = openat(&self.directory, c"..", DIRECTORY, Mode::empty())?;
        if Metadata::of(&parent)?.identity != identity {
            return Err(Errno::STALE);
        }
        Ok(Some(Left { directory: core::mem::replace(&mut self.directory, parent), note }))
    }
}

/// A directory that was opened for work.
pub struct Opened {
    /// The directory.
    pub directory: OwnedFd,
    /// What it was before it was opened up.
    pub found: Metadata,
    /// The permission bits to give back when the work is done, if it had to be opened up.
    pub restore: Option<Mode>,
}

/// Opens the directory `name` in `parent`. Where it is ours and lacks one of the bits of `needed`, it gets them.
///
/// # Errors
/// The kernel's: `ELOOP` or `ENOTDIR` for a link or anything else, `EACCES` for a directory of somebody else.
pub fn open_directory(parent: BorrowedFd<'_>, name: impl Arg + Copy, needed: u16) -> Result<Opened, Errno> {
    let (directory, before) = match openat(parent, name, DIRECTORY, Mode::empty()) {
        Err(Errno::ACCESS) => {
            let (directory, before) = open_closed(parent, name, OFlags::DIRECTORY, DIRECTORY)?;
            (directory, Some(before))
        }
        other => (other?, None),
    };
    let mut found = Metadata::of(&directory)?;
    let own = found.owner == rustix::process::geteuid().as_raw();
    if own && found.mode & needed != needed {
        fchmod(&directory, mode_of(found.mode | needed))?;
        return Ok(Opened { directory, found, restore: Some(mode_of(found.mode)) });
    }
    found.mode = before.unwrap_or(found.mode);
    Ok(Opened { directory, found, restore: before.map(mode_of) })
}

/// The same, unless something is mounted there, which `None` says: whoever serves that may never answer who opens it.
/// `top` is what all that is not mounted lies below.
///
/// # Errors
/// As above.
pub(crate) fn open_unmounted(
    parent: BorrowedFd<'_>,
    name: impl Arg + Copy,
    needed: u16,
    top: &Metadata,
) -> Result<Option<Opened>, Errno> {
    if !Metadata::at(parent, name)?.shares_mount_with(top) {
        return Ok(None);
    }
    let opened = open_directory(parent, name, needed)?;
    Ok(Some(opened).filter(|opened| opened.found.shares_mount_with(top)))
}

/// Opens something of our own that denies even us, which gets the mode 0700 for that. Also gives the bits before.
///
/// No other mode: a confined process may change modes of names, about which Landlock knows nothing, to this one only.
///
/// # Errors
/// `EACCES` when it is not ours, `ESTALE` when it was swapped meanwhile.
pub(crate) fn open_closed(
    parent: BorrowedFd<'_>,
    name: impl Arg + Copy,
    kind: OFlags,
    flags: OFlags,
) -> Result<(OwnedFd, u16), Errno> {
    let handle = openat(parent, name, OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC | kind, Mode::empty())?;
    let found = Metadata::of(&handle)?;
    if found.owner != rustix::process::geteuid().as_raw() || found.kind == rustix::fs::FileType::Symlink {
        return Err(Errno::ACCESS);
    }
    // An O_PATH descriptor takes no fchmod; the magic link names exactly what is open, wherever the name points by now.
    let magic = format!("/proc/self/fd/{}", handle.as_raw_fd());
    chmodat(CWD, magic.as_str(), Mode::RWXU, rustix::fs::AtFlags::empty())?;
    let opened = openat(parent, name, flags, Mode::empty())?;
    if Metadata::of(&opened)?.identity != found.identity {
        return Err(Errno::STALE);
    }
    Ok((opened, found.mode))
}

/// Permission bits as the system call takes them. Never set-id: for those the profiles kill.
pub(crate) fn mode_of(bits: u16) -> Mode {
    Mode::from_raw_mode(rustix::fs::RawMode::from(bits & 0o1777))
}

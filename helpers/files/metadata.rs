//! What the file system says about an open descriptor or a name, never following a link and never asking a server.

use rustix::fs::{AtFlags, FileType, Statx, StatxFlags, Timespec, Timestamps, UTIME_OMIT, statx};
use rustix::io::Errno;
use rustix::path::Arg;
use std::os::fd::AsFd;

/// A point in time as the file system keeps it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Time {
    /// Seconds since 1970, negative before.
    pub seconds: i64,
    /// Nanoseconds, below 1,000,000,000.
    pub nanoseconds: u32,
}

/// Device number and inode: what makes two descriptors the same object.
pub type Identity = (u64, u64);

/// The part of `statx` that this crate looks at.
#[derive(Clone, Copy, Debug)]
pub struct Metadata {
    /// Device and inode.
    pub identity: Identity,
    /// Regular file, directory, …
    pub kind: FileType,
    /// Permission bits with set-id and sticky, no type.
    pub mode: u16,
    /// The owner.
    pub owner: u32,
    /// The group.
    pub(crate) group: u32,
    /// How many names it has.
    pub links: u32,
    /// Bytes.
    pub size: u64,
    /// Bytes that are really there, in units of the file system.
    pub stored: u64,
    /// Last modification of the content.
    pub mtime: Time,
    /// The mount that it was found below, where the kernel tells (Linux 5.8).
    mount: Option<u64>,
}

/// Never wait for a file server: the descriptor may be of a file system that the job runs itself (FUSE), which could
/// simply not answer.
const FLAGS: AtFlags = AtFlags::SYMLINK_NOFOLLOW.union(AtFlags::STATX_DONT_SYNC).union(AtFlags::NO_AUTOMOUNT);

const WANTED: StatxFlags = StatxFlags::BASIC_STATS.union(StatxFlags::MNT_ID);

impl Metadata {
    /// Of what is open.
    ///
    /// # Errors
    /// The kernel's.
    pub fn of(fd: impl AsFd) -> Result<Self, Errno> {
        statx(fd, c"", FLAGS | AtFlags::EMPTY_PATH, WANTED).map(|found| Self::from(&found))
    }

    /// Of an entry of `directory`; of a symbolic link itself.
    ///
    /// # Errors
    /// The kernel's.
    pub fn at(directory: impl AsFd, name: impl Arg) -> Result<Self, Errno> {
        statx(directory, name, FLAGS, WANTED).map(|found| Self::from(&found))
    }

    /// Whether both were found below one mount point: a btrfs subvolume has a device number of its own, and yet
    /// nobody has mounted anything there.
    pub(crate) fn shares_mount_with(&self, other: &Metadata) -> bool {
        self.mount.zip(other.mount).map_or(self.device() == other.device(), |(one, another)| one == another)
    }

    /// The device alone: the same for two objects of one file system.
    pub fn device(&self) -> u64 {
        self.identity.0
    }

    /// Whether the content is what it was at an `earlier` look, as far as size and time of modification tell.
    pub(crate) fn has_content_of(&self, earlier: &Metadata) -> bool {
        (self.size, self.mtime) == (earlier.size, earlier.mtime)
    }

    /// Whether it is a directory.
    pub fn is_directory(&self) -> bool {
        self.kind == FileType::Directory
    }
}

impl From<&Statx> for Metadata {
    fn from(found: &Statx) -> Self {
        let mode = rustix::fs::RawMode::from(found.stx_mode);
        Metadata {
            identity: ((u64::from(found.stx_dev_major) << 32) | u64::from(found.stx_dev_minor), found.stx_ino),
            kind: FileType::from_raw_mode(mode),
            mode: found.stx_mode & 0o7777,
            owner: found.stx_uid,
            group: found.stx_gid,
            links: found.stx_nlink,
            size: found.stx_size,
            stored: found.stx_blocks.saturating_mul(512),
            mtime: Time { seconds: found.stx_mtime.tv_sec, nanoseconds: found.stx_mtime.tv_nsec },
            mount: (found.stx_mask & StatxFlags::MNT_ID.bits() != 0).then_some(found.stx_mnt_id),
        }
    }
}

impl From<Time> for Timestamps {
    /// Sets the modification time and leaves the access time.
    fn from(time: Time) -> Self {
        Timestamps {
            last_access: Timespec { tv_sec: 0, tv_nsec: UTIME_OMIT },
            last_modification: Timespec { tv_sec: time.seconds, tv_nsec: time.nanoseconds.into() },
        }
    }
}

//! What a tree looks like: names, types, modes, times, sizes, contents, links, owners.

#![forbid(unsafe_code)]

use super::account::Account;
use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, SeekFrom, openat, readlinkat, seek, statat};
use rustix::io::Errno;
use std::collections::{BTreeMap, HashMap};
use std::fmt::{self, Debug, Formatter};
use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

/// A tree by relative path; the directory itself is "".
#[derive(Clone, PartialEq, Eq)]
pub struct Snapshot {
    /// Its entries.
    pub entries: BTreeMap<PathBuf, Entry>,
}

/// One entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// What it is, and what is in it.
    pub kind: Kind,
    /// Permission bits (0 for a symbolic link).
    pub mode: u32,
    /// User and group.
    pub owner: (u32, u32),
    /// Seconds and nanoseconds.
    pub mtime: (i64, u64),
}

/// A file type with what is in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A directory.
    Directory,
    /// A regular file: bytes, a digest of the content, and the first other name of the same file.
    File { size: u64, digest: u64, same_as: Option<PathBuf> },
    /// A symbolic link's target.
    Link(PathBuf),
    /// A FIFO, socket or device.
    Special(FileType),
}

impl Snapshot {
    /// Of the tree below `directory`, which may be very deep. Changes nothing but access times.
    pub fn of(directory: &Path) -> Self {
        let root = rustix::fs::open(directory, DIRECTORY, Mode::empty())
            .unwrap_or_else(|why| panic!("{}: {why}", directory.display()));
        raise_descriptor_limit();
        // One frame for each level: more than a test's thread has room for.
        let walker = std::thread::Builder::new().stack_size(256 << 20).spawn(move || {
            let mut walk = Walk { entries: BTreeMap::new(), files: HashMap::new() };
            let found = rustix::fs::fstat(&root).unwrap();
            walk.entries.insert(PathBuf::new(), entry(Kind::Directory, &found));
            walk.directory(&root, Path::new(""));
            Snapshot { entries: walk.entries }
        });
        walker.unwrap().join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    }

    /// Every entry owned by this account.
    pub fn owned_by(mut self, account: Account) -> Self {
        for entry in self.entries.values_mut() {
            entry.owner = (account.uid(), account.gid());
        }
        self
    }

    /// Every entry with only these permission bits left.
    pub fn masked(mut self, mask: u32) -> Self {
        for entry in self.entries.values_mut() {
            entry.mode &= mask;
        }
        self
    }

    /// Without an entry (and what is below).
    pub fn without(mut self, path: impl AsRef<Path>) -> Self {
        self.entries.retain(|there, _| !there.starts_with(path.as_ref()) || path.as_ref().as_os_str().is_empty());
        self
    }

    /// Without the directory itself.
    pub fn below(mut self) -> Self {
        self.entries.remove(Path::new(""));
        self
    }

    /// One entry changed.
    pub fn with(mut self, path: impl AsRef<Path>, change: impl FnOnce(&mut Entry)) -> Self {
        change(self.entries.get_mut(path.as_ref()).expect("the entry is there"));
        self
    }

    /// Without the mark of a sandbox that is not in its place yet: where the target side is killed just after the
    /// exchange, the mark stays, and means nothing to the directory's owner.
    pub fn unmarked(self) -> Self {
        self.with("", |sandbox| sandbox.mode &= !0o1000)
    }

    /// An entry.
    pub fn get(&self, path: impl AsRef<Path>) -> &Entry {
        self.entries.get(path.as_ref()).unwrap_or_else(|| panic!("{} is missing", path.as_ref().display()))
    }

    /// The names of all entries but the directory itself.
    pub fn names(&self) -> Vec<&Path> {
        self.entries.keys().map(PathBuf::as_path).filter(|path| !path.as_os_str().is_empty()).collect()
    }

    /// The test goes on only if both are the same.
    #[track_caller]
    pub fn assert_same(&self, expected: &Snapshot) {
        let mut differences = self.differences(expected);
        let count = differences.len();
        differences.truncate(10);
        assert!(count == 0, "{count} entries differ:\n{}", differences.join("\n"));
    }

    /// What differs.
    pub fn differences(&self, expected: &Snapshot) -> Vec<String> {
        let only_expected = expected.entries.keys().filter(|path| !self.entries.contains_key(*path));
        let both = self
            .entries
            .keys()
            .chain(only_expected)
            .map(|path| (path, self.entries.get(path), expected.entries.get(path)));
        both.filter(|(_, ours, theirs)| ours != theirs)
            .map(|(path, ours, theirs)| format!("{}:\n  is       {ours:?}\n  expected {theirs:?}", path.display()))
            .collect()
    }
}

impl Debug for Snapshot {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(&self.entries).finish()
    }
}

const DIRECTORY: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

struct Walk {
    entries: BTreeMap<PathBuf, Entry>,
    /// Files with several names, by device and inode.
    files: HashMap<(u64, u64), PathBuf>,
}

impl Walk {
    fn directory(&mut self, directory: &OwnedFd, path: &Path) {
        let mut names: Vec<_> = Dir::read_from(directory)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().to_owned())
            .filter(|name| name.as_c_str() != c"." && name.as_c_str() != c"..")
            .collect();
        names.sort();
        for name in names {
            let found = statat(directory, &name, AtFlags::SYMLINK_NOFOLLOW).unwrap();
            let path = path.join(std::ffi::OsStr::from_bytes(name.to_bytes()));
            let kind = match FileType::from_raw_mode(found.st_mode) {
                FileType::Directory => {
                    let child = openat(directory, &name, DIRECTORY, Mode::empty()).unwrap();
                    self.directory(&child, &path);
                    Kind::Directory
                }
                FileType::RegularFile => {
                    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
                    let file = File::from(openat(directory, &name, flags, Mode::empty()).unwrap());
                    let size = found.st_size as u64;
                    let mut same_as = None;
                    if found.st_nlink > 1 {
                        let first = self.files.entry((found.st_dev, found.st_ino)).or_insert_with(|| path.clone());
                        same_as = Some(first.clone()).filter(|first| *first != path);
                    }
                    Kind::File { size, digest: digest(&file, size), same_as }
                }
                FileType::Symlink => {
                    let target = readlinkat(directory, &name, Vec::new()).unwrap();
                    Kind::Link(std::ffi::OsStr::from_bytes(target.to_bytes()).into())
                }
                other => Kind::Special(other),
            };
            self.entries.insert(path, entry(kind, &found));
        }
    }
}

fn entry(kind: Kind, found: &rustix::fs::Stat) -> Entry {
    let mode = if matches!(kind, Kind::Link(_)) { 0 } else { found.st_mode & 0o7777 };
    Entry { kind, mode, owner: (found.st_uid, found.st_gid), mtime: (found.st_mtime, found.st_mtime_nsec) }
}

/// A digest that does not depend on where the holes are: of the words that are not zero, with their places.
fn digest(file: &File, size: u64) -> u64 {
    let mut sum = size;
    let mut at = 0;
    let mut buffer = vec![0_u8; 1 << 20];
    while at < size {
        at = match seek(file.as_fd(), SeekFrom::Data(at)) {
            Ok(data) => data,
            Err(Errno::NXIO) => break,
            Err(why) => panic!("seek: {why}"),
        };
        let count = file.read_at(&mut buffer, at).unwrap();
        let read = &mut buffer[..count.next_multiple_of(8)];
        read[count..].fill(0);
        for (index, word) in read.chunks_exact(8).enumerate() {
            let word = u64::from_le_bytes(word.try_into().unwrap());
            if word != 0 {
                let place = at.wrapping_add(8 * index as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
                sum = sum.wrapping_add((word ^ place).wrapping_mul(0xff51_afd7_ed55_8ccd).rotate_left(29) ^ place);
            }
        }
        if count == 0 {
            break;
        }
        // Data begins and ends at blocks, and a read ends at a word unless it is the last one.
        at += count as u64;
    }
    sum
}

/// Deep trees are walked with one descriptor for each level.
fn raise_descriptor_limit() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let maximum = getrlimit(Resource::Nofile).maximum;
    setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }).unwrap();
}

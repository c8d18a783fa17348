//! A directory of one run's own, what is in it, and sockets that say anything.

use glexec_rs::files::remove::remove_unconfined;
use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags, openat, statx};
use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};
use std::collections::BTreeMap;
use std::ffi::CString;
use std::fs::{self, File, Permissions};
use std::io::IoSlice;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

/// Where one run may make what it likes. Removed in the end.
pub struct Playground {
    /// Its path.
    pub path: PathBuf,
}

impl Playground {
    /// An empty one.
    pub fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("glexec-rs-fuzz.{}.{count}", std::process::id()));
        let _ = remove_unconfined(CWD, &CString::new(path.as_os_str().as_bytes()).expect("no NUL"));
        fs::create_dir(&path).expect("a new directory");
        fs::set_permissions(&path, Permissions::from_mode(0o755)).expect("its mode");
        Playground { path }
    }

    /// Makes a directory in it and opens it.
    pub fn directory(&self, name: &str) -> OwnedFd {
        fs::create_dir(self.path.join(name)).expect("a new directory");
        fs::set_permissions(self.path.join(name), Permissions::from_mode(0o755)).expect("its mode");
        open(&self.path.join(name), OFlags::RDONLY | OFlags::DIRECTORY)
    }

    /// Makes a file below it with exactly this mode.
    pub fn file(&self, name: &str, content: &[u8], mode: u32) -> PathBuf {
        let path = self.path.join(name);
        fs::write(&path, content).expect("a new file");
        fs::set_permissions(&path, Permissions::from_mode(mode)).expect("its mode");
        path
    }
}

impl Drop for Playground {
    fn drop(&mut self) {
        let path = CString::new(self.path.as_os_str().as_bytes()).expect("no NUL");
        let removed = remove_unconfined(CWD, &path);
        if !std::thread::panicking() {
            removed.expect("a directory of our own can be removed");
        }
    }
}

/// Opens what is there.
pub fn open(path: &Path, flags: OFlags) -> OwnedFd {
    openat(CWD, path, flags | OFlags::CLOEXEC, Mode::empty()).expect("what was made can be opened")
}

/// What can be seen of one entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    /// Device and inode.
    pub identity: (u64, u64),
    /// Regular file, directory, …
    pub kind: FileType,
    /// All permission bits.
    pub mode: u16,
    /// The owner.
    pub owner: u32,
    /// How many names a file has; of a directory, 0.
    pub links: u32,
    /// Seconds and nanoseconds of the modification time.
    pub mtime: (i64, u32),
    /// A file's content, or where a link points.
    pub content: Vec<u8>,
}

/// All that is below `root`, by path. Directories that are closed to their owner are opened up for it.
pub fn tree(root: &Path) -> BTreeMap<PathBuf, Seen> {
    let mut found = BTreeMap::new();
    let mut waiting = vec![PathBuf::new()];
    while let Some(directory) = waiting.pop() {
        for entry in fs::read_dir(root.join(&directory)).expect("a directory can be listed") {
            let path = directory.join(entry.expect("an entry").file_name());
            let seen = look(&root.join(&path));
            if seen.kind == FileType::Directory {
                if seen.mode & 0o500 != 0o500 {
                    fs::set_permissions(root.join(&path), Permissions::from_mode(0o700)).expect("an own directory");
                }
                waiting.push(path.clone());
            }
            found.insert(path, seen);
        }
    }
    found
}

/// What can be seen of `path` itself.
pub fn look(path: &Path) -> Seen {
    let flags = AtFlags::SYMLINK_NOFOLLOW;
    let found = statx(CWD, path, flags, rustix::fs::StatxFlags::BASIC_STATS).expect("an entry can be looked at");
    let kind = FileType::from_raw_mode(found.stx_mode.into());
    let content = match kind {
        FileType::Symlink => fs::read_link(path).expect("a link can be read").into_os_string().into_encoded_bytes(),
        FileType::RegularFile => fs::read(path).unwrap_or_else(|_| {
            fs::set_permissions(path, Permissions::from_mode(0o400)).expect("an own file");
            let content = fs::read(path).expect("a file can be read");
            fs::set_permissions(path, Permissions::from_mode(u32::from(found.stx_mode) & 0o7777)).expect("an own file");
            content
        }),
        _ => Vec::new(),
    };
    Seen {
        identity: ((u64::from(found.stx_dev_major) << 32) | u64::from(found.stx_dev_minor), found.stx_ino),
        kind,
        mode: found.stx_mode & 0o7777,
        owner: found.stx_uid,
        links: if kind == FileType::Directory { 0 } else { found.stx_nlink },
        mtime: (found.stx_mtime.tv_sec, found.stx_mtime.tv_nsec),
        content,
    }
}

/// Sends one message with these descriptors if there is room for it.
pub fn say(socket: &OwnedFd, bytes: &[u8], descriptors: &[BorrowedFd<'_>]) -> bool {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(253))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !descriptors.is_empty() && !control.push(SendAncillaryMessage::ScmRights(descriptors)) {
        return false;
    }
    let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
    sendmsg(socket, &[IoSlice::new(bytes)], &mut control, flags) == Ok(bytes.len())
}

/// A descriptor that tells when the last copy of it is gone.
pub struct Witness {
    watched: std::io::PipeReader,
    /// What is handed out.
    pub end: OwnedFd,
}

impl Witness {
    /// A new pair.
    pub fn new() -> Self {
        let (watched, end) = std::io::pipe().expect("a pipe");
        Witness { watched, end: end.into() }
    }

    /// Fails if a copy is still open anywhere. Every other owner must be gone by then.
    #[track_caller]
    pub fn assert_gone(self) {
        drop(self.end);
        let mut watched = [rustix::event::PollFd::new(&self.watched, rustix::event::PollFlags::IN)];
        let now = rustix::event::Timespec { tv_sec: 0, tv_nsec: 0 };
        rustix::event::poll(&mut watched, Some(&now)).expect("poll");
        assert!(watched[0].revents().contains(rustix::event::PollFlags::HUP), "a descriptor was left open");
    }
}

/// `/dev/null`.
pub fn null() -> OwnedFd {
    File::open("/dev/null").expect("/dev/null").into()
}

/// The same as what it borrows.
pub fn all<'a>(descriptors: &'a [OwnedFd]) -> Vec<BorrowedFd<'a>> {
    descriptors.iter().map(AsFd::as_fd).collect()
}

//! Something done right between a helper's look at a file and its reading it, every time: chance meets that moment too
//! seldom.

#![allow(unsafe_code)] // fanotify(7)

use std::ffi::CString;
use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// How long somebody may take to begin to read, in seconds.
const PATIENCE: i64 = 60;

/// Does `change` when somebody begins to read from the file at `path` during `work`; who reads waits for it.
///
/// # Panics
/// When nobody reads.
pub fn before_first_read<T>(path: &Path, change: impl FnOnce() + Send, work: impl FnOnce() -> T) -> T {
    let mut group = watch(path);
    std::thread::scope(|scope| {
        // What is not answered is allowed once the group is closed.
        scope.spawn(move || {
            let mut event = [rustix::event::PollFd::new(&group, rustix::event::PollFlags::IN)];
            let patience = rustix::fs::Timespec { tv_sec: PATIENCE, tv_nsec: 0 };
            assert_eq!(rustix::event::poll(&mut event, Some(&patience)), Ok(1), "nobody reads {}", path.display());
            // Length, version, mask, a descriptor of the file (which the kernel opens for us), process.
            let mut event = [0; 24];
            group.read_exact(&mut event).unwrap();
            let descriptor = RawFd::from_ne_bytes(event[16..20].try_into().unwrap());
            // SAFETY: it has just been opened for us.
            let read = unsafe { OwnedFd::from_raw_fd(descriptor) };
            change();
            let answer = [descriptor.to_ne_bytes(), libc::FAN_ALLOW.to_ne_bytes()].concat();
            group.write_all(&answer).unwrap();
            drop(read);
        });
        work()
    })
}

/// A group that is asked before anybody reads from the file.
fn watch(path: &Path) -> File {
    let path = CString::new(path.as_os_str().as_bytes()).unwrap();
    // SAFETY: takes flags and gives a descriptor of our own; then one that is open and a path that lives through the
    // call.
    unsafe {
        let group = libc::fanotify_init(libc::FAN_CLASS_CONTENT | libc::FAN_CLOEXEC, libc::O_RDONLY as _);
        assert!(group >= 0, "fanotify_init: {}", std::io::Error::last_os_error());
        let group = File::from_raw_fd(group);
        let (add, reads) = (libc::FAN_MARK_ADD, libc::FAN_ACCESS_PERM);
        let marked = libc::fanotify_mark(group.as_raw_fd(), add, reads, libc::AT_FDCWD, path.as_ptr());
        assert_eq!(marked, 0, "fanotify_mark: {}", std::io::Error::last_os_error());
        group
    }
}

//! What several of the attacks need.

use crate::common::as_account;
use crate::common::{Kind, Sandbox};
use std::collections::BTreeSet;
use std::fs::{self, Permissions};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

pub fn mode(path: &Path, mode: u32) {
    fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
}

/// What the pilot's proxy is before and after: the same inode, untouched.
pub fn proxy_of(sandbox: &Sandbox) -> (u64, u32, u32, Vec<u8>) {
    let path = if sandbox.parked.exists() { sandbox.parked_proxy() } else { sandbox.proxy_path() };
    let found = fs::symlink_metadata(&path).unwrap();
    (found.ino(), found.mode(), found.uid(), fs::read(path).unwrap())
}

/// Follows a link as anybody would who opens it; the place where it ends, existing or not. `None` for a loop.
pub fn follow(path: &Path, links: usize) -> Option<PathBuf> {
    if links > 64 {
        return None;
    }
    let mut here = PathBuf::from("/");
    let mut parts = path.components();
    while let Some(part) = parts.next() {
        match part {
            std::path::Component::ParentDir => {
                here.pop();
            }
            std::path::Component::Normal(name) => {
                here.push(name);
                if let Ok(target) = fs::read_link(&here) {
                    here.pop();
                    return follow(&here.join(target).join(parts.as_path()), links + 1);
                }
            }
            _ => {}
        }
    }
    Some(here)
}

/// No link in S leads out of S or to the proxy, through whatever others; and the names of what is still there.
#[track_caller]
pub fn assert_no_link_leads_out(sandbox: &Sandbox) -> BTreeSet<PathBuf> {
    let inside = fs::canonicalize(&sandbox.path).unwrap();
    let snapshot = sandbox.snapshot();
    let mut kept = BTreeSet::new();
    for (path, entry) in &snapshot.entries {
        if matches!(entry.kind, Kind::Link(_)) {
            kept.insert(path.clone());
            if let Some(end) = follow(&inside.join(path), 0) {
                assert!(end.starts_with(&inside), "{path:?} {:?} leads to {end:?}", entry.kind);
                assert_ne!(end, inside.join(&sandbox.proxy), "{path:?} {:?}", entry.kind);
            }
        }
    }
    kept
}

/// A lease on a file (fcntl(2)): whoever opens the file waits until it is given up, which dropping it does.
pub struct Lease(fs::File);

impl Lease {
    /// Takes one on a file of the account's. The signal that asks for it goes to the thread that took it, which is gone
    /// by then.
    pub fn take(account: crate::common::Account, path: &Path) -> Self {
        as_account(account, || {
            let lease = Lease(fs::File::open(path).unwrap());
            assert_eq!(lease.fcntl(libc::F_SETLEASE, libc::F_WRLCK), 0, "{}", std::io::Error::last_os_error());
            lease
        })
    }

    /// Waits until somebody wants to read.
    pub fn await_reader(&self) {
        let deadline = Instant::now() + Duration::from_secs(60);
        while self.fcntl(libc::F_GETLEASE, 0) == libc::F_WRLCK {
            assert!(Instant::now() < deadline, "nobody wants to read");
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    #[allow(unsafe_code)]
    pub fn fcntl(&self, command: i32, argument: i32) -> i32 {
        // SAFETY: takes numbers, the first of which is an open descriptor.
        unsafe { libc::fcntl(self.0.as_raw_fd(), command, argument) }
    }
}

//! A directory where an attacker would have the helpers led: a secret is in it, and whoever opens anything of it is
//! noticed.

#![forbid(unsafe_code)]

use crate::common::{Account, Snapshot, finish, put_file};
use rustix::fs::inotify::{self, CreateFlags, Reader, WatchFlags};
use std::fs::create_dir;
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::path::PathBuf;

/// What may come to nobody by way of a helper.
pub const SECRET: &[u8] = b"nothing that may come to anybody else";

/// One that nobody has been in yet.
pub struct Trap {
    /// The directory; `secret` is in it.
    pub path: PathBuf,
    before: Snapshot,
    watch: OwnedFd,
}

impl Trap {
    /// Sets it: `owner`'s, with this mode; everybody who gets that far may read the secret.
    pub fn set(path: PathBuf, owner: Account, mode: u32) -> Self {
        create_dir(&path).unwrap();
        put_file(owner, &path.join("secret"), SECRET, 0o644);
        finish(owner, &path, mode);
        let before = Snapshot::of(&path);
        let watch = inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK).unwrap();
        inotify::add_watch(&watch, &path, WatchFlags::OPEN).unwrap();
        Trap { path, before, watch }
    }

    /// What was opened or changed since it was set, or since this was asked last.
    pub fn touched(&self) -> Vec<String> {
        let mut touched = self.events();
        touched.extend(Snapshot::of(&self.path).differences(&self.before));
        // What this look itself has opened.
        self.events();
        touched
    }

    fn events(&self) -> Vec<String> {
        let mut room = [MaybeUninit::uninit(); 4096];
        let mut reader = Reader::new(&self.watch, &mut room);
        let events = std::iter::from_fn(|| {
            let event = reader.next().ok()?;
            let name = event.file_name().unwrap_or_default().to_string_lossy().into_owned();
            Some(format!("{}/{name}: {:?}", self.path.display(), event.events()))
        });
        events.collect()
    }
}

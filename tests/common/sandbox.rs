//! A sandbox as a Starter makes it.

#![forbid(unsafe_code)]

use super::account::{Account, GREG, PILOT};
use super::proxy::pem;
use super::snapshot::{Kind, Snapshot};
use rustix::fs::{AtFlags, CWD, Mode, OFlags, Timespec, Timestamps, mkdirat, openat, utimensat};
use std::ffi::{OsStr, OsString};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{MetadataExt, PermissionsExt, lchown};
use std::path::{Path, PathBuf};
use std::process::{Child, Command};

/// A sandbox's places. Nothing is removed when it is dropped; that is the site's.
#[derive(Clone)]
pub struct Sandbox {
    /// S.
    pub path: PathBuf,
    /// `S.condor`.
    pub parked: PathBuf,
    /// P.
    pub proxy: OsString,
}

impl Sandbox {
    /// Makes S with nothing in it but the proxy.
    pub fn make(path: PathBuf) -> Self {
        let parked = PathBuf::from([path.as_os_str(), OsStr::new(".condor")].join(OsStr::new("")));
        let sandbox = Sandbox { path, parked, proxy: "x509up_u1234".into() };
        std::fs::create_dir(&sandbox.path).unwrap();
        sandbox.add_file(sandbox.proxy.clone(), &pem(1), 0o600);
        sandbox.finish_directory("", 0o755);
        sandbox
    }

    /// Adds what HTCondor puts into every sandbox, and some inputs.
    pub fn fill(&self) {
        self.add_file(".job.ad", b"Owner = \"user\"\nCmd = \"/bin/job\"\n", 0o644);
        self.add_file(".machine.ad", b"Name = \"slot1\"\n", 0o644);
        self.add_file(".chirp.config", b"127.0.0.1 9618 cookie\n", 0o700);
        self.add_file("condor_exec.exe", b"#!/bin/sh\necho job\n", 0o755);
        self.add_file("input", &[7; 10_000], 0o640);
        self.add_file("empty", b"", 0o444);
        self.add_directory("data", 0o750);
        self.add_file("data/secret", b"only the owner's", 0o600);
        self.add_link("data/up", "../input");
        self.finish_directory("data", 0o750);
        self.finish_directory("", 0o755);
    }

    /// What is in S.
    pub fn snapshot(&self) -> Snapshot {
        Snapshot::of(&self.path)
    }

    /// The test goes on only if S is as it was, and nothing is beside it.
    #[track_caller]
    pub fn assert_as_before(&self, before: &Snapshot) {
        self.snapshot().assert_same(before);
        assert!(std::fs::symlink_metadata(&self.parked).is_err(), "S.condor is there");
    }

    /// The test goes on only if S is the target account's now, as `before` without what no copy keeps, and `S.condor`
    /// holds the proxy alone.
    #[track_caller]
    pub fn assert_handed_over(&self, before: &Snapshot) {
        self.snapshot().assert_same(&before.clone().masked(0o755).owned_by(GREG));
        self.assert_parked(before);
    }

    /// The test goes on only if `S.condor` holds the proxy of the tree `before`, and nothing else.
    #[track_caller]
    pub fn assert_parked(&self, before: &Snapshot) {
        let parked = Snapshot::of(&self.parked);
        assert_eq!(parked.names(), [Path::new(&self.proxy)]);
        assert_eq!(parked.get(&self.proxy), before.get(&self.proxy));
    }

    /// The test goes on only if S is the pilot's again, with what was in the job's tree `job` but the job's proxy, in
    /// whose place there is the pilot's from the tree `pilot`; and nothing is beside it.
    #[track_caller]
    pub fn assert_taken_back(&self, job: &Snapshot, pilot: &Snapshot) {
        let mut expected = job.clone().masked(0o755).owned_by(PILOT).without(&self.proxy).below();
        for entry in expected.entries.values_mut() {
            entry.mode |= match entry.kind {
                Kind::Directory => 0o700,
                Kind::File { .. } => 0o400,
                _ => 0,
            };
        }
        expected.entries.insert((&self.proxy).into(), pilot.get(&self.proxy).clone());
        self.snapshot().below().assert_same(&expected);
        assert!(std::fs::symlink_metadata(&self.parked).is_err(), "S.condor is there");
    }

    /// S/P.
    pub fn proxy_path(&self) -> PathBuf {
        self.path.join(&self.proxy)
    }

    /// `S.condor/P`.
    pub fn parked_proxy(&self) -> PathBuf {
        self.parked.join(&self.proxy)
    }

    /// A file of the pilot's.
    pub fn add_file(&self, name: impl AsRef<Path>, content: &[u8], mode: u32) {
        put_file(PILOT, &self.path.join(name), content, mode);
    }

    /// A directory of the pilot's.
    pub fn add_directory(&self, name: impl AsRef<Path>, mode: u32) {
        let path = self.path.join(name);
        std::fs::create_dir(&path).unwrap();
        finish(PILOT, &path, mode);
    }

    /// A symbolic link of the pilot's.
    pub fn add_link(&self, name: impl AsRef<Path>, target: impl AsRef<Path>) {
        put_link(PILOT, &self.path.join(name), target);
    }

    /// Owner, mode and an odd time for a directory, once it is full.
    pub fn finish_directory(&self, name: impl AsRef<Path>, mode: u32) {
        finish(PILOT, &self.path.join(name), mode);
    }
}

/// Makes a file of `account`, with a time that is not now and has odd nanoseconds.
pub fn put_file(account: Account, path: &Path, content: &[u8], mode: u32) {
    std::fs::write(path, content).unwrap();
    finish(account, path, mode);
}

/// Makes a symbolic link of `account`.
pub fn put_link(account: Account, path: &Path, target: impl AsRef<Path>) {
    std::os::unix::fs::symlink(target, path).unwrap();
    lchown(path, Some(account.uid()), Some(account.gid())).unwrap();
    set_time(path);
}

/// Owner, mode and time of what is not a link.
pub fn finish(account: Account, path: &Path, mode: u32) {
    lchown(path, Some(account.uid()), Some(account.gid())).unwrap();
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
    set_time(path);
}

/// Makes `depth` directories, each in the one before, with a file beside the next one now and then. Gives the deepest.
pub fn nest(top: &Path, depth: usize, name: &str) -> OwnedFd {
    let mut here = openat(CWD, top, OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty()).unwrap();
    for level in 0..depth {
        mkdirat(&here, name, Mode::from_raw_mode(0o700)).unwrap();
        if level % 97 == 0 {
            let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::CLOEXEC;
            let file = openat(&here, "file", flags, Mode::from_raw_mode(0o600)).unwrap();
            rustix::io::write(file, level.to_string().as_bytes()).unwrap();
        }
        here = openat(&here, name, OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty()).unwrap();
    }
    here
}

fn set_time(path: &Path) {
    // Different for every name, and nothing that a clock would show.
    let salt = path
        .as_os_str()
        .as_encoded_bytes()
        .iter()
        .fold(0_u32, |sum, byte| sum.wrapping_mul(31).wrapping_add(u32::from(*byte)));
    let time =
        Timespec { tv_sec: 1_000_000_000 + i64::from(salt % 500_000_000), tv_nsec: i64::from(salt % 999_999_999) };
    let times = Timestamps { last_access: time, last_modification: time };
    utimensat(CWD, path, &times, AtFlags::SYMLINK_NOFOLLOW).unwrap();
}

/// The Starter, as far as it sits in the sandbox: a process of the pilot's with its working directory there.
pub struct Seat {
    child: Child,
}

impl Seat {
    /// Sits down in `directory`.
    pub fn take(directory: &Path) -> Self {
        use std::os::unix::process::CommandExt;
        let mut command = Command::new("/bin/sleep");
        command.arg("1000").uid(PILOT.uid()).gid(PILOT.gid()).current_dir(directory).env_clear();
        Seat { child: command.spawn().unwrap() }
    }

    /// Where it sits by now.
    pub fn path(&self) -> PathBuf {
        std::fs::read_link(self.handle()).unwrap()
    }

    /// The directory's inode.
    pub fn inode(&self) -> u64 {
        std::fs::metadata(self.handle()).unwrap().ino()
    }

    fn handle(&self) -> PathBuf {
        format!("/proc/{}/cwd", self.child.id()).into()
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

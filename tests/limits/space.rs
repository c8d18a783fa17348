//! EXECUTE is full, at every megabyte and every inode of a copy: nothing is lost, nothing is left, and the next call
//! ends well.

use crate::common::{FileSystem, Finished, GREG, PILOT, Sandbox, Site, Snapshot, as_account, pem};
use rustix::fs::{FallocateFlags, fallocate, statvfs};
use std::fs::{self, File};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

/// What a job leaves, or is given, in MiB.
const DATA: u64 = 12;

/// Files of this size have to be written, also where larger ones could share their blocks.
const PART: usize = 63 << 10;

const FILE_SYSTEMS: [FileSystem; 3] = [FileSystem::Ext4(100, 1000), FileSystem::Xfs(320), FileSystem::Tmpfs(60)];

/// Files of [`DATA`] MiB in all, each with another content.
fn write_data(top: &Path) {
    let content = |size: usize, salt: usize| {
        let mut content = vec![salt as u8; size];
        content.chunks_mut(4096).enumerate().for_each(|(page, bytes)| bytes[..8].copy_from_slice(&page.to_le_bytes()));
        content
    };
    let parts = (10 << 20) / PART;
    for part in 0..parts {
        fs::write(top.join(format!("part{part}")), content(PART, part)).unwrap();
    }
    fs::write(top.join("large"), content(((DATA as usize) << 20) - parts * PART, 99)).unwrap();
}

/// A way to have too little of something in EXECUTE.
trait Shortage {
    /// Leaves `amount` of it.
    fn begin(&self, site: &Site, amount: u64);
    /// Gives it all back.
    fn end(&self, site: &Site);
}

/// A file system that has no more than so many MiB.
struct Space;

impl Shortage for Space {
    fn begin(&self, site: &Site, amount: u64) {
        // What was removed is free only when the file system has written that down.
        rustix::fs::syncfs(File::open(&site.execute).unwrap()).unwrap();
        let free = statvfs(&site.execute).map(|found| found.f_bavail * found.f_frsize).unwrap();
        let ballast = File::create(site.execute.join("ballast")).unwrap();
        let mut size = free - (amount << 20);
        // What is free is not all there for one file.
        while fallocate(&ballast, FallocateFlags::empty(), 0, size).is_err() {
            size -= 64 << 10;
        }
    }

    fn end(&self, site: &Site) {
        fs::remove_file(site.execute.join("ballast")).unwrap();
    }
}

/// A file system that has no more than so many inodes.
struct Inodes;

impl Shortage for Inodes {
    fn begin(&self, site: &Site, amount: u64) {
        let ballast = site.execute.join("ballast");
        fs::create_dir(&ballast).unwrap();
        // The kernel forgets a Landlock domain, and the directories in it, a little after the last process that was in
        // it.
        std::thread::sleep(Duration::from_millis(200));
        for number in amount..statvfs(&site.execute).unwrap().f_favail {
            File::create(ballast.join(number.to_string())).unwrap();
        }
    }

    fn end(&self, site: &Site) {
        fs::remove_dir_all(site.execute.join("ballast")).unwrap();
    }
}

/// A quota of so many MiB more than what is there. On btrfs it is the volume's, whoever writes.
struct Quota;

impl Quota {
    fn btrfs(site: &Site, arguments: &[&str]) -> String {
        let done = Command::new("btrfs").args(arguments).arg(&site.execute).output().unwrap();
        assert!(done.status.success(), "btrfs {arguments:?}: {}", String::from_utf8_lossy(&done.stderr));
        String::from_utf8(done.stdout).unwrap()
    }
}

impl Shortage for Quota {
    fn begin(&self, site: &Site, amount: u64) {
        Self::btrfs(site, &["filesystem", "sync"]);
        let table = Self::btrfs(site, &["qgroup", "show", "--raw"]);
        let volume = table.lines().find(|line| line.starts_with("0/5 ")).unwrap();
        let used: u64 = volume.split_whitespace().nth(1).unwrap().parse().unwrap();
        Self::btrfs(site, &["qgroup", "limit", &(used + (amount << 20)).to_string()]);
    }

    fn end(&self, site: &Site) {
        // What was freed counts as free when the file system has written that down; until then this, too, is over the
        // quota.
        Self::btrfs(site, &["filesystem", "sync"]);
        Self::btrfs(site, &["qgroup", "limit", "none"]);
    }
}

/// How often a helper was refused something, and how often it had enough.
#[derive(Debug, Default)]
struct Tally {
    refused: u32,
    done: u32,
}

impl Tally {
    /// Whether the call did its work; if not, it must have said this.
    #[track_caller]
    fn count(&mut self, finished: Finished, code: i32, words: &[&str]) -> bool {
        if finished.code == Some(0) {
            finished.expect_quiet();
            self.done += 1;
            return true;
        }
        finished.expect_refusal(code, words);
        self.refused += 1;
        false
    }
}

/// One copy back with `amount` left.
fn take_back(site: &Site, fill: fn(&Path), short: &impl Shortage, amount: u64, words: &[&str], tally: &mut Tally) {
    let sandbox = site.sandbox();
    let given = sandbox.snapshot();
    site.setup(&sandbox).run().expect_quiet();
    as_account(GREG, || fill(&sandbox.path));
    let (left, parked) = (sandbox.snapshot(), Snapshot::of(&sandbox.parked).below());
    short.begin(site, amount);
    let done = tally.count(site.cleanup(&sandbox).run(), 1, words);
    if !done {
        sandbox.snapshot().assert_same(&left);
        Snapshot::of(&sandbox.parked).below().assert_same(&parked);
    }
    short.end(site);
    if !done {
        site.cleanup(&sandbox).run().expect_quiet();
    }
    sandbox.assert_taken_back(&left, &given);
    fs::remove_dir_all(&sandbox.path).unwrap();
}

/// One copy to the job with `amount` left.
fn hand_over(site: &Site, fill: fn(&Path), short: &impl Shortage, amount: u64, words: &[&str], tally: &mut Tally) {
    let sandbox = site.sandbox();
    as_account(PILOT, || fill(&sandbox.path));
    let given = sandbox.snapshot();
    short.begin(site, amount);
    let done = tally.count(site.setup(&sandbox).run(), 2, words);
    if !done {
        sandbox.assert_as_before(&given);
    }
    short.end(site);
    if !done {
        site.setup(&sandbox).run().expect_quiet();
    }
    sandbox.assert_handed_over(&given);
    remove(&sandbox);
}

fn remove(sandbox: &Sandbox) {
    fs::remove_dir_all(&sandbox.path).unwrap();
    fs::remove_dir_all(&sandbox.parked).unwrap();
}

const SPACE: [&str; 2] = ["No space left on device", "call this again"];

#[test]
#[ignore = "needs root"]
fn c7_the_disk_is_full_at_every_megabyte_of_the_copy_back() {
    for file_system in FILE_SYSTEMS {
        let site = Site::on(file_system);
        let mut tally = Tally::default();
        for free in 0..=DATA + 1 {
            take_back(&site, write_data, &Space, free, &SPACE, &mut tally);
        }
        assert!(tally.refused >= 8 && tally.done >= 1, "{tally:?} on {file_system:?}");
    }
}

#[test]
#[ignore = "needs root"]
fn c7_the_disk_is_full_at_every_megabyte_of_the_copy_to_the_job() {
    for file_system in FILE_SYSTEMS {
        let site = Site::on(file_system);
        let mut tally = Tally::default();
        for free in 0..=DATA + 1 {
            hand_over(&site, write_data, &Space, free, &SPACE, &mut tally);
        }
        assert!(tally.refused >= 8 && tally.done >= 1, "{tally:?} on {file_system:?}");
    }
}

/// Directories, files, links of both kinds: 24 inodes.
fn write_entries(top: &Path) {
    for directory in ["d0", "d1", "d2"].map(|name| top.join(name)) {
        fs::create_dir(&directory).unwrap();
        for file in 0..6 {
            fs::write(directory.join(format!("file{file}")), b"content").unwrap();
        }
        fs::hard_link(directory.join("file0"), directory.join("again")).unwrap();
        std::os::unix::fs::symlink("file0", directory.join("link")).unwrap();
    }
}

#[test]
#[ignore = "needs root"]
fn c7_no_inode_is_left_at_every_entry_of_the_copy_back() {
    let site = Site::on(FileSystem::Ext4(64, 256));
    let mut tally = Tally::default();
    for free in 0..45 {
        take_back(&site, write_entries, &Inodes, free, &SPACE, &mut tally);
    }
    assert!(tally.refused >= 24 && tally.done >= 1, "{tally:?}");
}

#[test]
#[ignore = "needs root"]
fn c7_no_inode_is_left_at_every_entry_of_the_copy_to_the_job() {
    let site = Site::on(FileSystem::Ext4(64, 256));
    let mut tally = Tally::default();
    for free in 0..45 {
        hand_over(&site, write_entries, &Inodes, free, &SPACE, &mut tally);
    }
    assert!(tally.refused >= 24 && tally.done >= 1, "{tally:?}");
}

#[test]
#[ignore = "needs root"]
fn c7_a_quota_is_reached_at_every_other_megabyte() {
    let site = Site::on(FileSystem::Btrfs(400));
    Quota::btrfs(&site, &["quota", "enable"]);
    let words = ["Quota exceeded", "call this again"];
    for (what, copy) in [("back", true), ("to the job", false)] {
        let mut tally = Tally::default();
        for free in (1..=DATA + 5).step_by(2) {
            if copy {
                take_back(&site, write_data, &Quota, free, &words, &mut tally);
            } else {
                hand_over(&site, write_data, &Quota, free, &words, &mut tally);
            }
        }
        assert!(tally.refused >= 4 && tally.done >= 1, "{tally:?} {what}");
    }
}

#[test]
#[ignore = "needs root"]
fn no_inode_is_left_for_a_new_proxy_on_either_side() {
    let site = Site::on(FileSystem::Ext4(64, 256));
    let mut tally = Tally::default();
    for free in 0..4 {
        let sandbox = site.handed_over();
        let (job, parked) = (sandbox.snapshot().below(), Snapshot::of(&sandbox.parked).below());
        let new = site.private_file("new", &pem(2));
        Inodes.begin(&site, free);
        let finished = site.update_proxy(&sandbox, &new).run();
        assert!(!new.exists());
        if !tally.count(finished, 1, &SPACE[..1]) {
            sandbox.snapshot().below().assert_same(&job);
            Snapshot::of(&sandbox.parked).below().assert_same(&parked);
        }
        Inodes.end(&site);
        site.update_proxy(&sandbox, &site.private_file("new", &pem(2))).run().expect_quiet();
        assert_eq!(
            [sandbox.proxy_path(), sandbox.parked_proxy()].map(|path| fs::read(path).unwrap()),
            [pem(2), pem(2)]
        );
        remove(&sandbox);
    }
    assert_eq!((tally.refused, tally.done), (2, 2));
}

/// A file system that met an error of its own often goes on read-only.
#[test]
#[ignore = "needs root"]
fn a_file_system_that_turned_read_only() {
    let site = Site::on(FileSystem::Ext4(64, 1000));
    let remount = |mode: &str| {
        let done = Command::new("mount").args(["-o", mode]).arg(&site.execute).status().unwrap();
        assert!(done.success());
    };
    let sandbox = site.sandbox();
    let given = sandbox.snapshot();
    remount("remount,ro");
    site.setup(&sandbox).run().expect_refusal(2, &["Read-only file system"]);
    sandbox.assert_as_before(&given);
    remount("remount,rw");
    site.setup(&sandbox).run().expect_quiet();
    as_account(GREG, || write_entries(&sandbox.path));
    let (left, parked) = (sandbox.snapshot(), Snapshot::of(&sandbox.parked));
    remount("remount,ro");
    site.cleanup(&sandbox).run().expect_refusal(1, &["Read-only file system"]);
    sandbox.snapshot().assert_same(&left);
    Snapshot::of(&sandbox.parked).assert_same(&parked);
    remount("remount,rw");
    site.cleanup(&sandbox).run().expect_quiet();
    sandbox.assert_taken_back(&left, &given);
}

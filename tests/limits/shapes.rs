//! What a job makes too much of: depth, entries, files that grow and directories that fill up while they are copied or
//! removed.

use crate::common::{
    FileSystem, GREG, Running, Sandbox, Site, Snapshot, another_round, as_account, nest, peak_memory, while_attacked,
};
use crate::etc;
use glexec_rs::ground::limits;
use rustix::fs::{Mode, OFlags, mkdirat, openat, renameat};
use rustix::io::Errno;
use std::fs::{self, File};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

const DIRECTORY: OFlags = OFlags::DIRECTORY.union(OFlags::CLOEXEC);

/// The directory so many levels below `top`.
fn descend(top: &Path, depth: usize) -> OwnedFd {
    let mut here = rustix::fs::open(top, DIRECTORY, Mode::empty()).unwrap();
    for _ in 0..depth {
        here = openat(&here, "d", DIRECTORY, Mode::empty()).unwrap();
    }
    here
}

#[test]
#[ignore = "needs root"]
fn c8_ten_thousand_levels_stay_with_the_job_until_there_are_fewer() {
    let site = Site::on(FileSystem::Tmpfs(256));
    let sandbox = site.empty_sandbox();
    let given = sandbox.snapshot();
    site.setup(&sandbox).run().expect_quiet();
    as_account(GREG, || drop(nest(&sandbox.path, 10_000, "d")));
    let (left, parked) = (sandbox.snapshot(), Snapshot::of(&sandbox.parked).below());
    site.cleanup(&sandbox).run().expect_refusal(1, &["deeper than 4096"]);
    sandbox.snapshot().assert_same(&left);
    Snapshot::of(&sandbox.parked).below().assert_same(&parked);

    as_account(GREG, || {
        let top = File::open(&sandbox.path).unwrap();
        for depth in [7000, 3500] {
            renameat(descend(&sandbox.path, depth), "d", &top, format!("below {depth}")).unwrap();
        }
    });
    let left = sandbox.snapshot();
    site.cleanup(&sandbox).run().expect_quiet();
    sandbox.assert_taken_back(&left, &given);
}

/// Far more levels than a path, a process's descriptors or its stack could take.
#[test]
#[ignore = "needs root"]
fn c8_a_hundred_thousand_levels_stay_with_the_job() {
    const LEVELS: usize = 100_000;
    let site = Site::on(FileSystem::Tmpfs(512));
    let sandbox = site.empty_sandbox();
    site.setup(&sandbox).run().expect_quiet();
    as_account(GREG, || drop(nest(&sandbox.path, LEVELS, "d")));
    let inodes = || rustix::fs::statvfs(&site.execute).map(|found| found.f_files - found.f_ffree).unwrap();
    let (left, parked) = (inodes(), Snapshot::of(&sandbox.parked).below());
    site.cleanup(&sandbox).run().expect_refusal(1, &["deeper than 4096"]);
    assert_eq!(inodes(), left);
    as_account(GREG, || drop(descend(&sandbox.path, LEVELS)));
    Snapshot::of(&sandbox.parked).below().assert_same(&parked);
}

/// What arrived of a tree is removed again, however deep it is: it lies below the staging directory's own levels.
#[test]
#[ignore = "needs root"]
fn c8_a_copy_that_fails_at_the_deepest_level_leaves_nothing() {
    let site = Site::on(FileSystem::Tmpfs(256));
    let sandbox = site.empty_sandbox();
    let given = sandbox.snapshot();
    site.setup(&sandbox).run().expect_quiet();
    as_account(GREG, || {
        let deepest = nest(&sandbox.path, limits::DEPTH, "d");
        let flags = OFlags::CREATE | OFlags::WRONLY | OFlags::CLOEXEC;
        let file = openat(deepest, "output", flags, Mode::from_raw_mode(0o600)).unwrap();
        File::from(file).write_all_at(&[7; 100_000], 0).unwrap();
    });
    let (left, parked) = (sandbox.snapshot(), Snapshot::of(&sandbox.parked).below());
    let etc = etc::put(&site, "cleanup-bytes = 50000\n");
    for _ in 0..2 {
        etc::with(&etc, || site.cleanup(&sandbox).run()).expect_refusal(1, &["more than 50000 bytes"]);
        sandbox.snapshot().assert_same(&left);
        Snapshot::of(&sandbox.parked).below().assert_same(&parked);
    }
    site.cleanup(&sandbox).run().expect_quiet();
    sandbox.assert_taken_back(&left, &given);
}

#[test]
#[ignore = "needs root"]
fn c8_a_file_that_grows_while_it_is_taken_back() {
    let site = Site::new();
    let (mut refused, mut done) = (0, 0);
    let mut rounds = 0..;
    while rounds.next().is_some_and(|round| another_round(round, 10, refused > 0)) {
        let sandbox = site.empty_sandbox();
        let given = sandbox.snapshot();
        site.setup(&sandbox).run().expect_quiet();
        as_account(GREG, || fs::write(sandbox.path.join("output"), vec![1; 4 << 20])).unwrap();
        let output = as_account(GREG, || File::options().append(true).open(sandbox.path.join("output")).unwrap());
        let parked = Snapshot::of(&sandbox.parked).below();
        let grow = || {
            use std::io::Write;
            (&output).write_all(&[2; 100]).unwrap();
        };
        let finished = while_attacked(GREG, grow, || site.cleanup(&sandbox).run());
        if finished.code == Some(0) {
            // What was written after the copy went to the job's own file.
            finished.expect_quiet();
            assert!(fs::metadata(sandbox.path.join("output")).unwrap().len() >= 4 << 20);
            done += 1;
            continue;
        }
        finished.expect_refusal(1, &["output", "changed while it was copied"]);
        refused += 1;
        Snapshot::of(&sandbox.parked).below().assert_same(&parked);
        let left = sandbox.snapshot();
        site.cleanup(&sandbox).run().expect_quiet();
        sandbox.assert_taken_back(&left, &given);
    }
    assert!(refused > 0, "it never grew at the right moment, {done} taken back");
}

/// How many entries the job makes meanwhile.
const ENOUGH: u64 = 30_000;

/// A process of the job stays in a directory and fills it, while it is copied and while it is removed.
#[test]
#[ignore = "needs root"]
fn c8_a_directory_that_refills_while_it_is_taken_back() {
    for file_system in [FileSystem::Disk, FileSystem::Tmpfs(256), FileSystem::Xfs(320)] {
        let site = Site::on(file_system);
        let (mut back, mut left_over) = (0, 0);
        for _ in 0..2 {
            let sandbox = site.sandbox();
            let given = sandbox.snapshot().masked(0o755);
            site.setup(&sandbox).run().expect_quiet();
            as_account(GREG, || fs::create_dir(sandbox.path.join("refilled"))).unwrap();
            let directory = File::open(sandbox.path.join("refilled")).unwrap();
            let count = AtomicU64::new(0);
            // With an end: as long as entries come faster than they go, the target side is removing until its deadline.
            let refill = || match count.fetch_add(1, Ordering::Relaxed) {
                ENOUGH.. => std::thread::sleep(Duration::from_millis(1)),
                number => refill(&directory, number),
            };
            let finished = while_attacked(GREG, refill, || site.cleanup(&sandbox).run());
            assert!(matches!(finished.code, Some(0 | 1)) && finished.said().lines().count() <= 1, "{finished:?}");
            back += u32::from(finished.code == Some(0));
            left_over += u32::from(finished.said().contains("cannot remove the job's own copy"));
            site.cleanup(&sandbox).run().expect_quiet();
            sandbox.snapshot().without("refilled").below().assert_same(&given.owned_by(crate::common::PILOT).below());
            assert!(!sandbox.parked.exists());
            fs::remove_dir_all(&sandbox.path).unwrap();
        }
        eprintln!("{file_system:?}: {back} at once, {left_over} with a leftover");
    }
}

fn refill(directory: &File, number: u64) {
    let name = format!("{number}");
    let made = if number.is_multiple_of(16) {
        mkdirat(directory, &name, Mode::RWXU)
    } else {
        openat(directory, &name, OFlags::CREATE | OFlags::WRONLY | OFlags::CLOEXEC, Mode::RUSR).map(drop)
    };
    // In the end the directory itself has gone.
    assert!(matches!(made, Ok(()) | Err(Errno::NOENT | Errno::NOSPC)), "{made:?}");
}

/// The most memory that the helper and its target side had resident, in KiB, as far as it was seen.
fn peak(site: &Site, mut running: Running) -> u64 {
    let mut peak = 0;
    while !running.has_ended() {
        for (pid, _) in site.processes() {
            peak = peak.max(peak_memory(pid));
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    running.finish().expect_quiet();
    peak
}

/// Files in directories of a thousand, for a job's account.
fn write_files(sandbox: &Sandbox, count: u32) {
    for directory in 0..count.div_ceil(1000) {
        let directory = sandbox.path.join(format!("directory {directory}"));
        fs::create_dir(&directory).unwrap();
        let at = File::open(&directory).unwrap();
        for file in 0..count.min(1000) {
            let flags = OFlags::CREATE | OFlags::WRONLY | OFlags::CLOEXEC;
            let file = openat(at.as_fd(), file.to_string(), flags, Mode::from_raw_mode(0o644)).unwrap();
            rustix::io::write(file, b"output").unwrap();
        }
    }
}

/// A million with `tests/run --full`.
#[test]
#[ignore = "needs root"]
fn c8_many_files_take_no_more_memory_than_few() {
    let site = Site::new();
    let many = if crate::full() { 1_000_000 } else { 50_000 };
    let limit = Duration::from_secs(1800);
    let [few, many] = [1000, many].map(|count| {
        let sandbox = site.empty_sandbox();
        as_account(crate::common::PILOT, || write_files(&sandbox, count));
        let given = sandbox.snapshot();
        let setup = peak(&site, site.setup(&sandbox).time_limit(limit).start());
        sandbox.assert_handed_over(&given);
        let cleanup = peak(&site, site.cleanup(&sandbox).time_limit(limit).start());
        sandbox.snapshot().below().assert_same(&given.masked(0o755).below());
        fs::remove_dir_all(&sandbox.path).unwrap();
        [setup, cleanup]
    });
    eprintln!("setup and cleanup had {few:?} KiB with few files and {many:?} with many");
    for (few, many) in few.into_iter().zip(many) {
        assert!(few > 0 && many < few + 512, "{few} KiB became {many}");
    }
}

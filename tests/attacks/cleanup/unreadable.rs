//! What cannot be read costs itself and nothing else, and what cannot be removed costs nothing that is back.

use crate::common::{FileSystem, Finished, GREG, MALLORY, PILOT, Sandbox, Site, as_account, finish, put_file};
use crate::fuse::{EVER, Fuse};
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::Command;

/// A sandbox with an output that must come back whatever else is there.
fn with_output(site: &Site) -> Sandbox {
    let sandbox = site.handed_over();
    put_file(GREG, &sandbox.path.join("output"), b"output", 0o644);
    sandbox
}

/// The output is back and the pilot's, and what was left out is named with these words in the report and the figures.
#[track_caller]
fn assert_back(sandbox: &Sandbox, finished: Finished, code: i32, words: &[&str]) {
    let finished = finished.expect(code);
    let (text, figures) = (&finished.errors, &finished.output);
    assert!(words.iter().all(|word| text.contains(word) && figures.contains(word)), "{words:?}: {finished:?}");
    assert!(figures.contains("\"files\":"), "{finished:?}");
    assert_eq!(fs::read(sandbox.path.join("output")).unwrap(), b"output");
    assert_eq!(fs::metadata(&sandbox.path).unwrap().uid(), PILOT.uid());
}

fn cleanup(site: &Site, sandbox: &Sandbox) -> Finished {
    let call = site.cleanup(sandbox).only_args(["--json"]).args([site.switcher()]);
    call.arg(&sandbox.proxy).arg(&sandbox.path).args(["0", "1"]).separate_errors().run()
}

fn run(command: &mut Command) {
    let done = command.output().unwrap();
    assert!(done.status.success(), "{command:?}: {}", String::from_utf8_lossy(&done.stderr));
}

/// A file system that a process of the job's served, dead or silent, is neither asked nor waited for.
#[test]
#[ignore = "needs root"]
fn c15_c17_a_mount_of_the_jobs_whose_server_is_dead_or_silent() {
    for silent in [false, true] {
        let site = Site::new();
        let sandbox = with_output(&site);
        let at = sandbox.path.join("mount");
        let mut server = if silent { Fuse::mount(&at, EVER) } else { Fuse::dead(&at) };
        let finished = cleanup(&site, &sandbox);
        server.moved(&sandbox.parked.join("mount"));
        assert_back(&sandbox, finished, 1, &["mount", "on another file system"]);
        let again = cleanup(&site, &sandbox);
        drop(server);
        let again = again.expect(1);
        assert!(again.said().contains("cannot remove the job's own copy"), "{again:?}");
        site.cleanup(&sandbox).cwd("/").run().expect_quiet();
        assert!(!sandbox.parked.exists());
    }
}

/// The disk has lost a file's and a directory's inode, and a directory's block: the kernel says EUCLEAN and the like.
#[test]
#[ignore = "needs root"]
fn c15_damaged_inodes_and_directories() {
    let site = Site::on(FileSystem::Ext4(64, 1000));
    let sandbox = with_output(&site);
    put_file(GREG, &sandbox.path.join("file"), &[7; 100_000], 0o644);
    for name in ["lost", "unlisted"] {
        fs::create_dir(sandbox.path.join(name)).unwrap();
        for number in 0..3 {
            put_file(GREG, &sandbox.path.join(name).join(number.to_string()), b"in it", 0o644);
        }
        finish(GREG, &sandbox.path.join(name), 0o755);
    }
    finish(GREG, &sandbox.path, 0o755);
    let image = site.root.join("memory/image");
    run(Command::new("umount").arg(&site.execute));
    let inside = format!("/{}", sandbox.path.file_name().unwrap().to_str().unwrap());
    for damage in [
        format!("clri {inside}/file"),
        format!("clri {inside}/lost"),
        // Its first block is one that no file system has.
        format!("sif {inside}/unlisted block[2] 0x40000000"),
        format!("sif {inside}/unlisted block[5] 0x7fffffff"),
    ] {
        run(Command::new("debugfs").args(["-w", "-R", &damage]).arg(&image));
    }
    run(Command::new("mount").args(["-o", "loop,errors=continue"]).arg(&image).arg(&site.execute));
    let finished = cleanup(&site, &sandbox);
    assert_back(&sandbox, finished, 1, &["file", "lost", "unlisted", "not readable: "]);
    run(Command::new("umount").arg(&site.execute));
    let _ = Command::new("e2fsck").arg("-fy").arg(&image).output();
    run(Command::new("mount").args(["-o", "loop"]).arg(&image).arg(&site.execute));
    let _ = fs::remove_dir_all(site.execute.join("lost+found"));
    site.cleanup(&sandbox).cwd("/").run().expect_quiet();
}

/// The job can neither read nor remove it.
#[test]
#[ignore = "needs root"]
fn c17_what_another_account_left_in_the_jobs_copy() {
    let site = Site::new();
    let sandbox = with_output(&site);
    let open = sandbox.path.join("open");
    fs::create_dir(&open).unwrap();
    finish(GREG, &open, 0o777);
    as_account(MALLORY, || {
        fs::create_dir(open.join("closed")).unwrap();
        fs::write(open.join("closed/in"), b"x").unwrap();
    });
    finish(MALLORY, &open.join("closed"), 0o700);
    let finished = cleanup(&site, &sandbox);
    assert_back(&sandbox, finished, 1, &["open/closed", "not readable: Permission denied"]);
    fs::remove_dir_all(&sandbox.parked).unwrap();
}

/// A subvolume has a device number of its own, but nobody has mounted anything there.
#[test]
#[ignore = "needs root"]
fn s15_subvolumes_are_copied_and_removed_like_directories() {
    let site = Site::on(FileSystem::Btrfs(200));
    let subvolume = |account, path: &Path| {
        run(Command::new("btrfs").args(["subvolume", "create"]).arg(path));
        for (name, size) in [("small", 10), ("large", 200_000)] {
            put_file(account, &path.join(name), &vec![size as u8; size], 0o644);
        }
        fs::hard_link(path.join("large"), path.join("again")).unwrap();
        finish(account, path, 0o755);
    };
    let sandbox = site.sandbox();
    // The same inode numbers in both.
    for name in ["given", "other"] {
        subvolume(PILOT, &sandbox.path.join(name));
    }
    sandbox.finish_directory("", 0o755);
    let given = sandbox.snapshot();
    site.setup(&sandbox).run().expect_quiet();
    sandbox.assert_handed_over(&given);
    for name in ["results", "more"] {
        subvolume(GREG, &sandbox.path.join(name));
    }
    subvolume(GREG, &sandbox.path.join("results/below"));
    finish(GREG, &sandbox.path.join("results"), 0o755);
    finish(GREG, &sandbox.path, 0o755);
    let left = sandbox.snapshot();
    site.cleanup(&sandbox).run().expect_quiet();
    sandbox.assert_taken_back(&left, &given);
    assert!(!sandbox.parked.exists());
}

/// An output that its owner made unreadable is of no use to the Starter.
#[test]
#[ignore = "needs root"]
fn p6_files_come_back_readable() {
    let site = Site::new();
    let sandbox = site.handed_over();
    for (name, size) in [("small", 10), ("large", 100_000)] {
        for mode in [0, 0o200, 0o100] {
            put_file(GREG, &sandbox.path.join(format!("{name}{mode:o}")), &vec![3; size], mode);
        }
    }
    site.cleanup(&sandbox).run().expect_quiet();
    for name in ["small", "large"] {
        for (mode, back) in [(0, 0o400), (0o200, 0o600), (0o100, 0o500)] {
            let path = sandbox.path.join(format!("{name}{mode:o}"));
            assert_eq!(fs::metadata(&path).unwrap().mode() & 0o7777, back, "{path:?}");
            as_account(PILOT, || fs::read(&path).unwrap());
        }
    }
}

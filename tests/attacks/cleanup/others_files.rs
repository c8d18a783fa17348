//! What is no file, and what belongs to somebody else or lies elsewhere.

use crate::cleanup::playground::{Lease, mode};
use crate::common::{GREG, Kind, MALLORY, PILOT, Sandbox, Site, Snapshot};
use crate::common::{as_account, finish, pem, put_file};
use rustix::fs::{CWD, FileType, Mode, makedev, mknodat};
use std::fs;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

/// A directory in the job's sandbox to which it has let everybody.
fn open_to_all(sandbox: &Sandbox) -> PathBuf {
    let open = sandbox.path.join("open");
    as_account(GREG, || {
        fs::create_dir(&open).unwrap();
        mode(&open, 0o777);
    });
    open
}

#[test]
#[ignore = "needs root"]
fn c4_fifos_sockets_and_devices_are_left_out_and_do_not_hang_anybody() {
    let site = Site::new();
    let sandbox = site.handed_over();
    // The socket's path may be too long for a bind.
    let made = as_account(GREG, || {
        mknodat(CWD, sandbox.path.join("fifo"), FileType::Fifo, Mode::from_raw_mode(0o666), 0).unwrap();
        UnixListener::bind(sandbox.path.join("socket"))
    });
    let _listener = made.unwrap();
    for (name, kind, device) in
        [("null", FileType::CharacterDevice, makedev(1, 3)), ("disk", FileType::BlockDevice, makedev(7, 0))]
    {
        // What a job could have found on a file system that somebody mounted.
        let at = sandbox.path.join("data").join(name);
        mknodat(CWD, &at, kind, Mode::from_raw_mode(0o666), device).unwrap();
        finish(GREG, &at, 0o666);
    }
    let started = Instant::now();
    site.cleanup(&sandbox).run().expect_refusal(0, &["4 left out", "fifo", "socket", "data/null", "data/disk"]);
    assert!(started.elapsed() < Duration::from_secs(30));
    for entry in sandbox.snapshot().entries.values() {
        assert!(!matches!(entry.kind, Kind::Special(_)));
    }
}

#[test]
#[ignore = "needs root"]
fn c4_more_than_can_be_named_are_counted() {
    let site = Site::new();
    let sandbox = site.handed_over();
    as_account(GREG, || {
        for index in 0..5000 {
            let name = format!("{index:0200}\x1b%n\n");
            mknodat(CWD, sandbox.path.join(name), FileType::Fifo, Mode::from_raw_mode(0o600), 0).unwrap();
        }
    });
    site.cleanup(&sandbox).run().expect_refusal(0, &["5000 left out"]);
}

#[test]
#[ignore = "needs root"]
fn c6_another_account_leaves_files_in_a_directory_that_the_job_opened_to_all() {
    let site = Site::new();
    for mallory_mode in [0o644, 0o600, 0] {
        let sandbox = site.sandbox();
        let given = sandbox.snapshot();
        site.setup(&sandbox).run().expect_quiet();
        let open = open_to_all(&sandbox);
        as_account(MALLORY, || {
            fs::write(open.join("of-mallory"), b"x").unwrap();
            mode(&open.join("of-mallory"), mallory_mode);
        });
        let left = sandbox.snapshot();
        if mallory_mode == 0o644 {
            site.cleanup(&sandbox).run().expect_quiet();
            sandbox.assert_taken_back(&left, &given);
        } else {
            site.cleanup(&sandbox).run().expect_refusal(0, &["1 left out", "of-mallory"]);
            sandbox.assert_taken_back(&left.without("open/of-mallory"), &given);
        }
    }
}

#[test]
#[ignore = "needs root"]
fn c6_another_accounts_directory_that_the_job_can_neither_read_nor_remove() {
    let site = Site::new();
    let sandbox = site.sandbox();
    let given = sandbox.snapshot();
    site.setup(&sandbox).run().expect_quiet();
    let open = open_to_all(&sandbox);
    as_account(GREG, || fs::write(sandbox.path.join("output"), b"output").unwrap());
    as_account(MALLORY, || {
        fs::create_dir(open.join("of-mallory")).unwrap();
        fs::write(open.join("of-mallory/in"), b"x").unwrap();
        mode(&open.join("of-mallory"), 0o700);
    });
    let left = sandbox.snapshot().without("open/of-mallory");
    // The job's output comes back; that its old tree cannot be removed is said, and is no reason to keep the output
    // from the Starter.
    let parked = sandbox.parked.file_name().unwrap().to_str().unwrap();
    for _ in 0..2 {
        site.cleanup(&sandbox).cwd("/").run().expect_refusal(1, &["cannot remove", parked, "Permission denied"]);
        let expected = left.clone().masked(0o755).owned_by(PILOT).without(&sandbox.proxy).below();
        sandbox.snapshot().without(&sandbox.proxy).below().assert_same(&expected);
        assert_eq!(fs::read(sandbox.proxy_path()).unwrap(), pem(1));
    }
    drop(given);
}

/// #2189: what a daemon of root's wrote where the job was.
#[test]
#[ignore = "needs root"]
fn ticket_2189_files_of_roots_come_back_as_far_as_the_job_can_read_them() {
    let site = Site::new();
    let sandbox = site.sandbox();
    let given = sandbox.snapshot();
    site.setup(&sandbox).run().expect_quiet();
    for (name, bits) in [("open", 0o644), ("closed", 0o600)] {
        fs::write(sandbox.path.join(name), b"root's").unwrap();
        mode(&sandbox.path.join(name), bits);
    }
    let left = sandbox.snapshot();
    site.cleanup(&sandbox).run().expect_refusal(0, &["1 left out", "closed"]);
    sandbox.assert_taken_back(&left.without("closed"), &given);
}

/// What a site mounts in every sandbox, a scratch disk perhaps, is neither sent back nor emptied.
#[test]
#[ignore = "needs root"]
fn c6_what_is_on_another_file_system_is_left_out_and_left_alone() {
    let site = Site::new();
    let sandbox = site.sandbox();
    sandbox.add_directory("scratch", 0o755);
    sandbox.finish_directory("", 0o755);
    let given = sandbox.snapshot();
    site.setup(&sandbox).run().expect_quiet();
    let left = sandbox.snapshot();
    let scratch = |tree: &Path| tree.join("scratch");
    assert!(
        Command::new("mount").args(["-t", "tmpfs", "tmpfs"]).arg(scratch(&sandbox.path)).status().unwrap().success()
    );
    put_file(GREG, &scratch(&sandbox.path).join("output"), b"output", 0o644);
    finish(GREG, &scratch(&sandbox.path), 0o755);
    let finished = site.cleanup(&sandbox).run();
    let output = fs::read(scratch(&sandbox.parked).join("output"));
    assert!(Command::new("umount").arg(scratch(&sandbox.parked)).status().unwrap().success());
    finished.expect_refusal(1, &["cannot remove", "busy"]);
    assert_eq!(output.unwrap(), b"output");
    site.cleanup(&sandbox).cwd("/").run().expect_quiet();
    sandbox.assert_taken_back(&left.without("scratch"), &given);
}

#[test]
#[ignore = "needs root"]
fn ticket_2189_a_directory_of_roots_is_named_and_keeps_nothing_back() {
    let site = Site::new();
    let sandbox = site.sandbox();
    let given = sandbox.snapshot();
    site.setup(&sandbox).run().expect_quiet();
    as_account(GREG, || fs::write(sandbox.path.join("output"), b"output")).unwrap();
    fs::create_dir(sandbox.path.join("roots")).unwrap();
    fs::write(sandbox.path.join("roots/in"), b"in").unwrap();
    let left = sandbox.snapshot();
    let parked = sandbox.parked.file_name().unwrap().to_str().unwrap();
    for _ in 0..2 {
        site.cleanup(&sandbox).cwd("/").run().expect_refusal(1, &["cannot remove", parked, "Permission denied"]);
        // The job's old tree is beside it now, with nothing in it but what is root's.
        assert_eq!(Snapshot::of(&sandbox.parked).names(), [Path::new("roots"), Path::new("roots/in")]);
        let expected = left.clone().masked(0o755).owned_by(PILOT).below();
        sandbox.snapshot().below().without(&sandbox.proxy).assert_same(&expected.without(&sandbox.proxy));
        assert_eq!(fs::read(sandbox.proxy_path()).unwrap(), pem(1));
    }
    // Root removes it, and the third call has nothing to say.
    fs::remove_dir_all(sandbox.parked.join("roots")).unwrap();
    site.cleanup(&sandbox).cwd("/").run().expect_quiet();
    sandbox.assert_taken_back(&left, &given);
}

/// The job cannot look into it, but nobody needs to for removing it.
#[test]
#[ignore = "needs root"]
fn c6_another_accounts_empty_directory_is_removed() {
    let site = Site::new();
    let sandbox = site.sandbox();
    let given = sandbox.snapshot();
    site.setup(&sandbox).run().expect_quiet();
    let open = open_to_all(&sandbox);
    as_account(MALLORY, || {
        fs::create_dir(open.join("of-mallory")).unwrap();
        mode(&open.join("of-mallory"), 0o700);
    });
    let left = sandbox.snapshot().without("open/of-mallory");
    site.cleanup(&sandbox).run().expect_refusal(0, &["1 left out", "of-mallory"]);
    sandbox.assert_taken_back(&left, &given);
}

#[test]
#[ignore = "needs root"]
fn c6_another_accounts_leased_file_does_not_hold_up_the_rest() {
    let site = Site::new();
    let sandbox = site.sandbox();
    let given = sandbox.snapshot();
    site.setup(&sandbox).run().expect_quiet();
    let open = open_to_all(&sandbox);
    let leased = open.join("of-mallory");
    put_file(MALLORY, &leased, b"x", 0o644);
    finish(GREG, &open, 0o777);
    let left = sandbox.snapshot().without("open/of-mallory");
    let _lease = Lease::take(MALLORY, &leased);
    site.cleanup(&sandbox).run().expect_refusal(0, &["1 left out", "of-mallory"]);
    sandbox.assert_taken_back(&left, &given);
}

//! The names of the sandbox and of `S.condor`, and the path to them.

use crate::common::{FileSystem, GREG, MALLORY, PILOT, Sandbox, Site, Snapshot};
use crate::common::{another_round, as_account, finish, pem, put_file, while_attacked};
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};

/// A directory that an attacker may want something put into, with its content.
fn trap(site: &Site, owner: crate::common::Account) -> PathBuf {
    let path = site.root.join("trap");
    fs::create_dir(&path).unwrap();
    put_file(owner, &path.join("kept"), b"kept", 0o644);
    finish(owner, &path, 0o777);
    path
}

#[test]
#[ignore = "needs root"]
fn s1_the_parked_name_is_taken() {
    let site = Site::new();
    let trap = trap(&site, GREG);
    let seen = Snapshot::of(&trap);
    type Plant = fn(&Path, &Path);
    let plants: [Plant; 6] = [
        |at, _| fs::create_dir(at).unwrap(),
        |at, _| {
            fs::create_dir(at).unwrap();
            fs::set_permissions(at, fs::Permissions::from_mode(0o777)).unwrap();
        },
        |at, _| {
            fs::create_dir(at).unwrap();
            fs::write(at.join("file"), b"x").unwrap();
        },
        |at, _| fs::write(at, b"").unwrap(),
        |at, trap| symlink(trap, at).unwrap(),
        |at, _| symlink("nowhere", at).unwrap(),
    ];
    for account in [PILOT, GREG, MALLORY] {
        for plant in plants {
            let sandbox = site.sandbox();
            let before = sandbox.snapshot();
            as_account(account, || plant(&sandbox.parked, &trap));
            let planted = fs::symlink_metadata(&sandbox.parked).unwrap();

            site.setup(&sandbox).run().expect_refusal(2, &[".condor"]);

            sandbox.snapshot().assert_same(&before);
            let still = fs::symlink_metadata(&sandbox.parked).unwrap();
            assert_eq!((still.ino(), still.mode(), still.uid()), (planted.ino(), planted.mode(), planted.uid()));
            Snapshot::of(&trap).assert_same(&seen);
        }
    }
}

#[test]
#[ignore = "needs root"]
fn s2_other_plants_a_symlink_at_the_sandbox() {
    let site = Site::new();
    let inner = site.sandbox();
    let before = inner.snapshot();
    for account in [GREG, MALLORY] {
        let sandbox = site.empty_sandbox();
        fs::remove_dir_all(&sandbox.path).unwrap();
        as_account(account, || symlink(&inner.path, &sandbox.path).unwrap());
        site.setup(&sandbox).run().expect_refusal(2, &[]);
        inner.assert_as_before(&before);
        assert!(fs::symlink_metadata(&sandbox.path).unwrap().is_symlink());
    }
    // Not even the pilot's own: a sandbox is a directory.
    let sandbox = site.empty_sandbox();
    fs::remove_dir_all(&sandbox.path).unwrap();
    crate::common::put_link(PILOT, &sandbox.path, &inner.path);
    site.setup(&sandbox).run().expect_refusal(2, &[]);
    inner.assert_as_before(&before);
    assert!(site.switcher_calls().is_empty());
}

#[test]
#[ignore = "needs root"]
fn s2_other_plants_a_directory_at_the_sandbox() {
    let site = Site::new();
    for account in [GREG, MALLORY] {
        let sandbox = site.sandbox();
        finish(account, &sandbox.path, 0o777);
        let before = sandbox.snapshot();
        site.setup(&sandbox).run().expect_refusal(2, &[]);
        sandbox.assert_as_before(&before);
    }
    assert!(site.switcher_calls().is_empty());
}

#[test]
#[ignore = "needs root"]
fn s2_other_races_for_the_names() {
    for file_system in [FileSystem::Disk, FileSystem::Tmpfs(256)] {
        let site = Site::on(file_system);
        let trap = trap(&site, GREG);
        let seen = Snapshot::of(&trap);
        let (mut won, mut refused, mut done) = (0, 0, 0);
        let mut rounds = 0..;
        while let Some(round) = rounds.next().filter(|round| another_round(*round, 60, refused > 0)) {
            let sandbox = site.sandbox();
            let before = sandbox.snapshot();
            let attacker = if round % 3 == 0 { GREG } else { MALLORY };
            // A link to a directory that is open to all, or a directory open to all, at whichever name is free for a
            // moment.
            let attack = || {
                for name in [&sandbox.path, &sandbox.parked] {
                    if round % 2 == 0 {
                        let _ = symlink(&trap, name);
                    } else if fs::create_dir(name).is_ok() {
                        let _ = fs::set_permissions(name, fs::Permissions::from_mode(0o777));
                    }
                }
                for name in [&sandbox.path, &sandbox.parked] {
                    if fs::symlink_metadata(name).is_ok_and(|found| found.uid() == attacker.uid() && !found.is_dir()) {
                        let _ = fs::remove_file(name);
                    }
                    if attacker == MALLORY {
                        let _ = fs::remove_dir(name);
                    }
                }
            };
            let finished = while_attacked(attacker, attack, || site.setup(&sandbox).run());

            let owner = |path: &Path| fs::symlink_metadata(path).map(|found| found.uid()).ok();
            match finished.code {
                Some(0) => {
                    done += 1;
                    won += usize::from(owner(&sandbox.path) != Some(GREG.uid()));
                    won += usize::from(owner(&sandbox.parked) != Some(PILOT.uid()));
                    sandbox.assert_handed_over(&before);
                }
                Some(2) => {
                    refused += 1;
                    won += usize::from(owner(&sandbox.path) != Some(PILOT.uid()));
                    sandbox.snapshot().assert_same(&before);
                }
                _ => panic!("{finished:?}"),
            }
            Snapshot::of(&trap).assert_same(&seen);
        }
        assert_eq!(won, 0, "of {done} handed over and {refused} refused");
        assert!(refused > 0, "the attacker never got between: {done} handed over");
    }
}

#[test]
#[ignore = "needs root"]
fn s2_an_execute_in_which_others_could_swap_names_is_refused() {
    let site = Site::new();
    let sandbox = site.sandbox();
    let before = sandbox.snapshot();
    for mode in [0o777, 0o775, 0o757, 0o733] {
        finish(PILOT, &site.execute, mode);
        site.setup(&sandbox).run().expect_refusal(2, &["execute"]);
        sandbox.assert_as_before(&before);
    }
    assert!(site.switcher_calls().is_empty());
}

#[test]
#[ignore = "needs root"]
fn s2_a_path_in_which_others_could_swap_a_directory_is_refused() {
    let site = Site::new();
    // EXECUTE below a directory of another's, below one open to all, and behind another's link.
    for (index, (owner, mode)) in [(MALLORY, 0o755), (GREG, 0o711), (PILOT, 0o777)].into_iter().enumerate() {
        let above = site.root.join(format!("above{index}"));
        let execute = above.join("execute");
        fs::create_dir_all(&execute).unwrap();
        finish(PILOT, &execute, 0o1777);
        finish(owner, &above, mode);
        let sandbox = Sandbox::make(execute.join("dir_1"));
        let before = sandbox.snapshot();
        site.setup(&sandbox).run().expect_refusal(2, &["above"]);
        sandbox.assert_as_before(&before);
    }
    let real = site.sandbox();
    let before = real.snapshot();
    as_account(MALLORY, || symlink(&site.execute, site.execute.join("detour")).unwrap());
    site.expect_left("detour");
    let mut sandbox = real.clone();
    sandbox.path = site.execute.join("detour").join(real.path.file_name().unwrap());
    site.setup(&sandbox).run().expect_refusal(2, &["detour"]);
    real.assert_as_before(&before);
    assert!(site.switcher_calls().is_empty());
}

#[test]
#[ignore = "needs root"]
fn s3_any_sandbox_path_arrives_verbatim() {
    let site = Site::new();
    let witness = site.execute.join("witness");
    let long = "x".repeat(248);
    let names: [&[u8]; 16] = [
        b"dir_\"$(touch witness)\"",
        b"dir_`touch witness`",
        b"dir_; touch witness; #",
        b"dir_'",
        b"dir_\\",
        b"dir_\n",
        b"\n",
        b" ",
        b"dir_1 dir_2",
        b"-rf",
        b"--help",
        b"dir_\xff\xfe",
        b"dir_%n%s",
        b"dir_*",
        b"~",
        long.as_bytes(),
    ];
    for name in names {
        let sandbox = site.sandbox_named(OsStr::from_bytes(name));
        sandbox.fill();
        let before = sandbox.snapshot();
        site.setup(&sandbox).run().expect_quiet();
        sandbox.assert_handed_over(&before);
        let calls = site.switcher_calls();
        assert_eq!(*calls.last().unwrap().variable("GLEXEC_CLIENT_CERT").unwrap(), sandbox.proxy_path());
        let left = sandbox.snapshot();
        site.cleanup(&sandbox).run().expect_quiet();
        sandbox.assert_taken_back(&left, &before);
        assert!(!witness.exists());
    }
}

#[test]
#[ignore = "needs root"]
fn s3_a_name_too_long_to_be_parked_is_refused() {
    let site = Site::new();
    for length in [249, 255] {
        let path = site.execute.join("x".repeat(length));
        fs::create_dir(&path).unwrap();
        site.expect_left(path.file_name().unwrap());
        put_file(PILOT, &path.join("x509up_u1234"), &pem(1), 0o600);
        finish(PILOT, &path, 0o755);
        let before = Snapshot::of(&path);
        let sandbox = Sandbox { parked: path.join("none"), path, proxy: "x509up_u1234".into() };
        let refused = site.setup(&sandbox).cwd("/").run();
        assert!(matches!(refused.code, Some(1 | 2)), "{refused:?}");
        Snapshot::of(&sandbox.path).assert_same(&before);
    }
}

#[test]
#[ignore = "needs root"]
fn s3_a_refusal_shows_the_path_escaped() {
    let site = Site::new();
    let sandbox = site.sandbox_named(OsStr::from_bytes(b"dir_\x1b[31m\n\xff%n"));
    finish(MALLORY, &sandbox.path, 0o755);
    site.setup(&sandbox).run().expect_refusal(2, &["dir_"]);
}

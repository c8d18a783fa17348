//! The sandbox itself, swapped or planted.

use crate::cleanup::playground::{Lease, proxy_of};
use crate::common::{GREG, Kind, MALLORY, PILOT, Sandbox, Seat, Site, Snapshot};
use crate::common::{another_round, as_account, finish, pem, put_file, while_attacked};
use rustix::fs::{CWD, FileType, Mode, mknodat};
use std::fs::{self};
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Puts something at the first path; the other one is that of a directory of the pilot's.
type Plant = fn(&Path, &Path);

/// What the owner of S, or anybody once S is gone, can put in its place that is no directory.
const NO_DIRECTORIES: [(&str, Plant); 3] = [
    ("a link to the pilot's", |at, pilots| symlink(pilots, at).unwrap()),
    ("a FIFO", |at, _| mknodat(CWD, at, FileType::Fifo, Mode::from_raw_mode(0o666), 0).unwrap()),
    ("a file", |at, _| fs::write(at, b"x").unwrap()),
];

/// The job's sandbox goes away.
fn move_away(site: &Site, sandbox: &Sandbox) -> PathBuf {
    let away = sandbox.path.with_extension("away");
    as_account(GREG, || fs::rename(&sandbox.path, &away)).unwrap();
    site.expect_left(away.file_name().unwrap());
    away
}

#[test]
#[ignore = "needs root"]
fn c9_what_is_no_directory_does_not_keep_the_starter_from_its_own() {
    let site = Site::new();
    let pilots = site.root.join("pilot");
    site.private_file("secret", b"secret");
    let untouched = Snapshot::of(&pilots);
    for account in [GREG, MALLORY] {
        for (what, plant) in NO_DIRECTORIES {
            let sandbox = site.sandbox();
            let seat = Seat::take(&sandbox.path);
            let given = sandbox.snapshot();
            site.setup(&sandbox).run().expect_quiet();
            move_away(&site, &sandbox);
            as_account(account, || plant(&sandbox.path, &pilots));
            let finished = site.cleanup(&sandbox).run();
            assert_eq!(seat.path(), sandbox.path, "{what}: {finished:?}");
            finished.expect_refusal(1, &["removed its sandbox"]);
            assert!(fs::symlink_metadata(&sandbox.parked).is_err(), "{what} is still there");
            assert_eq!(sandbox.snapshot().get(&sandbox.proxy), given.get(&sandbox.proxy));
            Snapshot::of(&pilots).assert_same(&untouched);
        }
    }
}

#[test]
#[ignore = "needs root"]
fn c9_what_is_no_directory_comes_while_the_sandbox_is_taken_back() {
    let site = Site::new();
    let pilots = site.root.join("pilot");
    site.private_file("secret", b"secret");
    let untouched = Snapshot::of(&pilots);
    for (what, plant) in NO_DIRECTORIES {
        let sandbox = site.handed_over();
        let seat = Seat::take(&sandbox.parked);
        put_file(GREG, &sandbox.path.join("output"), b"output", 0o644);
        let lease = Lease::take(GREG, &sandbox.path.join("output"));
        let running = site.cleanup(&sandbox).start();
        lease.await_reader();
        move_away(&site, &sandbox);
        as_account(GREG, || plant(&sandbox.path, &pilots));
        drop(lease);
        let first = running.finish();
        let second = site.cleanup(&sandbox).run();
        assert_eq!(seat.path(), sandbox.path, "{what}: {first:?} {second:?}");
        Snapshot::of(&pilots).assert_same(&untouched);
    }
}

/// What an interrupted call had brought to its place is not the job's output any more when the job has removed it
/// since.
#[test]
#[ignore = "needs root"]
fn c12_what_came_back_before_an_interruption_does_not_come_back_alone() {
    let site = Site::new();
    let sandbox = site.sandbox();
    let given = sandbox.snapshot();
    site.setup(&sandbox).run().expect_quiet();
    for name in ["first", "output"] {
        put_file(GREG, &sandbox.path.join(name), name.as_bytes(), 0o644);
    }
    // All has come back when the two directories cannot be exchanged, because there is nothing to exchange.
    let lease = Lease::take(GREG, &sandbox.path.join("output"));
    let running = site.cleanup(&sandbox).start();
    lease.await_reader();
    let away = move_away(&site, &sandbox);
    drop(lease);
    running.finish().expect_refusal(1, &["cannot exchange"]);
    assert!(sandbox.parked.join("first").exists());
    as_account(GREG, || {
        fs::rename(&away, &sandbox.path).unwrap();
        fs::remove_file(sandbox.path.join("first")).unwrap();
    });
    let left = sandbox.snapshot();
    site.cleanup(&sandbox).run().expect_quiet();
    sandbox.assert_taken_back(&left, &given);
}

/// Renames S, plants something in its place, and puts it back: what the owner of S may do even in a sticky directory.
fn swap(sandbox: &Sandbox, plant: impl Fn(&Path)) {
    let away = sandbox.path.with_extension("away");
    if fs::rename(&sandbox.path, &away).is_ok() {
        plant(&sandbox.path);
        let gone = fs::remove_file(&sandbox.path).is_ok() || fs::remove_dir(&sandbox.path).is_ok();
        if gone {
            let _ = fs::rename(&away, &sandbox.path);
        }
    }
}

#[test]
#[ignore = "needs root"]
fn c9_the_job_swaps_its_sandbox_while_it_is_taken_back() {
    let site = Site::new();
    let trap = site.root.join("trap");
    fs::create_dir(&trap).unwrap();
    put_file(GREG, &trap.join("kept"), b"kept", 0o644);
    finish(GREG, &trap, 0o777);
    let seen = Snapshot::of(&trap);
    let (mut done, mut failed) = (0, 0);
    let mut rounds = 0..;
    while let Some(round) = rounds.next().filter(|round| another_round(*round, 60, failed > 0)) {
        let sandbox = site.sandbox();
        let seat = Seat::take(&sandbox.path);
        let inode = seat.inode();
        site.setup(&sandbox).run().expect_quiet();
        let proxy = proxy_of(&sandbox);
        let rounds = AtomicU64::new(0);
        let attack = || {
            // Pauses of different lengths, so that every moment is met.
            let pause = rounds.fetch_add(1, Ordering::Relaxed) * 37 % 3000;
            std::thread::sleep(Duration::from_micros(pause));
            swap(&sandbox, |at| {
                if round % 2 == 0 {
                    let _ = symlink(&trap, at);
                } else {
                    let _ = fs::create_dir(at);
                }
            });
        };
        let finished = while_attacked(GREG, attack, || site.cleanup(&sandbox).run());
        // Wherever the pilot's directory is, it is the same, and the proxy in it too.
        assert_eq!(seat.inode(), inode);
        assert_eq!(fs::metadata(seat.path().join(&sandbox.proxy)).unwrap().ino(), proxy.0);
        Snapshot::of(&trap).assert_same(&seen);
        match finished.code {
            Some(0) => {
                done += 1;
                assert_eq!(fs::symlink_metadata(&sandbox.path).unwrap().ino(), inode, "{finished:?}");
            }
            Some(1) => {
                failed += 1;
                finished.expect_refusal(1, &[]);
            }
            _ => panic!("{finished:?}"),
        }
        // Whatever the attacker left beside it is not the helper's to remove: it never was at the sandbox's name when
        // asked.
        site.expect_left(sandbox.path.with_extension("away").file_name().unwrap());
    }
    assert!(failed > 0, "the attacker never got between ({done} taken back)");
}

#[test]
#[ignore = "needs root"]
fn c9_another_account_plants_names_while_it_is_taken_back() {
    let site = Site::new();
    site.expect_left("stolen");
    for _ in 0..30 {
        let sandbox = site.sandbox();
        let seat = Seat::take(&sandbox.path);
        let (inode, given) = (seat.inode(), sandbox.snapshot());
        site.setup(&sandbox).run().expect_quiet();
        let left = sandbox.snapshot();
        let attack = || {
            for name in [&sandbox.path, &sandbox.parked] {
                let _ = fs::create_dir(name);
                let _ = fs::rename(name, site.execute.join("stolen"));
                let _ = fs::remove_dir(name);
                let _ = symlink("/tmp", name);
            }
        };
        let finished = while_attacked(MALLORY, attack, || site.cleanup(&sandbox).run());
        finished.expect_quiet();
        assert_eq!((seat.inode(), seat.path()), (inode, sandbox.path.clone()));
        // The name S.condor is free again, and anybody may have it.
        let _ = fs::remove_file(&sandbox.parked);
        let _ = fs::remove_dir(&sandbox.parked);
        sandbox.assert_taken_back(&left, &given);
    }
}

#[test]
#[ignore = "needs root"]
fn c9_files_that_look_like_a_status_mean_nothing() {
    let site = Site::new();
    let victim = site.private_file("victim", b"victim");
    let sandbox = site.sandbox();
    let given = sandbox.snapshot();
    site.setup(&sandbox).run().expect_quiet();
    as_account(GREG, || {
        for name in
            ["status", ".status", ".glexec-new-proxy", ".glexec-incoming-x", ".glexec-links-x", "S.condor", "tree"]
        {
            fs::write(sandbox.path.join(name), b"0").unwrap();
            symlink("/nonexistent", sandbox.path.join(format!("{name}.link"))).unwrap();
        }
        fs::create_dir(sandbox.path.join("replaced")).unwrap();
        symlink(&victim, sandbox.path.join("status.victim")).unwrap();
    });
    let left = sandbox.snapshot();
    let links: Vec<PathBuf> = left
        .entries
        .iter()
        .filter(|(_, entry)| matches!(&entry.kind, Kind::Link(to) if to.is_absolute()))
        .map(|(path, _)| path.clone())
        .collect();
    site.cleanup(&sandbox).run().expect_refusal(0, &["8 left out"]);
    let expected = links.iter().fold(left, |left, link| left.without(link));
    sandbox.assert_taken_back(&expected, &given);
    assert_eq!(fs::read(victim).unwrap(), b"victim");
}

#[test]
#[ignore = "needs root"]
fn c9_a_parked_directory_that_is_not_the_pilots() {
    let site = Site::new();
    for owner in [GREG, MALLORY] {
        let sandbox = site.handed_over();
        fs::rename(&sandbox.parked, site.root.join("aside")).unwrap();
        fs::create_dir(&sandbox.parked).unwrap();
        put_file(PILOT, &sandbox.parked_proxy(), &pem(1), 0o600);
        finish(owner, &sandbox.parked, 0o777);
        let (left, planted) = (sandbox.snapshot(), Snapshot::of(&sandbox.parked));
        site.cleanup(&sandbox).cwd("/").run().expect_refusal(1, &[]);
        sandbox.snapshot().assert_same(&left);
        Snapshot::of(&sandbox.parked).assert_same(&planted);
        // A link to the pilot's own is no better.
        fs::remove_dir_all(&sandbox.parked).unwrap();
        as_account(owner, || symlink(site.root.join("aside"), &sandbox.parked).unwrap());
        site.cleanup(&sandbox).cwd("/").run().expect_refusal(1, &[]);
        sandbox.snapshot().assert_same(&left);
        fs::remove_dir_all(site.root.join("aside")).unwrap();
    }
}

/// When all is over, the name belongs to nobody; HTCondor cleans up once more.
#[test]
#[ignore = "needs root"]
fn c9_another_account_takes_the_parked_name_when_all_is_over() {
    let site = Site::new();
    type Plant<'a> = &'a (dyn Fn(&Path) + Sync);
    let plants: [Plant; 3] =
        [&|at| fs::create_dir(at).unwrap(), &|at| symlink("/tmp", at).unwrap(), &|at| fs::write(at, b"x").unwrap()];
    for plant in plants {
        let sandbox = site.handed_over();
        site.cleanup(&sandbox).run().expect_quiet();
        let back = sandbox.snapshot();
        as_account(MALLORY, || plant(&sandbox.parked));
        let planted = fs::symlink_metadata(&sandbox.parked).unwrap();
        site.cleanup(&sandbox).cwd(&sandbox.path).run().expect_quiet();
        sandbox.snapshot().assert_same(&back);
        assert_eq!(fs::symlink_metadata(&sandbox.parked).unwrap().ino(), planted.ino());
    }
}

#[test]
#[ignore = "needs root"]
fn c12_a_directory_with_the_name_of_a_waiting_proxy_does_not_keep_the_sandbox() {
    let site = Site::new();
    let sandbox = site.sandbox();
    let given = sandbox.snapshot();
    site.setup(&sandbox).run().expect_quiet();
    let plant = |account, at: &Path| {
        as_account(account, || {
            fs::create_dir(at).unwrap();
            fs::write(at.join("output"), b"x").unwrap();
        });
    };
    plant(GREG, &sandbox.path.join(".glexec-new-proxy"));
    let left = sandbox.snapshot();
    // What a call leaves that is killed when it has merged this and not yet exchanged the two directories.
    plant(PILOT, &sandbox.parked.join(".glexec-new-proxy"));
    site.cleanup(&sandbox).run().expect_quiet();
    sandbox.assert_taken_back(&left, &given);
}

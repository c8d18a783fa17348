//! The attacks on `condor_glexec_setup`, run by the accounts that would run them against the built programs. The numbers are
//! those of the ledger in `audit/`.

#![deny(unsafe_code)]

mod common;

use common::{FileSystem, GREG, Kind, MALLORY, PILOT, Sandbox, Seat, Site, Snapshot};
use common::{another_round, as_account, before_first_read, finish, pem, put_file, while_attacked};
use glexec_rs::files::component::Component;
use glexec_rs::files::metadata::{Metadata, Time};
use glexec_rs::protocol::connection::{Connection, Packet, pair};
use glexec_rs::protocol::greeting::GREETING;
use glexec_rs::protocol::wire::{Message, Place, Record};
use rustix::fs::{FileType, Mode, XattrFlags, makedev, mknodat, setxattr};
use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// A directory that an attacker may want something put into, with its content.
fn trap(site: &Site, owner: common::Account) -> PathBuf {
    let path = site.root.join("trap");
    fs::create_dir(&path).unwrap();
    put_file(owner, &path.join("kept"), b"kept", 0o644);
    finish(owner, &path, 0o777);
    path
}

#[test]
fn s1_the_parked_name_is_taken() {
    let Some(site) = Site::new() else { return };
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
fn s2_other_plants_a_symlink_at_the_sandbox() {
    let Some(site) = Site::new() else { return };
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
    common::put_link(PILOT, &sandbox.path, &inner.path);
    site.setup(&sandbox).run().expect_refusal(2, &[]);
    inner.assert_as_before(&before);
    assert!(site.switcher_calls().is_empty());
}

#[test]
fn s2_other_plants_a_directory_at_the_sandbox() {
    let Some(site) = Site::new() else { return };
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
fn s2_other_races_for_the_names() {
    for file_system in [FileSystem::Disk, FileSystem::Tmpfs(256)] {
        let Some(site) = Site::on(file_system) else { return };
        let trap = trap(&site, GREG);
        let seen = Snapshot::of(&trap);
        let (mut won, mut refused, mut done) = (0, 0, 0);
        let mut rounds = 0..;
        while let Some(round) = rounds.next().filter(|round| another_round(*round, 60, refused > 0)) {
            let sandbox = site.sandbox();
            let before = sandbox.snapshot();
            let attacker = if round % 3 == 0 { GREG } else { MALLORY };
            // A link to a directory that is open to all, or a directory open to all, at whichever name is free for a moment.
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
fn s2_an_execute_in_which_others_could_swap_names_is_refused() {
    let Some(site) = Site::new() else { return };
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
fn s2_a_path_in_which_others_could_swap_a_directory_is_refused() {
    let Some(site) = Site::new() else { return };
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
fn s3_any_sandbox_path_arrives_verbatim() {
    let Some(site) = Site::new() else { return };
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
fn s3_a_name_too_long_to_be_parked_is_refused() {
    let Some(site) = Site::new() else { return };
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
fn s3_a_refusal_shows_the_path_escaped() {
    let Some(site) = Site::new() else { return };
    let sandbox = site.sandbox_named(OsStr::from_bytes(b"dir_\x1b[31m\n\xff%n"));
    finish(MALLORY, &sandbox.path, 0o755);
    site.setup(&sandbox).run().expect_refusal(2, &["dir_"]);
}

#[test]
fn s4_the_proxy_is_something_else() {
    let Some(site) = Site::new() else { return };
    let secret = site.private_file("secret", &pem(9));
    type Make<'a> = &'a dyn Fn(&Path);
    let makes: [(&str, Make); 12] = [
        ("missing", &|_| {}),
        ("a link to a proxy", &|at| symlink(&secret, at).unwrap()),
        ("a link to itself", &|at| symlink("x509up_u1234", at).unwrap()),
        ("a directory", &|at| fs::create_dir(at).unwrap()),
        ("a FIFO", &|at| special(at, FileType::Fifo)),
        ("a device", &|at| special(at, FileType::CharacterDevice)),
        ("another's", &|at| put_file(MALLORY, at, &pem(1), 0o600)),
        ("the target's", &|at| put_file(GREG, at, &pem(1), 0o600)),
        ("readable by the group", &|at| put_file(PILOT, at, &pem(1), 0o640)),
        ("writable by others", &|at| put_file(PILOT, at, &pem(1), 0o602)),
        ("empty", &|at| put_file(PILOT, at, b"", 0o600)),
        ("a second name of a file", &|at| fs::hard_link(&secret, at).unwrap()),
    ];
    for (what, make) in makes {
        let sandbox = site.sandbox();
        fs::remove_file(sandbox.proxy_path()).unwrap();
        make(&sandbox.proxy_path());
        let before = sandbox.snapshot();
        let finished = site.setup(&sandbox).run();
        assert_eq!(finished.code, Some(2), "{what}: {finished:?}");
        finished.expect_refusal(2, &["x509up_u1234"]);
        sandbox.assert_as_before(&before);
        assert!(site.switcher_calls().is_empty(), "{what}");
    }
    assert_eq!(fs::read(&secret).unwrap(), pem(9));
}

/// A FIFO, socket or device of the pilot's.
fn special(at: &Path, kind: FileType) {
    mknodat(rustix::fs::CWD, at, kind, Mode::from_raw_mode(0o600), makedev(1, 3)).unwrap();
    finish(PILOT, at, 0o600);
}

#[test]
fn s4_odd_proxy_names_are_names() {
    let Some(site) = Site::new() else { return };
    let long = "p".repeat(255);
    for name in [&b"-rf"[..], b"--", b"-", b"...", b" ", b"\n", b"\xff", b"$(id)", b"*", long.as_bytes()] {
        let mut sandbox = site.sandbox();
        fs::rename(sandbox.proxy_path(), sandbox.path.join(OsStr::from_bytes(name))).unwrap();
        sandbox.finish_directory("", 0o755);
        sandbox.proxy = OsStr::from_bytes(name).to_owned();
        let before = sandbox.snapshot();
        site.setup(&sandbox).run().expect_quiet();
        sandbox.assert_handed_over(&before);
        let left = sandbox.snapshot();
        site.cleanup(&sandbox).run().expect_quiet();
        sandbox.assert_taken_back(&left, &before);
    }
}

#[test]
fn s5_an_input_that_the_pilot_cannot_read() {
    let Some(site) = Site::new() else { return };
    for directory in [false, true] {
        let sandbox = site.sandbox();
        let at = sandbox.path.join("data/of-another");
        if directory {
            fs::create_dir(&at).unwrap();
            finish(MALLORY, &at, 0o700);
        } else {
            put_file(MALLORY, &at, b"private", 0o600);
        }
        let before = sandbox.snapshot();
        site.setup(&sandbox).run().expect_refusal(2, &["of-another"]);
        sandbox.assert_as_before(&before);
    }
}

#[test]
fn s5_inputs_that_deny_their_owner_are_handed_over() {
    let Some(site) = Site::new() else { return };
    let sandbox = site.sandbox();
    sandbox.add_file("closed", b"closed", 0);
    sandbox.add_directory("shut", 0o700);
    sandbox.add_file("shut/in", b"in", 0o200);
    sandbox.finish_directory("shut", 0);
    sandbox.finish_directory("", 0o755);
    let before = sandbox.snapshot();
    site.setup(&sandbox).run().expect_quiet();
    sandbox.assert_handed_over(&before);
}

/// Words of one generation after the other are written over all of a file, its length is changed now and then; what is handed over must
/// be of one generation, or nothing.
#[test]
fn s5_an_input_that_changes_shrinks_or_grows_during_the_copy() {
    const WORDS: usize = 1 << 20;
    for file_system in [FileSystem::Disk, FileSystem::Tmpfs(256)] {
        let Some(site) = Site::on(file_system) else { return };
        let mut refused = [0; 3];
        let mut rounds = 0..;
        while let Some(round) = rounds.next().filter(|round| another_round(*round, 12, !refused.contains(&0))) {
            let way = round as usize % refused.len();
            let sandbox = site.sandbox();
            sandbox.add_file("changing", &vec![0; 8 * WORDS], 0o644);
            sandbox.add_file("zz", b"behind", 0o644);
            let before = sandbox.snapshot().without("changing");
            let path = sandbox.path.join("changing");
            let file = fs::OpenOptions::new().write(true).open(&path).unwrap();
            let generation = AtomicU64::new(0);
            let attack = || {
                let this = generation.fetch_add(1, Ordering::Relaxed) + 1;
                match way {
                    0 => file.write_all_at(&this.to_le_bytes().repeat(WORDS), 0).unwrap(),
                    1 => file.set_len(8 * (WORDS as u64 + this % 1000)).unwrap(),
                    _ => file.set_len(8 * (WORDS as u64 - this % 1000)).unwrap(),
                }
            };
            let finished = while_attacked(PILOT, attack, || site.setup(&sandbox).run());
            if finished.code == Some(0) {
                let copy = fs::read(&path).unwrap();
                assert!(copy.chunks(8).all(|word| word == &copy[..8]) || way != 0, "a mixture was handed over");
                assert_eq!(copy.len() % 8, 0);
            } else {
                refused[way] += 1;
                finished.expect_refusal(2, &["changing"]);
                sandbox.snapshot().without("changing").assert_same(&before);
                assert!(!sandbox.parked.exists());
            }
        }
        assert!(!refused.contains(&0), "written over, longer, shorter: not each was met in time ({refused:?})");
    }
}

/// However small it is: one read is not one state of a file.
#[test]
fn s5_a_small_input_that_changes_while_it_is_read() {
    let Some(site) = Site::new() else { return };
    // One travels as bytes, the other one as a descriptor.
    for size in [10_000, 250_000] {
        let sandbox = site.sandbox();
        sandbox.add_file("changing", &vec![1; size], 0o644);
        let before = sandbox.snapshot().without("changing");
        let path = sandbox.path.join("changing");
        let file = fs::OpenOptions::new().write(true).open(&path).unwrap();
        let change = || file.write_all_at(&vec![2; size], 0).unwrap();
        let finished = before_first_read(&path, change, || site.setup(&sandbox).run());
        finished.expect_refusal(2, &["changing", "changed while it was copied"]);
        sandbox.snapshot().without("changing").assert_same(&before);
        assert!(!sandbox.parked.exists());
    }
}

#[test]
fn s6_the_umask_makes_no_difference() {
    let Some(site) = Site::new() else { return };
    for umask in [0, 0o022, 0o077, 0o777] {
        let sandbox = site.sandbox();
        let before = sandbox.snapshot();
        site.setup(&sandbox).umask(umask).run().expect_quiet();
        sandbox.assert_handed_over(&before);
    }
}

#[test]
fn s6_a_default_acl_of_execute_makes_no_difference() {
    let Some(site) = Site::new() else { return };
    // user::rwx, group::---, other::---
    let entry = |tag: u16, bits: u16| [tag.to_le_bytes(), bits.to_le_bytes(), [255; 2], [255; 2]].concat();
    let acl = [2_u32.to_le_bytes().to_vec(), entry(1, 7), entry(4, 0), entry(32, 0)].concat();
    setxattr(&site.execute, "system.posix_acl_default", &acl, XattrFlags::empty()).unwrap();
    let sandbox = site.empty_sandbox();
    sandbox.add_file("program", b"x", 0o755);
    // From most files the ACL takes nothing away, so that the first one to arrive is hardly ever the program.
    for index in 0..40 {
        sandbox.add_file(format!("private{index}"), b"x", 0o600);
    }
    sandbox.finish_directory("", 0o755);
    let before = sandbox.snapshot();
    site.setup(&sandbox).run().expect_quiet();
    sandbox.assert_handed_over(&before);
}

#[test]
fn s7_a_switcher_that_prints_a_megabyte() {
    let Some(site) = Site::new() else { return };
    let sandbox = site.sandbox();
    let before = sandbox.snapshot();
    site.configure_switcher("print = 1000000\nfail = 201 always");
    site.setup(&sandbox).run().expect_refusal(2, &["201", "xxxx"]);
    sandbox.assert_as_before(&before);
    site.configure_switcher("print = 1000000");
    site.setup(&sandbox).run().expect_quiet();
    sandbox.assert_handed_over(&before);
}

#[test]
fn s7_a_switcher_that_never_ends() {
    let Some(site) = Site::new() else { return };
    let sandbox = site.sandbox();
    let before = sandbox.snapshot();
    site.configure_switcher("hang = yes");
    let started = Instant::now();
    site.setup(&sandbox).run().expect_refusal(2, &["switcher"]);
    assert!(started.elapsed() < Duration::from_secs(120));
    sandbox.assert_as_before(&before);
    // Killing a root's process is not in a pilot's power.
    site.kill_processes();
}

#[test]
fn s7_each_attempt_begins_afresh() {
    let Some(site) = Site::new() else { return };
    let sandbox = site.sandbox();
    let before = sandbox.snapshot();
    site.configure_switcher("fail = 202 times 2");
    let arguments = [site.switcher().into_os_string(), sandbox.proxy.clone(), sandbox.path.clone().into_os_string()];
    site.setup(&sandbox).only_args(arguments).args(["2", "0"]).run().expect_quiet();
    sandbox.assert_handed_over(&before);
    let calls = site.switcher_calls();
    assert_eq!(calls.len(), 3);
    calls.iter().for_each(common::SwitcherCall::assert_only_a_socket_and_pipes);
    // The kernel does not give the number of a socket or a pipe a second time.
    let sockets_and_pipes: BTreeSet<_> = calls.iter().flat_map(|call| &call.descriptors).map(|(_, of)| of).collect();
    assert_eq!(sockets_and_pipes.len(), 3 * 2, "a socket and a pipe for each call: {sockets_and_pipes:?}");
}

/// A switcher of this site's own that is a shell script. It can start the real one, whose path it is given as `$SWITCHER`.
fn scripted_switcher(site: &Site, script: &str) -> PathBuf {
    let path = site.program("scripted-switcher");
    fs::write(&path, format!("#!/bin/sh\nSWITCHER={}\n{script}\n", site.switcher().display())).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    path
}

/// Once a peer has greeted nothing is tried again: what it has made meanwhile is for the next call to find and to make anew.
#[test]
fn s7_a_switcher_that_fails_after_its_peer_made_half_of_the_copy() {
    const FILES: usize = 2000;
    let Some(site) = Site::new() else { return };
    let switcher = scripted_switcher(&site, "\"$SWITCHER\" \"$@\"; exit 202");
    let mut met = false;
    let mut rounds = 0..;
    while rounds.next().is_some_and(|round| another_round(round, 1, met)) {
        let sandbox = site.sandbox();
        (0..FILES).for_each(|n| sandbox.add_file(format!("file{n}"), &[1; 1000], 0o644));
        sandbox.finish_directory("", 0o755);
        let before = sandbox.snapshot();
        let calls = site.switcher_calls().len();
        let arguments = [switcher.clone().into_os_string(), sandbox.proxy.clone(), sandbox.path.clone().into()];
        let mut running = site.setup(&sandbox).only_args(arguments).args(["3", "0"]).start();
        let made = || fs::read_dir(&sandbox.parked).map_or(0, Iterator::count);
        while made() < 100 && !running.has_ended() {
            std::thread::yield_now();
        }
        site.kill_peers();
        let finished = running.finish();
        met = finished.code == Some(2) && (100..FILES).contains(&made());
        if met {
            finished.expect_refusal(2, &[]);
            assert_eq!(site.switcher_calls().len(), calls + 1, "it was tried again");
            sandbox.snapshot().assert_same(&before);
            let half = fs::metadata(&sandbox.parked).unwrap();
            assert_eq!((half.uid(), half.mode() & 0o1000), (GREG.uid(), 0o1000), "it is marked as unfinished");
        }
        site.setup(&sandbox).cwd("/").run().expect(0);
        sandbox.snapshot().unmarked().assert_same(&before.clone().masked(0o755).owned_by(GREG));
        sandbox.assert_parked(&before);
    }
    assert!(met, "the peer was never killed at its work");
}

/// #2660: what a switcher had printed was used as a format.
#[test]
fn ticket_2660_whatever_a_switcher_prints_is_shown_as_one_line() {
    let Some(site) = Site::new() else { return };
    let sandbox = site.sandbox();
    let before = sandbox.snapshot();
    let printed = site.root.join("printed");
    let script = format!("/bin/cat {0}; /bin/cat {0} >&2; exit 201", printed.display());
    let switcher = scripted_switcher(&site, &script);
    let texts: [(&[u8], &str); 5] = [
        (b"%s%n%d%99999d", "%s%n%d%99999d"),
        (b"\x1b[2J\r\n\nroot: all is well\x07\x08\0", r"\x1b[2J\x0d\x0a\x0aroot: all is well\x07\x08\x00"),
        (b"\xff\xfe\x80\xc0\xaf", r"\xff\xfe\x80\xc0\xaf"),
        ("\u{202e}\u{9b}2J".as_bytes(), r"\xe2\x80\xae\xc2\x9b2J"),
        (b"'\"$(id)`id`;|&<>\\", r#"'\"$(id)`id`;|&<>\\"#),
    ];
    for (text, shown) in texts {
        // Once, and until there are ten megabytes of it.
        for times in [1, 10_000_000 / text.len()] {
            fs::write(&printed, text.repeat(times)).unwrap();
            let arguments = [switcher.clone().into_os_string(), sandbox.proxy.clone(), sandbox.path.clone().into()];
            let finished = site.setup(&sandbox).only_args(arguments).args(["0", "0"]).run();
            let finished = finished.expect_refusal(2, &["201", shown]);
            assert!(finished.said().is_ascii(), "{finished:?}");
            sandbox.assert_as_before(&before);
        }
    }
}

/// One side dies at any moment: S is whole, the pilot's or the target's, and the next call ends well.
/// `kill` gives how many it has hit.
fn killed_at_any_moment(site: &Site, kill: impl Fn(&mut common::Running) -> usize) {
    let mut killed = 0;
    for round in 0..50_u64 {
        let sandbox = site.sandbox();
        sandbox.add_file("large", &vec![4; 3_000_000], 0o644);
        sandbox.finish_directory("", 0o755);
        let seat = Seat::take(&sandbox.path);
        let before = sandbox.snapshot();
        let mut running = site.setup(&sandbox).cwd("/").start();
        std::thread::sleep(Duration::from_micros(round * 500));
        killed += kill(&mut running);
        let finished = running.finish();
        assert!(matches!((finished.code, finished.signal), (Some(0 | 2), _) | (_, Some(9))), "{finished:?}");
        if fs::metadata(&sandbox.path).unwrap().uid() == PILOT.uid() {
            sandbox.snapshot().assert_same(&before);
        } else {
            sandbox.snapshot().unmarked().assert_same(&before.clone().masked(0o755).owned_by(GREG));
        }
        // What is left of the first call's target side may still be at work for a moment.
        let deadline = Instant::now() + Duration::from_secs(60);
        while site.setup(&sandbox).cwd("/").run().code != Some(0) {
            assert!(Instant::now() < deadline, "it is never handed over");
            std::thread::sleep(Duration::from_millis(20));
        }
        sandbox.snapshot().unmarked().assert_same(&before.clone().masked(0o755).owned_by(GREG));
        sandbox.assert_parked(&before);
        assert_eq!(seat.path(), sandbox.parked);
    }
    assert!(killed > 0, "nobody was ever there to be killed");
}

#[test]
fn s8_the_pilot_side_is_killed_at_any_moment() {
    let Some(site) = Site::new() else { return };
    killed_at_any_moment(&site, |running| {
        running.kill();
        1
    });
}

#[test]
fn s8_the_target_side_is_killed_at_any_moment() {
    let Some(site) = Site::new() else { return };
    killed_at_any_moment(&site, |_| site.kill_peers());
}

#[test]
fn s8_a_switcher_that_stays_is_killed_at_any_moment() {
    let Some(site) = Site::new() else { return };
    site.configure_switcher("linger = yes");
    killed_at_any_moment(&site, |_| site.kill_switchers());
}

#[test]
fn s9_special_files_are_left_out_and_reported() {
    let Some(site) = Site::new() else { return };
    let sandbox = site.sandbox();
    for (name, kind) in [
        ("fifo", FileType::Fifo),
        ("socket", FileType::Socket),
        ("null", FileType::CharacterDevice),
        ("disk", FileType::BlockDevice),
    ] {
        special(&sandbox.path.join("data").join(name), kind);
    }
    sandbox.finish_directory("data", 0o750);
    let before = sandbox.snapshot();
    let started = Instant::now();
    site.setup(&sandbox).run().expect_refusal(0, &["4 left out", "data/fifo", "data/socket", "data/null", "data/disk"]);
    assert!(started.elapsed() < Duration::from_secs(30));
    let copied = ["fifo", "socket", "null", "disk"]
        .iter()
        .fold(before, |copied, name| copied.without(Path::new("data").join(name)));
    sandbox.assert_handed_over(&copied);
}

#[test]
fn s9_a_hard_link_out_of_the_tree_is_copied_as_content() {
    let Some(site) = Site::new() else { return };
    let outside = site.private_file("outside", b"outside");
    let sandbox = site.sandbox();
    fs::hard_link(&outside, sandbox.path.join("linked")).unwrap();
    sandbox.finish_directory("", 0o755);
    let before = (sandbox.snapshot(), fs::metadata(&outside).unwrap());
    site.setup(&sandbox).run().expect_quiet();
    sandbox.assert_handed_over(&before.0);
    let after = fs::metadata(&outside).unwrap();
    assert_eq!((after.ino(), after.mode(), after.uid()), (before.1.ino(), before.1.mode(), before.1.uid()));
    assert_eq!(after.nlink(), 1, "the pilot's name in the sandbox is gone");
    assert_ne!(fs::metadata(sandbox.path.join("linked")).unwrap().ino(), after.ino());
}

#[test]
fn s9_extended_attributes_stay_behind() {
    let Some(site) = Site::new() else { return };
    let sandbox = site.sandbox();
    let input = sandbox.path.join("input");
    setxattr(&input, "user.note", b"x", XattrFlags::empty()).unwrap();
    setxattr(&input, "trusted.note", b"x", XattrFlags::empty()).unwrap();
    // cap_setuid,cap_dac_override=ep, as setcap writes it.
    let capability = [1, 0, 0, 2, 0x82, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    setxattr(&input, "security.capability", &capability, XattrFlags::empty()).unwrap();
    let before = sandbox.snapshot();
    site.setup(&sandbox).run().expect_quiet();
    sandbox.assert_handed_over(&before);
    let mut names = [0_u8; 256];
    assert_eq!(rustix::fs::listxattr(&input, &mut names[..]).unwrap(), 0);
}

#[test]
fn s9_an_immutable_input_is_handed_over_and_named() {
    let Some(site) = Site::new() else { return };
    let sandbox = site.sandbox();
    let before = sandbox.snapshot();
    let immutable = |on: &str, path: &Path| {
        assert!(Command::new("chattr").arg(on).arg(path).status().unwrap().success());
    };
    immutable("+i", &sandbox.path.join("input"));
    let finished = site.setup(&sandbox).run();
    for path in [sandbox.path.join("input"), sandbox.parked.join("input")] {
        if path.exists() {
            immutable("-i", &path);
        }
    }
    finished.expect_refusal(0, &[".condor"]);
    sandbox.snapshot().assert_same(&before.clone().masked(0o755).owned_by(GREG));
    assert_eq!(Snapshot::of(&sandbox.parked).get("input"), before.get("input"));
}

#[test]
fn s10_the_starter_stays_in_the_same_inode() {
    let Some(site) = Site::new() else { return };
    let sandbox = site.sandbox();
    let seat = Seat::take(&sandbox.path);
    let inode = seat.inode();
    site.setup(&sandbox).run().expect_quiet();
    assert_eq!((seat.inode(), seat.path()), (inode, sandbox.parked.clone()));
    assert_eq!(fs::metadata(&sandbox.parked).unwrap().ino(), inode);
    site.cleanup(&sandbox).run().expect_quiet();
    assert_eq!((seat.inode(), seat.path()), (inode, sandbox.path.clone()));
}

#[test]
fn s10_a_foreign_mount_in_the_sandbox_is_left_out() {
    let Some(site) = Site::new() else { return };
    let sandbox = site.sandbox();
    sandbox.add_directory("mounted", 0o755);
    let mounted = sandbox.path.join("mounted");
    let before = sandbox.snapshot();
    assert!(Command::new("mount").args(["-t", "tmpfs", "tmpfs"]).arg(&mounted).status().unwrap().success());
    put_file(PILOT, &mounted.join("foreign"), b"x", 0o644);
    let finished = site.setup(&sandbox).run();
    let mounted = sandbox.parked.join("mounted");
    let foreign = fs::read(mounted.join("foreign"));
    assert!(Command::new("umount").arg(mounted).status().unwrap().success());
    let finished = finished.expect(0);
    let lines: Vec<_> = finished.output.lines().collect();
    assert!(lines.len() == 2 && lines[0].contains(".condor") && lines[1].contains("\"mounted\""), "{lines:?}");
    assert_eq!(foreign.unwrap(), b"x", "what was left out was removed");
    sandbox.snapshot().assert_same(&before.without("mounted").masked(0o755).owned_by(GREG));
}

#[test]
fn h2_two_setups_at_once() {
    let Some(site) = Site::new() else { return };
    let mut refused = 0;
    let mut rounds = 0..;
    while rounds.next().is_some_and(|round| another_round(round, 10, refused > 0)) {
        let sandbox = site.sandbox();
        let before = sandbox.snapshot();
        let both = [site.setup(&sandbox).start(), site.setup(&sandbox).start()].map(common::Running::finish);
        assert!(both.iter().any(|finished| finished.code == Some(0)), "{both:?}");
        for finished in both {
            match finished.code {
                Some(0) => drop(finished.expect_quiet()),
                _ => {
                    refused += 1;
                    finished.expect_refusal(2, &["another helper"]);
                }
            }
        }
        sandbox.assert_handed_over(&before);
    }
    assert!(refused > 0, "they never met");
}

#[test]
fn the_copy_is_no_way_to_write_to_the_pilots_files() {
    // Descriptors of the pilot's files travel to the target side: they must be good for reading only. The switcher cannot be used to
    // look at them, but the files can: after the hand-over the pilot's hard-linked file must not have changed.
    let Some(site) = Site::new() else { return };
    let outside = site.private_file("outside", &[5; 100_000]);
    let sandbox = site.sandbox();
    fs::hard_link(&outside, sandbox.path.join("linked")).unwrap();
    let before = fs::metadata(&outside).unwrap();
    site.setup(&sandbox).run().expect_quiet();
    as_account(GREG, || {
        let linked = sandbox.path.join("linked");
        fs::set_permissions(&linked, fs::Permissions::from_mode(0o600)).unwrap();
        fs::write(linked, b"mine").unwrap();
    });
    let after = fs::metadata(&outside).unwrap();
    assert_eq!((after.len(), after.mtime_nsec()), (before.len(), before.mtime_nsec()));
    assert!(!matches!(sandbox.snapshot().get("linked").kind, Kind::Special(_)));
}

/// The target side of a setup, called by a pilot side that is this test, which has sent an empty sandbox and been told that it is whole.
fn acknowledged(site: &Site, name: &str) -> (common::Running, Connection) {
    let (ours, theirs) = as_account(PILOT, || pair().unwrap());
    let peer = site.call("condor_glexec_peer").account(GREG).arg("setup").cwd("/").input(theirs).start();
    let pilot = Connection::new(ours);
    let mut packet = Packet::default();
    let mut expect = |wanted: fn(&Message<'_>) -> bool| {
        pilot.receive(&mut packet).unwrap();
        let message = Message::decode(packet.bytes());
        assert!(packet.bytes() == GREETING || message.as_ref().is_ok_and(wanted), "{message:?}");
    };
    expect(|_| false);
    let execute = Metadata::of(fs::File::open(&site.execute).unwrap()).unwrap();
    let place = Message::Place(Place {
        parent: site.execute.as_os_str().as_encoded_bytes(),
        identity: execute.identity,
        name: Component::new(name.as_bytes()).unwrap(),
        proxy: Component::new(b"proxy").unwrap(),
        remove_only: false,
    });
    pilot.send(&place.encode(), &[]).unwrap();
    expect(|message| *message == Message::Ready);
    let mut records = Message::Records(&[]).encode();
    Record::End { entries: 0, mode: 0o755, mtime: Time { seconds: 1, nanoseconds: 0 } }.encode(&mut records);
    pilot.send(&records, &[]).unwrap();
    while let Ok(()) = pilot.receive(&mut packet) {
        match Message::decode(packet.bytes()) {
            Ok(Message::Progress(_)) => {}
            Ok(Message::Complete(_)) => return (peer, pilot),
            other => panic!("{other:?}"),
        }
    }
    panic!("it did not acknowledge the sandbox");
}

#[test]
fn s5_what_was_acknowledged_stays_as_long_as_the_pilot_can_use_it() {
    let Some(site) = Site::new() else { return };
    let made = site.execute.join("dir_1.condor");
    site.expect_left("dir_1.condor");
    // The pilot side may be about to put it in the sandbox's place, whatever goes wrong with the target side meanwhile.
    let (peer, pilot) = acknowledged(&site, "dir_1.condor");
    pilot.send(&Message::Ready.encode(), &[]).unwrap();
    peer.finish().expect(1);
    let found = fs::metadata(&made).expect("it is still there");
    assert_eq!((found.mode() & 0o7777, found.uid()), (0o1755, GREG.uid()), "whole, and marked");
    drop(pilot);
    // The next one knows what it is, and begins anew.
    fs::write(made.join("old"), b"").unwrap();
    let (peer, pilot) = acknowledged(&site, "dir_1.condor");
    assert!(!made.join("old").exists());
    // When the pilot side is gone, nobody can use it any more.
    drop(pilot);
    peer.finish().expect(1);
    assert!(!made.exists());
    let (peer, pilot) = acknowledged(&site, "dir_1.condor");
    pilot.send(&Message::Commit.encode(), &[]).unwrap();
    peer.finish().expect_quiet();
    assert_eq!(fs::metadata(&made).unwrap().mode() & 0o7777, 0o755);
}

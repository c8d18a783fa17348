//! The proxy and the inputs.

use crate::common::raw::{self, Raw};
use crate::common::{FileSystem, GREG, Kind, MALLORY, PILOT, Seat, Site, Snapshot};
use crate::common::{another_round, as_account, before_first_read, finish, pem, put_file, while_attacked};
use glexec_rs::files::metadata::Metadata;
use glexec_rs::protocol::connection::pair;
use rustix::fs::{FileType, Mode, XattrFlags, makedev, mknodat, setxattr};
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt, symlink};
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

#[test]
#[ignore = "needs root"]
fn s4_the_proxy_is_something_else() {
    let site = Site::new();
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
#[ignore = "needs root"]
fn s4_odd_proxy_names_are_names() {
    let site = Site::new();
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
#[ignore = "needs root"]
fn s5_an_input_that_the_pilot_cannot_read() {
    let site = Site::new();
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
#[ignore = "needs root"]
fn s5_inputs_that_deny_their_owner_are_handed_over() {
    let site = Site::new();
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

/// Words of one generation after the other are written over all of a file, its length is changed now and then; what
/// is handed over must be of one generation, or nothing.
#[test]
#[ignore = "needs root"]
fn s5_an_input_that_changes_shrinks_or_grows_during_the_copy() {
    const WORDS: usize = 1 << 20;
    for file_system in [FileSystem::Disk, FileSystem::Tmpfs(256)] {
        let site = Site::on(file_system);
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
#[ignore = "needs root"]
fn s5_a_small_input_that_changes_while_it_is_read() {
    let site = Site::new();
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
#[ignore = "needs root"]
fn s9_special_files_are_left_out_and_reported() {
    let site = Site::new();
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
#[ignore = "needs root"]
fn s9_a_hard_link_out_of_the_tree_is_copied_as_content() {
    let site = Site::new();
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
#[ignore = "needs root"]
fn s9_extended_attributes_stay_behind() {
    let site = Site::new();
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
#[ignore = "needs root"]
fn s9_an_immutable_input_is_handed_over_and_named() {
    let site = Site::new();
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
#[ignore = "needs root"]
fn s10_the_starter_stays_in_the_same_inode() {
    let site = Site::new();
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
#[ignore = "needs root"]
fn s10_a_foreign_mount_in_the_sandbox_is_left_out() {
    let site = Site::new();
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
#[ignore = "needs root"]
fn the_copy_is_no_way_to_write_to_the_pilots_files() {
    // Descriptors of the pilot's files travel to the target side: they must be good for reading only. The switcher
    // cannot be used to look at them, but the files can: after the hand-over the pilot's hard-linked file must not
    // have changed.
    let site = Site::new();
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

/// The target side of a setup, called by a pilot side that is this test, which has sent an empty sandbox and been
/// told that it is whole.
fn acknowledged(site: &Site, name: &str) -> (crate::common::Running, Raw) {
    let (ours, theirs) = as_account(PILOT, || pair().unwrap());
    let peer = site.call("condor_glexec_peer").account(GREG).arg("setup").cwd("/").input(theirs).start();
    let pilot = Raw(ours);
    assert_eq!(pilot.receive().as_deref(), Some(raw::GREETING));
    let place = raw::Place {
        parent: site.execute.as_os_str().as_encoded_bytes().to_vec(),
        identity: Metadata::of(fs::File::open(&site.execute).unwrap()).unwrap().identity,
        name: name.into(),
        proxy: b"proxy".to_vec(),
        flag: 0,
    };
    pilot.send(&place.encode());
    assert_eq!(pilot.receive().as_deref(), Some(raw::READY));
    pilot.send(&raw::records(&[&raw::end(0)]));
    while let Some(packet) = pilot.receive() {
        match packet.first() {
            Some(b'P') => {}
            Some(b'A') => return (peer, pilot),
            _ => panic!("{packet:?}"),
        }
    }
    panic!("it did not acknowledge the sandbox");
}

#[test]
#[ignore = "needs root"]
fn s5_what_was_acknowledged_stays_as_long_as_the_pilot_can_use_it() {
    let site = Site::new();
    let made = site.execute.join("dir_1.condor");
    site.expect_left("dir_1.condor");
    // The pilot side may be about to put it in the sandbox's place, whatever goes wrong with the target side meanwhile.
    let (peer, pilot) = acknowledged(&site, "dir_1.condor");
    pilot.send(raw::READY);
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
    pilot.send(raw::COMMIT);
    peer.finish().expect_quiet();
    assert_eq!(fs::metadata(&made).unwrap().mode() & 0o7777, 0o755);
}

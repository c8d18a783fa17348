//! The copy as receiver: a hostile sender's packets, applied to a real directory. However wrong they are, nothing
//! outside of that directory is touched, and nothing in it is what it must not be. Where they are right, the tree is
//! exactly what was sent.

use super::confined::confined;
use super::hostile_sender::{Sender, Sources, Wanted};
use super::playground::{Playground, Seen, look, tree};
use super::{assert_fit_to_be_shown, input::Input};
use glexec_rs::confine::landlock::Grant;
use glexec_rs::confine::side::{CLEANUP_PILOT, SETUP_TARGET, filling};
use glexec_rs::copy::origin::Origin;
use glexec_rs::copy::progress::Progress;
use glexec_rs::copy::receive::{Received, receive_tree};
use glexec_rs::copy::rules::{CleanupRules, Symlinks};
use glexec_rs::files::component::Component;
use glexec_rs::ground::outcome::Outcome;
use glexec_rs::pilot::staging::{self, Staging};
use glexec_rs::protocol::connection::{Connection, pair};
use glexec_rs::protocol::tree::Totals;
use rustix::fs::{FileType, Mode, OFlags, ResolveFlags, openat2};
use rustix::io::Errno;
use rustix::net::sockopt::set_socket_send_buffer_size;
use std::collections::BTreeMap;
use std::fs;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

pub use super::hostile_sender::{KINDS, NAMES, PROXY, TARGETS, as_step, step};

/// Inputs longer than this could make paths that are too long to be looked at afterwards.
const INPUT_BYTES: usize = 3000;

/// The first bytes say whose tree it is and which rules hold, the rest is what the sender does.
pub fn target(data: &[u8]) {
    if data.len() > INPUT_BYTES {
        return;
    }
    let mut input = Input::new(data);
    let first = input.byte();
    let symlinks = [Symlinks::Inside, Symlinks::None, Symlinks::All, Symlinks::Inside][usize::from(first >> 1) % 4];
    let mut rules = CleanupRules { symlinks, ..CleanupRules::default() };
    if first & 8 != 0 {
        rules.entries = u64::from(input.byte());
        rules.depth = input.choice(8);
        rules.bytes = u64::from(u16::from_le_bytes(input.number()));
    }
    let ground = Playground::new();
    let home = ground.directory("home");
    ground.file("beside", b"beside", 0o600);
    let proxy = ground.file("home/x509", b"secret", 0o600);
    ground.file("home/old", b"old", 0o640);
    let sandbox = ground.directory("sandbox");
    let sources = Sources { playground: Playground::new() };
    let before = outside(&ground);
    let before_home = tree(&ground.path.join("home"));

    let (ours, theirs) = pair().expect("a pair");
    set_socket_send_buffer_size(&theirs, 1 << 20).expect("room");
    let mut sender = Sender::new(theirs, &sources, first & 1 == 1, rules);
    sender.speak(&mut input);
    let wanted = sender.wanted.take().filter(|_| sender.ended);
    let jobs_own = tree(&sources.playground.path);
    let connection = Connection::new(ours);

    let (received, root) = if sender.from_pilot {
        (set_up(&connection, &sandbox), ground.path.join("sandbox"))
    } else {
        (take_back(&connection, &home, rules), ground.path.join("home"))
    };
    assert_eq!(outside(&ground), before, "something outside was touched");
    assert_eq!(tree(&sources.playground.path), jobs_own, "the sender's own files were touched");
    let mut found = tree(&root);
    if sender.from_pilot {
        assert_eq!(tree(&ground.path.join("home")), before_home);
    } else {
        assert_eq!(found.remove(Path::new(PROXY)), before_home.get(Path::new(PROXY)).cloned(), "the proxy was touched");
    }
    match received {
        Ok(received) => {
            assert!(received.mode.as_raw_mode() & !0o755 == 0 && received.mode.as_raw_mode() & 0o700 == 0o700);
            received.left_out.iter().for_each(|left_out| assert_fit_to_be_shown(&left_out.path));
            check_totals(&found, &received.totals);
            for (path, seen) in &found {
                let own_kind = matches!(seen.kind, FileType::RegularFile | FileType::Directory | FileType::Symlink);
                assert!(own_kind && seen.owner == rustix::process::geteuid().as_raw(), "{path:?} {seen:?}");
                if seen.kind == FileType::Symlink {
                    assert!(sender.from_pilot || rules.symlinks != Symlinks::None, "{path:?}");
                } else {
                    assert_eq!(seen.mode & !0o755, 0, "{path:?} {seen:?}");
                }
                if seen.kind == FileType::Directory && !sender.from_pilot {
                    assert_eq!(seen.mode & 0o700, 0o700, "{path:?}");
                }
                if seen.kind == FileType::Symlink && !sender.from_pilot && rules.symlinks != Symlinks::All {
                    assert_stays_inside(&home, path, &proxy);
                }
            }
            if let Some(wanted) = wanted {
                check_wanted(&wanted, &found);
            }
        }
        Err(failure) => {
            assert_fit_to_be_shown(&failure.to_string());
            assert!(wanted.is_none(), "an honest sender was refused: {failure}");
            if !sender.from_pilot {
                found.insert(PROXY.into(), before_home[Path::new(PROXY)].clone());
                assert_eq!(found, before_home, "a copy that failed left something");
            }
        }
    }
}

/// Everything beside the two directories, and what they are themselves in the end's eyes: their names.
fn outside(ground: &Playground) -> (Vec<PathBuf>, Seen) {
    let mut names: Vec<PathBuf> =
        fs::read_dir(&ground.path).expect("a directory").map(|entry| entry.expect("an entry").path()).collect();
    names.sort();
    (names, look(&ground.path.join("beside")))
}

/// What `condor_glexec_cleanup` does with the tree.
fn take_back(connection: &Connection, home: &OwnedFd, rules: CleanupRules) -> Outcome<Received> {
    let proxy = Component::new(PROXY.as_bytes()).expect("a name");
    confined(&CLEANUP_PILOT, &[Grant { object: home.as_fd(), rights: filling() }], |proof| {
        staging::sweep(home.as_fd(), proof)?;
        let staging = Staging::make(home.as_fd(), proof)?;
        let origin = Origin::Target(&proxy, &[], rules);
        let received = receive_tree(connection, staging.tree(), origin, Progress::none(), proof)?;
        staging.move_in(&proxy).map(|()| received)
    })
}

/// What the peer of `condor_glexec_setup` does.
fn set_up(connection: &Connection, sandbox: &OwnedFd) -> Outcome<Received> {
    confined(&SETUP_TARGET, &[Grant { object: sandbox.as_fd(), rights: filling() }], |proof| {
        receive_tree(connection, sandbox, Origin::Pilot, Progress::none(), proof)
    })
}

/// The kernel itself follows the link, and must neither leave the directory nor come to the proxy.
fn assert_stays_inside(home: &OwnedFd, link: &Path, proxy: &Path) {
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS;
    match openat2(home, link, OFlags::PATH | OFlags::CLOEXEC, Mode::empty(), resolve) {
        Ok(end) => {
            let found = glexec_rs::files::metadata::Metadata::of(&end).expect("what is open");
            assert_ne!(found.identity, look(proxy).identity, "{link:?} leads to the proxy");
        }
        Err(Errno::XDEV) => panic!("{link:?} leads out"),
        Err(_) => {}
    }
}

/// As many entries as were counted, so that nothing of the receiver's own is left.
fn check_totals(found: &BTreeMap<PathBuf, Seen>, totals: &Totals) {
    let count = |kind| found.values().filter(|seen| seen.kind == kind).count() as u64;
    assert_eq!(count(FileType::Directory), totals.directories);
    assert_eq!(count(FileType::Symlink), totals.symlinks);
    assert_eq!(count(FileType::RegularFile), totals.files + totals.hard_links);
    assert_eq!(found.len() as u64 + totals.left_out, totals.entries);
}

fn check_wanted(wanted: &BTreeMap<PathBuf, Wanted>, found: &BTreeMap<PathBuf, Seen>) {
    assert_eq!(wanted.keys().collect::<Vec<_>>(), found.keys().collect::<Vec<_>>());
    for ((path, wanted), seen) in wanted.iter().zip(found.values()) {
        assert_eq!((wanted.kind, &wanted.content), (seen.kind, &seen.content), "{path:?}");
        assert!(seen.kind == FileType::Symlink || wanted.mode == seen.mode, "{path:?} {wanted:?} {seen:?}");
        // File systems end at different years.
        if (0..1 << 31).contains(&wanted.mtime.0) {
            assert_eq!(wanted.mtime, seen.mtime, "{path:?}");
        }
    }
}

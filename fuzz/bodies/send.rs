//! The copy as sender: a real tree, and a receiver that answers anything at any time. The tree stays as it is, all of
//! it is sent and never the proxy, and only the right acknowledgement of all of it is taken for one.

use super::confined::confined;
use super::playground::{Playground, say, tree};
use super::{assert_fit_to_be_shown, input::Input};
use glexec_rs::confine::Confined;
use glexec_rs::confine::landlock::Grant;
use glexec_rs::confine::side::{CLEANUP_PILOT, CLEANUP_TARGET, SETUP_PILOT, removing};
use glexec_rs::copy::progress::Progress;
use glexec_rs::copy::send::{Tree, send_tree};
use glexec_rs::files::component::Component;
use glexec_rs::files::walk::{LIST, open_directory};
use glexec_rs::protocol::answer::{Done, Failed};
use glexec_rs::protocol::connection::{Connection, pair};
use glexec_rs::protocol::heard;
use glexec_rs::protocol::heard::tree::Piece;
use glexec_rs::protocol::packet::Packet;
use glexec_rs::protocol::record::Record;
use glexec_rs::protocol::tree::{Totals, Verdict};
use rustix::fs::{CWD, FileType, Mode, mknodat};
use rustix::net::Shutdown;
use std::collections::BTreeSet;
use std::ffi::CString;
use std::fs::{self, Permissions};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

/// The proxy's name.
const PROXY: &[u8] = b"x509";

/// What the receiver has heard.
#[derive(Default)]
struct Heard {
    records: u64,
    ended: Option<u64>,
    /// The names of all entries at the top.
    top: BTreeSet<Vec<u8>>,
}

/// The first byte says which way and what is in the tree, then come the answers before and after its end.
pub fn target(data: &[u8]) {
    let mut input = Input::new(data);
    let how = input.byte();
    let results = how & 1 == 1;
    let ground = Playground::new();
    let root = ground.path.join("root");
    drop(ground.directory("root"));
    let entries = plant(&ground, how) - u64::from(results);
    let before = tree(&root);
    close(&root, how);

    let (ours, theirs) = pair().expect("a pair");
    let early = input.choice(4);
    let answers: Vec<(Vec<u8>, bool)> =
        core::iter::from_fn(|| (!input.is_empty()).then(|| answer(&mut input, entries))).take(32).collect();
    let (first, last) = answers.split_at(early.min(answers.len()));
    let proxy = Component::new(PROXY).expect("a name");
    let what = if results { Tree::Results(&proxy) } else { Tree::Inputs(None) };
    let phase = if results { &CLEANUP_TARGET } else { &SETUP_PILOT };
    let path = CString::new(root.as_os_str().as_bytes()).expect("no NUL");
    let opened = open_directory(CWD, &path, LIST).expect("the tree");
    let granted = rustix::io::fcntl_dupfd_cloexec(&opened.directory, 3).expect("a copy");
    let (sent, heard) = std::thread::scope(|scope| {
        let receiver = scope.spawn(|| confined(&CLEANUP_PILOT, &[], |proof| hear(theirs, first, last, proof)));
        let connection = Connection::new(ours);
        let grant = Grant { object: granted.as_fd(), rights: removing() };
        let sent = confined(phase, &[grant], |proof| send_tree(&connection, opened, what, Progress::none(), proof));
        drop(connection);
        (sent, receiver.join().expect("the receiver"))
    });

    if let Some(ended) = heard.ended {
        assert_eq!((ended, heard.records), (entries, entries));
        let expected = before.keys().filter(|path| path.components().count() == 1);
        let expected = expected.map(|path| path.as_os_str().as_bytes().to_vec());
        assert_eq!(heard.top, expected.filter(|name| !results || name != PROXY).collect());
    }
    match sent {
        Ok((totals, left_out)) => {
            assert!(heard.ended.is_some() && totals.entries == entries);
            assert!(answers.iter().any(|answer| *answer == (Verdict::Complete(totals).encode(), false)));
            left_out.iter().for_each(|left_out| assert_fit_to_be_shown(&left_out.path));
        }
        Err(failure) => {
            assert_fit_to_be_shown(&failure.to_string());
            let honest = first.is_empty() && last.first() == Some(&(complete(entries), false));
            assert!(!honest, "an honest receiver was refused: {failure}");
        }
    }
    assert_closed_again(&root, how);
    assert_eq!(tree(&root), before, "the tree changed");
}

/// Makes the tree; gives how many entries it has.
fn plant(ground: &Playground, how: u8) -> u64 {
    ground.file("root/x509", b"secret", 0o600);
    ground.file("root/a", b"content", 0o644);
    let mut entries = 2;
    if how & 2 != 0 {
        drop(ground.directory("root/d"));
        ground.file("root/d/x509", b"no secret", 0o600);
        ground.file("root/d/large", &[7; 20_000], 0o640);
        entries += 3;
    }
    if how & 4 != 0 {
        let fifo = ground.path.join("root/fifo");
        mknodat(CWD, &fifo, FileType::Fifo, Mode::RUSR, 0).expect("a FIFO");
        symlink("/etc/passwd", ground.path.join("root/link")).expect("a link");
        entries += 2;
    }
    if how & 8 != 0 {
        for name in 0..40 {
            ground.file(&format!("root/many{name}"), &[1; 17_000], 0o600);
            entries += 1;
        }
    }
    entries
}

/// What denies even its owner.
fn close(root: &Path, how: u8) {
    if how & 18 == 18 {
        fs::set_permissions(root.join("d"), Permissions::from_mode(0o000)).expect("its mode");
    }
    if how & 32 != 0 {
        fs::set_permissions(root.join("a"), Permissions::from_mode(0o000)).expect("its mode");
    }
}

/// It has to be as it was; afterwards it is as before [`close`].
fn assert_closed_again(root: &Path, how: u8) {
    for (name, closed, mode) in [("d", how & 18 == 18, 0o755), ("a", how & 32 != 0, 0o644)] {
        let path = root.join(name);
        if closed {
            assert_eq!(fs::symlink_metadata(&path).expect("it is there").permissions().mode() & 0o7777, 0, "{name}");
            fs::set_permissions(&path, Permissions::from_mode(mode)).expect("its mode");
        }
    }
}

fn complete(entries: u64) -> Vec<u8> {
    Verdict::Complete(Totals { entries, ..Totals::default() }).encode()
}

/// One answer, and whether a descriptor comes with it.
fn answer(input: &mut Input<'_>, entries: u64) -> (Vec<u8>, bool) {
    let kind = input.byte();
    let bytes = match kind % 8 {
        0 => complete(entries),
        1 => complete(u64::from(input.byte())),
        2 => Verdict::Progress(Totals { bytes: u64::from_le_bytes(input.number()), ..Totals::default() }).encode(),
        3 => Failed(input.text()).encode(),
        4 => Done.encode(),
        5 => Verdict::Complete(Totals { entries, bytes: u64::MAX, files: u64::MAX, ..Totals::default() }).encode(),
        6 => [complete(entries), input.text().to_vec()].concat(),
        _ => input.text().to_vec(),
    };
    (bytes, kind & 0x80 != 0)
}

/// Answers, listens until the tree is whole, and answers again.
fn hear(socket: OwnedFd, first: &[(Vec<u8>, bool)], last: &[(Vec<u8>, bool)], proof: &Confined) -> Heard {
    let speak = |socket: &OwnedFd, answers: &[(Vec<u8>, bool)]| {
        for (bytes, with_descriptor) in answers {
            let passed = [socket.as_fd()];
            say(socket, bytes, if *with_descriptor { &passed } else { &[] });
        }
    };
    speak(&socket, first);
    let mut heard = Heard::default();
    let mut depth = 0_usize;
    let mut packet = Packet::default();
    let own = rustix::io::fcntl_dupfd_cloexec(&socket, 3).expect("a copy");
    let connection = Connection::new(own);
    while heard.ended.is_none() && connection.receive(&mut packet, proof).is_ok() {
        let Ok(Piece::Records(records)) = heard::tree::piece(packet.bytes(), proof) else {
            panic!("something else was sent")
        };
        let mut files = packet.descriptors().len();
        for record in records {
            let name = match record.expect("what is sent can be read") {
                Record::End { entries, .. } => {
                    heard.ended = Some(entries);
                    continue;
                }
                Record::Leave => {
                    depth -= 1;
                    continue;
                }
                Record::Enter { name, .. } => {
                    depth += 1;
                    (name, depth == 1)
                }
                Record::File { name } => {
                    files -= 1;
                    (name, depth == 0)
                }
                Record::Small { name, .. } | Record::Symlink { name, .. } | Record::LeftOut { name, .. } => {
                    (name, depth == 0)
                }
            };
            heard.records += 1;
            if name.1 {
                assert!(heard.top.insert(name.0.bytes().to_vec()), "a name was sent twice");
            }
        }
        assert_eq!(files, 0, "descriptors and files differ");
    }
    assert!(heard.ended.is_none() || depth == 0);
    speak(&socket, last);
    let _ = rustix::net::shutdown(&socket, Shutdown::Write);
    heard
}

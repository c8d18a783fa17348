//! What a hostile pilot side says to the peer. It could hurt only the account that the proxy maps to, which the pilot
//! acts for anyway; but nothing that is out of range is taken, and nothing of another account is touched.

#![forbid(unsafe_code)]

use crate::common::raw::{GREETING, Place, Raw, enter, entries_at_end, records, totals};
use crate::common::{GREG, MALLORY, PILOT, Site, Sleeper, finish, put_file};
use glexec_rs::files::metadata::Metadata;
use std::fs::File;
use std::os::fd::AsFd;
use std::path::Path;

/// The honest peer, called as the target account by a pilot side that is this test.
fn honest_peer(site: &Site, operation: &str) -> (crate::common::Running, Raw) {
    let (ours, theirs) = crate::common::as_account(PILOT, || glexec_rs::protocol::connection::pair().unwrap());
    let call = site.call("condor_glexec_peer").account(GREG).arg(operation).cwd("/").input(theirs);
    (call.start(), Raw(ours))
}

fn place(parent: &Path, name: &[u8]) -> Place {
    Place {
        parent: parent.as_os_str().as_encoded_bytes().to_vec(),
        identity: Metadata::of(File::open(parent).unwrap()).unwrap().identity,
        name: name.to_vec(),
        proxy: b"proxy".to_vec(),
        flag: 0,
    }
}

/// What the peer answers last; it must have exited with 1.
fn refusal(site: &Site, operation: &str, say: impl FnOnce(&Raw)) -> String {
    let (peer, pilot) = honest_peer(site, operation);
    assert_eq!(pilot.receive().as_deref(), Some(GREETING));
    say(&pilot);
    rustix::net::shutdown(&pilot.0, rustix::net::Shutdown::Write).unwrap();
    let mut last = Vec::new();
    while let Some(packet) = pilot.receive() {
        last = packet;
    }
    let finished = peer.finish();
    assert!(finished.code == Some(1), "{finished:?}: {}", String::from_utf8_lossy(&last));
    String::from_utf8_lossy(last.get(3..).unwrap_or_default()).into_owned()
}

#[test]
#[ignore = "needs root"]
fn c11_a_place_that_is_none_is_refused_by_every_operation() {
    let site = Site::new();
    let execute = site.execute.clone();
    type Change = fn(&mut Place);
    let changes: [(&str, Change); 13] = [
        ("", |place| place.name = b"..".to_vec()),
        ("", |place| place.name = b".".to_vec()),
        ("", |place| place.name = b"a/b".to_vec()),
        ("", |place| place.name = Vec::new()),
        ("", |place| place.name = b"a\0".to_vec()),
        ("", |place| place.name = vec![b'x'; 256]),
        ("", |place| place.proxy = b"../p".to_vec()),
        ("", |place| place.proxy = vec![b'x'; 256]),
        ("", |place| place.flag = 2),
        ("", |place| place.parent = vec![b'/'; 5000]),
        ("target account cannot get to", |place| place.parent = b"relative".to_vec()),
        ("target account cannot get to", |place| place.parent.extend(b"\0")),
        ("another directory", |place| place.identity.1 += 1),
    ];
    for operation in ["setup", "cleanup", "update_proxy"] {
        for (words, change) in changes {
            let mut wrong = place(&execute, b"dir_1.condor");
            change(&mut wrong);
            let why = refusal(&site, operation, |pilot| pilot.send(&wrong.encode()));
            let words = if words.is_empty() { "something else than a place" } else { words };
            assert!(why.contains(words), "{operation}: {words}: {why}");
        }
        for wrong in [&b"?"[..], b"C", b"L", &place(&execute, b"a").encode()[..30]] {
            let why = refusal(&site, operation, |pilot| pilot.send(wrong));
            assert!(why.contains("something else than a place"), "{operation}: {why}");
        }
    }
    assert_eq!(std::fs::read_dir(&execute).unwrap().count(), 0);
}

#[test]
#[ignore = "needs root"]
fn c11_the_peer_touches_nothing_of_another_account() {
    let site = Site::new();
    for (owner, name) in [(PILOT, "dir_1"), (MALLORY, "dir_2")] {
        let directory = site.execute.join(name);
        site.expect_left(name);
        std::fs::create_dir(&directory).unwrap();
        put_file(owner, &directory.join("kept"), b"kept", 0o666);
        finish(owner, &directory, 0o777);
        let asked = |flag| Place { flag, ..place(&site.execute, name.as_bytes()) }.encode();
        for (operation, flag) in [("cleanup", 0), ("update_proxy", 0), ("update_proxy", 1)] {
            let new = File::open("/etc/passwd").unwrap();
            let why = refusal(&site, operation, |pilot| pilot.send_with(&asked(flag), &[new.as_fd()]));
            assert!(why.contains("belongs to uid"), "{operation}: {why}");
        }
        // Of the job's there is nothing to be removed.
        let (peer, pilot) = honest_peer(&site, "cleanup");
        assert_eq!(pilot.receive().as_deref(), Some(GREETING));
        pilot.send(&asked(1));
        assert_eq!(pilot.receive().as_deref(), Some(&b"D"[..]));
        peer.finish().expect_quiet();
        let why = refusal(&site, "setup", |pilot| pilot.send(&place(&site.execute, name.as_bytes()).encode()));
        assert!(why.contains("cannot make"), "{why}");
        assert_eq!(std::fs::read(directory.join("kept")).unwrap(), b"kept");
        assert_eq!(std::fs::read_dir(&directory).unwrap().count(), 1);
    }
}

#[test]
#[ignore = "needs root"]
fn c11_the_peer_refuses_signals_that_are_none() {
    let site = Site::new();
    let mut sleeper = Sleeper::start(GREG);
    let pid = rustix::process::Pid::from_raw(sleeper.pid() as i32).unwrap();
    let process = rustix::process::pidfd_open(pid, rustix::process::PidfdFlags::empty()).unwrap();
    let refused = |say: &dyn Fn(&Raw)| refusal(&site, "kill", say);
    assert!(refused(&|pilot| pilot.send(&[b'S', 9])).contains("without a process"));
    assert!(refused(&|pilot| pilot.send(b"S")).contains("something else than a signal"));
    assert!(refused(&|pilot| pilot.send_with(&[b'S', 9, 9], &[process.as_fd()])).contains("something else"));
    assert!(refused(&|pilot| pilot.send_with(b"C", &[process.as_fd()])).contains("something else"));
    // A signal that there is not, and a descriptor that is no process: the kernel's word is passed on.
    let (peer, pilot) = honest_peer(&site, "kill");
    assert_eq!(pilot.receive().as_deref(), Some(GREETING));
    let file = File::open("/dev/null").unwrap();
    for (signal, descriptor, errno) in [
        (65, process.as_fd(), libc::EINVAL),
        (255, process.as_fd(), libc::EINVAL),
        (9, file.as_fd(), libc::EBADF),
        (0, process.as_fd(), 0),
    ] {
        pilot.send_with(&[b'S', signal], &[descriptor]);
        let [low, high] = (errno as u16).to_le_bytes();
        assert_eq!(pilot.receive(), Some(vec![b'G', low, high]), "signal {signal}");
    }
    drop(pilot);
    peer.finish().expect(0);
    sleeper.assert_alive();
}

#[test]
#[ignore = "needs root"]
fn c11_the_peer_undoes_a_setup_whose_records_are_none() {
    let site = Site::new();
    for wrong in [&b"?"[..], b"R", &records(&[&enter(b"..")]), &records(&[&enter(b"a"), &enter(b"a")])[..30]] {
        let why = refusal(&site, "setup", |pilot| {
            pilot.send(&place(&site.execute, b"dir_1.condor").encode());
            pilot.send(wrong);
        });
        assert!(why.contains("broke the protocol"), "{why}");
        assert_eq!(std::fs::read_dir(&site.execute).unwrap().count(), 0);
    }
}

/// Between its last entry and the commit the job may put another directory of its own where the pilot is expected to
/// have put the one that was sent.
#[test]
#[ignore = "needs root"]
fn c9_the_peer_removes_nothing_but_what_it_has_sent() {
    let site = Site::new();
    let [sent, other] = ["dir_1", "dir_1.condor"].map(|name| {
        site.expect_left(name);
        let directory = site.execute.join(name);
        std::fs::create_dir(&directory).unwrap();
        put_file(GREG, &directory.join("kept"), b"kept", 0o644);
        finish(GREG, &directory, 0o755);
        directory
    });
    let why = refusal(&site, "cleanup", |pilot| {
        pilot.send(&place(&site.execute, b"dir_1").encode());
        let entries = loop {
            let packet = pilot.receive().expect("the end of the tree");
            if let Some(entries) = entries_at_end(&packet) {
                break entries;
            }
        };
        pilot.send(&totals(b'A', entries));
        pilot.send(b"C");
    });
    assert!(why.contains("moved elsewhere"), "{why}");
    for directory in [sent, other] {
        assert_eq!(std::fs::read(directory.join("kept")).unwrap(), b"kept");
    }
}

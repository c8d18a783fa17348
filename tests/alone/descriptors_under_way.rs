//! The kernel lets an account have so many descriptors on their way through sockets, all its processes together; a
//! helper waits for the others, but not for ever.

use crate::common::raw::Raw;
use crate::common::{Account, GREG, PILOT, Site, as_account, available, finish, put_file};
use crate::turn;
use glexec_rs::protocol::connection::{Broken, Connection, pair};
use glexec_rs::protocol::packet::PACKET_DESCRIPTORS;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

/// The account's limit: a few packets.
const MOST: u64 = 4 * PACKET_DESCRIPTORS as u64;

#[test]
#[ignore = "needs root"]
fn a_full_allowance_of_descriptors_is_waited_for_as_long_as_for_any_answer() {
    let _turn = turn();
    assert!(available(), "needs root");
    let _limited = Limited::to(MOST);
    as_account(PILOT, || {
        let (ours, theirs) = pair().unwrap();
        let (mut sender, receiver) = (Connection::new(ours), Raw(theirs));
        sender.allow_silence(Duration::from_millis(50));
        let file = std::fs::File::open("/dev/null").unwrap();
        let full = [file.as_fd(); PACKET_DESCRIPTORS];
        let mut sent = 0;
        let refused = loop {
            match sender.send(b"x", &full) {
                Ok(()) => sent += 1,
                Err(why) => break why,
            }
        };
        assert_eq!(refused, Broken::System(rustix::io::Errno::TOOMANYREFS), "after {sent} packets");
        // The other side takes some while a sender waits.
        sender.allow_silence(Duration::from_secs(60));
        std::thread::scope(|scope| {
            let waiting = scope.spawn(|| sender.send(b"x", &full));
            std::thread::sleep(Duration::from_millis(100));
            for _ in 0..sent {
                receiver.receive_with().unwrap();
            }
            assert_eq!(waiting.join().unwrap(), Ok(()));
        });
    });
}

/// What this whole process may have open, until this is dropped.
struct Limited(Rlimit);

impl Limited {
    fn to(most: u64) -> Self {
        let before = getrlimit(Resource::Nofile);
        setrlimit(Resource::Nofile, Rlimit { current: Some(most), ..before }).unwrap();
        Limited(before)
    }
}

impl Drop for Limited {
    fn drop(&mut self) {
        let _ = setrlimit(Resource::Nofile, self.0);
    }
}

/// As many descriptors of an account's under way as `packets` take, until they are dropped.
fn under_way(account: Account, packets: usize) -> (Connection, OwnedFd) {
    as_account(account, || {
        let (ours, theirs) = pair().unwrap();
        let sender = Connection::new(ours);
        let file = std::fs::File::open("/dev/null").unwrap();
        for _ in 0..packets {
            sender.send(b"x", &[file.as_fd(); PACKET_DESCRIPTORS]).unwrap();
        }
        (sender, theirs)
    })
}

/// Whoever sends a sandbox is confined by then: waiting must not need a call that its profile lacks.
#[test]
#[ignore = "needs root"]
fn a_confined_helper_waits_for_a_full_allowance_too() {
    let _turn = turn();
    let site = Site::new();
    for sender in [PILOT, GREG] {
        let sandbox = if sender == PILOT { site.sandbox() } else { site.handed_over() };
        // Too large to travel as bytes.
        put_file(sender, &sandbox.path.join("large"), &[5; 50_000], 0o644);
        finish(sender, &sandbox.path, 0o755);
        let kept = under_way(sender, 2);
        let call = if sender == PILOT { site.setup(&sandbox) } else { site.cleanup(&sandbox) };
        let mut running = call.limit(Resource::Nofile, PACKET_DESCRIPTORS as u64).start();
        std::thread::sleep(Duration::from_secs(1));
        assert!(!running.has_ended(), "it did not wait: {:?}", running.finish());
        drop(kept);
        running.finish().expect_quiet();
    }
}

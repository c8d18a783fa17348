//! A pilot side that falls silent: the target side does not stay, and leaves everything as it was.

use super::peers::peer;
use super::{Left, assert_due, side_by_side};
use crate::common::raw::{self, Raw};
use crate::common::{PILOT, Running, Site, Snapshot, as_account};
use glexec_rs::files::metadata::Metadata;
use glexec_rs::ground::limits;
use glexec_rs::protocol::connection::pair;
use std::fs::File;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::time::Instant;

#[test]
#[ignore = "needs root"]
fn target_sides_give_up_a_silent_pilot() {
    side_by_side(&[silent_from_the_beginning, silent_in_setup, silent_in_cleanup]);
}

/// A peer for this operation that has greeted, and the pilot's end.
fn started(site: &Site, operation: &str) -> (Running, Raw) {
    // The peer asks the socket who made it.
    let (ours, theirs) = as_account(PILOT, || pair().unwrap());
    let running = peer(site, operation).input(theirs).start();
    let connection = Raw(ours);
    assert_eq!(connection.receive().as_deref(), Some(raw::GREETING));
    (running, connection)
}

/// Says where to work.
fn place(connection: &Raw, site: &Site, directory: &Path, proxy: &[u8]) {
    let request = raw::Place {
        parent: site.execute.as_os_str().as_bytes().to_vec(),
        identity: Metadata::of(File::open(&site.execute).unwrap()).unwrap().identity,
        name: directory.file_name().unwrap().as_bytes().to_vec(),
        proxy: proxy.to_vec(),
        flag: 0,
    };
    connection.send(&request.encode());
}

/// The peer ends at its deadline, and says why. The deadline began to run when it last said or heard something, which
/// was not before `since`.
#[track_caller]
fn assert_given_up(running: Running, connection: &Raw, since: Instant) {
    running.finish().expect(1);
    assert_due(since, limits::SILENCE_DEADLINE);
    let mut last = Vec::new();
    while let Some(packet) = connection.receive() {
        last = packet;
    }
    let why = last.strip_prefix(b"F").unwrap_or_else(|| panic!("its last words are {last:?}"));
    assert!(String::from_utf8_lossy(why).contains("did not answer in time"));
}

fn silent_from_the_beginning() {
    let site = Site::new();
    std::thread::scope(|scope| {
        for operation in ["setup", "cleanup", "kill", "update_proxy"] {
            let site = &site;
            scope.spawn(move || {
                let since = Instant::now();
                let (running, connection) = started(site, operation);
                assert_given_up(running, &connection, since);
            });
        }
    });
}

/// The directory that it has made is removed.
fn silent_in_setup() {
    let site = Site::new();
    let sandbox = site.sandbox();
    let given = sandbox.snapshot();
    let (running, connection) = started(&site, "setup");
    let since = Instant::now();
    place(&connection, &site, &sandbox.parked, sandbox.proxy.as_bytes());
    assert_eq!(connection.receive().as_deref(), Some(raw::READY));
    assert!(sandbox.parked.exists());
    assert_given_up(running, &connection, since);
    sandbox.assert_as_before(&given);
}

/// The pilot never says that it has all of it, so nothing is removed.
fn silent_in_cleanup() {
    let site = Site::new();
    let left = Left::by_a_job(&site);
    let (running, connection) = started(&site, "cleanup");
    let since = Instant::now();
    place(&connection, &site, &left.sandbox.path, left.sandbox.proxy.as_bytes());
    connection.receive().unwrap();
    assert_given_up(running, &connection, since);
    left.assert_as_before();
    assert!(!Snapshot::of(&left.sandbox.path).names().is_empty());
    left.assert_comes_back(&site);
}

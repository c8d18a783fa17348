//! `condor_glexec_setup` against the built programs, with two accounts: what the Starter gives it and expects of it.

#![deny(unsafe_code)]

mod common;

use common::{GREG, Seat, Site, Snapshot};

#[test]
fn hands_over_a_classic_sandbox() {
    let Some(site) = Site::new() else { return };
    let sandbox = site.sandbox();
    let seat = Seat::take(&sandbox.path);
    let inode = seat.inode();
    let before = Snapshot::of(&sandbox.path);

    site.setup(&sandbox).run().expect_quiet();

    let expected = before.clone().masked(0o755).owned_by(GREG);
    Snapshot::of(&sandbox.path).assert_same(&expected);
    let parked = Snapshot::of(&sandbox.parked);
    assert_eq!(parked.names(), [&sandbox.proxy]);
    assert_eq!(parked.get(&sandbox.proxy), before.get(&sandbox.proxy));
    assert_eq!((seat.path(), seat.inode()), (sandbox.parked.clone(), inode));
}

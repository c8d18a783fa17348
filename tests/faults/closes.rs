//! S14: what a file system says only when a written file is closed (a quota on NFS, an error of a FUSE server) is an
//! error like any other: nothing is lost with exit 0.

use crate::common::Site;
use crate::injector::strike_close;
use crate::playground::{Helper, Playground};
use crate::tracing::Side;

/// Lets the closing of each written file fail in its turn, with each of the errors that come so late.
fn every_close_fails(helper: Helper, side: Side, least: usize) {
    let site = Site::new();
    for errno in [libc::EIO, libc::EDQUOT, libc::ENOSPC, libc::EINTR] {
        let mut struck = 0;
        loop {
            let playground = Playground::new(&site, helper);
            let (hit, finished) = strike_close(playground.call().traced().start(), side, struck, errno);
            if !hit {
                playground.clear();
                break;
            }
            let what = format!("{helper:?}, {side:?} side, close {struck} fails with {errno}: {finished:?}");
            assert!(finished.code.is_some_and(|code| code != 0) && !finished.said().is_empty(), "{what}");
            playground.judge(&finished, struck % 2 == 1).unwrap_or_else(|why| panic!("{what}: {why}"));
            playground.clear();
            struck += 1;
        }
        assert!(struck >= least, "only {struck} written files were closed");
    }
}

#[test]
#[ignore = "needs root"]
fn s14_setup_with_errors_of_close_on_the_target_side() {
    every_close_fails(Helper::Setup, Side::Target, 5);
}

#[test]
#[ignore = "needs root"]
fn s14_cleanup_with_errors_of_close_on_the_pilot_side() {
    every_close_fails(Helper::Cleanup, Side::Pilot, 7);
}

#[test]
#[ignore = "needs root"]
fn s14_update_proxy_with_errors_of_close_on_the_pilot_side() {
    every_close_fails(Helper::UpdateProxy, Side::Pilot, 1);
}

#[test]
#[ignore = "needs root"]
fn s14_update_proxy_with_errors_of_close_on_the_target_side() {
    every_close_fails(Helper::UpdateProxy, Side::Target, 1);
}

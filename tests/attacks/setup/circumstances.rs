//! The switcher, interruptions, other helpers, and what is set at entry.

use crate::common::{GREG, PILOT, Seat, Site};
use crate::common::{another_round, write_program};
use rustix::fs::{XattrFlags, setxattr};
use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::time::{Duration, Instant};

#[test]
#[ignore = "needs root"]
fn s6_a_default_acl_of_execute_makes_no_difference() {
    let site = Site::new();
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
#[ignore = "needs root"]
fn s7_a_switcher_that_prints_a_megabyte() {
    let site = Site::new();
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
#[ignore = "needs root"]
fn s7_each_attempt_begins_afresh() {
    let site = Site::new();
    let sandbox = site.sandbox();
    let before = sandbox.snapshot();
    site.configure_switcher("fail = 202 times 2");
    let arguments = [site.switcher().into_os_string(), sandbox.proxy.clone(), sandbox.path.clone().into_os_string()];
    site.setup(&sandbox).only_args(arguments).args(["2", "0"]).run().expect_quiet();
    sandbox.assert_handed_over(&before);
    let calls = site.switcher_calls();
    assert_eq!(calls.len(), 3);
    calls.iter().for_each(crate::common::SwitcherCall::assert_only_a_socket_and_pipes);
    // The kernel does not give the number of a socket or a pipe a second time.
    let sockets_and_pipes: BTreeSet<_> = calls.iter().flat_map(|call| &call.descriptors).map(|(_, of)| of).collect();
    assert_eq!(sockets_and_pipes.len(), 3 * 2, "a socket and a pipe for each call: {sockets_and_pipes:?}");
}

/// A switcher of this site's own that is a shell script. It can start the real one, whose path it is given as
/// `$SWITCHER`.
fn scripted_switcher(site: &Site, script: &str) -> PathBuf {
    let path = site.program("scripted-switcher");
    write_program(&path, format!("#!/bin/sh\nSWITCHER={}\n{script}\n", site.switcher().display()));
    path
}

/// Once a peer has greeted nothing is tried again: what it has made meanwhile is for the next call to find and to make
/// anew.
#[test]
#[ignore = "needs root"]
fn s7_a_switcher_that_fails_after_its_peer_made_half_of_the_copy() {
    const FILES: usize = 2000;
    let site = Site::new();
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
#[ignore = "needs root"]
fn ticket_2660_whatever_a_switcher_prints_is_shown_as_one_line() {
    let site = Site::new();
    let sandbox = site.sandbox();
    let before = sandbox.snapshot();
    let printed = site.root.join("printed");
    let script = format!("/bin/cat {0}; /bin/cat {0} >&2; exit 201", printed.display());
    let switcher = scripted_switcher(&site, &script);
    let texts: [(&[u8], &str); 5] = [
        (b"%s%n%d%99999d", "%s%n%d%99999d"),
        (b"\x1b[2J\r\n\nroot: all is well\x07\x08\0", r"\x1b[2J; root: all is well\x07\x08\x00"),
        (b"\xff\xfe\x80\xc0\xaf", r"\xff\xfe\x80\xc0\xaf"),
        ("\u{202e}\u{9b}2J".as_bytes(), r"\xe2\x80\xae\xc2\x9b2J"),
        (b"'\"$(id)`id`;|&<>\\", r#"'"$(id)`id`;|&<>\"#),
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
fn killed_at_any_moment(site: &Site, kill: impl Fn(&mut crate::common::Running) -> usize) {
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
#[ignore = "needs root"]
fn s8_the_pilot_side_is_killed_at_any_moment() {
    let site = Site::new();
    killed_at_any_moment(&site, |running| {
        running.kill();
        1
    });
}

#[test]
#[ignore = "needs root"]
fn s8_the_target_side_is_killed_at_any_moment() {
    let site = Site::new();
    killed_at_any_moment(&site, |_| site.kill_peers());
}

#[test]
#[ignore = "needs root"]
fn s8_a_switcher_that_stays_is_killed_at_any_moment() {
    let site = Site::new();
    site.configure_switcher("linger = yes");
    killed_at_any_moment(&site, |_| site.kill_switchers());
}

#[test]
#[ignore = "needs root"]
fn h2_two_setups_at_once() {
    let site = Site::new();
    let mut refused = 0;
    let mut rounds = 0..;
    while rounds.next().is_some_and(|round| another_round(round, 10, refused > 0)) {
        let sandbox = site.sandbox();
        let before = sandbox.snapshot();
        let both = [site.setup(&sandbox).start(), site.setup(&sandbox).start()].map(crate::common::Running::finish);
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

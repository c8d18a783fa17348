//! A target side that is not our peer, or is kept from working.

use super::{HANGS, Left, assert_due, at_deadline, side_by_side};
use crate::common::raw::{self, GREETING};
use crate::common::write_program;
use crate::common::{Call, GREG, PILOT, Site, Sleeper, Snapshot, as_account, await_that, pem, put_file};
use crate::{etc, full};
use glexec_rs::ground::limits;
use rustix::io::Errno;
use rustix::process::{Pid, Signal, kill_process};
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::time::{Duration, Instant};

/// Reads what it is sent until the socket ends.
const LISTEN: &str = "exec cat <&0 >/dev/null";

/// A command of a shell that sends one packet.
fn send(packet: &[u8]) -> String {
    let digits: String = packet.iter().map(|byte| format!("\\{byte:03o}")).collect();
    format!("printf '{digits}' >&0")
}

fn records(record: &[u8]) -> String {
    send(&raw::records(&[record]))
}

/// Lets a shell that does `script` after the greeting stand in for the peer; the real one is `real_peer` beside it.
fn replace_peer(site: &Site, script: &str) {
    let greeting = if script.contains("real_peer") { ":".into() } else { send(GREETING) };
    let [peer, real] = ["condor_glexec_peer", "real_peer"].map(|name| site.program(name));
    fs::rename(&peer, &real).unwrap();
    write_program(&peer, format!("#!/bin/sh\n{greeting}\n{script}\n"));
}

fn restore_peer(site: &Site) {
    fs::rename(site.program("real_peer"), site.program("condor_glexec_peer")).unwrap();
}

/// A cleanup under a stand-in: what it says when it gives up; the job's sandbox stays, and comes back in the end.
fn given_up(script: &str, policy: &str, deadline: Duration, words: &[&str]) {
    let site = Site::new();
    let left = Left::by_a_job(&site);
    replace_peer(&site, script);
    let policy = etc::put(&site, policy);
    let call = || etc::with(&policy, || site.cleanup(&left.sandbox).time_limit(HANGS).run());
    at_deadline(deadline, call).expect_refusal(1, words);
    left.assert_as_before();
    site.kill_processes();
    restore_peer(&site);
    left.assert_comes_back(&site);
}

#[test]
#[ignore = "needs root"]
fn c11_silent_slow_and_endless_target_sides_are_given_up() {
    side_by_side(&[
        silent_in_setup,
        never_acknowledges,
        deaf_in_setup,
        slow_in_setup,
        endless_in_setup,
        silent_in_cleanup,
        silent_and_deaf_in_cleanup,
        silent_in_kill,
        silent_in_update_proxy,
        stopped_in_cleanup,
        endless_where_an_answer_is_due,
        slow_entries,
        endless_entries,
        a_switcher_that_stays_after_the_work,
        never_removes,
    ]);
}

/// A setup under a stand-in that does `script` after the greeting: what it says when it gives up; the sandbox stays,
/// and is handed over in the end. It has more in it than a socket holds.
fn setup_given_up(script: &str, deadline: Duration, words: &[&str]) {
    let site = Site::new();
    let sandbox = site.sandbox();
    (0..100).for_each(|file| sandbox.add_file(format!("{file}"), &[1; 10_000], 0o644));
    sandbox.finish_directory("", 0o755);
    let given = sandbox.snapshot();
    replace_peer(&site, script);
    let call = || site.setup(&sandbox).time_limit(HANGS).run();
    at_deadline(deadline, call).expect_refusal(2, words);
    sandbox.assert_as_before(&given);
    site.kill_processes();
    restore_peer(&site);
    site.setup(&sandbox).run().expect_quiet();
    sandbox.assert_handed_over(&given);
}

fn silent_in_setup() {
    setup_given_up(LISTEN, limits::SILENCE_DEADLINE, &["did not answer in time"]);
}

/// It takes all of the tree and says nothing.
fn never_acknowledges() {
    let script = format!("{}\n{LISTEN}", send(raw::READY));
    setup_given_up(&script, limits::SILENCE_DEADLINE, &["waiting for the acknowledgement", "did not answer in time"]);
}

/// It takes nothing of the tree, and does not even end when the pilot's side has ended the conversation.
fn deaf_in_setup() {
    let deadline = limits::SILENCE_DEADLINE + limits::UNDO_DEADLINE + limits::SWITCHER_END_DEADLINE;
    let script = format!("{}\nexec sleep 1000", send(raw::READY));
    setup_given_up(&script, deadline, &["handing files over", "did not answer in time"]);
}

/// News now and then is no silence: that it is given up in the end is for what it must not say.
fn slow_in_setup() {
    let news = format!("sleep 65; {}", send(&raw::totals(b'P', 0)));
    let script = format!("{}\n{news}\n{news}\n{}\n{LISTEN}", send(raw::READY), send(b"x"));
    setup_given_up(&script, Duration::from_secs(130), &["something else than an acknowledgement"]);
}

/// See [`endless_where_an_answer_is_due`].
fn endless_in_setup() {
    let flood = format!("while :; do {}; done 2>/dev/null", send(b"x"));
    let script = format!("{}\n{flood}", send(raw::READY));
    setup_given_up(&script, limits::UNDO_DEADLINE, &["something else than an acknowledgement"]);
}

fn silent_in_cleanup() {
    given_up(LISTEN, "", limits::SILENCE_DEADLINE, &["did not answer in time"]);
}

/// It does not even end when the pilot's side has ended the conversation.
fn silent_and_deaf_in_cleanup() {
    let deadline = limits::SILENCE_DEADLINE + limits::UNDO_DEADLINE + limits::SWITCHER_END_DEADLINE;
    given_up("exec sleep 1000", "", deadline, &["did not answer in time"]);
}

fn silent_in_kill() {
    let site = Site::new();
    let sandbox = site.handed_over();
    let mut process = Sleeper::start(GREG);
    replace_peer(&site, LISTEN);
    let call = || site.kill(&sandbox, process.pid(), 9).closed(&[]).time_limit(HANGS).run();
    at_deadline(limits::SILENCE_DEADLINE, call).expect_refusal(2, &["did not answer in time"]);
    process.assert_alive();
}

fn silent_in_update_proxy() {
    let site = Site::new();
    let left = Left::by_a_job(&site);
    let new = site.root.join("pilot/new");
    put_file(PILOT, &new, &pem(2), 0o600);
    replace_peer(&site, LISTEN);
    let call = || site.update_proxy(&left.sandbox, &new).time_limit(HANGS).run();
    at_deadline(limits::SILENCE_DEADLINE, call).expect_refusal(1, &["did not answer in time"]);
    left.assert_as_before();
    assert!(!new.exists());
}

/// The real peer, stopped by the job while the tree is on its way. On a busy machine a tree can have arrived before
/// anybody looks: then a larger one.
fn stopped_in_cleanup() {
    let site = Site::new();
    let mut sizes = [5_000, 20_000, 80_000].into_iter();
    assert!(sizes.any(|files| stopped_in_cleanup_of(&site, files)), "it was never stopped at the right moment");
}

/// Whether the peer was stopped before it had sent all of so many files.
fn stopped_in_cleanup_of(site: &Site, files: u32) -> bool {
    let sandbox = site.sandbox();
    let given = sandbox.snapshot();
    site.setup(&sandbox).run().expect_quiet();
    as_account(GREG, || {
        (0..files).for_each(|file| fs::write(sandbox.path.join(format!("{file}")), b"output").unwrap())
    });
    let (job, parked) = (sandbox.snapshot(), Snapshot::of(&sandbox.parked).below());
    let arriving = || fs::read_dir(&sandbox.parked).is_ok_and(|listed| listed.count() > 1);
    let has_arrived = || fs::metadata(&sandbox.path).unwrap().uid() == PILOT.uid();
    let signal = |signal| {
        for (pid, _) in site.processes().iter().filter(|(_, command)| command.contains("condor_glexec_peer")) {
            let pid = Pid::from_raw(*pid as i32).unwrap();
            let signalled = as_account(GREG, || kill_process(pid, signal));
            assert!(matches!(signalled, Ok(()) | Err(Errno::SRCH)), "{signalled:?}");
        }
    };
    let since = Instant::now();
    let mut running = site.cleanup(&sandbox).time_limit(HANGS).start();
    while !arriving() && !running.has_ended() {
        std::thread::yield_now();
    }
    signal(Signal::STOP);
    while !running.has_ended() && !has_arrived() && since.elapsed() < HANGS {
        std::thread::sleep(Duration::from_millis(10));
    }
    if has_arrived() {
        signal(Signal::CONT);
        running.finish().expect_quiet();
        sandbox.assert_taken_back(&job, &given);
        return false;
    }
    running.finish().expect_refusal(1, &["did not answer in time"]);
    assert_due(since, limits::SILENCE_DEADLINE + limits::UNDO_DEADLINE + limits::SWITCHER_END_DEADLINE);
    signal(Signal::CONT);
    await_that("the peer has ended", || site.processes().is_empty());
    sandbox.snapshot().assert_same(&job);
    Snapshot::of(&sandbox.parked).below().assert_same(&parked);
    site.cleanup(&sandbox).run().expect_quiet();
    sandbox.assert_taken_back(&job, &given);
    true
}

/// After what it must not say, it is given the time to undo its part; what it says meanwhile is dropped.
fn endless_where_an_answer_is_due() {
    let flood = format!("while :; do {}; done 2>/dev/null", send(b"x"));
    given_up(&flood, "", limits::UNDO_DEADLINE, &["broke the protocol"]);
}

fn left_out() -> String {
    records(&raw::left_out(b"entry", 1))
}

/// An entry now and then is no silence; the site's own bound ends it. See [`endless_where_an_answer_is_due`] for what
/// comes then.
fn slow_entries() {
    let script = format!("while {}; do sleep 1; done 2>/dev/null", left_out());
    given_up(
        &script,
        "cleanup-seconds = 5\n",
        Duration::from_secs(5) + limits::UNDO_DEADLINE,
        &["took longer to copy than 5 s", "cleanup-seconds"],
    );
}

fn endless_entries() {
    let script = format!("while {}; do :; done 2>/dev/null", left_out());
    given_up(
        &script,
        "cleanup-seconds = 5\n",
        Duration::from_secs(5) + limits::UNDO_DEADLINE,
        &["took longer to copy than 5 s", "cleanup-seconds"],
    );
    given_up(
        &script,
        "cleanup-entries = 5000\n",
        limits::UNDO_DEADLINE,
        &["more than 5000 entries", "cleanup-entries"],
    );
}

/// The work is done; that the switcher does not end is no failure.
fn a_switcher_that_stays_after_the_work() {
    let site = Site::new();
    let left = Left::by_a_job(&site);
    replace_peer(&site, "\"${0%/*}\"/real_peer \"$@\"; exec sleep 1000");
    at_deadline(limits::SWITCHER_END_DEADLINE, || site.cleanup(&left.sandbox).run()).expect_quiet();
    left.sandbox.assert_taken_back(&left.job, &left.given);
    site.kill_processes();
}

/// A target side that gives nothing back and then never removes the job's own copy: half an hour.
fn never_removes() {
    if !full() {
        return;
    }
    let site = Site::new();
    let left = Left::by_a_job(&site);
    let end = raw::end(0);
    replace_peer(&site, &format!("{}\nexec sleep 5000", records(&end)));
    let hangs = limits::REMOVAL_DEADLINE + HANGS;
    let call = || site.cleanup(&left.sandbox).time_limit(hangs).run();
    at_deadline(limits::REMOVAL_DEADLINE, call).expect_refusal(1, &["did not answer in time"]);
    // The two have changed places: the pilot's is the sandbox, the job's own copy waits to be removed.
    assert_eq!(fs::metadata(&left.sandbox.path).unwrap().uid(), PILOT.uid());
    Snapshot::of(&left.sandbox.parked).below().assert_same(&left.job.clone().below());
    site.kill_processes();
    restore_peer(&site);
    site.cleanup(&left.sandbox).run().expect_quiet();
    assert!(!left.sandbox.parked.exists());
}

/// A peer, called as the switcher would call it.
pub fn peer(site: &Site, operation: &str) -> Call {
    site.call("condor_glexec_peer").account(GREG).arg(operation).time_limit(HANGS)
}

//! A target side that is not our peer, or is kept from working.

use crate::common::{Call, GREG, PILOT, Site, Sleeper, Snapshot, as_account, pem, put_file};
use crate::{HANGS, Left, etc, full, not_before, side_by_side};
use glexec_rs::limits;
use glexec_rs::sandbox::component::Component;
use glexec_rs::sandbox::wire::{Message, Reason, Record, Time};
use glexec_rs::switch::GREETING;
use rustix::process::{Pid, Signal, kill_process};
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::process::Command;
use std::time::Duration;

/// Reads what it is sent until the socket ends.
const LISTEN: &str = "exec cat <&0 >/dev/null";

/// A command of a shell that sends one packet.
fn send(packet: &[u8]) -> String {
    let digits: String = packet.iter().map(|byte| format!("\\{byte:03o}")).collect();
    format!("printf '{digits}' >&0")
}

fn records(record: &Record) -> String {
    let mut packet = Message::Records(&[]).encode();
    record.encode(&mut packet);
    send(&packet)
}

/// Lets a shell that does `script` after the greeting stand in for the peer; the real one is `real_peer` beside it.
fn replace_peer(site: &Site, script: &str) {
    let greeting = if script.contains("real_peer") { ":".into() } else { send(GREETING) };
    let [peer, real, file] = ["condor_glexec_peer", "real_peer", "script"].map(|name| site.program(name));
    fs::rename(&peer, &real).unwrap();
    fs::write(&file, format!("#!/bin/sh\n{greeting}\n{script}\n")).unwrap();
    // Written by another process: see the installation of the programs.
    assert!(Command::new("install").args(["-m", "755"]).args([&file, &peer]).status().unwrap().success());
}

fn restore_peer(site: &Site) {
    fs::rename(site.program("real_peer"), site.program("condor_glexec_peer")).unwrap();
}

/// A cleanup under a stand-in: what it says when it gives up; the job's sandbox stays, and comes back in the end.
fn given_up(script: &str, policy: &str, deadline: Duration, words: &[&str]) {
    let Some(site) = Site::new() else { return };
    let left = Left::by_a_job(&site);
    replace_peer(&site, script);
    let policy = etc::put(&site, policy);
    let call = || etc::with(&policy, || site.cleanup(&left.sandbox).time_limit(HANGS).run());
    not_before(deadline, call).expect_refusal(1, words);
    left.assert_as_before();
    site.kill_processes();
    restore_peer(&site);
    left.assert_comes_back(&site);
}

#[test]
fn c11_silent_slow_and_endless_target_sides_are_given_up() {
    side_by_side(&[
        silent_in_setup,
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

fn silent_in_setup() {
    let Some(site) = Site::new() else { return };
    let sandbox = site.sandbox();
    let given = sandbox.snapshot();
    replace_peer(&site, LISTEN);
    let call = || site.setup(&sandbox).time_limit(HANGS).run();
    not_before(limits::SILENCE_DEADLINE, call).expect_refusal(2, &["did not answer in time"]);
    sandbox.assert_as_before(&given);
    restore_peer(&site);
    site.setup(&sandbox).run().expect_quiet();
    sandbox.assert_handed_over(&given);
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
    let Some(site) = Site::new() else { return };
    let sandbox = site.handed_over();
    let mut process = Sleeper::start(GREG);
    replace_peer(&site, LISTEN);
    let call = || site.kill(&sandbox, process.pid(), 9).closed(&[]).time_limit(HANGS).run();
    not_before(limits::SILENCE_DEADLINE, call).expect_refusal(2, &["did not answer in time"]);
    process.assert_alive();
}

fn silent_in_update_proxy() {
    let Some(site) = Site::new() else { return };
    let left = Left::by_a_job(&site);
    let new = site.root.join("pilot/new");
    put_file(PILOT, &new, &pem(2), 0o600);
    replace_peer(&site, LISTEN);
    let call = || site.update_proxy(&left.sandbox, &new).time_limit(HANGS).run();
    not_before(limits::SILENCE_DEADLINE, call).expect_refusal(1, &["did not answer in time"]);
    left.assert_as_before();
    assert!(!new.exists());
}

/// The real peer, stopped by the job while the tree is on its way.
fn stopped_in_cleanup() {
    let Some(site) = Site::new() else { return };
    let sandbox = site.sandbox();
    let given = sandbox.snapshot();
    site.setup(&sandbox).run().expect_quiet();
    as_account(GREG, || {
        (0..20_000).for_each(|file| fs::write(sandbox.path.join(format!("{file}")), b"output").unwrap())
    });
    let (job, parked) = (sandbox.snapshot(), Snapshot::of(&sandbox.parked).below());
    let arriving = || fs::read_dir(&sandbox.parked).unwrap().count() > 1;
    let signal = |signal| {
        for (pid, _) in site.processes().iter().filter(|(_, command)| command.contains("condor_glexec_peer")) {
            let pid = Pid::from_raw(*pid as i32).unwrap();
            as_account(GREG, || kill_process(pid, signal)).unwrap();
        }
    };
    let running = site.cleanup(&sandbox).time_limit(HANGS).start();
    while !arriving() {
        std::thread::yield_now();
    }
    signal(Signal::STOP);
    not_before(limits::SILENCE_DEADLINE, || running.finish()).expect_refusal(1, &["did not answer in time"]);
    signal(Signal::CONT);
    while !site.processes().is_empty() {
        std::thread::sleep(Duration::from_millis(10));
    }
    sandbox.snapshot().assert_same(&job);
    Snapshot::of(&sandbox.parked).below().assert_same(&parked);
    site.cleanup(&sandbox).run().expect_quiet();
    sandbox.assert_taken_back(&job, &given);
}

/// After what it must not say, it is given the time to undo its part; what it says meanwhile is dropped.
fn endless_where_an_answer_is_due() {
    let flood = format!("while :; do {}; done 2>/dev/null", send(b"x"));
    given_up(&flood, "", limits::UNDO_DEADLINE, &["broke the protocol"]);
}

fn left_out() -> String {
    records(&Record::LeftOut { name: Component::new(b"entry").unwrap(), reason: Reason::Special })
}

/// An entry now and then is no silence; the site's own bound ends it.
fn slow_entries() {
    let script = format!("while {}; do sleep 1; done 2>/dev/null", left_out());
    given_up(
        &script,
        "cleanup-seconds = 5\n",
        Duration::from_secs(5),
        &["took longer to copy than 5 s", "cleanup-seconds"],
    );
}

fn endless_entries() {
    let script = format!("while {}; do :; done 2>/dev/null", left_out());
    given_up(
        &script,
        "cleanup-seconds = 5\n",
        Duration::from_secs(5),
        &["took longer to copy than 5 s", "cleanup-seconds"],
    );
    given_up(&script, "cleanup-entries = 5000\n", Duration::ZERO, &["more than 5000 entries", "cleanup-entries"]);
}

/// The work is done; that the switcher does not end is no failure.
fn a_switcher_that_stays_after_the_work() {
    let Some(site) = Site::new() else { return };
    let left = Left::by_a_job(&site);
    replace_peer(&site, "\"${0%/*}\"/real_peer \"$@\"; exec sleep 1000");
    not_before(limits::SWITCHER_END_DEADLINE, || site.cleanup(&left.sandbox).run()).expect_quiet();
    left.sandbox.assert_taken_back(&left.job, &left.given);
    site.kill_processes();
}

/// A target side that gives nothing back and then never removes the job's own copy: half an hour.
fn never_removes() {
    if !full() {
        return;
    }
    let Some(site) = Site::new() else { return };
    let left = Left::by_a_job(&site);
    let end = Record::End { entries: 0, mode: 0o755, mtime: Time { seconds: 0, nanoseconds: 0 } };
    replace_peer(&site, &format!("{}\nexec sleep 5000", records(&end)));
    let hangs = limits::REMOVAL_DEADLINE + HANGS;
    let call = || site.cleanup(&left.sandbox).time_limit(hangs).run();
    not_before(limits::REMOVAL_DEADLINE, call).expect_refusal(1, &["did not answer in time"]);
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

//! A switcher that never starts the peer.

use super::{HANGS, Left, at_deadline, side_by_side};
use crate::common::{Finished, GREG, PILOT, Sandbox, Site, Sleeper, pem, put_file, write_program};
use glexec_rs::ground::limits;
use std::time::{Duration, Instant};

#[test]
#[ignore = "needs root"]
fn s7_a_switcher_that_never_starts_the_peer_is_given_up_by_every_helper() {
    side_by_side(&[hangs, prints_for_ever]);
}

#[test]
#[ignore = "needs root"]
fn s7_a_switcher_that_never_ends() {
    let site = Site::new();
    let sandbox = site.sandbox();
    let before = sandbox.snapshot();
    site.configure_switcher("hang = yes");
    let started = Instant::now();
    site.setup(&sandbox).run().expect_refusal(2, &["switcher"]);
    assert!(started.elapsed() < Duration::from_secs(120));
    sandbox.assert_as_before(&before);
    // Killing a root's process is not in a pilot's power.
    site.kill_processes();
}

/// The line of every failure here.
const WORDS: [&str; 2] = ["did not start the peer within 60 seconds", "log"];

fn hangs() {
    let site = Site::new();
    let [left, renewed] = [Left::by_a_job(&site), Left::by_a_job(&site)];
    let inputs = site.sandbox();
    let given = inputs.snapshot();
    let mut process = Sleeper::start(GREG);
    let new = site.root.join("pilot/new");
    put_file(PILOT, &new, &pem(2), 0o600);
    site.configure_switcher("hang = yes");
    let calls = [
        (site.setup(&inputs), 2),
        (site.cleanup(&left.sandbox), 1),
        (site.kill(&left.sandbox, process.pid(), 9).closed(&[]), 2),
        (site.update_proxy(&renewed.sandbox, &new), 1),
    ];
    std::thread::scope(|scope| {
        for (call, code) in calls {
            scope.spawn(move || {
                at_deadline(limits::GREETING_DEADLINE, || call.time_limit(HANGS).run()).expect_refusal(code, &WORDS);
            });
        }
    });
    inputs.assert_as_before(&given);
    left.assert_as_before();
    renewed.assert_as_before();
    process.assert_alive();
    // It is root's, so that no helper could end it.
    site.kill_processes();
    site.configure_switcher("");
    left.assert_comes_back(&site);
}

fn prints_for_ever() {
    let site = Site::new();
    let sandbox = site.sandbox();
    let given = sandbox.snapshot();
    let switcher = site.root.join("endless");
    write_program(&switcher, "#!/bin/sh\nexec yes all work and no play\n");
    let call = |sandbox: &Sandbox| -> Finished {
        let arguments = [switcher.clone().into_os_string(), sandbox.proxy.clone(), sandbox.path.clone().into()];
        site.setup(sandbox).only_args(arguments).args(["0", "0"]).time_limit(HANGS).run()
    };
    at_deadline(limits::GREETING_DEADLINE, || call(&sandbox)).expect_refusal(2, &[WORDS[0], "all work and no play"]);
    // This one is the pilot's own, and was ended.
    sandbox.assert_as_before(&given);
}

//! Whatever a helper comes to grief at, nothing is lost: it is killed at each of its system calls, and each of them
//! fails.
//!
//! A part of the moments is tried by default, all of them with `tests/run --full`.

use crate::common::{Finished, Site};
use crate::injector::{Fault, Moment, calls, plausible, strike};
use crate::playground::{Broken, Helper, Playground};
use crate::tracing::Side;
use std::io::Write;

/// Of how many moments one is tried by default.
///
/// Odd: every other moment of setup is followed by cleanup instead of another setup.
const PART: usize = 13;

/// How often a fault struck, and what came of it.
#[derive(Default)]
struct Tally {
    struck: usize,
    lost: Vec<String>,
}

impl Tally {
    /// Lets a call come to grief. False: there is no such moment any more.
    fn strike(&mut self, site: &Site, helper: Helper, moment: Moment, fault: Fault) -> bool {
        let playground = Playground::new(site, helper);
        let (hit, finished) = strike(playground.call().traced().start(), moment, fault);
        let Some(hit) = hit else {
            playground.clear();
            return false;
        };
        self.struck += 1;
        let judged = manner(hit.call, fault, &finished);
        let judged = judged.and_then(|()| playground.judge(&finished, moment.number % 2 == 1));
        if let Err(why) = judged {
            let call = hit.call;
            self.lost.push(format!("{helper:?}, {moment:?} (call {call}), {fault:?}: {finished:?}: {why}"));
        }
        playground.clear();
        true
    }

    /// Says what came of it.
    fn conclude(self, what: &str) {
        let Tally { struck, lost } = self;
        // Not through a macro: their output is kept back when the test passes.
        let _ = writeln!(
            std::io::stderr(),
            "{what}: {struck} injected, {} survived, {} lost",
            struck - lost.len(),
            lost.len()
        );
        assert!(struck > 0, "nothing was tried");
        assert!(lost.is_empty(), "{}", lost.join("\n"));
    }
}

/// How a helper may end: killed where it was killed, out of memory where it was refused some, and else by itself, with
/// a word on why.
fn manner(call: libc::c_long, fault: Fault, finished: &Finished) -> Result<(), Broken> {
    match (finished.code, fault) {
        (None, Fault::Kill | Fault::KillAll) | (Some(0), _) => Ok(()),
        (None, Fault::Fail(libc::ENOMEM)) if finished.signal == Some(libc::SIGABRT) => Ok(()),
        (None, _) => Err("killed, or it hung".into()),
        (Some(_), _) if is_report(call) || !finished.said().is_empty() => Ok(()),
        (Some(_), _) => Err("it failed without a word".into()),
    }
}

/// Whether this call is how a helper says something.
fn is_report(call: libc::c_long) -> bool {
    call == libc::SYS_write || call == libc::SYS_writev
}

/// Every moment, or one out of so many.
fn step() -> usize {
    if std::env::var_os("GLEXEC_RS_FULL").is_some() { 1 } else { PART }
}

fn killed_at_every_call(helper: Helper, side: Side, fault: Fault) {
    let site = Site::new();
    let mut tally = Tally::default();
    let mut moments = (0..).step_by(step());
    while moments.next().is_some_and(|number| tally.strike(&site, helper, Moment { side, number }, fault)) {}
    tally.conclude(&format!("{helper:?}, {side:?} side, {fault:?}"));
}

fn every_call_fails(helper: Helper, side: Side) {
    let site = Site::new();
    let mut tally = Tally::default();
    let playground = Playground::new(&site, helper);
    let (made, finished) = calls(playground.call().traced().start());
    finished.expect_quiet();
    playground.clear();
    let tries = made[&side]
        .iter()
        .enumerate()
        .flat_map(|(number, call)| plausible(*call).iter().map(move |errno| (number, *errno)));
    // A step that has no factor in common with the number of errors, so that a part has each of them.
    let mut tried = 0;
    for (number, errno) in tries.step_by(if step() == 1 { 1 } else { 71 }) {
        tally.strike(&site, helper, Moment { side, number }, Fault::Fail(errno));
        tried += 1;
    }
    // The number of calls varies by a few: threads and clocks.
    assert!(tally.struck * 4 >= tried * 3, "only {} of {tried} moments came", tally.struck);
    tally.conclude(&format!("{helper:?}, {side:?} side, errors"));
}

#[test]
#[ignore = "needs root"]
fn setup_killed_on_the_pilot_side() {
    killed_at_every_call(Helper::Setup, Side::Pilot, Fault::Kill);
}

#[test]
#[ignore = "needs root"]
fn setup_with_the_watchdog_killed() {
    killed_at_every_call(Helper::Setup, Side::Attendant, Fault::Kill);
}

#[test]
#[ignore = "needs root"]
fn setup_with_errors_on_the_watchdogs_side() {
    every_call_fails(Helper::Setup, Side::Attendant);
}

#[test]
#[ignore = "needs root"]
fn setup_killed_on_the_target_side() {
    killed_at_every_call(Helper::Setup, Side::Target, Fault::Kill);
}

#[test]
#[ignore = "needs root"]
fn setup_with_the_switcher_killed() {
    killed_at_every_call(Helper::Setup, Side::Switcher, Fault::Kill);
}

#[test]
#[ignore = "needs root"]
fn setup_killed_on_both_sides() {
    killed_at_every_call(Helper::Setup, Side::Pilot, Fault::KillAll);
}

#[test]
#[ignore = "needs root"]
fn cleanup_killed_on_the_pilot_side() {
    killed_at_every_call(Helper::Cleanup, Side::Pilot, Fault::Kill);
}

#[test]
#[ignore = "needs root"]
fn cleanup_with_the_watchdog_killed() {
    killed_at_every_call(Helper::Cleanup, Side::Attendant, Fault::Kill);
}

#[test]
#[ignore = "needs root"]
fn cleanup_with_errors_on_the_watchdogs_side() {
    every_call_fails(Helper::Cleanup, Side::Attendant);
}

#[test]
#[ignore = "needs root"]
fn cleanup_killed_on_the_target_side() {
    killed_at_every_call(Helper::Cleanup, Side::Target, Fault::Kill);
}

#[test]
#[ignore = "needs root"]
fn cleanup_with_the_switcher_killed() {
    killed_at_every_call(Helper::Cleanup, Side::Switcher, Fault::Kill);
}

#[test]
#[ignore = "needs root"]
fn cleanup_killed_on_both_sides() {
    killed_at_every_call(Helper::Cleanup, Side::Pilot, Fault::KillAll);
}

#[test]
#[ignore = "needs root"]
fn update_proxy_killed_on_the_pilot_side() {
    killed_at_every_call(Helper::UpdateProxy, Side::Pilot, Fault::Kill);
}

#[test]
#[ignore = "needs root"]
fn update_proxy_with_the_watchdog_killed() {
    killed_at_every_call(Helper::UpdateProxy, Side::Attendant, Fault::Kill);
}

#[test]
#[ignore = "needs root"]
fn update_proxy_with_errors_on_the_watchdogs_side() {
    every_call_fails(Helper::UpdateProxy, Side::Attendant);
}

#[test]
#[ignore = "needs root"]
fn update_proxy_killed_on_the_target_side() {
    killed_at_every_call(Helper::UpdateProxy, Side::Target, Fault::Kill);
}

#[test]
#[ignore = "needs root"]
fn update_proxy_with_the_switcher_killed() {
    killed_at_every_call(Helper::UpdateProxy, Side::Switcher, Fault::Kill);
}

#[test]
#[ignore = "needs root"]
fn update_proxy_killed_on_both_sides() {
    killed_at_every_call(Helper::UpdateProxy, Side::Pilot, Fault::KillAll);
}

#[test]
#[ignore = "needs root"]
fn setup_with_errors_on_the_pilot_side() {
    every_call_fails(Helper::Setup, Side::Pilot);
}

#[test]
#[ignore = "needs root"]
fn setup_with_errors_on_the_target_side() {
    every_call_fails(Helper::Setup, Side::Target);
}

#[test]
#[ignore = "needs root"]
fn cleanup_with_errors_on_the_pilot_side() {
    every_call_fails(Helper::Cleanup, Side::Pilot);
}

#[test]
#[ignore = "needs root"]
fn cleanup_with_errors_on_the_target_side() {
    every_call_fails(Helper::Cleanup, Side::Target);
}

#[test]
#[ignore = "needs root"]
fn update_proxy_with_errors_on_the_pilot_side() {
    every_call_fails(Helper::UpdateProxy, Side::Pilot);
}

#[test]
#[ignore = "needs root"]
fn update_proxy_with_errors_on_the_target_side() {
    every_call_fails(Helper::UpdateProxy, Side::Target);
}

#[test]
#[ignore = "needs root"]
fn kill_killed_on_the_pilot_side() {
    killed_at_every_call(Helper::Kill, Side::Pilot, Fault::Kill);
}

#[test]
#[ignore = "needs root"]
fn kill_with_the_watchdog_killed() {
    killed_at_every_call(Helper::Kill, Side::Attendant, Fault::Kill);
}

#[test]
#[ignore = "needs root"]
fn kill_with_errors_on_the_watchdogs_side() {
    every_call_fails(Helper::Kill, Side::Attendant);
}

#[test]
#[ignore = "needs root"]
fn kill_killed_on_the_target_side() {
    killed_at_every_call(Helper::Kill, Side::Target, Fault::Kill);
}

#[test]
#[ignore = "needs root"]
fn kill_with_the_switcher_killed() {
    killed_at_every_call(Helper::Kill, Side::Switcher, Fault::Kill);
}

#[test]
#[ignore = "needs root"]
fn kill_killed_on_both_sides() {
    killed_at_every_call(Helper::Kill, Side::Pilot, Fault::KillAll);
}

#[test]
#[ignore = "needs root"]
fn kill_with_errors_on_the_pilot_side() {
    every_call_fails(Helper::Kill, Side::Pilot);
}

#[test]
#[ignore = "needs root"]
fn kill_with_errors_on_the_target_side() {
    every_call_fails(Helper::Kill, Side::Target);
}

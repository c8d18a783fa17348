//! Calls of kill that the kernel answers, or somebody lets seem answered, otherwise than they are here.

use crate::common::{Call, GREG, Sandbox, Site, Sleeper};
use crate::injector::answer;
use crate::tracing::Side;
use libc::{EINVAL, SYS_pidfd_open, SYS_pidfd_send_signal};

const INVALID: i64 = -(EINVAL as i64);

/// A call that says what went wrong.
fn kill(site: &Site, sandbox: &Sandbox, pid: u32, signal: i32) -> Call {
    site.kill(sandbox, pid, signal).closed(&[]).traced()
}

#[test]
#[ignore = "needs root"]
fn n1_before_linux_6_16_einval_says_that_a_process_is_being_reaped() {
    let site = Site::new();
    let sandbox = site.handed_over();
    let gone = Sleeper::start(GREG).end();
    let (answered, finished) =
        answer(kill(&site, &sandbox, gone, 9).start(), Side::Attendant, SYS_pidfd_open, Some(0), INVALID);
    assert_eq!(answered, 1);
    finished.expect_refusal(2, &["no process"]);
    // One that is there is not taken for gone.
    let mut there = Sleeper::start(GREG);
    let (answered, finished) =
        answer(kill(&site, &sandbox, there.pid(), 9).start(), Side::Attendant, SYS_pidfd_open, Some(0), INVALID);
    assert_eq!(answered, 1);
    finished.expect_refusal(2, &["cannot take hold of process"]);
    there.assert_alive();
}

#[test]
#[ignore = "needs root"]
fn k9_a_signal_that_was_swallowed_is_not_reported_as_sent() {
    let site = Site::new();
    let sandbox = site.handed_over();
    let mut process = Sleeper::start(GREG);
    let running = kill(&site, &sandbox, process.pid(), 9).start();
    let (answered, finished) = answer(running, Side::Target, SYS_pidfd_send_signal, None, 0);
    assert_eq!(answered, 1);
    finished.expect_refusal(2, &["still alive"]);
    process.assert_alive();
    // Other signals have no such end to wait for.
    let running = kill(&site, &sandbox, process.pid(), 15).start();
    answer(running, Side::Target, SYS_pidfd_send_signal, None, 0).1.expect(0);
    process.assert_alive();
}

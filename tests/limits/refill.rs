//! A directory of the job's that is never empty when it is to be removed.

use crate::common::{GREG, PILOT, Site, as_account};
use crate::tracing::{Event, Next, Side, trace};
use rustix::fs::{Mode, OFlags, openat};
use std::fs::{self, File};
use std::os::unix::fs::{FileExt, MetadataExt};

const NAME: &[u8] = b"refilled";

/// How often a directory is gone through again, and how many of the walks over the tree come to it: half of all
/// directories are removed by a second thread, and the last walk takes what the first ones have left.
const PASSES: usize = 64;
const WALKS: usize = 2;

/// Whenever it is about to be removed, somebody makes an entry in it, for ever.
#[test]
#[ignore = "needs root"]
fn c8_a_directory_that_refills_for_ever_is_gone_through_64_times() {
    let site = Site::new();
    let sandbox = site.sandbox();
    let given = sandbox.snapshot();
    site.setup(&sandbox).run().expect_quiet();
    as_account(GREG, || fs::create_dir(sandbox.path.join("refilled"))).unwrap();
    let directory = File::open(sandbox.path.join("refilled")).unwrap();
    let mut refilled = 0;
    let running = site.cleanup(&sandbox).traced().start();
    let helper = running.pid() as i32;
    let finished = trace(running, |tracee, event| {
        let Event::Entry(registers) = event else { return Next::Call };
        let removes = registers.orig_rax == libc::SYS_unlinkat as u64 && registers.rdx == libc::AT_REMOVEDIR as u64;
        if removes && Side::of(tracee.process, helper) == Side::Target && name_at(tracee.process, registers.rsi) == NAME
        {
            let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::CLOEXEC;
            let name = refilled.to_string();
            as_account(GREG, || openat(&directory, name, flags, Mode::RUSR | Mode::WUSR)).unwrap();
            refilled += 1;
        }
        Next::Call
    });
    assert_eq!(refilled, WALKS * (PASSES + 1));
    finished.expect_refusal(1, &["cannot remove the job's own copy", "not empty"]);
    // The sandbox is back by then; what is left is removed when nobody fills it any more.
    assert_eq!(fs::metadata(&sandbox.path).unwrap().uid(), PILOT.uid());
    site.cleanup(&sandbox).cwd("/").run().expect_quiet();
    assert!(!sandbox.parked.exists());
    let given = given.masked(0o755).below();
    sandbox.snapshot().without("refilled").below().assert_same(&given);
}

/// A text of the length of [`NAME`] in a stopped process.
fn name_at(process: i32, at: u64) -> Vec<u8> {
    let mut name = vec![0; NAME.len()];
    let memory = File::open(format!("/proc/{process}/mem")).unwrap();
    // Shorter names can end with their page.
    let length = memory.read_at(&mut name, at).unwrap_or(0);
    name.truncate(length);
    name
}

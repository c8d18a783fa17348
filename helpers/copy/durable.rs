//! What has arrived is on the disk before its source can go.

use crate::ground::limits;
use crate::ground::outcome::{Failure, OrFail, Outcome, Unmade};
use crate::ground::wait::pause;
use crate::protocol::connection::Connection;
use crate::protocol::tree::{Totals, Verdict};
use core::time::Duration;
use rustix::fs::syncfs;
use std::os::fd::BorrowedFd;
use std::time::Instant;

/// What the second thread needs: one system call.
const STACK_BYTES: usize = 64 * 1024;

/// The first and the longest pause between two signs of life.
const PAUSES: (Duration, Duration) = (Duration::from_millis(1), Duration::from_secs(1));

/// Waits until the file system of `directory`, which was opened before anything was written, has all of it on its disk.
/// A second thread waits, so that this one can show the sender that it is alive.
///
/// # Errors
/// That of any writing to this file system meanwhile, whoever wrote; a thin volume may have no room only now.
pub(crate) fn write_down(connection: &Connection, directory: BorrowedFd<'_>, totals: &Totals) -> Outcome {
    let failed = || "cannot get the sandbox onto the disk (durable = yes)";
    let started = Instant::now();
    std::thread::scope(|scope| {
        let written = std::thread::Builder::new()
            .stack_size(STACK_BYTES)
            .spawn_scoped(scope, || syncfs(directory))
            .or_fail(failed)?;
        let (mut next, longest) = PAUSES;
        // Whoever listens gives this process up when it is silent after that.
        while !written.is_finished() && started.elapsed() < limits::DISK_DEADLINE {
            pause(next);
            next = next.saturating_mul(2).min(longest);
            connection.send_if_room(&Verdict::Progress(*totals).encode());
        }
        let written = written.join().map_err(|_| Failure::permanent(failed()))?;
        written.map_err(Unmade).or_fail(failed)
    })
}

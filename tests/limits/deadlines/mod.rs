//! Whoever is silent, slow or endless on the other side is given up at the documented deadline
//! (`helpers/ground/limits.rs`), with a clear error and nothing lost. The time is real: cases wait side by side, and
//! those that take longer than the longest of them, 190 s, are there only with `tests/run --full`.

mod kernel;
mod peers;
mod pilots;
mod switchers;

use crate::common::{GREG, Sandbox, Site, Snapshot, as_account};
use std::fs;
use std::time::{Duration, Instant};

/// After this long a program hangs. Longer than all the deadlines that can come one after another.
const HANGS: Duration = Duration::from_secs(400);

/// Does all of `cases` at once.
fn side_by_side(cases: &[fn()]) {
    std::thread::scope(|scope| {
        for case in cases {
            scope.spawn(case);
        }
    });
}

/// How long after a deadline a busy machine may need to come to an end. Not longer than most deadlines are, so that
/// waiting for one twice is noticed.
const LATE: Duration = Duration::from_secs(60);

/// The test goes on only if a deadline that began to run at `since` or later is over, and not for long.
#[track_caller]
fn assert_due(since: Instant, deadline: Duration) {
    let elapsed = since.elapsed();
    assert!(elapsed >= deadline, "given up after {elapsed:?} already");
    assert!(elapsed < deadline + LATE, "given up after {elapsed:?} only");
}

/// Does `work`, which has to end at a deadline.
#[track_caller]
fn at_deadline<T>(deadline: Duration, work: impl FnOnce() -> T) -> T {
    let since = Instant::now();
    let result = work();
    assert_due(since, deadline);
    result
}

/// A sandbox with a job's output in it, and how both directories look.
struct Left {
    sandbox: Sandbox,
    given: Snapshot,
    job: Snapshot,
    parked: Snapshot,
}

impl Left {
    fn by_a_job(site: &Site) -> Self {
        let sandbox = site.sandbox();
        let given = sandbox.snapshot();
        site.setup(&sandbox).run().expect_quiet();
        as_account(GREG, || fs::write(sandbox.path.join("output"), vec![1; 100_000])).unwrap();
        let (job, parked) = (sandbox.snapshot(), Snapshot::of(&sandbox.parked).below());
        Left { sandbox, given, job, parked }
    }

    /// The test goes on only if nothing has changed.
    #[track_caller]
    fn assert_as_before(&self) {
        self.sandbox.snapshot().assert_same(&self.job);
        Snapshot::of(&self.sandbox.parked).below().assert_same(&self.parked);
    }

    /// The test goes on only if an ordinary call still brings all of it.
    #[track_caller]
    fn assert_comes_back(&self, site: &Site) {
        site.cleanup(&self.sandbox).run().expect_quiet();
        self.sandbox.assert_taken_back(&self.job, &self.given);
    }
}

//! What a copy must not exceed, and what to say when it does.

use crate::copy::rules::CleanupRules;
use crate::ground::installation::POLICY;
use crate::ground::outcome::{Failure, Outcome};
use crate::protocol::tree::Totals;
use std::time::Instant;

/// The rules that hold for one copy, and since when.
pub(super) struct Bounds {
    rules: CleanupRules,
    /// When [`CleanupRules::time`] is over.
    until: Option<Instant>,
}

impl Bounds {
    /// From now on.
    pub(super) fn new(rules: CleanupRules) -> Self {
        Bounds { rules, until: Instant::now().checked_add(rules.time) }
    }

    /// One more entry, of whatever kind.
    pub(super) fn add_entry(&self, totals: &mut Totals) -> Outcome {
        totals.entries = totals.entries.saturating_add(1);
        let most = self.rules.entries;
        if totals.entries > most {
            return Err(past(format_args!("has more than {most} entries"), "cleanup-entries"));
        }
        Ok(())
    }

    /// More data.
    pub(super) fn add_bytes(&self, totals: &mut Totals, bytes: u64) -> Outcome {
        totals.bytes = totals.bytes.saturating_add(bytes);
        let most = self.rules.bytes;
        if totals.bytes > most {
            return Err(past(format_args!("has more than {most} bytes"), "cleanup-bytes"));
        }
        Ok(())
    }

    /// Whether it may go further down from a directory of this depth.
    pub(super) fn check_depth(&self, depth: usize) -> Outcome {
        let deepest = self.rules.depth;
        if depth >= deepest {
            return Err(past(format_args!("is deeper than {deepest} directories"), "cleanup-depth"));
        }
        Ok(())
    }

    /// Whether there is time left.
    pub(super) fn check_time(&self) -> Outcome {
        if self.until.is_none_or(|until| Instant::now() < until) {
            return Ok(());
        }
        Err(past(format_args!("took longer to copy than {} s", self.rules.time.as_secs()), "cleanup-seconds"))
    }
}

/// A bound was passed; the key is what a site can set it with for cleanup.
fn past(what: core::fmt::Arguments<'_>, key: &str) -> Failure {
    Failure::permanent(format_args!("the sandbox {what} (for cleanup: {key} in {POLICY}); it stays as it was"))
}

#[cfg(test)]
mod tests {
    use super::Bounds;
    use crate::copy::rules::CleanupRules;
    use crate::ground::outcome::Outcome;
    use crate::protocol::tree::Totals;
    use core::time::Duration;

    #[track_caller]
    fn refused(outcome: Outcome, what: &str, key: &str) {
        let why = outcome.expect_err("one past the bound").to_string();
        assert!(why.contains(what) && why.contains(key), "{why}");
    }

    #[test]
    fn what_is_at_a_bound_is_taken_and_one_past_it_refused() {
        let time = CleanupRules::default().time;
        let bounds = Bounds::new(CleanupRules { bytes: 10, entries: 2, depth: 3, time, ..CleanupRules::default() });
        let mut totals = Totals::default();
        assert_eq!((bounds.add_entry(&mut totals), bounds.add_entry(&mut totals)), (Ok(()), Ok(())));
        refused(bounds.add_entry(&mut totals), "more than 2 entries", "cleanup-entries");
        assert_eq!((bounds.add_bytes(&mut totals, 9), bounds.add_bytes(&mut totals, 1)), (Ok(()), Ok(())));
        refused(bounds.add_bytes(&mut totals, 1), "more than 10 bytes", "cleanup-bytes");
        assert_eq!(bounds.check_depth(2), Ok(()));
        refused(bounds.check_depth(3), "deeper than 3 directories", "cleanup-depth");
        assert_eq!(bounds.check_time(), Ok(()));
        let bounds = Bounds::new(CleanupRules { time: Duration::ZERO, ..CleanupRules::default() });
        refused(bounds.check_time(), "took longer to copy than 0 s", "cleanup-seconds");
    }
}

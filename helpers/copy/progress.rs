//! How far a long copy has come, for a person who watches.

use crate::ground::heartbeat::is_watched;
use crate::protocol::tree::Totals;
use core::time::Duration;
use std::io::Write;
use std::time::Instant;

/// Copies shorter than this show nothing.
const QUIET: Duration = Duration::from_millis(700);

/// The pause between two updates.
const PAUSE: Duration = Duration::from_millis(200);

/// A line on stderr that is written anew from time to time, if stderr is a terminal.
pub struct Progress {
    verb: &'static str,
    next: Option<Instant>,
    shown: bool,
}

impl Progress {
    /// `verb` says what is done: "handing over", "taking back".
    pub fn new(verb: &'static str) -> Self {
        let watched = is_watched();
        Progress { verb, next: watched.then(|| Instant::now().checked_add(QUIET)).flatten(), shown: false }
    }

    /// Shows nothing, for the side that nobody watches.
    pub fn none() -> Self {
        Progress { verb: "", next: None, shown: false }
    }

    /// Shows the figures if it is time.
    pub(crate) fn show(&mut self, totals: &Totals) {
        let now = Instant::now();
        if self.next.is_none_or(|next| now < next) {
            return;
        }
        self.next = now.checked_add(PAUSE);
        self.shown = true;
        let mebibytes = totals.bytes >> 20;
        let _ = write!(std::io::stderr(), "\r{}: {} entries, {mebibytes} MiB\x1b[K", self.verb, totals.entries);
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if self.shown {
            let _ = write!(std::io::stderr(), "\r\x1b[K");
        }
    }
}

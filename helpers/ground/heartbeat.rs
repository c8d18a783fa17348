//! The sign of life that a working process gives to the one that waits for it.
//!
//! One value for the whole process: whatever loop runs, deep down in whichever module, shows that it goes on. Who
//! listens is `pilot::watchdog`; in every other process nobody does, and a beat is nothing.

use core::sync::atomic::{AtomicU64, Ordering};
use std::io::IsTerminal;
use std::os::fd::OwnedFd;
use std::sync::OnceLock;
use std::time::Instant;

/// What a worker writes when it lives; any other byte is its exit code, and the last one.
pub(crate) const ALIVE: u8 = 0xff;

/// The pause between two signs of life, in seconds.
const PAUSE: u64 = 1;

/// The worker's way to its watchdog; in any other process there is none.
static WORKER: OnceLock<Worker> = OnceLock::new();

/// What a working process knows of the one that waits for it.
pub(crate) struct Worker {
    watchdog: OwnedFd,
    is_watched: bool,
    begun: Instant,
    /// When the next sign is due, in seconds after `begun`.
    next_sign: AtomicU64,
}

impl Worker {
    /// A worker that is heard through `watchdog`, the writing end of a pipe. Whether a person reads standard error is
    /// asked now.
    pub(crate) fn new(watchdog: OwnedFd) -> Self {
        Worker { watchdog, is_watched: is_watched(), begun: Instant::now(), next_sign: AtomicU64::new(0) }
    }

    /// Makes this process the worker, for good; false if it is one already.
    pub(crate) fn take_up(self) -> bool {
        WORKER.set(self).is_ok()
    }
}

/// Shows the watchdog, if this process is a worker, that the work goes on. Costs a look at the clock, so that every
/// loop can do it.
///
/// Whoever does not for [`crate::ground::limits::STUCK_DEADLINE`] is given up.
pub(crate) fn beat() {
    let Some(worker) = WORKER.get() else { return };
    let now = worker.begun.elapsed().as_secs();
    if now >= worker.next_sign.load(Ordering::Relaxed) {
        worker.next_sign.store(now.saturating_add(PAUSE), Ordering::Relaxed);
        let _ = rustix::io::write(&worker.watchdog, &[ALIVE]);
    }
}

/// The worker's last word: its exit code.
pub(crate) fn end(code: u8) -> ! {
    if let Some(worker) = WORKER.get() {
        let _ = rustix::io::write(&worker.watchdog, &[code]);
    }
    std::process::exit(code.into())
}

/// Whether this process is a worker: nobody waits for its end, only for its word.
pub(crate) fn is_worker() -> bool {
    WORKER.get().is_some()
}

/// Whether a person watches what this program says.
pub(crate) fn is_watched() -> bool {
    WORKER.get().map_or_else(|| std::io::stderr().is_terminal(), |worker| worker.is_watched)
}

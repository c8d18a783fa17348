//! The mark that every process of a job carries under `glexec_rootless`, where both are one account: the peer must
//! not signal the pilot.
//!
//! With two accounts the kernel refuses such a signal. With one it does not, so the peer asks whether the process is
//! inside a domain of `glexec_rootless`, as every process of a job is and none of the pilot's.

use crate::confine::Confined;
use crate::confine::seccomp::OWN_FILTERS;
use crate::ground::argv::decimal;
use crate::ground::limits;
use crate::ground::outcome::{Failure, OrFail, Outcome};
use crate::sys;
use crate::target::status::Status;
use rustix::fs::{Mode, OFlags, openat};
use rustix::io::Errno;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};

/// Opens what a mark is read from, and what has to stay readable.
///
/// # Errors
/// When there is no `/proc`.
pub(crate) fn open_proc() -> Outcome<OwnedFd> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    rustix::fs::open(c"/proc", flags, Mode::empty()).or_fail(|| "cannot open /proc")
}

/// What tells the job's processes from the pilot's.
pub(crate) struct JobMark<'p> {
    proc: BorrowedFd<'p>,
    /// How many filters there were before this process took on its own.
    outside: u32,
    proof: &'p Confined,
}

impl<'p> JobMark<'p> {
    /// Takes the measure of this process.
    ///
    /// # Errors
    /// When `/proc` cannot be read, or the kernel does not count filters (before Linux 5.9).
    pub(crate) fn new(proc: BorrowedFd<'p>, proof: &'p Confined) -> Outcome<Self> {
        let own = read(proc, "self/status").or_fail(|| "cannot read /proc/self/status")?;
        let own = Status::parse(&own, proof).map_err(Failure::permanent)?.seccomp_filters;
        Ok(JobMark { proc, outside: own.saturating_sub(OWN_FILTERS), proof })
    }

    /// Whether the process behind a pidfd carries the mark: it is inside a domain.
    ///
    /// # Errors
    /// `ESRCH` when it has gone, `EPERM` when it is not inside or cannot be looked at.
    pub(crate) fn require(&self, process: BorrowedFd<'_>) -> Result<(), Errno> {
        let about = read(self.proc, &format!("self/fdinfo/{}", process.as_raw_fd()))?;
        let mut pids = about.split(|byte| *byte == b'\n').filter_map(|line| line.strip_prefix(b"Pid:"));
        let pid = pids.next().and_then(|digits| decimal(digits.trim_ascii())).ok_or(Errno::SRCH)?;
        let status = read(self.proc, &format!("{pid}/status")).map_err(|errno| match errno {
            Errno::NOENT => Errno::SRCH,
            other => other,
        })?;
        // Still alive: so the number was this process's all the time.
        sys::pidfd_signal(process, 0)?;
        match Status::parse(&status, self.proof) {
            // The dead carry no filters any more, and no signal does anything to them.
            Ok(status) if status.state == b'Z' || status.is_inside_domain(self.outside) => Ok(()),
            _ => Err(Errno::PERM),
        }
    }
}

/// A whole small file of `/proc`.
fn read(proc: BorrowedFd<'_>, path: &str) -> Result<Vec<u8>, Errno> {
    let file = openat(proc, path, OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW, Mode::empty())?;
    let mut text = vec![0_u8; limits::STATUS_BYTES.saturating_add(1)];
    let mut length = 0_usize;
    while let Some(rest) = text.get_mut(length..).filter(|rest| !rest.is_empty()) {
        match rustix::io::read(&file, rest)? {
            0 => break,
            count => length = length.saturating_add(count),
        }
    }
    text.truncate(length);
    Ok(text)
}

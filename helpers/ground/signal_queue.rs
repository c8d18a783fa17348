//! Signals that are waited for, instead of interrupting.

use crate::sys;
use core::mem::size_of;
use rustix::io::Errno;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// The kernel's signal set with these members; numbers out of range are left out.
fn signal_set(signals: &[i32]) -> u64 {
    signals
        .iter()
        .filter_map(|signal| u32::try_from(*signal).ok()?.checked_sub(1))
        .filter_map(|bit| 1_u64.checked_shl(bit))
        .fold(0, |set, bit| set | bit)
}

/// The size of the kernel's `struct signalfd_siginfo`, whose first member is the signal's number as a `u32`.
const SIGNAL_RECORD_BYTES: usize = size_of::<libc::signalfd_siginfo>();

/// Signals that this thread takes when it likes, instead of being interrupted. Ends with the mask as it was before.
pub(crate) struct SignalQueue {
    descriptor: OwnedFd,
    mask_before: u64,
}

impl SignalQueue {
    /// Queues `signals` from now on.
    ///
    /// # Errors
    /// The kernel's.
    pub(crate) fn new(signals: &[i32]) -> io::Result<Self> {
        let set = signal_set(signals);
        let descriptor = sys::signal_descriptor(set)?;
        Ok(SignalQueue { descriptor, mask_before: sys::change_mask(libc::SIG_BLOCK, set)? })
    }

    /// The next signal in the queue, if there is one.
    ///
    /// # Errors
    /// The kernel's.
    pub(crate) fn take(&self) -> io::Result<Option<i32>> {
        let mut record = [0_u8; SIGNAL_RECORD_BYTES];
        match rustix::io::read(&self.descriptor, &mut record) {
            Ok(_) => Ok(record.first_chunk().and_then(|number| i32::try_from(u32::from_ne_bytes(*number)).ok())),
            Err(Errno::AGAIN | Errno::INTR) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }
}

impl AsFd for SignalQueue {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.descriptor.as_fd()
    }
}

impl Drop for SignalQueue {
    fn drop(&mut self) {
        let _ = sys::change_mask(libc::SIG_SETMASK, self.mask_before);
    }
}

#[cfg(test)]
mod tests {
    use super::SignalQueue;

    #[test]
    fn the_mask_is_changed_only_while_the_queue_lives() {
        let mask = || std::fs::read_to_string("/proc/thread-self/status").unwrap();
        let blocked = |status: String| status.lines().find(|line| line.starts_with("SigBlk")).unwrap().to_owned();
        let before = blocked(mask());
        let queue = SignalQueue::new(&[libc::SIGUSR1]).unwrap();
        assert_ne!(blocked(mask()), before);
        assert_eq!(queue.take().unwrap(), None);
        drop(queue);
        assert_eq!(blocked(mask()), before);
    }
}

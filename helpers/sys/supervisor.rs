//! What a process needs that starts others and watches them: the setting of a child, and signals as a queue.

use super::{KERNEL_SIGSET_BYTES, signal_set, switch_core_off};
use core::mem::size_of;
use rustix::process::{Resource, Rlimit};
use std::ffi::c_long;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::process::CommandExt;
use std::process::Command;

/// How a child stands to the terminal of its parent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Leader {
    /// A session of its own: no terminal controls it.
    Session,
    /// A process group of its own: the terminal's interrupt key does not reach it.
    Group,
}

/// Lets `command` start its program in `directory`, with umask 022, no core files and, if one is given, this limit of its account's
/// processes, as the leader of a session or group.
///
/// # Errors
/// When there is no descriptor left.
pub fn set_child_up(
    command: &mut Command,
    directory: BorrowedFd<'_>,
    leader: Leader,
    processes: Option<Rlimit>,
) -> io::Result<()> {
    let directory = directory.try_clone_to_owned()?;
    let in_child = move || {
        rustix::process::fchdir(&directory)?;
        match leader {
            Leader::Session => rustix::process::setsid().map(drop)?,
            Leader::Group => rustix::process::setpgid(None, None)?,
        }
        rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o022));
        if let Some(processes) = processes {
            rustix::process::setrlimit(Resource::Nproc, processes)?;
        }
        switch_core_off()
    };
    // SAFETY: between fork and exec the closure makes seven system calls at the most and nothing else; it allocates nothing, takes no lock, and
    // the descriptor it uses belongs to it.
    unsafe { command.pre_exec(in_child) };
    Ok(())
}

/// The size of the kernel's `struct signalfd_siginfo`, whose first member is the signal's number as a `u32`.
const SIGNAL_RECORD_BYTES: usize = size_of::<libc::signalfd_siginfo>();

/// Signals that this thread takes when it likes, instead of being interrupted. Ends with the mask as it was before.
pub struct SignalQueue {
    descriptor: OwnedFd,
    mask_before: u64,
}

impl SignalQueue {
    /// Queues `signals` from now on.
    ///
    /// # Errors
    /// The kernel's.
    pub fn new(signals: &[i32]) -> io::Result<Self> {
        let set = signal_set(signals);
        let flags = c_long::from(libc::SFD_CLOEXEC | libc::SFD_NONBLOCK);
        // SAFETY: the kernel reads eight bytes from `set`, which lives through the call.
        let raw =
            unsafe { libc::syscall(libc::SYS_signalfd4, -1 as c_long, &raw const set, KERNEL_SIGSET_BYTES, flags) };
        let raw = RawFd::try_from(raw).ok().filter(|raw| *raw >= 0).ok_or_else(io::Error::last_os_error)?;
        // SAFETY: the kernel has just made this descriptor for us and nobody else knows it.
        let descriptor = unsafe { OwnedFd::from_raw_fd(raw) };
        let mut mask_before = 0_u64;
        // SAFETY: the kernel reads eight bytes from `set` and writes eight to `mask_before`; both live through the call.
        let result = unsafe {
            libc::syscall(
                libc::SYS_rt_sigprocmask,
                c_long::from(libc::SIG_BLOCK),
                &raw const set,
                &raw mut mask_before,
                KERNEL_SIGSET_BYTES,
            )
        };
        if result == 0 { Ok(SignalQueue { descriptor, mask_before }) } else { Err(io::Error::last_os_error()) }
    }

    /// The next signal in the queue, if there is one.
    ///
    /// # Errors
    /// The kernel's.
    pub fn take(&self) -> io::Result<Option<i32>> {
        let mut record = [0_u8; SIGNAL_RECORD_BYTES];
        match rustix::io::read(&self.descriptor, &mut record) {
            Ok(_) => Ok(record.first_chunk().and_then(|number| i32::try_from(u32::from_ne_bytes(*number)).ok())),
            Err(rustix::io::Errno::AGAIN | rustix::io::Errno::INTR) => Ok(None),
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
        // SAFETY: the kernel reads eight bytes from the mask and writes nothing because the old set is null.
        unsafe {
            libc::syscall(
                libc::SYS_rt_sigprocmask,
                c_long::from(libc::SIG_SETMASK),
                &raw const self.mask_before,
                core::ptr::null::<u64>(),
                KERNEL_SIGSET_BYTES,
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Leader, Resource, Rlimit, SignalQueue, set_child_up};
    use std::os::fd::AsFd;
    use std::process::Command;

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

    #[test]
    fn a_child_starts_in_the_setting_that_was_asked_for() {
        let directory = std::fs::File::open("/proc").unwrap();
        let mut command = Command::new("/bin/sh");
        command.args(["-c", "pwd; umask; ulimit -c; grep processes /proc/$$/limits; cut -d' ' -f1,5,6 /proc/$$/stat"]);
        let maximum = super::super::limit(Resource::Nproc).unwrap().maximum;
        let processes = Rlimit { current: maximum.or(Some(12_345)), maximum };
        set_child_up(&mut command, directory.as_fd(), Leader::Session, Some(processes)).unwrap();
        let said = String::from_utf8(command.output().unwrap().stdout).unwrap();
        let lines: Vec<&str> = said.lines().collect();
        assert_eq!(&lines[..3], ["/proc", "0022", "0"]);
        assert_eq!(lines[3].split_ascii_whitespace().nth(2), processes.current.map(|most| most.to_string()).as_deref());
        let numbers: Vec<&str> = lines[4].split(' ').collect();
        assert!(numbers.iter().all(|number| *number == numbers[0]), "{numbers:?}");
    }
}

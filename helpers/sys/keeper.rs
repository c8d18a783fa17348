//! A process that shares the descriptors of this one and outlives it, so that its end closes none of them.
//!
//! Closing a descriptor can wait for the server of its file system (FUSE's FLUSH), beyond the reach of any signal; so does the end of a process that
//! has it open. Where the server may be somebody hostile, nobody whose end is waited for may be the last one to have it.

use core::mem::ManuallyDrop;
use rustix::process::{Pid, WaitOptions, waitpid};
use std::ffi::{c_int, c_long};
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};

/// The process. If this value is dropped it ends when this process has ended, and waits for whom it has to.
pub struct Keeper {
    process: Pid,
    /// Stays open when this value is dropped: its end would end the process.
    dismissal: ManuallyDrop<OwnedFd>,
}

impl Keeper {
    /// Starts it. This process must have one thread only.
    ///
    /// # Errors
    /// The kernel's: no process or descriptor left.
    pub fn start() -> io::Result<Self> {
        let (dismissed, dismissal) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)?;
        let own = rustix::process::pidfd_open(rustix::process::getpid(), rustix::process::PidfdFlags::empty())?;
        let flags = c_long::from(libc::CLONE_FILES | libc::SIGCHLD);
        // SAFETY: without CLONE_VM this is fork: the child has a copy of the memory and of this thread, which is the only one. It allocates nothing, takes
        // no lock, and never comes back from `keep`.
        let process =
            unsafe { libc::syscall(libc::SYS_clone, flags, 0 as c_long, 0 as c_long, 0 as c_long, 0 as c_long) };
        if process == 0 {
            keep([dismissed.as_raw_fd(), own.as_raw_fd()]);
        }
        let process = i32::try_from(process).ok().and_then(Pid::from_raw).ok_or_else(io::Error::last_os_error)?;
        // These are the child's to use, but in the table that both share they have to stay.
        core::mem::forget((dismissed, own));
        Ok(Keeper { process, dismissal: ManuallyDrop::new(dismissal) })
    }

    /// Ends it now: every descriptor is one that may be closed.
    pub fn dismiss(self) {
        let told = rustix::io::write(&*self.dismissal, &[0]);
        if told.is_ok() {
            let _ = waitpid(Some(self.process), WaitOptions::empty());
        }
    }
}

/// The child: waits until it is dismissed, or its parent has ended (no signal could tell it: its parent's domain holds signals back).
fn keep(events: [c_int; 2]) -> ! {
    let mut events = events.map(|fd| libc::pollfd { fd, events: libc::POLLIN, revents: 0 });
    // SAFETY: the kernel reads and writes the two structures, which live through the call.
    unsafe {
        while libc::poll(events.as_mut_ptr(), 2, -1) < 1 {}
        libc::_exit(0)
    }
}

#[cfg(test)]
mod tests {
    use super::Keeper;

    #[test]
    fn it_ends_when_it_is_dismissed() {
        let keeper = Keeper::start().unwrap();
        let process = keeper.process;
        assert!(rustix::process::test_kill_process(process).is_ok());
        keeper.dismiss();
        assert!(rustix::process::test_kill_process(process).is_err());
    }
}

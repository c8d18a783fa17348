//! A process that ends as a panic ends it, under a profile.

#![allow(unsafe_code)]

use glexec_rs::confine::side::Side;

/// The signal that ended a process which has taken on the profile, written its last words and aborted.
pub fn ended_by(phase: &Side) -> i32 {
    // SAFETY: the child makes only calls that are safe after fork in a process with more threads: it takes no lock
    // and allocates nothing.
    let child = unsafe { libc::fork() };
    assert!(child >= 0, "{}", std::io::Error::last_os_error());
    if child == 0 {
        if phase.profile.install().is_ok() {
            let _ = rustix::io::write(rustix::stdio::stderr(), b"");
            std::process::abort();
        }
        // SAFETY: ends the child at once.
        unsafe { libc::_exit(0) };
    }
    let mut status = 0;
    // SAFETY: the kernel writes one int into `status`.
    unsafe { libc::waitpid(child, &mut status, 0) };
    if libc::WIFSIGNALED(status) { libc::WTERMSIG(status) } else { 0 }
}

//! Whether the switcher has switched. One that maps to the pilot's own account would start the job as the pilot, who
//! has no border to it then, unless `glexec_rootless` has drawn one.

use crate::ground::outcome::{Failure, OrFail, Outcome};
use rustix::io::Errno;
use rustix::process::{geteuid, getppid, test_kill_process};
use rustix::thread::{SecureComputingMode, no_new_privs, secure_computing_mode};
use std::os::fd::AsFd;

/// Fails where the socket was made by this very account, and this process is not `kept` from it.
///
/// # Errors
/// That, or the kernel does not tell.
pub(crate) fn require(socket: impl AsFd, kept: fn() -> bool) -> Outcome {
    let maker = rustix::net::sockopt::socket_peercred(socket).or_fail(|| "cannot tell who the pilot is")?.uid;
    if maker != geteuid() || kept() {
        return Ok(());
    }
    Err(Failure::permanent(format_args!(
        "the switcher started this as uid {}, which is the pilot's own account, and nothing keeps the job from it; map the \
         proxy to another account, or use glexec_rootless",
        maker.as_raw()
    )))
}

/// Whether this process, which becomes the job, is inside a domain of `glexec_rootless`. Nothing that it was told
/// counts, only what it cannot do: gain privileges, make any system call, and signal the pilot's process that waits
/// for it.
pub(crate) fn is_inside_domain() -> bool {
    no_new_privs().unwrap_or(false)
        && secure_computing_mode().is_ok_and(|mode| mode == SecureComputingMode::Filter)
        && getppid().is_some_and(|parent| test_kill_process(parent) == Err(Errno::PERM))
}

/// Whether `glexec_rootless` has started this process, which is no job and confines itself later: it can gain no
/// privileges, while through a set-id switcher it could.
pub(crate) fn is_started_without_privileges() -> bool {
    no_new_privs().unwrap_or(false)
}

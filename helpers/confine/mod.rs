//! Confinement of the helpers themselves, taken on before the other side's first byte is parsed.
//!
//! Four layers, all for good: no capabilities, a Landlock domain (which objects), no_new_privs, and a seccomp profile
//! (which calls). The programs that become something else (`condor_glexec_run` the switcher,
//! `condor_glexec_job_wrapper` the job) or start a switcher again and again (`condor_glexec_job`) cannot take them
//! on: no_new_privs would disarm a setuid switcher, and the job would inherit all of it.

#![forbid(unsafe_code)]

pub(crate) mod capabilities;
pub mod landlock;
pub mod seccomp;
pub mod side;

use crate::ground::outcome::{Failure, OrFail, Outcome};
use ::landlock::Scope;
use landlock::{Domain, Grant, MayLack, REQUIRED};
use rustix::thread::SecureComputingMode;
use side::Side;

/// The proof that this process is confined. Only [`confine`] makes one, and what touches hostile data asks for it.
pub struct Confined(());

#[cfg(any(test, fuzzing))]
impl Confined {
    /// No proof at all, for unit tests and fuzzers: one in a domain could not write down what it finds. No other
    /// build has such a function.
    pub fn assumed() -> Self {
        Confined(())
    }
}

/// Takes on everything that the side asks for and reads back that it holds: nothing of any file system but the
/// grants, no TCP, no abstract sockets, no signal to anything outside unless that is its work, and no system call but
/// its profile's.
///
/// The process must have one thread: the profile and the domain hold for the calling thread and those that come from
/// it.
///
/// # Errors
/// When the kernel lacks a part that `may_lack` does not name, or does not enforce everything else.
pub fn confine(side: &Side, grants: &[Grant<'_>], may_lack: MayLack) -> Outcome<Confined> {
    capabilities::give_up()?;
    let scopes =
        if side.may_signal { Scope::AbstractUnixSocket.into() } else { ::landlock::Access::from_all(REQUIRED) };
    Domain { network: true, scopes }.enter(grants, Some(may_lack))?;
    side.profile.install().or_fail(|| "cannot install the seccomp profile")?;
    let locked = rustix::thread::no_new_privs().or_fail(|| "cannot read no_new_privs back")?;
    let filtered = rustix::thread::secure_computing_mode().or_fail(|| "cannot read the seccomp mode back")?;
    if locked && filtered == SecureComputingMode::Filter {
        Ok(Confined(()))
    } else {
        Err(Failure::permanent("this process is not confined although the kernel did not refuse it"))
    }
}

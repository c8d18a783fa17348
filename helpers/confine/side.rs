//! What each side of each helper may do once it is confined: the one table of profiles and rights.

use super::seccomp::{self, Profile};
use landlock::{AccessFs, BitFlags};

/// One side of one helper.
pub struct Side {
    /// The system calls.
    pub profile: Profile,
    /// Whether its work is to signal processes outside.
    pub may_signal: bool,
}

const fn quiet(profile: Profile) -> Side {
    Side { profile, may_signal: false }
}

/// `condor_glexec_setup`: sends the pilot's own directory, then empties it.
pub const SETUP_PILOT: Side = quiet(seccomp::SETUP_PILOT);
/// The peer of setup: fills a new directory with what it gets.
pub const SETUP_TARGET: Side = quiet(seccomp::SETUP_TARGET);
/// `condor_glexec_cleanup`: fills the pilot's directory with what it gets.
pub const CLEANUP_PILOT: Side = quiet(seccomp::CLEANUP_PILOT);
/// The peer of cleanup: sends the job's sandbox, then removes it.
pub const CLEANUP_TARGET: Side = quiet(seccomp::CLEANUP_TARGET);
/// `condor_glexec_kill`: hands pidfds over; with `--family` it looks for processes in `/proc`.
pub const KILL_PILOT: Side = quiet(seccomp::KILL_PILOT);
/// The peer of kill: signals.
pub const KILL_TARGET: Side = Side { profile: seccomp::KILL_TARGET, may_signal: true };
/// `condor_glexec_update_proxy`: checks the new proxy and puts it in the place of the pilot's.
pub const UPDATE_PROXY_PILOT: Side = quiet(seccomp::UPDATE_PROXY_PILOT);
/// The peer of update_proxy: puts the new proxy in the place of the job's.
pub const UPDATE_PROXY_TARGET: Side = quiet(seccomp::UPDATE_PROXY_TARGET);

/// To list directories and read files.
pub fn reading() -> BitFlags<AccessFs> {
    AccessFs::ReadDir | AccessFs::ReadFile
}

/// To list and read, and to remove what is there.
pub fn removing() -> BitFlags<AccessFs> {
    reading() | AccessFs::RemoveDir | AccessFs::RemoveFile
}

/// To make directories, files and links of a tree, and to remove them again. No devices, FIFOs or sockets, nothing is
/// executed.
pub fn filling() -> BitFlags<AccessFs> {
    removing()
        | AccessFs::MakeDir
        | AccessFs::MakeReg
        | AccessFs::MakeSym
        | AccessFs::WriteFile
        | AccessFs::Truncate
        | AccessFs::Refer
}

/// To exchange or remove a directory among its siblings.
pub fn renaming() -> BitFlags<AccessFs> {
    AccessFs::MakeDir | AccessFs::RemoveDir
}

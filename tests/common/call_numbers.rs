//! Numbers of system calls that the `libc` crate does not have for every architecture.

use std::ffi::c_long;

pub const KEXEC_FILE_LOAD: c_long = if cfg!(target_arch = "x86_64") { 320 } else { 294 };

/// Numbers behind the newest call that was reviewed for the deny-lists (`NEWEST_REVIEWED` of
/// `seccomp-profiles/profile.rs`), and in the gap that the architectures' own numbers leave: calls that this kernel
/// may have, and that a held job must not.
pub const UNREVIEWED: [(&str, c_long); 7] = [
    ("unreviewed_next", 463),
    ("unreviewed_getxattrat", 464),
    ("unreviewed_file_setattr", 469),
    ("unreviewed_far", 600),
    ("unreviewed_very_far", 0x3fff_ffff),
    ("unreviewed_in_the_gap", 400),
    ("unreviewed_end_of_the_gap", 423),
];

//! Numbers of system calls that the `libc` crate does not have for every architecture.

use std::ffi::c_long;

pub const KEXEC_FILE_LOAD: c_long = if cfg!(target_arch = "x86_64") { 320 } else { 294 };

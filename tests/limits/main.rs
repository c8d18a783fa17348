//! Where something comes to its limit: time that somebody lets pass, space, inodes, quota and memory that the machine
//! has not got, and size, number, depth and growth of what a job makes. In one program, so that the work of some is
//! done while others wait.

#![deny(unsafe_code)]

#[path = "../common/mod.rs"]
mod common;
mod deadlines;
#[path = "../common/etc.rs"]
mod etc;
#[path = "../common/fuse.rs"]
#[allow(dead_code)] // hostile uses the rest
mod fuse;
#[cfg(target_arch = "x86_64")]
mod refill;
mod shapes;
mod space;
#[cfg(target_arch = "x86_64")]
#[path = "../common/tracing.rs"]
mod tracing;

/// Whether the cases that take many minutes are wanted, too.
fn full() -> bool {
    std::env::var_os("GLEXEC_RS_FULL").is_some()
}

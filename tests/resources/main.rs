//! What the machine has too little of, and what a job makes too much of: space, inodes, quota, memory; size, number, depth, growth.

#![deny(unsafe_code)]

#[path = "../common/mod.rs"]
mod common;
#[path = "../common/etc.rs"]
mod etc;
#[cfg(target_arch = "x86_64")]
mod refill;
mod shapes;
mod space;
#[cfg(target_arch = "x86_64")]
#[path = "../common/tracing.rs"]
mod tracing;

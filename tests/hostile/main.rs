//! A hostile process at the other end of the socket, against the built programs: it speaks raw bytes, in the place of
//! the peer (what a job can do that took it over), or in the place of the pilot.

#![deny(unsafe_code)]

mod answers;
#[path = "../common/mod.rs"]
mod common;
#[path = "../common/fuse.rs"]
mod fuse;
mod pilot;
mod target;

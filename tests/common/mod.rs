//! What the whole-program tests share: the accounts, an installation of the built programs, a place for sandboxes, a
//! way to call a helper exactly as HTCondor's Starter and ProcD do, and a look at what is left afterwards.
//!
//! A test that needs two accounts begins with
//!
//! ```ignore
//! #[test]
//! #[ignore = "needs root"]
//! fn something_holds() {
//!     let site = Site::new();
//! ```
//!
//! so that without root the summary says `ignored`. `tests/run` as root includes what is marked so. A test whose name
//! begins with `acts_as_` is none: other tests start this program anew to be what it is called.

#![allow(dead_code, unused_imports)] // each test program uses a part of it

mod account;
mod call;
mod channel;
mod directory;
mod held_read;
mod leftovers;
mod process;
mod programs;
mod proxy;
pub mod raw;
mod sandbox;
mod site;
mod snapshot;
mod switcher;

pub use account::{Account, GREG, MALLORY, PILOT, another_round, as_account, available, while_attacked};
pub use call::{Call, Finished, Running};
pub use channel::Channel;
pub use directory::new_directory;
pub use held_read::before_first_read;
pub use leftovers::processes;
pub use process::{Sleeper, await_state, await_that, peak_memory};
pub use programs::{built, built_program};
pub use proxy::pem;
pub use sandbox::{Sandbox, Seat, finish, nest, put_file, put_link};
pub use site::{FileSystem, Site, copy_program, install_built, write_program};
pub use snapshot::{Entry, Kind, Snapshot};
pub use switcher::SwitcherCall;

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;

/// Any bytes as an argument, a name or a value.
pub fn bytes(bytes: &[u8]) -> OsString {
    OsString::from_vec(bytes.to_vec())
}

/// All eight subsets of the standard descriptors.
pub fn subsets_of_0_1_2() -> impl Iterator<Item = Vec<i32>> {
    (0..8).map(|set| (0..3).filter(|descriptor| set & (1 << descriptor) != 0).collect())
}

//! What the whole-program tests share: the accounts, an installation of the built programs, a place for sandboxes, a way
//! to call a helper exactly as HTCondor's Starter and ProcD do, and a look at what is left afterwards.
//!
//! A test that needs two accounts begins with
//!
//! ```ignore
//! let Some(site) = Site::new() else { return };
//! ```
//!
//! Without root that says so on stderr and gives nothing; with `CI` set, or as root, it fails instead of skipping.

#![allow(dead_code, unused_imports)] // each test program uses a part of it

mod account;
mod call;
mod leftovers;
mod proxy;
mod sandbox;
mod site;
mod snapshot;
mod switcher;

pub use account::{Account, GREG, MALLORY, PILOT, as_account};
pub use call::{Call, Finished, Running};
pub use proxy::pem;
pub use sandbox::{Sandbox, Seat};
pub use site::{FileSystem, Site};
pub use snapshot::{Entry, Kind, Snapshot};
pub use switcher::SwitcherCall;

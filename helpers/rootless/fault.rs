//! What the administrator has to remedy.

use crate::ground::outcome::{Failure, Kind};
use core::fmt::Display;

/// Turns an error into one that the administrator has to remedy.
pub(super) fn site_fault<E: Display>(context: &str) -> impl FnOnce(E) -> Failure {
    move |error| Failure::new(Kind::SiteFault, format_args!("{context}: {error}"))
}

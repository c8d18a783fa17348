//! What a site has decided for all jobs: the policy file. `example.conf` beside this file explains every key, and is
//! what the tests hold the parser to.
//!
//! [`file`] finds and reads the file, [`parse`] understands its bytes, [`settings`] is what comes of them.

#![forbid(unsafe_code)]

mod file;
mod parse;
mod settings;

pub use parse::{Refused, parse};
pub use settings::{JobPolicy, Policy, View};

use crate::ground::installation::POLICY as PATH;
use crate::ground::outcome::{Failure, Outcome};

/// Reads the site's policy, [`PATH`]. Without that file the defaults hold.
///
/// # Errors
/// When the file is there and not exactly as it must be: a site that wanted something must not get less without a word.
pub fn load() -> Outcome<Policy> {
    let Some(text) = file::read()? else { return Ok(Policy::default()) };
    parse(&text).map_err(|refused| Failure::permanent(format_args!("{PATH}:{}: {}", refused.line, refused.why)))
}

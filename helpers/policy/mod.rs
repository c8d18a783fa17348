//! What a site has decided for all jobs: the policy file. `example.conf` beside this file explains every key, and is what
//! the tests hold the parser to.
//!
//! [`file`] finds and reads the file, [`parse`] understands its bytes, [`job`] is what the job wrapper does with its part.

#![forbid(unsafe_code)]

mod file;
mod job;
mod parse;

pub use job::JobPolicy;
pub use parse::Refused;

use crate::confine::landlock::MayLack;
use crate::copy::rules::CleanupRules;
use crate::ground::installation::POLICY as PATH;
use crate::ground::outcome::{Failure, Outcome};

/// What a site has decided. The default is what holds without a file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Policy {
    /// What the kernel may lack.
    pub may_lack: MayLack,
    /// What a job is kept from.
    pub job: JobPolicy,
    /// Names of variables that no job gets, besides those of [`crate::target::environment::SECRET_NAMES`].
    pub secret_variables: Vec<Vec<u8>>,
    /// What may come back from a job.
    pub cleanup: CleanupRules,
}

impl Policy {
    /// Reads the site's policy, [`PATH`]. Without that file the defaults hold.
    ///
    /// # Errors
    /// When the file is there and not exactly as it must be: a site that wanted something must not get less without a word.
    pub fn load() -> Outcome<Self> {
        let Some(text) = file::read()? else { return Ok(Policy::default()) };
        Policy::parse(&text)
            .map_err(|refused| Failure::permanent(format_args!("{PATH}:{}: {}", refused.line, refused.why)))
    }

    /// Understands the bytes of a policy file. Pure: nothing but the bytes decides.
    ///
    /// # Errors
    /// The first line that is wrong, and why.
    pub fn parse(text: &[u8]) -> Result<Self, Refused> {
        parse::parse(text)
    }
}

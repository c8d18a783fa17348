//! Why a helper ends without having done its work, as the one line that says so.

use crate::ground::errno::named;
use core::fmt::{self, Display, Formatter};
use rustix::io::Errno;

/// Why a helper did not do what it was called for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The arguments are not of the contract's form; nothing was touched.
    Usage,
    /// Trying the same again will not help (or the contract forbids trying).
    Permanent,
    /// The switcher kept answering 202 or 203 until the retries were used up.
    RetriesExhausted,
    /// For a switcher: the caller has to change something (glexec's 201).
    CallerFault,
    /// For a switcher: the administrator or the kernel has to (glexec's 202).
    SiteFault,
    /// For a switcher: the command could not be executed (126).
    ExecFailed,
}

/// A failure with the line that explains it: the object, the reason, the remedy. Bytes from outside are in it only
/// through [`crate::ground::escape::Escaped`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// What decides the exit code.
    pub kind: Kind,
    message: String,
}

/// The result of a step that can end the helper.
pub type Outcome<T = ()> = Result<T, Failure>;

impl Failure {
    /// A failure of any kind.
    pub fn new(kind: Kind, message: impl Display) -> Self {
        Failure { kind, message: named(message.to_string()) }
    }

    /// The arguments are wrong.
    pub fn usage(message: impl Display) -> Self {
        Self::new(Kind::Usage, message)
    }

    /// Not worth another try.
    pub fn permanent(message: impl Display) -> Self {
        Self::new(Kind::Permanent, message)
    }
}

impl Display for Failure {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

/// Turns an error with a context into a [`Failure`]: `result.or_fail(|| format!("cannot open {}", ...))`.
pub(crate) trait OrFail<T> {
    /// A [`Kind::Permanent`] failure that reads "`context`: error text".
    fn or_fail<C: Display>(self, context: impl FnOnce() -> C) -> Outcome<T>;
}

impl<T, E: Display> OrFail<T> for Result<T, E> {
    fn or_fail<C: Display>(self, context: impl FnOnce() -> C) -> Outcome<T> {
        self.map_err(|error| Failure::permanent(format_args!("{}: {error}", context())))
    }
}

/// What the kernel refused while something was made, and the remedy where there is no room for it.
pub(crate) struct Unmade(pub Errno);

impl Display for Unmade {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let remedy = match self.0 {
            Errno::NOSPC => "; make room (space and inodes) and call this again",
            Errno::DQUOT => "; make room or raise the quota, and call this again",
            _ => "",
        };
        write!(f, "{}{remedy}", self.0)
    }
}

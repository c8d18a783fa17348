//! Copies of a proxy, a file of known kind and size.

use crate::files::content::{Copier, Uncopied};
use crate::files::metadata::Metadata;
use crate::ground::outcome::{Failure, Outcome};
use core::convert::Infallible;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// Copies what `source` describes to `to`, an empty file in `directory`; `context` says what for.
///
/// # Errors
/// When it changed meanwhile, or cannot be copied.
pub(crate) fn fill(
    directory: BorrowedFd<'_>,
    from: &OwnedFd,
    to: &OwnedFd,
    source: &Metadata,
    context: impl Fn() -> &'static str,
) -> Outcome {
    match Copier::new(directory).copy(from.as_fd(), to.as_fd(), source, |_| Ok::<(), Infallible>(())) {
        Ok(()) => Ok(()),
        Err(Uncopied::Unreadable(errno) | Uncopied::System(errno)) => {
            Err(Failure::permanent(format_args!("{}: {errno}", context())))
        }
        Err(Uncopied::Changed) => Err(Failure::permanent("the proxy changed while it was copied")),
        Err(Uncopied::Stopped(never)) => match never {},
    }
}

//! What others have said or named, as it may stand in a line of ours.

use crate::ground::escape::{Escaped, Said};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// A path of the caller's.
pub(super) fn shown(path: &Path) -> Escaped<'_> {
    Escaped(path.as_os_str().as_bytes())
}

/// A line of text as it is if that is printable, or made so.
pub(super) fn readable(text: &[u8]) -> String {
    match core::str::from_utf8(text) {
        Ok(line) if line.bytes().all(|byte| (b' '..=b'~').contains(&byte)) => line.to_owned(),
        _ => Said(text).to_string(),
    }
}

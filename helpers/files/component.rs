//! A name that can only be one directory entry, and that we trust: a caller's argument, or our own. Other people's are
//! [`crate::files::name::Name`]s.

use crate::ground::argv::Arguments;
use crate::ground::escape::Escaped;
use crate::ground::limits;
use crate::ground::outcome::{Failure, Outcome};
use core::fmt::{self, Debug, Display, Formatter};
use std::ffi::{CStr, CString};

/// One path component: 1 to 255 bytes, no `/`, no NUL, neither `.` nor `..`. Any other byte is allowed.
#[derive(Clone, PartialEq, Eq)]
pub struct Component(CString);

/// Why bytes are not one path component.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotAComponent;

impl Display for NotAComponent {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str("not a single file name (1 to 255 bytes, no '/', no NUL, not '.' or '..')")
    }
}

/// Whether the bytes name one entry of a directory.
pub(super) fn is_one_entry(bytes: &[u8]) -> bool {
    let fits = !bytes.is_empty() && bytes.len() <= limits::NAME_BYTES;
    fits && bytes != b"." && bytes != b".." && !bytes.iter().any(|byte| matches!(byte, b'/' | 0))
}

impl Component {
    /// Takes the bytes as a component.
    ///
    /// # Errors
    /// When they are none.
    pub fn new(bytes: &[u8]) -> Result<Self, NotAComponent> {
        if !is_one_entry(bytes) {
            return Err(NotAComponent);
        }
        CString::new(bytes).map(Component).map_err(|_| NotAComponent)
    }

    /// The next of a program's arguments; `name` is what the usage message calls it.
    ///
    /// # Errors
    /// Usage, when there is none or it is a path.
    pub fn take(arguments: &mut Arguments, name: &str) -> Outcome<Self> {
        let text = arguments.take(name)?;
        Self::new(&text).map_err(|why| Failure::usage(format_args!("{name} is {}, {why}", Escaped(&text))))
    }

    /// This name with `suffix` behind it.
    ///
    /// # Errors
    /// When that is too long or otherwise no component.
    pub fn with_suffix(&self, suffix: &[u8]) -> Result<Self, NotAComponent> {
        Self::new(&[self.bytes(), suffix].concat())
    }

    /// `prefix` and 128 random bits: a name that nobody can have taken in advance.
    ///
    /// # Errors
    /// When the kernel gives no random numbers.
    pub(crate) fn unforeseen(prefix: &str) -> Result<Self, rustix::io::Errno> {
        let mut random = [0_u8; 16];
        rustix::rand::getrandom(&mut random, rustix::rand::GetRandomFlags::empty())?;
        let hex: String = random.iter().map(|byte| format!("{byte:02x}")).collect();
        Self::new([prefix, &hex].concat().as_bytes()).map_err(|_| rustix::io::Errno::NAMETOOLONG)
    }

    /// The name, without a final NUL.
    pub fn bytes(&self) -> &[u8] {
        self.0.as_bytes()
    }

    /// The name for a system call.
    pub(crate) fn c_str(&self) -> &CStr {
        &self.0
    }
}

impl Display for Component {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        Display::fmt(&Escaped(self.bytes()), f)
    }
}

impl Debug for Component {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::Component;

    #[test]
    fn only_single_names_are_components() {
        for good in [&b"a"[..], b"...", b"-rf", b" ", b"\n", b"\xff\xfe", b"..a", &[b'x'; 255]] {
            assert_eq!(Component::new(good).map(|c| c.bytes().to_vec()), Ok(good.to_vec()));
        }
        for bad in [&b""[..], b".", b"..", b"/", b"a/b", b"a/", b"a\0", b"\0", &[b'x'; 256]] {
            assert!(Component::new(bad).is_err(), "{bad:?}");
        }
    }
}

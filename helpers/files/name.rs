//! A name that somebody else has made: of a directory's entry, or in a packet.

use crate::files::component::{Component, NotAComponent, is_one_entry};
use crate::ground::escape::Escaped;
use core::fmt::{self, Debug, Display, Formatter};

/// One path component as a [`Component`] is, but borrowed from where it was read, and nobody's whom we trust: it can
/// only be used as a name in a directory that is ours anyway.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Name<'p>(&'p [u8]);

impl<'p> Name<'p> {
    /// Takes the bytes as a name.
    ///
    /// # Errors
    /// When they are none.
    pub fn new(bytes: &'p [u8]) -> Result<Self, NotAComponent> {
        if is_one_entry(bytes) { Ok(Name(bytes)) } else { Err(NotAComponent) }
    }

    /// The name, without a final NUL. As rustix takes it for a system call, with room for the NUL on the stack.
    pub fn bytes(&self) -> &'p [u8] {
        self.0
    }
}

impl<'c> From<&'c Component> for Name<'c> {
    /// What we trust may stand where nobody has to.
    fn from(trusted: &'c Component) -> Self {
        Name(trusted.bytes())
    }
}

impl PartialEq<Component> for Name<'_> {
    fn eq(&self, trusted: &Component) -> bool {
        self.0 == trusted.bytes()
    }
}

impl Display for Name<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        Display::fmt(&Escaped(self.0), f)
    }
}

impl Debug for Name<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::Name;
    use crate::files::component::Component;

    #[test]
    fn names_are_what_components_are() {
        for good in [&b"a"[..], b"...", b"-rf", b" ", b"\n", b"\xff\xfe", b"..a", &[b'x'; 255]] {
            let (name, component) = (Name::new(good).unwrap(), Component::new(good).unwrap());
            assert!(name.bytes() == good && name == component && name == Name::from(&component));
        }
        for bad in [&b""[..], b".", b"..", b"/", b"a/b", b"a/", b"a\0", b"\0", &[b'x'; 256]] {
            assert!(Name::new(bad).is_err(), "{bad:?}");
        }
    }
}

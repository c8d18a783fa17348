//! The steps of a tree on its way from one account to the other.

use crate::files::metadata::Time;
use crate::files::name::Name;
use crate::ground::limits;

/// Why something of the tree is not part of the copy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// A device, FIFO or socket.
    Special,
    /// Below another mount point.
    OtherFileSystem,
    /// A symbolic link that could lead out of the sandbox or to the proxy.
    EscapingLink,
    /// Another account's, which the job could not read.
    Unreadable,
    /// A symbolic link of a job, where the site takes none back.
    AnyLink,
}

impl Reason {
    pub(super) const ALL: [(u8, Reason); 5] = [
        (1, Reason::Special),
        (2, Reason::OtherFileSystem),
        (3, Reason::EscapingLink),
        (4, Reason::Unreadable),
        (5, Reason::AnyLink),
    ];

    /// What a report calls it.
    pub const fn text(self) -> &'static str {
        match self {
            Reason::Special => "a device, FIFO or socket",
            Reason::OtherFileSystem => "on another file system",
            Reason::EscapingLink => "a symbolic link that could lead out of the sandbox or to the proxy",
            Reason::Unreadable => "another account's, not readable for the job",
            Reason::AnyLink => "a symbolic link; this site takes none back",
        }
    }
}

/// One step of a tree, from the sender to the receiver.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Record<'p> {
    /// Makes a directory in the current one and goes into it.
    Enter {
        /// Its name.
        name: Name<'p>,
        /// Its permission bits.
        mode: u16,
        /// Its modification time, set when it is left.
        mtime: Time,
    },
    /// Goes back to the parent directory.
    Leave,
    /// A regular file: the next descriptor of the packet. Everything but the name is read from the descriptor.
    File {
        /// Its name.
        name: Name<'p>,
    },
    /// A small regular file with one name.
    Small {
        /// Its name.
        name: Name<'p>,
        /// Its permission bits.
        mode: u16,
        /// Its modification time.
        mtime: Time,
        /// All of it, at most [`limits::INLINE_BYTES`].
        content: &'p [u8],
    },
    /// A symbolic link.
    Symlink {
        /// Its name.
        name: Name<'p>,
        /// Where it points, 1 to 4095 bytes without NUL.
        target: &'p [u8],
        /// Its modification time.
        mtime: Time,
    },
    /// Something that the sender leaves out.
    LeftOut {
        /// Its name.
        name: Name<'p>,
        /// Why.
        reason: Reason,
    },
    /// The tree is complete; the current directory is the sandbox itself again.
    End {
        /// How many of the records above came, all kinds together.
        entries: u64,
        /// The sandbox's own permission bits.
        mode: u16,
        /// The sandbox's own modification time.
        mtime: Time,
    },
}

pub(super) mod tag {
    pub(crate) const ENTER: u8 = 1;
    pub(crate) const LEAVE: u8 = 2;
    pub(crate) const FILE: u8 = 3;
    pub(crate) const SYMLINK: u8 = 4;
    pub(crate) const LEFT_OUT: u8 = 5;
    pub(crate) const END: u8 = 6;
    pub(crate) const SMALL: u8 = 7;
}

impl Record<'_> {
    /// The most bytes that one record takes.
    pub const BYTES: usize = 1 + 2 + limits::NAME_BYTES + 2 + 12 + 2 + limits::INLINE_BYTES;
}

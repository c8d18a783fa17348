//! The steps of a tree on its way from one account to the other.

use crate::files::metadata::Time;
use crate::files::name::Name;
use crate::ground::limits;
use core::fmt::{self, Display, Formatter};
use rustix::io::Errno;

/// Why something of the tree is not part of the copy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// A device, FIFO or socket.
    Special,
    /// Below another mount point.
    OtherFileSystem,
    /// A symbolic link that could lead out of the sandbox or to the proxy.
    EscapingLink,
    /// What the kernel answers who wants to read it: an errno from 1 to [`limits::ERRNO`].
    Unreadable(u16),
    /// A symbolic link of a job, where the site takes none back.
    AnyLink,
}

impl Reason {
    /// How those are written that are nothing but a reason.
    pub(super) const PLAIN: [(u8, Reason); 4] =
        [(1, Reason::Special), (2, Reason::OtherFileSystem), (3, Reason::EscapingLink), (5, Reason::AnyLink)];

    /// How the other one begins; its errno follows.
    pub(super) const UNREADABLE: u8 = 4;

    /// For an entry that answers whoever reads it with `errno`; `None` where the entry is as good as any: this process
    /// is in want of something, or was handed a descriptor that is not for reading.
    pub(crate) fn of(errno: Errno) -> Option<Self> {
        let other_cause = matches!(errno, Errno::MFILE | Errno::NFILE | Errno::NOMEM | Errno::NOBUFS | Errno::BADF);
        u16::try_from(errno.raw_os_error()).ok().filter(|_| !other_cause).map(Reason::Unreadable)
    }
}

/// What a report calls it.
impl Display for Reason {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Reason::Special => f.write_str("a device, FIFO or socket"),
            Reason::OtherFileSystem => f.write_str("on another file system"),
            Reason::EscapingLink => f.write_str("a symbolic link that could lead out of the sandbox or to the proxy"),
            Reason::Unreadable(errno) => {
                write!(f, "not readable: {}", Errno::from_raw_os_error((*errno).clamp(1, limits::ERRNO).into()))
            }
            Reason::AnyLink => f.write_str("a symbolic link; this site takes none back"),
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

//! The program that is to be started.

use crate::files::metadata::{Identity, Metadata};
use crate::ground::escape::Escaped;
use crate::ground::installation::beside_self;
use crate::ground::outcome::{Failure, OrFail, Outcome};
use crate::ground::program::Program;
use rustix::fs::{Access, AtFlags, CWD, FileType, Mode, OFlags, accessat, openat};
use std::ffi::CString;
use std::os::fd::OwnedFd;

/// A file that can be executed, as a handle that is right for a Landlock rule.
pub(super) struct Command {
    /// As the caller gave it. It is executed by this path, since a script's interpreter has to open it again; if
    /// another file has taken its place by then, the domain has no rule for that one.
    pub(super) path: CString,
    /// The file itself.
    pub(super) file: OwnedFd,
    identity: Identity,
}

impl Command {
    /// Opens the command at an absolute path (see [`super::arguments::parse`]).
    ///
    /// # Errors
    /// When it is none: missing, not a regular file, a symbolic link, not executable.
    pub(super) fn open(path: &[u8]) -> Outcome<Self> {
        let refuse = |why: &str| Failure::permanent(format_args!("the command {} {why}", Escaped(path)));
        let context = || format!("cannot use the command {}", Escaped(path));
        let terminated = CString::new(path).or_fail(context)?;
        let handle = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = openat(CWD, &terminated, handle, Mode::empty()).or_fail(context)?;
        let found = Metadata::of(&file).or_fail(context)?;
        match found.kind {
            FileType::RegularFile => {}
            FileType::Symlink => return Err(refuse("is a symbolic link; name the file itself")),
            _ => return Err(refuse("is not a regular file")),
        }
        accessat(CWD, &terminated, Access::EXEC_OK, AtFlags::EACCESS).map_err(|_| refuse("is not executable"))?;
        Ok(Command { path: terminated, file, identity: found.identity })
    }

    /// Whether this is the very file at `path`.
    pub(super) fn is(&self, path: &CString) -> bool {
        Metadata::at(CWD, path).is_ok_and(|found| found.identity == self.identity)
    }
}

/// The path of the peer that was installed beside this program.
///
/// # Errors
/// When this program does not know where it is.
pub(super) fn own_peer() -> Outcome<CString> {
    CString::new(beside_self(Program::Peer)?).or_fail(|| "the path of condor_glexec_peer")
}

//! The names of a sandbox, and what two accounts have agreed about them.

use crate::files::component::Component;
use crate::files::metadata::Metadata;
use crate::files::path::{split, trusted_directory};
use crate::files::walk::{LIST, Opened, open_directory};
use crate::ground::escape::Escaped;
use crate::ground::outcome::{Failure, OrFail, Outcome};
use rustix::fs::{CWD, RenameFlags, readlink, renameat_with};
use rustix::io::Errno;
use std::ffi::CStr;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};

/// Behind the sandbox's name, the name of the directory that waits while the sandbox is in use.
pub(crate) const PARKED_SUFFIX: &[u8] = b".condor";

/// The name under which a new proxy waits in a sandbox until it is whole. What an interrupted helper left there may
/// be removed.
pub(crate) const STAGED_NAME: &CStr = c".glexec-new-proxy";

/// Marks a directory that is not in the sandbox's place yet, as what an interrupted setup may leave: the sticky bit,
/// which means nothing to the directory's owner, and which no sandbox keeps.
pub(crate) const UNFINISHED: u16 = 0o1000;

/// The names of one sandbox in its parent directory.
pub struct Names {
    /// The parent (HTCondor's EXECUTE), as a handle for names only.
    pub parent: OwnedFd,
    /// The parent's absolute path, for the target side, which has to get there on its own.
    pub parent_path: Vec<u8>,
    /// S, the sandbox.
    pub sandbox: Component,
    /// Where the pilot's own directory is while the job has the sandbox; `S.condor`.
    pub parked: Component,
}

impl Names {
    /// Finds the parent of `sandbox`, an absolute path, for the account that runs this process.
    ///
    /// # Errors
    /// When another account could swap a component of the path, or the name is unfit.
    pub fn find(sandbox: &[u8]) -> Outcome<Self> {
        let (parent_path, name) = split(sandbox)?;
        let parked =
            name.with_suffix(PARKED_SUFFIX).or_fail(|| format!("the sandbox {} cannot be parked", Escaped(sandbox)))?;
        let parent = trusted_directory(&parent_path, &[rustix::process::geteuid().as_raw()])?;
        Ok(Names { parent, parent_path, sandbox: name, parked })
    }

    /// S, the sandbox's absolute path.
    pub(crate) fn sandbox_path(&self) -> Vec<u8> {
        below(&self.parent_path, &self.sandbox)
    }

    /// The sandbox's paths: as it was given, and without symbolic links, as a process that sits in it is told.
    pub(crate) fn places(&self) -> Vec<Vec<u8>> {
        let magic = format!("/proc/self/fd/{}", self.parent.as_raw_fd());
        let real = readlink(magic.as_str(), Vec::new()).map(|parent| below(parent.as_bytes(), &self.sandbox));
        [self.sandbox_path()].into_iter().chain(real).collect()
    }

    /// The absolute path of `S.condor`.
    pub(crate) fn parked_path(&self) -> Vec<u8> {
        below(&self.parent_path, &self.parked)
    }

    /// The absolute path of an entry of the directory `of` (one of the two names), for the switcher's environment.
    pub(crate) fn path_of(&self, of: &Component, entry: &Component) -> Vec<u8> {
        below(&below(&self.parent_path, of), entry)
    }

    /// Opens one of the two directories to be listed, if it is this account's.
    ///
    /// # Errors
    /// When it is anything else.
    pub(crate) fn open_own(&self, name: &Component) -> Outcome<Opened> {
        let home = open_directory(self.parent.as_fd(), name.c_str(), LIST).or_fail(|| format!("cannot open {name}"))?;
        if home.found.owner == rustix::process::geteuid().as_raw() {
            Ok(home)
        } else {
            Err(Failure::permanent(format_args!("{name} belongs to uid {}, not to this account", home.found.owner)))
        }
    }

    /// What the name is at this moment; `None` if it does not exist.
    ///
    /// # Errors
    /// When the kernel does not tell.
    pub fn look(&self, name: &Component) -> Outcome<Option<Metadata>> {
        match Metadata::at(&self.parent, name.c_str()) {
            Ok(found) => Ok(Some(found)),
            Err(Errno::NOENT) => Ok(None),
            Err(errno) => Err(Failure::permanent(format_args!("cannot look at {name}: {errno}"))),
        }
    }

    /// The two directories are exchanged in one step, which in a directory open to all only its owner may do.
    ///
    /// # Errors
    /// When the parent is not this account's.
    pub(crate) fn require_own_parent(&self) -> Outcome {
        let found = Metadata::of(&self.parent).or_fail(|| "cannot look at the sandbox's parent")?;
        if found.owner == rustix::process::geteuid().as_raw() {
            return Ok(());
        }
        Err(Failure::permanent(format_args!(
            "the sandbox's parent {} belongs to uid {}; it must belong to this account (chown it)",
            Escaped(&self.parent_path),
            found.owner
        )))
    }

    /// Whether `directory` is where this process was started: the Starter sits in the pilot's own directory.
    pub(crate) fn is_working_directory(&self, directory: &Metadata) -> bool {
        Metadata::at(CWD, c".").is_ok_and(|here| here.identity == directory.identity)
    }

    /// Lets the sandbox and the parked directory take each other's place, in one step.
    ///
    /// # Errors
    /// The kernel's; then nothing has changed.
    pub(crate) fn exchange(&self) -> Outcome {
        let Names { parent, sandbox, parked, .. } = self;
        renameat_with(parent, sandbox.c_str(), parent, parked.c_str(), RenameFlags::EXCHANGE).map_err(|errno| {
            let hint = match errno {
                Errno::INVAL | Errno::NOSYS => "; the file system must know RENAME_EXCHANGE",
                // A domain moves directories only.
                Errno::ACCESS | Errno::NOENT => "; something else is in its place by now; call this again",
                _ => "",
            };
            Failure::permanent(format_args!("cannot exchange {sandbox} and {parked}: {errno}{hint}"))
        })
    }
}

/// The path of an entry of a directory.
pub fn below(directory: &[u8], name: &Component) -> Vec<u8> {
    let separator: &[u8] = if directory.ends_with(b"/") { b"" } else { b"/" };
    [directory, separator, name.bytes()].concat()
}

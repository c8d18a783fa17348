//! From an absolute path to descriptors, once; afterwards only descriptors and single names are used.

#![forbid(unsafe_code)]

use crate::files::component::Component;
use crate::files::metadata::Metadata;
use crate::files::walk::{LIST, Opened, open_directory};
use crate::ground::escape::Escaped;
use crate::ground::limits;
use crate::ground::outcome::{Failure, OrFail, Outcome};
use rustix::fs::{CWD, FileType, FlockOperation, Mode, OFlags, RenameFlags, flock, openat, readlinkat, renameat_with};
use rustix::io::Errno;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// The most symbolic links on the way (Linux's own limit).
const LINKS: usize = 40;

const S_ISVTX: u16 = 0o1000;

/// Behind the sandbox's name, the name of the directory that waits while the sandbox is in use.
pub const PARKED_SUFFIX: &[u8] = b".condor";

/// The names of one sandbox in its parent directory.
pub struct Place {
    /// The parent (HTCondor's EXECUTE), as a handle for names only.
    pub parent: OwnedFd,
    /// The parent's absolute path, for the target side, which has to get there on its own.
    pub parent_path: Vec<u8>,
    /// The sandbox.
    pub name: Component,
    /// Where the pilot's own directory is while the job has the sandbox; `<name>.condor`.
    pub parked: Component,
}

impl Place {
    /// Finds the parent of `sandbox`, an absolute path, for the account that runs this process.
    ///
    /// # Errors
    /// When another account could swap a component of the path, or the name is unfit.
    pub fn find(sandbox: &[u8]) -> Outcome<Self> {
        let (parent_path, name) = split(sandbox)?;
        let parked =
            name.with_suffix(PARKED_SUFFIX).or_fail(|| format!("the sandbox {} cannot be parked", Escaped(sandbox)))?;
        let parent = trusted_directory(&parent_path, &[rustix::process::geteuid().as_raw()])?;
        Ok(Place { parent, parent_path, name, parked })
    }

    /// The absolute path of an entry of the directory `of` (one of the two names), for the switcher's environment.
    pub fn path_of(&self, of: &Component, entry: &Component) -> Vec<u8> {
        let mut path = self.parent_path.clone();
        for part in [of, entry] {
            if path.last() != Some(&b'/') {
                path.push(b'/');
            }
            path.extend_from_slice(part.bytes());
        }
        path
    }

    /// Opens one of the two directories to be listed, if it is this account's.
    ///
    /// # Errors
    /// When it is anything else.
    pub fn open_home(&self, name: &Component) -> Outcome<Opened> {
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
}

impl Place {
    /// The two directories are exchanged in one step, which in a directory open to all only its owner may do.
    ///
    /// # Errors
    /// When the parent is not this account's.
    pub fn require_own_parent(&self) -> Outcome {
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

    /// Keeps other helpers of the pilot away from this sandbox as long as the result is open.
    ///
    /// What is locked is the proxy in `home`, the pilot's own directory. Whoever can open a file can lock it: the directory is open to all,
    /// the proxy to nobody else. Only where there is none, and so nothing to do but to bring one, the directory is locked.
    ///
    /// # Errors
    /// When another one is at work, or was until now and has put a new proxy in the place of the one that was locked.
    pub fn lock(&self, home: BorrowedFd<'_>, proxy: &Component) -> Outcome<OwnedFd> {
        let busy = || format!("another helper is at work on the sandbox {}", self.name);
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
        let found = openat(home, proxy.c_str(), flags, Mode::empty());
        let there = found.is_ok();
        let held = found.or_else(|_| rustix::io::fcntl_dupfd_cloexec(home, 3)).or_fail(busy)?;
        flock(&held, FlockOperation::NonBlockingLockExclusive).or_fail(busy)?;
        let identity = Metadata::of(&held).or_fail(busy)?.identity;
        if there && !Metadata::at(home, proxy.c_str()).is_ok_and(|now| now.identity == identity) {
            return Err(Failure::permanent(busy()));
        }
        Ok(held)
    }

    /// Whether `directory` is where this process was started: the Starter sits in the pilot's own directory.
    pub fn is_working_directory(&self, directory: &Metadata) -> bool {
        Metadata::at(CWD, c".").is_ok_and(|here| here.identity == directory.identity)
    }

    /// Lets the sandbox and the parked directory take each other's place, in one step.
    ///
    /// # Errors
    /// The kernel's; then nothing has changed.
    pub fn exchange(&self) -> Outcome {
        let Place { parent, name, parked, .. } = self;
        renameat_with(parent, name.c_str(), parent, parked.c_str(), RenameFlags::EXCHANGE).map_err(|errno| {
            let hint = match errno {
                Errno::INVAL | Errno::NOSYS => "; the file system must know RENAME_EXCHANGE",
                // A domain moves directories only.
                Errno::ACCESS | Errno::NOENT => "; something else is in its place by now; call this again",
                _ => "",
            };
            Failure::permanent(format_args!("cannot exchange {name} and {parked}: {errno}{hint}"))
        })
    }
}

/// Splits an absolute path into the path of its parent and its last component. Slashes at the end are ignored.
///
/// # Errors
/// When there is no last component, or it is `.` or `..`.
pub fn split(path: &[u8]) -> Outcome<(Vec<u8>, Component)> {
    let end = path.iter().rposition(|byte| *byte != b'/').map_or(0, |last| last.saturating_add(1));
    let trimmed = path.get(..end).unwrap_or_default();
    let slash = trimmed.iter().rposition(|byte| *byte == b'/').unwrap_or(0);
    let last = trimmed.get(slash.saturating_add(1)..).unwrap_or_default();
    let name = Component::new(last).or_fail(|| format!("the last part of {}", Escaped(path)))?;
    let parent = trimmed.get(..slash).filter(|parent| !parent.is_empty()).unwrap_or(b"/");
    Ok((parent.to_vec(), name))
}

/// Opens the directory at an absolute path, as a handle for names only, refusing a path in which an account other than root and
/// those in `trusted` could swap a component while or after we walk it.
///
/// Every directory on the way must belong to root or a trusted account and be closed to writes by group and others, or be sticky (then the
/// component in it must belong to root or a trusted account as well). Symbolic links are followed under the same rule. The last
/// directory itself is held to it, too.
///
/// # Errors
/// Names the directory, the reason and the remedy.
pub fn trusted_directory(path: &[u8], trusted: &[u32]) -> Outcome<OwnedFd> {
    let refuse =
        |part: &[u8], why: String| Failure::permanent(format_args!("{} of {}: {why}", Escaped(part), Escaped(path)));
    let handle = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let is_trusted = |owner: u32| owner == 0 || trusted.contains(&owner);

    let mut directory =
        rustix::fs::open(c"/", handle | OFlags::DIRECTORY, Mode::empty()).or_fail(|| "cannot open /")?;
    let mut found = Metadata::of(&directory).or_fail(|| "cannot look at /")?;
    let mut ahead: Vec<Vec<u8>> = parts(path);
    let mut links = 0_usize;
    let mut here: Vec<u8> = b"/".to_vec();
    loop {
        if !is_trusted(found.owner) {
            let why = format!(
                "it belongs to uid {}, who could swap what is in it; it must be root's or this account's",
                found.owner
            );
            return Err(refuse(&here, why));
        }
        let open_to_others = found.mode & 0o022 != 0;
        let sticky = found.mode & S_ISVTX != 0;
        if open_to_others && !sticky {
            let why = format!("others may swap what is in it (mode {:04o}); chmod go-w or chmod +t", found.mode);
            return Err(refuse(&here, why));
        }
        let Some(part) = ahead.pop() else { return Ok(directory) };
        let next = std::ffi::CString::new(part.clone()).or_fail(|| Escaped(&part).to_string())?;
        let child = openat(&directory, next.as_c_str(), handle, Mode::empty())
            .or_fail(|| format!("cannot open {} of {}", Escaped(&part), Escaped(path)))?;
        let child_found = Metadata::of(&child).or_fail(|| format!("cannot look at {}", Escaped(&part)))?;
        if open_to_others && part != b".." && !is_trusted(child_found.owner) {
            let why = format!(
                "it belongs to uid {} in a directory open to all; it must be root's or this account's",
                child_found.owner
            );
            return Err(refuse(&part, why));
        }
        match child_found.kind {
            FileType::Directory => {
                directory = child;
                found = child_found;
                here = part;
            }
            FileType::Symlink => {
                links = links.saturating_add(1);
                if links > LINKS {
                    return Err(refuse(&part, "too many symbolic links".to_owned()));
                }
                let target = readlinkat(&child, c"", Vec::new())
                    .or_fail(|| format!("cannot read the link {}", Escaped(&part)))?
                    .into_bytes();
                if target.starts_with(b"/") {
                    directory = rustix::fs::open(c"/", handle | OFlags::DIRECTORY, Mode::empty())
                        .or_fail(|| "cannot open /")?;
                    found = Metadata::of(&directory).or_fail(|| "cannot look at /")?;
                    here = b"/".to_vec();
                }
                ahead.append(&mut parts(&target));
                if ahead.len() > limits::PATH_BYTES {
                    return Err(refuse(&part, "the path grows too long".to_owned()));
                }
            }
            _ => return Err(refuse(&part, "not a directory".to_owned())),
        }
    }
}

/// The components of a path, last first.
fn parts(path: &[u8]) -> Vec<Vec<u8>> {
    path.split(|byte| *byte == b'/')
        .filter(|part| !part.is_empty() && *part != b".")
        .rev()
        .map(<[u8]>::to_vec)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::split;

    #[test]
    fn paths_are_split_at_the_last_component() {
        let parts = |path: &[u8]| split(path).map(|(parent, name)| (parent, name.bytes().to_vec()));
        assert_eq!(parts(b"/a/b").unwrap(), (b"/a".to_vec(), b"b".to_vec()));
        assert_eq!(parts(b"/a").unwrap(), (b"/".to_vec(), b"a".to_vec()));
        assert_eq!(parts(b"//a//b//").unwrap(), (b"//a/".to_vec(), b"b".to_vec()));
        for bad in [&b"/"[..], b"", b"/a/..", b"/a/.", b"///"] {
            assert!(parts(bad).is_err(), "{bad:?}");
        }
    }
}

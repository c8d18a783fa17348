//! From an absolute path to descriptors, once; afterwards only descriptors and single names are used.

use crate::files::component::Component;
use crate::files::metadata::Metadata;
use crate::ground::escape::Escaped;
use crate::ground::limits;
use crate::ground::outcome::{Failure, OrFail, Outcome};
use rustix::fs::{FileType, Mode, OFlags, openat, readlinkat};
use rustix::io::Errno;
use std::os::fd::OwnedFd;

/// The most symbolic links on the way (Linux's own limit).
const LINKS: usize = 40;

const S_ISVTX: u16 = 0o1000;

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

/// Opens the directory at an absolute path, as a handle for names only, refusing a path in which an account other
/// than root and those in `trusted` could swap a component while or after we walk it.
///
/// Every directory on the way must belong to root or a trusted account and be closed to writes by group and others,
/// or be sticky (then the component in it must belong to root or a trusted account as well). Symbolic links are
/// followed under the same rule. The last directory itself is held to it, too.
///
/// # Errors
/// Names the directory, the reason and the remedy.
pub fn trusted_directory(path: &[u8], trusted: &[u32]) -> Outcome<OwnedFd> {
    let refuse =
        |part: &[u8], why: String| Failure::permanent(format_args!("{} of {}: {why}", Escaped(part), Escaped(path)));
    let handle = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let is_trusted = |owner: u32| owner == 0 || trusted.contains(&owner);

    let root = || {
        let root = rustix::fs::open(c"/", handle | OFlags::DIRECTORY, Mode::empty())?;
        Ok::<_, Errno>((Metadata::of(&root)?, root))
    };
    let (mut found, mut directory) = root().or_fail(|| "cannot open /")?;
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
                    (found, directory) = root().or_fail(|| "cannot open /")?;
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

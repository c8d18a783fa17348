//! Where the policy file is, and whose it must be.

use crate::files::metadata::Metadata;
use crate::ground::installation::POLICY as PATH;
use crate::ground::limits;
use crate::ground::outcome::{Failure, OrFail, Outcome};
use rustix::fs::{CWD, FileType, Mode, OFlags, openat};
use rustix::io::Errno;
use std::ffi::CStr;
use std::fs::File;
use std::io::Read;
use std::os::fd::{AsFd, OwnedFd};

/// The directories on the way to it, each by its name in the one before and by its path.
const DIRECTORIES: [(&CStr, &str); 3] = [(c"/", "/"), (c"etc", "/etc"), (c"glexec-rs", "/etc/glexec-rs")];

/// Its name in the last of them.
const NAME: &CStr = c"policy";

/// The whole file; `None` if there is none.
///
/// # Errors
/// When it, or a directory on the way, is a symbolic link, another account's, or writable by one; when it is not a
/// regular file, too long, or cannot be read.
pub(crate) fn read() -> Outcome<Option<Vec<u8>>> {
    let context = || format!("cannot open {PATH} (it must be readable for every account, mode 0644)");
    let Some(directory) = directory()? else { return Ok(None) };
    let careful = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let file = match openat(&directory, NAME, careful, Mode::empty()) {
        Ok(file) => file,
        Err(Errno::NOENT) => return Ok(None),
        Err(Errno::LOOP) => return Err(refused("it is a symbolic link; put the file itself there")),
        // A socket.
        Err(Errno::NXIO) => return Err(not_regular()),
        Err(errno) => return Err(errno).or_fail(context),
    };
    let found = Metadata::of(&file).or_fail(context)?;
    if found.kind != FileType::RegularFile {
        return Err(not_regular());
    }
    require_roots(PATH, &found)?;
    let mut text = Vec::new();
    File::from(file).take(limits::POLICY_BYTES.saturating_add(1)).read_to_end(&mut text).or_fail(context)?;
    Ok(Some(text))
}

/// The last directory on the way; `None` if it is not there.
fn directory() -> Outcome<Option<OwnedFd>> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let mut way: Vec<OwnedFd> = Vec::new();
    for (name, path) in DIRECTORIES {
        match openat(way.last().map_or(CWD, AsFd::as_fd), name, flags, Mode::empty()) {
            Ok(directory) => way.push(directory),
            // Without the last one there is no policy whose way could be wrong.
            Err(Errno::NOENT) => return Ok(None),
            Err(Errno::NOTDIR | Errno::LOOP) => {
                return Err(refused(&format!("{path} is not a directory (symbolic links are not followed)")));
            }
            Err(errno) => return Err(errno).or_fail(|| format!("cannot open {path}")),
        }
    }
    for (directory, (_, path)) in way.iter().zip(DIRECTORIES) {
        require_roots(path, &Metadata::of(directory).or_fail(|| format!("cannot look at {path}"))?)?;
    }
    Ok(way.pop())
}

fn require_roots(path: &str, found: &Metadata) -> Outcome {
    if found.owner != 0 {
        return Err(refused(&format!("{path} belongs to uid {}; it must be root's (chown root)", found.owner)));
    }
    if found.mode & 0o022 != 0 {
        return Err(refused(&format!("others can write to {path} (mode {:04o}); chmod go-w", found.mode)));
    }
    Ok(())
}

fn not_regular() -> Failure {
    refused("it is not a regular file; put one there, or remove it")
}

fn refused(why: &str) -> Failure {
    Failure::permanent(format_args!("the site's policy {PATH} is refused: {why}"))
}

//! What the caller has named: input files, the proxy, a place for the output. All of it is opened and looked at before
//! anything is made.

use super::entry::{DIRECTORY, Entry};
use crate::files::component::Component;
use crate::files::metadata::Metadata;
use crate::files::path::split;
use crate::files::proxy;
use crate::ground::outcome::{Failure, OrFail, Outcome};
use crate::job::request::Request;
use crate::job::shown::shown;
use rustix::fs::{CWD, FileType, Mode, OFlags, openat};
use rustix::io::Errno;
use std::ffi::OsString;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

/// All that is to be used of what exists already.
pub(super) struct Given {
    pub(super) inputs: Vec<Source>,
    pub(super) proxy: Option<Proxy>,
    pub(super) output: Option<Entry>,
}

impl Given {
    /// Opens what was asked for.
    pub(super) fn open(request: &Request) -> Outcome<Self> {
        let inputs = request.inputs.iter().map(|input| input_file(&input.file, input.name.clone()));
        Ok(Given {
            inputs: inputs.collect::<Outcome<_>>()?,
            proxy: request.proxy.as_deref().map(proxy_file).transpose()?,
            output: request.output.as_deref().map(output_place).transpose()?,
        })
    }
}

/// What is to be put into the sandbox.
pub(super) struct Source {
    pub(super) file: OwnedFd,
    pub(super) found: Metadata,
    pub(super) name: Component,
}

/// The absolute path of something that exists, without symbolic links. `what` is the option that names it.
pub(super) fn resolved(path: &Path, what: &str) -> Outcome<Vec<u8>> {
    let resolved = path.canonicalize().or_fail(|| format!("{what} {}", shown(path)))?;
    Ok(resolved.into_os_string().into_vec())
}

/// Opens a file of the caller's that is to be copied. Without waiting, should it be a FIFO.
fn input_file(path: &Path, name: Component) -> Outcome<Source> {
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let file = openat(CWD, path, flags, Mode::empty()).or_fail(|| format!("cannot open the input {}", shown(path)))?;
    let found = Metadata::of(&file).or_fail(|| format!("cannot look at the input {}", shown(path)))?;
    if found.kind == FileType::RegularFile {
        Ok(Source { file, found, name })
    } else {
        Err(Failure::permanent(format_args!(
            "the input {} is not a regular file; for a tree, use --sandbox",
            shown(path)
        )))
    }
}

/// The proxy's file, and the directory that it is in.
pub(super) struct Proxy {
    pub(super) source: Source,
    pub(super) directory: Metadata,
}

fn proxy_file(path: &Path) -> Outcome<Proxy> {
    let failed = || format!("the proxy {}", shown(path));
    let (directory_path, name) = split(&resolved(path, "--proxy")?)?;
    let directory = openat(CWD, directory_path.as_slice(), DIRECTORY, Mode::empty()).or_fail(failed)?;
    let file = proxy::open(directory.as_fd(), &name)?;
    let found = Metadata::of(&file).or_fail(failed)?;
    Ok(Proxy { source: Source { file, found, name }, directory: Metadata::of(&directory).or_fail(failed)? })
}

/// Where the output is to be: a name that is free, or an empty directory.
fn output_place(path: &Path) -> Outcome<Entry> {
    let failed = || format!("the output {}", shown(path));
    let (directory, name) = split(&std::path::absolute(path).or_fail(failed)?.into_os_string().into_vec())?;
    let directory_path = resolved(&PathBuf::from(OsString::from_vec(directory)), "the directory of --output")?;
    let place = Entry::new(directory_path, name).or_fail(failed)?;
    let refuse = |why: &str| Err(Failure::permanent(format_args!("the output {} {why}; give a new name", shown(path))));
    match Metadata::at(&place.directory, place.name.c_str()) {
        Err(Errno::NOENT) => {}
        Err(error) => return Err(error).or_fail(failed),
        Ok(found) if !found.is_directory() => return refuse("exists already and is no directory"),
        Ok(found) => {
            if std::fs::read_dir(path).or_fail(failed)?.next().is_some() {
                return refuse("exists already and is not empty");
            }
            if found.device() != Metadata::of(&place.directory).or_fail(failed)?.device() {
                return refuse("is a mount point");
            }
        }
    }
    Ok(place)
}

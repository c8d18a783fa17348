//! The job's standard streams: ours, a file that is opened here and passed, or a name in the sandbox, which the wrapper
//! opens in the job's copy.
//!
//! What is opened in the sandbox before it changes hands is not the file of that name afterwards. So nothing that is
//! written to may be in it.

use super::request::Request;
use super::shown::shown;
use crate::files::metadata::{Identity, Metadata};
use crate::ground::outcome::{Failure, OrFail, Outcome};
use rustix::fs::{
    CWD, FileType, FsWord, Mode, OFlags, RawMode, fchmod, fcntl_getfl, fstatfs, ftruncate, openat, readlink,
};
use rustix::io::Errno;
use std::ffi::OsString;
use std::fs::{File, OpenOptions};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Component, Path, PathBuf};

/// The file system of pipes without a name (`PIPEFS_MAGIC`).
const PIPE_FILE_SYSTEM: FsWord = 0x5049_5045;

/// The permission bits of the job's three streams where they are such: others may do with them what they are for.
const PIPE_MODES: [RawMode; 3] = [0o644, 0o622, 0o622];

/// Where one of the job's standard streams is.
pub(crate) enum Stream {
    /// Open, and passed.
    Passed(OwnedFd),
    /// A file in the sandbox, by its absolute path there.
    Inside(Vec<u8>),
}

impl Stream {
    /// What the wrapper is told.
    pub(super) fn name(&self) -> &[u8] {
        match self {
            Stream::Passed(_) => b"-",
            Stream::Inside(path) => path,
        }
    }

    /// What the wrapper is sent.
    pub(super) fn passed(&self) -> Option<BorrowedFd<'_>> {
        match self {
            Stream::Passed(descriptor) => Some(descriptor.as_fd()),
            Stream::Inside(_) => None,
        }
    }
}

/// Something that is written to and so must not be in the sandbox.
pub(super) struct Held {
    /// What it is.
    pub(super) identity: Identity,
    /// What it is to us, and the remedy.
    pub(super) refusal: Failure,
}

/// All that is written to: our own streams, the record, and the files that were named but for those that are to be
/// opened in the job's copy.
pub(super) fn held(request: &Request) -> Outcome<Vec<Held>> {
    let (input, output, errors) = (std::io::stdin(), std::io::stdout(), std::io::stderr());
    let mut held = Vec::new();
    for (own, name, remedy) in [
        (input.as_fd(), "our standard input", "open it for reading only, or use --stdin FILE"),
        (output.as_fd(), "our standard output", "use --stdout FILE, which is opened in the job's copy"),
        (errors.as_fd(), "our standard error", "use --stderr FILE, which is opened in the job's copy"),
    ] {
        if is_written_to(own)? {
            let refusal = Failure::permanent(format_args!("{name}, and would be lost there; {remedy}"));
            held.push(Held { identity: identity(own)?, refusal });
        }
    }
    if let Some(record) = &request.record {
        let refusal = Failure::usage("the record (--json), and would be lost there; name a file outside");
        held.push(Held { identity: identity(record)?, refusal });
    }
    let sandbox = request.sandbox.as_deref().and_then(|sandbox| sandbox.canonicalize().ok());
    for (path, option) in [(&request.stdout, "--stdout"), (&request.stderr, "--stderr")] {
        let Some(path) = path else { continue };
        // The directory, too: it may be one of the sandbox's that is also mounted elsewhere.
        let above = path.parent().filter(|above| !above.as_os_str().is_empty()).unwrap_or(Path::new("."));
        for (path, what) in [(path.as_path(), "the file"), (above, "the directory")] {
            let Ok(there) = openat(CWD, path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty()) else { continue };
            if !sandbox.as_deref().is_some_and(|sandbox| place(&there).starts_with(sandbox)) {
                let refusal = Failure::permanent(format_args!(
                    "{what} of {option} under another name, {}; name it by the sandbox's path",
                    shown(path)
                ));
                held.push(Held { identity: identity(&there)?, refusal });
            }
        }
    }
    Ok(held)
}

/// The job's standard input, opened before anything is made.
pub(super) fn input(request: &Request) -> Outcome<OwnedFd> {
    match &request.stdin {
        Some(path) => File::open(path).map(OwnedFd::from).or_fail(|| format!("cannot open {} (--stdin)", shown(path))),
        None => duplicate(std::io::stdin().as_fd()),
    }
}

/// The three streams, with standard output and standard error as one if they are one file. What was named is emptied
/// when all are open and the record is known to be none of them.
pub(super) fn with_outputs(request: &Request, input: OwnedFd, sandbox: &[u8]) -> Outcome<[Stream; 3]> {
    let opened = |path: &Option<PathBuf>, own: BorrowedFd<'_>, option: &str| match path {
        Some(path) => open(path, option, sandbox, request.output.as_deref()),
        None => duplicate(own).map(Stream::Passed),
    };
    let output = opened(&request.stdout, std::io::stdout().as_fd(), "--stdout")?;
    let errors = opened(&request.stderr, std::io::stderr().as_fd(), "--stderr")?;
    if let Some(record) = &request.record {
        let written_to = is_written_to(input.as_fd())?.then_some(input.as_fd());
        require_apart(record.as_fd(), written_to.into_iter().chain(output.passed()).chain(errors.passed()))?;
    }
    let are_one = match (&output, &errors) {
        (Stream::Passed(output), Stream::Passed(errors)) => identity(output)? == identity(errors)?,
        // The wrapper opens every name for itself, and each would be written over from its beginning.
        (Stream::Inside(output), Stream::Inside(errors)) if output == errors => {
            return Err(Failure::permanent(
                "--stdout and --stderr are one file in the sandbox; name two, or have 2>&1 in the command",
            ));
        }
        _ => false,
    };
    for (stream, is_named) in [(&output, request.stdout.is_some()), (&errors, request.stderr.is_some() && !are_one)] {
        if let (true, Some(file)) = (is_named, stream.passed()) {
            empty(file).or_fail(|| "cannot empty the file of a standard stream")?;
        }
    }
    let errors = match &output {
        Stream::Passed(output) if request.stderr.is_some() && are_one => Stream::Passed(duplicate(output.as_fd())?),
        _ => errors,
    };
    let streams = [Stream::Passed(input), output, errors];
    // Another account is denied what this one has made, also where it has it open.
    if request.switcher.is_some() {
        for (passed, mode) in streams.iter().map(Stream::passed).zip(PIPE_MODES) {
            passed.into_iter().for_each(|pipe| let_open_again(pipe, mode));
        }
    }
    Ok(streams)
}

/// Lets the job open a pipe that it has under the name of its own descriptor, as scripts do (`echo > /dev/stderr`).
/// That name is the only one, and only for those who could trace a process that has it. A pipe that somebody else has
/// made stays as it is.
fn let_open_again(stream: BorrowedFd<'_>, mode: RawMode) {
    if fstatfs(stream).is_ok_and(|found| found.f_type == PIPE_FILE_SYSTEM) {
        let _ = fchmod(stream, Mode::from_raw_mode(mode));
    }
}

/// Opens a file for the job to write to, if it is not in the sandbox, or is not to be in the end.
fn open(path: &Path, option: &str, sandbox: &[u8], output: Option<&Path>) -> Outcome<Stream> {
    let failed = || format!("cannot open {} ({option})", shown(path));
    if let Some(rest) = output.and_then(|output| below(path, output)) {
        return Ok(Stream::Inside([sandbox, b"/", rest.as_os_str().as_bytes()].concat()));
    }
    let file = OpenOptions::new().write(true).create(true).truncate(false).open(path).or_fail(failed)?;
    let place = place(&file).into_os_string().into_vec();
    let is_inside = place.strip_prefix(sandbox).is_some_and(|rest| rest.starts_with(b"/"));
    Ok(if is_inside { Stream::Inside(place) } else { Stream::Passed(file.into()) })
}

/// What is behind `directory` in `path`, by the names as they were given, or by what there is.
fn below(path: &Path, directory: &Path) -> Option<PathBuf> {
    let rest = |path: PathBuf, directory: PathBuf| path.strip_prefix(directory).map(Path::to_path_buf).ok();
    let absolute = std::path::absolute(path).ok()?;
    let there = || Some(absolute.parent()?.canonicalize().ok()?.join(absolute.file_name()?));
    let named = rest(absolute.clone(), std::path::absolute(directory).ok()?);
    named
        .or_else(|| rest(there()?, directory.canonicalize().ok()?))
        .filter(|rest| rest.components().all(|component| matches!(component, Component::Normal(_))))
}

/// Where something open is by now: no symbolic links are left in it.
fn place(opened: impl AsFd) -> PathBuf {
    let target = readlink(format!("/proc/self/fd/{}", opened.as_fd().as_raw_fd()), Vec::new());
    target.map(|target| OsString::from_vec(target.into_bytes()).into()).unwrap_or_default()
}

/// Empties a regular file.
fn empty(file: BorrowedFd<'_>) -> Result<(), Errno> {
    if Metadata::of(file)?.kind == FileType::RegularFile { ftruncate(file, 0) } else { Ok(()) }
}

/// What the job could write to, too, is no record: it could write one of its own, or keep ours from being written.
fn require_apart<'s>(record: BorrowedFd<'_>, mut streams: impl Iterator<Item = BorrowedFd<'s>>) -> Outcome {
    let record = identity(record)?;
    if streams.any(|stream| identity(stream).is_ok_and(|stream| stream == record)) {
        return Err(Failure::usage(
            "the record (--json) would go where the job writes, too; give it a file of its own (--json FILE)",
        ));
    }
    Ok(())
}

/// Whether whoever has the descriptor can write through it.
fn is_written_to(descriptor: BorrowedFd<'_>) -> Outcome<bool> {
    let flags = fcntl_getfl(descriptor).or_fail(|| "cannot look at a standard stream")?;
    Ok(flags & OFlags::RWMODE != OFlags::RDONLY)
}

fn duplicate(descriptor: BorrowedFd<'_>) -> Outcome<OwnedFd> {
    descriptor.try_clone_to_owned().or_fail(|| "cannot duplicate a standard descriptor")
}

fn identity(descriptor: impl AsFd) -> Outcome<Identity> {
    Metadata::of(descriptor).map(|found| found.identity).or_fail(|| "cannot look at a stream")
}

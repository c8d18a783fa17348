//! Makes a sandbox where there is none yet.

use super::directory::Directory;
use super::entry::{DIRECTORY, Entry};
use super::given::resolved;
use crate::files::component::Component;
use crate::files::sandbox::{Names, below};
use crate::ground::escape::Escaped;
use crate::ground::outcome::{Failure, OrFail, Outcome};
use crate::job::request::Request;
use rustix::fs::{AtFlags, CWD, Mode, OFlags, fchmod, mkdirat, openat, unlinkat};
use rustix::io::Errno;
use std::path::PathBuf;

/// How many names are tried for a new sandbox.
const NAMES: u32 = 1000;

/// Makes a sandbox below the directory that was asked for, or below one that is made for this job only.
pub(super) fn make(request: &Request, output: Option<&Entry>) -> Outcome<Directory> {
    // The other account has to pass through both, and to make a name beside the sandbox.
    let (run_mode, mode) = if request.switcher.is_some() { (0o1777, 0o711) } else { (0o700, 0o700) };
    if let Some(execute) = &request.execute {
        return make_sandbox(&resolved(execute, "--execute")?, mode);
    }
    let above = match output {
        Some(output) => output.directory_path.clone(),
        None => resolved(&temporary(), "the temporary directory")?,
    };
    let run_directory = make_run_directory(above, run_mode)?;
    match make_sandbox(&run_directory.path(), mode) {
        Ok(directory) => Ok(Directory { run_directory: Some(run_directory), ..directory }),
        Err(failure) => {
            run_directory.remove_directory()?;
            Err(failure)
        }
    }
}

/// The directory for what nobody has named a place for.
fn temporary() -> PathBuf {
    std::env::var_os("TMPDIR").map(PathBuf::from).filter(|path| path.is_absolute()).unwrap_or_else(|| "/tmp".into())
}

/// Makes a directory for one job that nobody else knows the name of.
fn make_run_directory(directory_path: Vec<u8>, mode: u32) -> Outcome<Entry> {
    let above = directory_path.clone();
    let failed = || format!("cannot make a directory below {}", Escaped(&above));
    let mut random = [0_u8; 8];
    rustix::rand::getrandom(&mut random, rustix::rand::GetRandomFlags::empty()).or_fail(failed)?;
    let name = format!("condor_glexec_job.{:016x}", u64::from_ne_bytes(random));
    let entry = Entry::new(directory_path, Component::new(name.as_bytes()).or_fail(failed)?).or_fail(failed)?;
    mkdirat(&entry.directory, entry.name.c_str(), Mode::RWXU).or_fail(failed)?;
    // Apart from mkdir, because the umask and mkdir itself take bits away.
    let opened_up = openat(&entry.directory, entry.name.c_str(), DIRECTORY | OFlags::NOFOLLOW, Mode::empty())
        .and_then(|made| fchmod(made, Mode::from_raw_mode(mode)))
        .or_fail(failed);
    match opened_up {
        Ok(()) => Ok(entry),
        Err(failure) => {
            entry.remove_directory()?;
            Err(failure)
        }
    }
}

/// Makes the sandbox itself, under a name that is free.
fn make_sandbox(execute: &[u8], mode: u32) -> Outcome<Directory> {
    let failed = || format!("cannot make a sandbox below {}", Escaped(execute));
    for number in 0..NAMES {
        let suffix = if number == 0 { String::new() } else { format!("_{number}") };
        let name = format!("dir_{}{suffix}", std::process::id());
        let names = Names::find(&below(execute, &Component::new(name.as_bytes()).or_fail(failed)?))?;
        if names.look(&names.parked)?.is_some() {
            continue;
        }
        match mkdirat(&names.parent, names.sandbox.c_str(), Mode::RWXU) {
            Err(Errno::EXIST) => {}
            made => return made.or_fail(failed).and_then(|()| open_up(names, mode)),
        }
    }
    Err(Failure::permanent(format_args!("{}: all names are taken", failed())))
}

/// A sandbox that was just made, with the mode that it needs; if that fails, it is removed again.
fn open_up(names: Names, mode: u32) -> Outcome<Directory> {
    let path = names.sandbox_path();
    let entered = Directory::enter(names, true).and_then(|directory| {
        fchmod(&directory.home, Mode::from_raw_mode(mode))
            .or_fail(|| format!("cannot make a sandbox below {}", Escaped(&directory.names.parent_path)))?;
        Ok(directory)
    });
    if entered.is_err() {
        unlinkat(CWD, path.as_slice(), AtFlags::REMOVEDIR)
            .or_fail(|| format!("cannot remove the sandbox {}", Escaped(&path)))?;
    }
    entered
}

//! Becomes the switcher, which starts the job wrapper in the sandbox.

use crate::files::component::Component;
use crate::files::sandbox::Names;
use crate::ground::argv::Arguments;
use crate::ground::escape::Escaped;
use crate::ground::frame;
use crate::ground::inherited::leave_session_keyring;
use crate::ground::outcome::{Failure, OrFail, Outcome};
use crate::ground::program::Program;
use crate::ground::root::require_ordinary_caller;
use crate::pilot::credential::environment;
use crate::pilot::home::{At, Home};
use crate::sys;
use rustix::fs::{Mode, OFlags, openat};
use std::ffi::CString;
use std::os::unix::ffi::OsStringExt;
use std::process::ExitCode;

const HELP: &str = include_str!("run.txt");

/// The program.
pub fn main() -> ExitCode {
    frame::run(Program::Run, HELP, work)
}

/// What the program is called with.
pub struct RunArguments {
    /// G, the switcher's absolute path.
    pub switcher: Vec<u8>,
    /// P, the proxy's name.
    pub proxy: Component,
    /// S, the sandbox's absolute path.
    pub sandbox: Vec<u8>,
    /// WRAPPER, its absolute path.
    pub wrapper: Vec<u8>,
    /// IN, OUT, ERR, CMD and ARGS.
    pub for_wrapper: Vec<Vec<u8>>,
}

impl RunArguments {
    /// Reads all of them.
    ///
    /// # Errors
    /// Usage.
    pub fn parse(mut arguments: Arguments) -> Outcome<Self> {
        let parsed = RunArguments {
            switcher: arguments.take_absolute("G (the switcher)")?,
            proxy: Component::take(&mut arguments, "P (the proxy's name)")?,
            sandbox: arguments.take_absolute("S (the sandbox)")?,
            wrapper: arguments.take_absolute("WRAPPER")?,
            for_wrapper: arguments.rest(),
        };
        if parsed.for_wrapper.len() < 4 {
            return Err(Failure::usage("IN, OUT, ERR and CMD are needed"));
        }
        Ok(parsed)
    }
}

fn work(arguments: Arguments) -> Outcome<ExitCode> {
    let RunArguments { switcher, proxy, sandbox, wrapper, for_wrapper } = RunArguments::parse(arguments)?;
    require_ordinary_caller()?;
    let home = Home::open(Names::find(&sandbox)?, At::Parked, proxy)?;
    home.open_proxy()?;
    let entered = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let name = &home.names.sandbox;
    let sandbox = openat(&home.names.parent, name.c_str(), entered, Mode::empty())
        .or_fail(|| format!("cannot open the sandbox {name}"))?;
    // Whether it is the target account's, the wrapper checks, which runs as that account.
    rustix::process::fchdir(&sandbox).or_fail(|| format!("cannot enter the sandbox {name}"))?;

    let variables = environment(&home.proxy_path())
        .into_iter()
        .map(|(name, value)| terminated([name.into_vec(), value.into_vec()].join(&b'=')))
        .collect::<Outcome<Vec<_>>>()?;
    let program = terminated(switcher)?;
    let argv = [wrapper].into_iter().chain(for_wrapper).map(terminated).collect::<Outcome<Vec<_>>>()?;
    leave_session_keyring().or_fail(|| "cannot leave the caller's session keyring")?;
    let error = sys::exec::exec(
        &program,
        core::iter::once(program.as_c_str()).chain(argv.iter().map(CString::as_c_str)),
        variables.iter().map(CString::as_c_str),
    );
    Err(Failure::permanent(format_args!("cannot start the switcher {}: {error}", Escaped(program.to_bytes()))))
}

fn terminated(bytes: Vec<u8>) -> Outcome<CString> {
    CString::new(bytes).or_fail(|| "an argument holds a NUL")
}

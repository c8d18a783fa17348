//! Takes the job's environment and standard streams from the Starter and becomes the job. Runs as the target account.
//!
//! What it parses comes from the submitter, whose job runs as this very account right afterwards: that account is its
//! confinement. A filter or domain of its own would be inherited by the job; what that gets is the site's policy and
//! nothing else.

use crate::files::metadata::Metadata;
use crate::ground::argv::Arguments;
use crate::ground::escape::Escaped;
use crate::ground::outcome::{Failure, OrFail, Outcome};
use crate::ground::program::{Program, exit_code};
use crate::ground::terminal::drop_terminal;
use crate::ground::{frame, limits};
use crate::policy::{self, Policy};
use crate::sys::exec::{Environment, exec};
use crate::target::channel::{Channel, Trouble};
use crate::target::environment::{Variables, decode, merge, name};
use crate::target::interpreter::missing_interpreter;
use crate::target::{job_policy, switched};
use core::fmt::Display;
use rustix::fs::{CWD, FileType, Mode, OFlags, fcntl_getfl, fcntl_setfl, ftruncate, openat};
use rustix::io::Errno;
use rustix::process::{DumpableBehavior, geteuid};
use std::borrow::Cow;
use std::ffi::{CStr, CString};
use std::io::ErrorKind;
use std::os::fd::OwnedFd;
use std::process::ExitCode;
use zeroize::Zeroizing;

const HELP: &str = include_str!("wrapper.txt");

/// Stands for a stream that the Starter passes.
const PASSED: &[u8] = b"-";

/// Major and minor number of /dev/null.
const NULL_DEVICE: (u32, u32) = (1, 3);

const NOT_REGULAR: &str = "it is not a regular file";

/// The program.
pub fn main() -> ExitCode {
    frame::run(Program::JobWrapper, HELP, work)
}

/// One of the job's standard streams.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Stream {
    In,
    Out,
    Err,
}

impl Stream {
    const ALL: [Stream; 3] = [Stream::In, Stream::Out, Stream::Err];

    const fn name(self) -> &'static str {
        match self {
            Stream::In => "standard input",
            Stream::Out => "standard output",
            Stream::Err => "standard error",
        }
    }
}

fn work(arguments: Arguments) -> Outcome<ExitCode> {
    // Until it executes the job, this process holds what is only for the job.
    rustix::process::set_dumpable_behavior(DumpableBehavior::NotDumpable)
        .or_fail(|| "cannot protect the process from being traced")?;
    let socket = rustix::io::fcntl_dupfd_cloexec(rustix::stdio::stdin(), 3).or_fail(|| "cannot take the socket")?;
    let switched = switched::require(&socket, switched::is_inside_domain);
    let channel = Channel::new(socket).map_err(|_| Failure::permanent("standard input is not the Starter's socket"))?;
    let WrapperArguments { names, command } = WrapperArguments::parse(arguments).inspect_err(|_| {
        // Where nobody is, standard error has it as well.
        let _ = channel.explain("usage: condor_glexec_job_wrapper IN OUT ERR CMD [ARGS...]");
    })?;
    // While descriptors are free: what comes may need the last one.
    let policy = policy::load();
    let start = converse(channel, &names)?;
    // From here on the fresh socket is the one that the Starter listens to.
    let failure = match switched.and_then(|()| prepare(start.received, &names, policy)) {
        Ok(job) => become_job(&command, job),
        Err(failure) => failure,
    };
    match start.fresh.explain(&failure.to_string()) {
        // Not on standard error, too: that may be the job's file by now.
        Ok(()) => Ok(ExitCode::from(exit_code(Program::JobWrapper, failure.kind))),
        Err(_) => Err(failure),
    }
}

/// What the wrapper is called with: `IN OUT ERR CMD [ARGS...]`.
pub struct WrapperArguments {
    /// IN, OUT and ERR.
    pub names: [Vec<u8>; 3],
    /// CMD and its arguments.
    pub command: Vec<Vec<u8>>,
}

impl WrapperArguments {
    /// Reads all of them.
    ///
    /// # Errors
    /// Usage.
    pub fn parse(mut arguments: Arguments) -> Outcome<Self> {
        let names = [arguments.take("IN")?, arguments.take("OUT")?, arguments.take("ERR")?];
        let first = arguments.take("CMD")?;
        Ok(WrapperArguments { names, command: core::iter::once(first).chain(arguments.rest()).collect() })
    }
}

/// What came over the channel.
pub struct Start {
    /// The socket on which the Starter listens from here on.
    pub fresh: Channel,
    /// The environment and the passed streams, or the first thing that was wrong with them.
    pub received: Outcome<(Variables, [Option<OwnedFd>; 3])>,
}

/// Takes what the Starter sends; `names` are IN, OUT and ERR.
///
/// # Errors
/// Where no fresh socket can be had; it is said on the first one, too.
pub fn converse(mut channel: Channel, names: &[Vec<u8>; 3]) -> Outcome<Start> {
    let agreed = names.iter().filter(|name| **name == PASSED).count().saturating_add(1);
    receive(&mut channel, names).or_else(|failure| match channel.read_on(agreed) {
        Some(fresh) => Ok(Start { fresh, received: Err(failure) }),
        None => {
            let _ = channel.explain(&failure.to_string());
            Err(failure)
        }
    })
}

/// Reads the whole conversation, also when what an early part of it holds is wrong: an error is only heard on the
/// fresh socket at its end. Fails where it cannot be followed to there.
fn receive(channel: &mut Channel, names: &[Vec<u8>; 3]) -> Outcome<Start> {
    channel.greet().or_fail(|| "cannot greet the Starter")?;
    let mut variables = receive_environment(channel)?;
    let mut streams = [const { None }; 3];
    for (stream, (name, place)) in Stream::ALL.into_iter().zip(names.iter().zip(&mut streams)) {
        if name != PASSED {
            continue;
        }
        match channel.read_descriptor() {
            Ok(descriptor) => {
                variables = variables.and_then(|variables| check_passed(&descriptor, stream).map(|()| variables));
                *place = Some(descriptor);
            }
            Err(trouble) => return Err(first_of(variables, stream.name(), &trouble)),
        }
    }
    let fresh = match channel.read_descriptor().and_then(Channel::new) {
        Ok(fresh) => fresh,
        Err(trouble) => return Err(first_of(variables, "the fresh socket", &trouble)),
    };
    let complete = channel.expect_no_more().or_fail(|| "after the fresh socket");
    Ok(Start { fresh, received: variables.and_then(|variables| complete.map(|()| (variables, streams))) })
}

/// What went wrong first says more than what it has led to.
fn first_of(earlier: Outcome<Variables>, what: &str, trouble: &Trouble) -> Failure {
    earlier.err().unwrap_or_else(|| Failure::permanent(format_args!("{what}: {trouble}")))
}

/// The outer error ends the conversation, the inner one only refuses the environment.
fn receive_environment(channel: &mut Channel) -> Outcome<Outcome<Variables>> {
    let context = || "receiving the job's environment";
    let mut length = [0_u8; 4];
    channel.read(&mut length).or_fail(context)?;
    let refused = |why: &str| Failure::permanent(format_args!("the job's environment is refused: {why}"));
    let count = usize::try_from(i32::from_ne_bytes(length)).map_err(|_| refused("its length is negative"))?;
    if count > limits::ENVIRONMENT_BYTES {
        return Err(refused(&format!("it is larger than {} bytes", limits::ENVIRONMENT_BYTES)));
    }
    let mut raw = Zeroizing::new(vec![0_u8; count]);
    channel.read(&mut raw).or_fail(context)?;
    Ok(decode(&raw).map_err(Failure::permanent))
}

/// A passed descriptor can be anything that a job can read from or write to: a file, pipe, socket or terminal.
fn check_passed(descriptor: &OwnedFd, stream: Stream) -> Outcome {
    let refused = |why: &str| Err(Failure::permanent(format_args!("the descriptor for {} is {why}", stream.name())));
    let flags = fcntl_getfl(descriptor).or_fail(|| "cannot look at a descriptor")?;
    let found = Metadata::of(descriptor).or_fail(|| "cannot look at a descriptor")?;
    if flags.contains(OFlags::PATH) {
        return refused("only a handle (O_PATH)");
    }
    if found.is_directory() {
        return refused("a directory");
    }
    match (flags & OFlags::RWMODE, stream) {
        (OFlags::WRONLY, Stream::In) => refused("not readable"),
        (OFlags::RDONLY, Stream::Out | Stream::Err) => refused("not writable"),
        _ => Ok(()),
    }
}

/// All that the job gets besides its command.
struct Job {
    /// What the switcher left.
    base: Vec<CString>,
    /// What the Starter sent.
    variables: Variables,
    streams: [OwnedFd; 3],
    policy: Policy,
}

fn prepare(
    received: Outcome<(Variables, [Option<OwnedFd>; 3])>,
    names: &[Vec<u8>; 3],
    policy: Outcome<Policy>,
) -> Outcome<Job> {
    let (variables, [passed_in, passed_out, passed_err]) = received?;
    let policy = policy?;
    require_own_directory()?;
    let [name_in, name_out, name_err] = names;
    let open = |passed: Option<OwnedFd>, name: &[u8], stream| passed.map_or_else(|| open_named(name, stream), Ok);
    let streams = [
        open(passed_in, name_in, Stream::In)?,
        open(passed_out, name_out, Stream::Out)?,
        open(passed_err, name_err, Stream::Err)?,
    ];
    Ok(Job { base: Environment::of_process().collect(), variables, streams, policy })
}

/// The sandbox is this account's own, or somebody put another directory in its place.
fn require_own_directory() -> Outcome {
    let here = Metadata::at(CWD, c".").or_fail(|| "cannot look at the working directory")?;
    if here.owner == geteuid().as_raw() {
        return Ok(());
    }
    Err(Failure::permanent(format_args!(
        "the working directory belongs to uid {}, not to the account that the proxy maps to: it is not the job's sandbox",
        here.owner
    )))
}

fn open_named(name: &[u8], stream: Stream) -> Outcome<OwnedFd> {
    // The name comes last: a long one must not cut off the reason.
    let refused = |why: &dyn Display| {
        Failure::permanent(format_args!("cannot open the {}: {why}: {}", stream.name(), Escaped(name)))
    };
    let path = CString::new(name).map_err(|error| refused(&error))?;
    // Opened without waiting and without becoming a controlling terminal; looked at; only then used.
    let careful = OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let opened = if stream == Stream::In {
        openat(CWD, path.as_c_str(), OFlags::RDONLY | careful, Mode::empty())
    } else {
        let new = OFlags::CREATE | OFlags::EXCL;
        match openat(CWD, path.as_c_str(), OFlags::WRONLY | new | careful, Mode::RUSR | Mode::WUSR) {
            Err(Errno::EXIST) => openat(CWD, path.as_c_str(), OFlags::WRONLY | careful, Mode::empty()),
            other => other,
        }
    };
    let file = opened.map_err(|errno| match errno {
        Errno::LOOP => refused(&"it is a symbolic link"),
        // A FIFO that nobody reads, or a socket.
        Errno::NXIO => refused(&NOT_REGULAR),
        other => refused(&other),
    })?;
    match Metadata::of(&file).map_err(|errno| refused(&errno))?.kind {
        FileType::RegularFile if stream == Stream::In => {}
        FileType::RegularFile => ftruncate(&file, 0).map_err(|errno| refused(&errno))?,
        FileType::CharacterDevice if is_null_device(&file) => {}
        _ => return Err(refused(&NOT_REGULAR)),
    }
    let flags = fcntl_getfl(&file).map_err(|errno| refused(&errno))?;
    fcntl_setfl(&file, flags.difference(OFlags::NONBLOCK)).map_err(|errno| refused(&errno))?;
    Ok(file)
}

fn is_null_device(file: &OwnedFd) -> bool {
    rustix::fs::fstat(file)
        .is_ok_and(|found| (rustix::fs::major(found.st_rdev), rustix::fs::minor(found.st_rdev)) == NULL_DEVICE)
}

/// Returns only if that failed, with the reason.
fn become_job(command: &[Vec<u8>], job: Job) -> Failure {
    let Job { base, variables, streams: [input, output, errors], policy } = job;
    let mut environment = merge(base.iter().map(CString::as_c_str), &variables);
    environment.retain(|entry| !policy.secret_variables.iter().any(|secret| secret == name(entry.to_bytes())));
    let argv: Result<Vec<CString>, _> = command.iter().map(|word| CString::new(&word[..])).collect();
    let Ok(argv) = argv else { return Failure::permanent("an argument holds a NUL") };
    let Some(path) = argv.first() else { return Failure::permanent("there is no command") };
    let replaced = rustix::stdio::dup2_stdin(&input)
        .and_then(|()| rustix::stdio::dup2_stdout(&output))
        .and_then(|()| rustix::stdio::dup2_stderr(&errors));
    if let Err(errno) = replaced {
        return Failure::permanent(format_args!("cannot set the job's standard streams: {errno}"));
    }
    if let Err(error) = drop_terminal() {
        return Failure::permanent(format_args!("cannot give the terminal up: {error}"));
    }
    if let Err(failure) = job_policy::take_on(&policy.job) {
        return failure;
    }
    let error = exec(path, argv.iter().map(CString::as_c_str), environment.iter().map(Cow::<CStr>::as_ref));
    let text = error.to_string();
    let text = text.split(" (os error").next().unwrap_or_default();
    match error.kind() {
        ErrorKind::NotFound => Failure::permanent(format_args!("execve error: {text}{}", missing_interpreter(path))),
        _ => Failure::permanent(format_args!("execve error: {text}")),
    }
}

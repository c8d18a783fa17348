//! Signals a process of the target account. The pilot side.

#![forbid(unsafe_code)]

use crate::confine::landlock::Grant;
use crate::confine::phase::{KILL_PILOT, reading};
use crate::confine::{Confined, confine};
use crate::files::path::{split, trusted_directory};
use crate::files::proxy;
use crate::ground::argv::Arguments;
use crate::ground::frame;
use crate::ground::limits;
use crate::ground::outcome::{Failure, OrFail, Outcome};
use crate::ground::program::Program;
use crate::ground::signals;
use crate::pilot::family::Hunt;
use crate::pilot::switch::{Request, Switched, switch};
use crate::pilot::watchdog::attend;
use crate::policy::Policy;
use crate::protocol::connection::{Packet, quoted};
use crate::protocol::greeting::Operation;
use crate::protocol::wire::Message;
use rustix::fs::{CWD, Mode, openat};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, geteuid, getppid, pidfd_open};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::process::ExitCode;

const HELP: &str = "\
usage: condor_glexec_kill G PROXY PID SIGNAL R D
       condor_glexec_kill --family G PROXY PID 9 R D

Sends SIGNAL to the process PID as the account that the job's proxy maps to. Called by HTCondor's ProcD.

  G       absolute path of the switcher (glexec)
  PROXY   absolute path of the job's proxy (S.condor/P): this account's; gets mode 0600
  PID     a process id, decimal, 2 or more
  SIGNAL  a signal number, decimal, 0 to 64; 0 only asks whether the process could be signalled
  R       how often the switcher is called again after it exited with 202 or 203
  D       seconds to wait at least before that

The process is taken hold of (pidfd) before anything else happens, so that the signal cannot reach a later one with
the same number. A process that has ended but is not yet reaped counts as signalled.

With --family, PID is the caller of this program, a child subreaper or process 1; everything that descends from it, but for this
program and what it starts, is stopped and then killed, through one call of the switcher, until nothing is left.

Exit codes: 0 signalled, 1 usage, 2 no such process, not the target account's, or failed, 3 failed after R retries.
";

/// The program.
pub fn main() -> ExitCode {
    frame::run(Program::Kill, HELP, work)
}

/// What the program is called with.
pub struct KillArguments {
    /// Whether PID's whole family is to end.
    pub family: bool,
    /// G, the switcher's absolute path.
    pub switcher: Vec<u8>,
    /// PROXY, its absolute path.
    pub proxy: Vec<u8>,
    /// PID.
    pub pid: u32,
    /// SIGNAL.
    pub signal: u8,
    /// R, how often a refusal that may pass is tried again.
    pub retries: u32,
    /// D, the least pause before that, in seconds.
    pub delay: u32,
}

impl KillArguments {
    /// Reads all of them.
    ///
    /// # Errors
    /// Usage.
    pub fn parse(mut arguments: Arguments) -> Outcome<Self> {
        let family = arguments.take_flag(b"--family");
        let switcher = arguments.take_absolute("G (the switcher)")?;
        let proxy = arguments.take_absolute("PROXY")?;
        // The caller may be the first process of a container; nobody else asks for that one to be signalled.
        let (pids, signals, signal_name) =
            if family { (1, 9..=9, "SIGNAL (9 with --family)") } else { (2, 0..=limits::SIGNAL_MAX, "SIGNAL") };
        let pid = arguments.take_decimal("PID", pids..=limits::PID_MAX)?;
        let signal = arguments.take_decimal(signal_name, signals)?;
        let parsed = KillArguments {
            family,
            switcher,
            proxy,
            pid,
            signal: u8::try_from(signal).or_fail(|| "SIGNAL")?,
            retries: arguments.take_retries()?,
            delay: arguments.take_delay()?,
        };
        arguments.end()?;
        Ok(parsed)
    }
}

fn work(arguments: Arguments) -> Outcome<ExitCode> {
    let arguments = KillArguments::parse(arguments)?;
    if arguments.family {
        return end_family(arguments);
    }
    // At once, before the number can be another process's.
    let process = hold(arguments.pid)?;
    attend(Program::Kill, || signal_one(arguments, &process))
}

fn signal_one(arguments: KillArguments, process: &OwnedFd) -> Outcome {
    let KillArguments { switcher, proxy, pid, signal, retries, delay, .. } = arguments;
    let signaller = Signaller::start(switcher, proxy, retries, delay, &[])?;
    let signalled = signaller.signal(process.as_fd(), signal);
    signaller.end();
    match signalled? {
        Ok(()) => Ok(()),
        Err(Errno::PERM) => {
            Err(Failure::permanent(format_args!("process {pid} does not belong to the account that the proxy maps to")))
        }
        Err(Errno::SRCH) => Err(gone(pid)),
        Err(errno) => Err(Failure::permanent(format_args!("cannot send signal {signal} to process {pid}: {errno}"))),
    }
}

fn end_family(arguments: KillArguments) -> Outcome<ExitCode> {
    let root = arguments.pid;
    if getppid().is_none_or(|parent| parent.as_raw_nonzero().get().unsigned_abs() != root) {
        return Err(Failure::usage(format_args!("PID is {root}; with --family it must be the caller of this program")));
    }

    let own = std::process::id();
    attend(Program::Kill, || end_all(arguments, own))
}

/// Ends what descends from PID but `except`, this program's first process, and what is below it.
fn end_all(arguments: KillArguments, except: u32) -> Outcome {
    let KillArguments { switcher, proxy, pid: root, retries, delay, .. } = arguments;
    let proc = openat(CWD, c"/proc", crate::files::walk::DIRECTORY, Mode::empty()).or_fail(|| "cannot open /proc")?;
    let reading = Grant { object: proc.as_fd(), rights: reading() };
    let signaller = Signaller::start(switcher, proxy, retries, delay, &[reading])?;
    let deliver = |process: BorrowedFd<'_>, signal| signaller.signal(process, signal);
    let ended = Hunt::new(&signaller.proof, proc.as_fd(), root, except, deliver).end();
    signaller.end();
    ended
}

fn gone(pid: u32) -> Failure {
    Failure::permanent(format_args!("there is no process {pid} (any more)"))
}

fn hold(pid: u32) -> Outcome<OwnedFd> {
    let number = i32::try_from(pid).ok().and_then(Pid::from_raw).ok_or_else(|| gone(pid))?;
    pidfd_open(number, PidfdFlags::empty()).map_err(|errno| match errno {
        Errno::SRCH => gone(pid),
        // A thread's number is not a process.
        other => Failure::permanent(format_args!("cannot take hold of process {pid}: {other}")),
    })
}

/// A switch through which any number of processes can be signalled.
pub struct Signaller {
    switched: Switched,
    proof: Confined,
}

impl Signaller {
    /// Checks the proxy, switches and confines this process to what `grants` allow.
    ///
    /// # Errors
    /// As [`switch`]; when the proxy is not the pilot's own.
    pub fn start(
        switcher: Vec<u8>,
        proxy_path: Vec<u8>,
        retries: u32,
        delay: u32,
        grants: &[Grant<'_>],
    ) -> Outcome<Self> {
        let may_lack = Policy::load()?.may_lack;
        let (directory_path, name) = split(&proxy_path)?;
        let directory = trusted_directory(&directory_path, &[geteuid().as_raw()])?;
        let listed = openat(&directory, c".", crate::files::walk::DIRECTORY, Mode::empty())
            .or_fail(|| "cannot open the proxy's directory")?;
        proxy::close_to_others(listed.as_fd(), &name);
        proxy::open(listed.as_fd(), &name)?;
        let switched = switch(&Request { switcher, proxy: proxy_path, operation: Operation::Kill, retries, delay })?;
        signals::ignore_write_signals();
        let proof = confine(&KILL_PILOT, grants, may_lack)?;
        Ok(Signaller { switched, proof })
    }

    /// Sends `signal` to the process behind a pidfd. The inner error is what the kernel answered.
    ///
    /// # Errors
    /// When the target side is gone or answers with something else.
    pub fn signal(&self, process: BorrowedFd<'_>, signal: u8) -> Outcome<Result<(), Errno>> {
        let connection = &self.switched.connection;
        connection.send(&Message::Signal(signal).encode(), &[process]).or_fail(|| "asking the target side")?;
        let mut packet = Packet::without_descriptors();
        connection.receive(&mut packet).or_fail(|| "waiting for the target side")?;
        match Message::decode(packet.bytes()) {
            Ok(Message::Signalled(0)) => Ok(Ok(())),
            Ok(Message::Signalled(errno)) => Ok(Err(Errno::from_raw_os_error(errno.into()))),
            Ok(Message::Failed(text)) => {
                Err(Failure::permanent(format_args!("the target side reports: {}", quoted(text))))
            }
            _ => Err(Failure::permanent("the target side answered with something else than a result")),
        }
    }

    /// Ends the switch.
    pub fn end(self) {
        self.switched.end();
    }
}

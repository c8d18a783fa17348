//! Signals a process of the target account. The pilot side.

use crate::confine::landlock::Grant;
use crate::confine::side::{KILL_PILOT, reading};
use crate::family::lineage::only_descendant;
use crate::family::{Hunt, Proc};
use crate::files::path::{split, trusted_directory};
use crate::files::proxy;
use crate::files::walk::DIRECTORY;
use crate::ground::argv::Arguments;
use crate::ground::outcome::{Failure, OrFail, Outcome};
use crate::ground::program::Program;
use crate::ground::wait::wait_for;
use crate::ground::{frame, limits};
use crate::pilot::switch::Switcher;
use crate::pilot::target_side::TargetSide;
use crate::pilot::watchdog::attend;
use crate::policy;
use crate::protocol::greeting::Operation;
use rustix::event::PollFlags;
use rustix::fs::{CWD, Mode, openat};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, Signal, geteuid, getppid, pidfd_open, test_kill_process};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::process::ExitCode;

const HELP: &str = include_str!("kill.txt");

/// The program.
pub fn main() -> ExitCode {
    frame::run(Program::Kill, HELP, work)
}

/// What the program is called with.
pub struct KillArguments {
    /// Whether PID's whole family is to end.
    pub family: bool,
    /// G, R and D.
    pub switcher: Switcher,
    /// PROXY, its absolute path.
    pub proxy: Vec<u8>,
    /// PID.
    pub pid: Pid,
    /// SIGNAL.
    pub signal: u8,
}

impl KillArguments {
    /// Reads all of them.
    ///
    /// # Errors
    /// Usage.
    pub fn parse(mut arguments: Arguments) -> Outcome<Self> {
        let family = arguments.take_flag(b"--family");
        let path = arguments.take_absolute("G (the switcher)")?;
        let proxy = arguments.take_absolute("PROXY")?;
        // The caller may be the first process of a container; nobody else asks for that one to be signalled.
        let (pids, signals, signal_name) =
            if family { (1, 9..=9, "SIGNAL (9 with --family)") } else { (2, 0..=limits::SIGNAL_MAX, "SIGNAL") };
        let number = arguments.take_decimal("PID", pids..=limits::PID_MAX)?;
        let pid = i32::try_from(number).ok().and_then(Pid::from_raw).ok_or("no process id").or_fail(|| "PID")?;
        let signal = u8::try_from(arguments.take_decimal(signal_name, signals)?).or_fail(|| "SIGNAL")?;
        let (retries, delay) = (arguments.take_retries()?, arguments.take_delay()?);
        arguments.end()?;
        Ok(KillArguments { family, switcher: Switcher { path, retries, delay }, proxy, pid, signal })
    }
}

fn work(arguments: Arguments) -> Outcome<ExitCode> {
    let arguments = KillArguments::parse(arguments)?;
    if arguments.family {
        return end_family(&arguments);
    }
    // At once, before the number can be another process's.
    let process = hold(arguments.pid)?;
    attend(Program::Kill, || signal_one(&arguments, &process))
}

fn signal_one(arguments: &KillArguments, process: &OwnedFd) -> Outcome {
    let (pid, signal) = (arguments.pid.as_raw_nonzero(), arguments.signal);
    let proc = openat(CWD, c"/proc", DIRECTORY, Mode::empty()).ok();
    let grant = proc.as_ref().map(|proc| Grant { object: proc.as_fd(), rights: reading() });
    let answered = through_target(arguments, grant.as_slice(), |target| {
        let direct = deliver(target, process.as_fd(), signal)?;
        match proc.as_ref().filter(|_| direct == Err(Errno::PERM)) {
            None => Ok(direct),
            // The caller may know the job by a switcher that stays, and is root's.
            Some(proc) => Ok(only_descendant(Proc::new(proc.as_fd(), target.proof), number(arguments.pid), |below| {
                let answer = deliver(target, below.as_fd(), signal)?;
                Ok((answer != Err(Errno::PERM)).then_some(answer))
            })?
            .unwrap_or(direct)),
        }
    })?;
    match answered {
        Ok(()) => Ok(()),
        Err(Errno::PERM) => {
            Err(Failure::permanent(format_args!("process {pid} does not belong to the account that the proxy maps to")))
        }
        Err(Errno::SRCH) => Err(gone(arguments.pid)),
        Err(errno) => Err(Failure::permanent(format_args!("cannot send signal {signal} to process {pid}: {errno}"))),
    }
}

/// Has the signal sent. After SIGKILL nobody's word counts but the pidfd's: it is readable when the process has ended,
/// reaped or not.
fn deliver(target: &TargetSide<'_>, process: BorrowedFd<'_>, signal: u8) -> Outcome<Result<(), Errno>> {
    let answer = target.signal(process, signal)?;
    if answer.is_ok()
        && i32::from(signal) == Signal::KILL.as_raw()
        && !wait_for(process, PollFlags::IN, limits::KILL_DEADLINE).or_fail(|| "cannot watch the process")?
    {
        return Err(Failure::permanent(format_args!(
            "the process is still alive {} s after SIGKILL; look at what keeps it in the kernel, or whether somebody has \
             swallowed the signal",
            limits::KILL_DEADLINE.as_secs()
        )));
    }
    Ok(answer)
}

fn end_family(arguments: &KillArguments) -> Outcome<ExitCode> {
    let root = arguments.pid;
    if getppid() != Some(root) {
        return Err(Failure::usage(format_args!(
            "PID is {}; with --family it must be the caller of this program",
            root.as_raw_nonzero()
        )));
    }
    // This program's first process, and what is below it.
    let except = rustix::process::getpid();
    attend(Program::Kill, || {
        let proc = openat(CWD, c"/proc", DIRECTORY, Mode::empty()).or_fail(|| "cannot open /proc")?;
        let reading = Grant { object: proc.as_fd(), rights: reading() };
        through_target(arguments, &[reading], |target| {
            let processes = Proc::new(proc.as_fd(), target.proof);
            let signal = |process: BorrowedFd<'_>, signal| target.signal(process, signal);
            Hunt::new(processes, number(root), number(except), signal).end()
        })
    })
}

fn number(pid: Pid) -> u32 {
    pid.as_raw_nonzero().get().unsigned_abs()
}

fn gone(pid: Pid) -> Failure {
    Failure::permanent(format_args!("there is no process {} (any more)", pid.as_raw_nonzero()))
}

fn hold(pid: Pid) -> Outcome<OwnedFd> {
    pidfd_open(pid, PidfdFlags::empty()).map_err(|errno| match errno {
        Errno::SRCH => gone(pid),
        // Before Linux 6.16 also said of a process that is just being reaped, which nobody finds by its number then.
        Errno::INVAL if test_kill_process(pid) == Err(Errno::SRCH) => gone(pid),
        // A thread's number is not a process.
        other => Failure::permanent(format_args!("cannot take hold of process {}: {other}", pid.as_raw_nonzero())),
    })
}

/// Checks the proxy and switches; any number of processes can be signalled by `work`, which is confined to `grants`.
fn through_target<T>(
    arguments: &KillArguments,
    grants: &[Grant<'_>],
    work: impl FnOnce(&mut TargetSide<'_>) -> Outcome<T>,
) -> Outcome<T> {
    let may_lack = policy::load()?.may_lack;
    let (directory_path, name) = split(&arguments.proxy)?;
    let directory = trusted_directory(&directory_path, &[geteuid().as_raw()])?;
    let listed = openat(&directory, c".", DIRECTORY, Mode::empty()).or_fail(|| "cannot open the proxy's directory")?;
    proxy::close_to_others(listed.as_fd(), &name);
    proxy::open(listed.as_fd(), &name)?;
    let switched = arguments.switcher.switch(&arguments.proxy, Operation::Kill)?;
    switched.confined(&KILL_PILOT, grants, may_lack, work)
}

//! What every program does before and after its work: sanitise what it inherited, and report one line and one exit
//! code.

use crate::ground::argv::Arguments;
use crate::ground::inherited::{cancel_timers, close_from};
use crate::ground::limits;
use crate::ground::outcome::{Kind, OrFail, Outcome};
use crate::ground::program::{Program, exit_code};
use crate::ground::resources::{limit, switch_core_off};
use crate::ground::signals::{ignore_write_signals, reset_signals};
use rustix::process::{DumpableBehavior, Resource, Rlimit};
use std::io::Write;
use std::process::ExitCode;

/// Runs a program from its first instruction to its exit code.
///
/// Descriptors above 2 are closed, signals reset and timers switched off before an argument is read; 0, 1 and 2 are
/// open from here on (Rust's start-up opens `/dev/null` for those that are closed). `--help` and `--version` are
/// answered when they stand alone.
pub(crate) fn run(program: Program, help: &str, work: impl FnOnce(Arguments) -> Outcome<ExitCode>) -> ExitCode {
    match sanitise().and_then(|()| answer(program, help, work)) {
        Ok(code) => code,
        Err(failure) => {
            let is_usage = failure.kind == Kind::Usage;
            let code = conclude(program, Err(failure));
            if is_usage {
                let usage = help.lines().take_while(|line| !line.is_empty());
                print(&mut std::io::stderr(), usage.map(|line| format!("{line}\n")).collect::<String>().as_bytes());
            }
            ExitCode::from(code)
        }
    }
}

/// Says why the work was not done, if so, and gives the exit code.
pub(crate) fn conclude(program: Program, result: Outcome) -> u8 {
    result.map_or_else(
        |failure| {
            report(program, &failure);
            exit_code(program, failure.kind)
        },
        |()| 0,
    )
}

fn answer(program: Program, help: &str, work: impl FnOnce(Arguments) -> Outcome<ExitCode>) -> Outcome<ExitCode> {
    let mut alone = std::env::args_os().skip(1);
    let (Some(only), None) = (alone.next(), alone.next()) else { return work(Arguments::of_process()?) };
    // The others' single letters are their contract's.
    let is = |long: &str, short: &str| only == long || program == Program::Job && only == short;
    if is("--help", "-h") {
        print_all(help)
    } else if is("--version", "-V") {
        print_all(&format!("{} {}\n", program.name(), env!("CARGO_PKG_VERSION")))
    } else {
        work(Arguments::of_process()?)
    }
}

/// What somebody asked for on stdout, and has to get.
fn print_all(text: &str) -> Outcome<ExitCode> {
    ignore_write_signals();
    let mut stdout = std::io::stdout();
    match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
        // Whoever reads no further has seen what they wanted.
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => Err(error).or_fail(|| "cannot write to stdout"),
        _ => Ok(ExitCode::SUCCESS),
    }
}

/// One line on stderr: the program, then the failure, at most [`limits::REPORT_BYTES`] bytes.
pub(crate) fn report(program: Program, text: &impl core::fmt::Display) {
    let mut line = format!("{}: {text}", program.name());
    line.truncate(line.floor_char_boundary(limits::REPORT_BYTES));
    line.push('\n');
    print(&mut std::io::stderr(), line.as_bytes());
}

/// One line on stdout, for whoever asked for it.
pub(crate) fn answer_line(line: &str) {
    print(&mut std::io::stdout(), format!("{line}\n").as_bytes());
}

/// Writes to a standard stream. That nobody reads it any more is no reason to fail, nor to die of SIGPIPE.
fn print(stream: &mut dyn Write, bytes: &[u8]) {
    ignore_write_signals();
    let _ = stream.write_all(bytes).and_then(|()| stream.flush());
}

fn sanitise() -> Outcome {
    reset_signals();
    cancel_timers();
    close_from(3).or_fail(|| "cannot close the descriptors that the caller left open")
}

/// For a process that holds the job's or the pilot's data: no core file, no tracing by others of the same account, and
/// a umask that opens nothing. Only for processes that do not execute the job themselves.
///
/// # Errors
/// When the kernel refuses one of them.
pub(crate) fn guard_memory() -> Outcome {
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o077));
    switch_core_off().or_fail(|| "cannot switch core files off")?;
    rustix::process::set_dumpable_behavior(DumpableBehavior::NotDumpable)
        .or_fail(|| "cannot protect the process from being traced")
}

/// Lets this process, and what it starts from now on, use as much as the hard limit says. Not in a process that becomes
/// the job.
///
/// A refusal is no reason to fail: the soft limit may well do.
pub(crate) fn raise_limit(resource: Resource) {
    let _ = limit(resource)
        .map(|Rlimit { maximum, .. }| rustix::process::setrlimit(resource, Rlimit { current: maximum, maximum }));
}

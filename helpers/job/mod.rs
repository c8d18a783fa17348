//! Plays the part of HTCondor's Starter and ProcD for one job: setup, run, watch, end the family, cleanup.
//!
//! [`run`] is for other programs; [`main`] is the program `condor_glexec_job`. This process is never confined, because
//! it has to start the switcher again and again, and so it parses nothing that is hostile: all that is done by the
//! helpers that it starts.

#![forbid(unsafe_code)]

pub mod environment;
mod life;
pub mod options;
mod record;
mod request;
mod shown;
mod sink;
mod starter;
mod streams;
mod supervise;
mod workspace;

pub use crate::files::component::Component;
pub use record::{EndedBy, Phase, Record, Status, figures};
pub use request::{Input, News, Request};
pub use starter::LastWord;

use crate::ground::outcome::{Failure, Kind, Outcome};
use crate::ground::program::Program;
use crate::ground::resources::switch_core_off;
use crate::ground::{frame, signals};
use crate::sys;
use life::Life;
use options::{HELP, Options};
use rustix::process::{PidfdFlags, getpid, pidfd_open};
use sink::Sink;
use std::io::IsTerminal;
use std::os::fd::AsFd;
use std::process::ExitCode;

/// The program.
pub fn main() -> ExitCode {
    frame::run(Program::Job, HELP, |arguments| work(options::parse(arguments)?))
}

fn work(options: Options) -> Outcome<ExitCode> {
    let Options { mut request, json, verbose } = options;
    // A file size limit is an error to report; what this starts resets its signals itself.
    signals::ignore_write_signals();
    let sink = json.map(|destination| Sink::open(&destination, request.sandbox.as_deref())).transpose()?;
    request.record = sink.as_ref().map(Sink::file);
    let watched = verbose || std::io::stderr().is_terminal();
    let record = run(&request, &mut |news| match news {
        News::Step(text) if watched => frame::report(Program::Job, &text),
        News::Step(_) => {}
        News::Notice(text) => frame::report(Program::Job, &text),
    });
    // Where the record itself is what is wrong, it must not be written.
    if let Some(sink) = sink
        && record.failure.as_ref().is_none_or(|failure| failure.kind != Kind::Usage)
    {
        sink.write(format!("{}\n", record.to_json()).as_bytes())?;
    }
    match (record.failure, record.status) {
        (Some(failure), _) => Err(failure),
        (None, Some(status)) => Ok(end_like(status)),
        (None, None) => Err(Failure::permanent("it is not known how the job ended")),
    }
}

/// Ends this process as the job has ended.
fn end_like(status: Status) -> ExitCode {
    match status {
        Status::Exited(code) => ExitCode::from(code),
        Status::Killed(number) => {
            signals::reset_signals();
            let _ = switch_core_off();
            if let Ok(number) = u8::try_from(number)
                && let Ok(own) = pidfd_open(getpid(), PidfdFlags::empty())
            {
                let _ = sys::pidfd_signal(own.as_fd(), number);
            }
            // What shells say for a signal, should it not have been deadly.
            ExitCode::from(u8::try_from(number.saturating_add(128)).unwrap_or(u8::MAX))
        }
    }
}

/// Runs one job from the making of its sandbox to the leaving of its output, and says what happened. It never fails
/// otherwise than by [`Record::failure`].
///
/// For the time of the call this process is a child subreaper, has its hard limit of processes as the soft one, waits
/// for every child of its own, and the calling thread takes SIGTERM, SIGINT, SIGHUP (which end the job) and SIGCHLD
/// from a queue: SIGCHLD must not be ignored, there must be no other children, and where there are other threads, they
/// should block these signals, or the signals act on them as before. Everything that this process starts meanwhile is
/// the job's and ends with it.
pub fn run(request: &Request, tell: &mut dyn FnMut(News<'_>)) -> Record {
    let mut record = Record::new();
    if let Err(failure) = Life::begin(request, &mut record, tell).and_then(Life::live) {
        record.failure.get_or_insert(failure);
    }
    record.end();
    record
}

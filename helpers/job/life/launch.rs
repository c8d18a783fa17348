//! The start of the job, again while the switcher's refusal may pass.

use super::call::Helpers;
use super::prepare::Equipment;
use crate::ground::child::Leader;
use crate::ground::escape::Escaped;
use crate::ground::limits;
use crate::ground::outcome::{Failure, OrFail, Outcome};
use crate::ground::pipe::Reader;
use crate::ground::program::Program;
use crate::ground::switcher_end::{End, TRANSIENT};
use crate::ground::wait::later;
use crate::job::record::Status;
use crate::job::request::News;
use crate::job::shown::readable;
use crate::job::starter::{Conversation, Unstarted};
use crate::job::supervise::Supervisor;
use core::time::Duration;
use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};
use rustix::process::Pid;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::process::Stdio;
use std::time::Instant;

/// Starts the job. While the switcher answers 202 or 203, it is tried again.
pub(super) fn launch(helpers: &mut Helpers<'_, '_>, given: &Equipment) -> Outcome<Pid> {
    let mut tries_left = helpers.request.retries;
    loop {
        helpers
            .journal
            .step("start", &format!("starting {}", Escaped(helpers.request.command.first().map_or(b"", |name| name))));
        require_no_stop(helpers.supervisor)?;
        let (unstarted, printed) = match try_launch(helpers, given)? {
            Ok(root) => return Ok(root),
            Err(unstarted) => unstarted,
        };
        let may_pass = may_pass(&unstarted);
        let failure = failure(unstarted, &printed);
        if !may_pass || tries_left == 0 {
            return Err(failure);
        }
        tries_left = tries_left.saturating_sub(1);
        (helpers.journal.tell)(News::Step(&format!("{failure}; trying again")));
        pause(helpers.supervisor, later(Duration::from_secs(helpers.request.delay.into())))?;
    }
}

/// Does nothing for a while, unless a signal comes.
fn pause(supervisor: &mut Supervisor, until: Instant) -> Outcome {
    while supervisor.stopped_by().is_none() && Instant::now() < until {
        supervisor.wait(&[], Some(until))?;
    }
    require_no_stop(supervisor)
}

fn require_no_stop(supervisor: &Supervisor) -> Outcome {
    supervisor.stopped_by().map_or(Ok(()), |_| Err(failure(Unstarted::Stopped, b"")))
}

/// Calls run as the Starter does. The inner error is why there is no job, with what was printed.
fn try_launch(helpers: &mut Helpers<'_, '_>, given: &Equipment) -> Outcome<Result<Pid, (Unstarted, Vec<u8>)>> {
    let (ours, theirs) = socketpair(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None)
        .or_fail(|| "cannot make a socket pair")?;
    let (mut printed, printed_to) = Reader::new(limits::REPORT_BYTES)?;
    let errors_to = printed_to.try_clone().or_fail(|| "cannot duplicate a descriptor")?;
    let mut command = helpers.command(Program::Run);
    command
        .arg(OsStr::from_bytes(&helpers.journal.record.switcher))
        .arg(OsStr::from_bytes(helpers.workspace.proxy().bytes()))
        .arg(OsStr::from_bytes(&helpers.workspace.path()))
        .arg(helpers.request.helpers.join(Program::JobWrapper.name()))
        .args(given.streams.iter().map(|stream| OsStr::from_bytes(stream.name())))
        .args(helpers.request.command.iter().map(|argument| OsStr::from_bytes(argument)))
        .stdin(Stdio::from(theirs))
        .stdout(Stdio::from(printed_to))
        .stderr(Stdio::from(errors_to));
    let root = helpers.supervisor.start(command, helpers.workspace.home(), Leader::Session)?;
    let mut channel = Conversation { supervisor: helpers.supervisor, root, printed: &mut printed };
    let started = channel.start_job(ours, &given.environment, &given.streams);
    printed.read();
    Ok(started.map(|()| root).map_err(|unstarted| (unstarted, printed.kept)))
}

fn may_pass(unstarted: &Unstarted) -> bool {
    let Unstarted::Refused(status) = unstarted else { return false };
    matches!(Status::of(*status), Some(Status::Exited(code)) if TRANSIENT.contains(&code.into()))
}

/// Why there is no job, with what was printed meanwhile.
fn failure(unstarted: Unstarted, printed: &[u8]) -> Failure {
    let said = match printed.trim_ascii() {
        [] => String::new(),
        text => format!("; it said: {}", readable(text)),
    };
    Failure::permanent(match unstarted {
        Unstarted::Refused(status) => {
            let (code, signal) = match Status::of(status) {
                Some(Status::Exited(code)) => (Some(code.into()), None),
                Some(Status::Killed(signal)) => (None, Some(signal)),
                None => (None, None),
            };
            format!("the switcher ended before the job was started, with {}{said}", End { code, signal })
        }
        Unstarted::Wrapper(text) => format!("the job could not be started: {}", readable(&text)),
        Unstarted::Stopped => "a signal came before the job was started".to_owned(),
        Unstarted::Late => format!("the switcher or the job wrapper did not answer in time{said}"),
        Unstarted::Broken(what) => format!("the job could not be started: {what}{said}"),
    })
}

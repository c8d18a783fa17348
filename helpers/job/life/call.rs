//! How the helpers are called, and what is made of their answers.

use super::journal::Journal;
use crate::ground::escape::Escaped;
use crate::ground::outcome::{Failure, Outcome};
use crate::ground::program::Program;
use crate::ground::root::ALLOW_ROOT;
use crate::job::record::{Record, Status, figures};
use crate::job::request::Request;
use crate::job::shown::readable;
use crate::job::supervise::{Called, OnStop, Supervisor};
use crate::job::workspace::Workspace;
use rustix::process::{Pid, Signal};
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::process::Command;

/// The helpers for one job: what is to be done with them, on what, and who watches.
pub(super) struct Helpers<'l, 'r> {
    pub(super) request: &'r Request,
    pub(super) journal: &'l mut Journal<'r>,
    pub(super) supervisor: &'l mut Supervisor,
    pub(super) workspace: &'l Workspace,
}

impl Helpers<'_, '_> {
    /// A command that starts one of the helpers. Like the Starter's, it has our environment; they pass on what is for
    /// switchers.
    pub(super) fn command(&self, program: Program) -> Command {
        let mut command = Command::new(self.request.helpers.join(program.name()));
        if self.request.allow_root {
            command.env(ALLOW_ROOT, "1");
        }
        command
    }

    /// Calls setup or cleanup and notes the figures of the copy. Those of the first call are kept: what a second one
    /// finds is what the first has left.
    pub(super) fn copy(&mut self, program: Program, on_stop: OnStop) -> Outcome {
        let mut command = self.command(program);
        if program == Program::Cleanup && self.request.output.is_some() {
            command.arg("--moves");
        }
        command.arg("--json").args(self.arguments(self.workspace.proxy().bytes(), &[&self.workspace.path()]));
        let called = self.supervisor.call(command, self.workspace.home(), on_stop)?;
        let Record { setup, cleanup, .. } = &mut *self.journal.record;
        let place = if program == Program::Setup { setup } else { cleanup };
        *place = place.take().or_else(|| figures(&called.answer));
        self.check(program, &called)
    }

    /// `G <proxy> <others> R D`, as nearly all helpers are called.
    fn arguments(&self, proxy: &[u8], others: &[&[u8]]) -> Vec<OsString> {
        let numbers = [self.request.retries.to_string(), self.request.delay.to_string()];
        let leading = [self.journal.record.switcher.as_slice(), proxy].into_iter().chain(others.iter().copied());
        leading
            .chain(numbers.iter().map(String::as_bytes))
            .map(|argument| OsStr::from_bytes(argument).to_owned())
            .collect()
    }

    /// A helper's failure as ours. What it says on success is passed on.
    fn check(&mut self, program: Program, called: &Called) -> Outcome {
        let prefix = format!("{}: ", program.name());
        let said = called.said.trim_ascii_end();
        let said = readable(said.strip_prefix(prefix.as_bytes()).unwrap_or(said));
        let how = match Status::of(called.status) {
            Some(Status::Exited(0)) => {
                if !said.is_empty() {
                    self.journal.notice(&format!("{prefix}{said}"));
                }
                return Ok(());
            }
            Some(Status::Exited(code)) => format!("exit code {code}"),
            Some(Status::Killed(signal)) => format!("signal {signal}"),
            None => "an unknown state".to_owned(),
        };
        let reason = if said.is_empty() { String::new() } else { format!(": {said}") };
        Err(Failure::permanent(format_args!("{} ended with {how}{reason}", program.name())))
    }

    /// Signals one process of the job, or its whole family.
    pub(super) fn kill(&mut self, mode: &[&str], pid: Pid, signal: Signal) -> Outcome {
        let proxy = [self.workspace.parked_path(), b"/".to_vec(), self.workspace.proxy().bytes().to_vec()].concat();
        let (pid, signal) = (pid.as_raw_nonzero().to_string(), signal.as_raw().to_string());
        let mut command = self.command(Program::Kill);
        command.args(mode).args(self.arguments(&proxy, &[pid.as_bytes(), signal.as_bytes()]));
        let called = self.supervisor.call(command, self.workspace.home(), OnStop::Finish)?;
        self.check(Program::Kill, &called)
    }

    /// Calls cleanup, and again if it fails, as the Starter does. What is back by then counts as back, whatever the
    /// account of the job's could not remove.
    pub(super) fn take_back(&mut self) -> Outcome {
        let Err(first) = self.copy(Program::Cleanup, OnStop::Finish) else { return Ok(()) };
        self.journal.notice(&format!("{first}; trying again"));
        let Err(second) = self.copy(Program::Cleanup, OnStop::Finish) else { return Ok(()) };
        if !self.workspace.is_back()? {
            return Err(self.not_taken_back(&second));
        }
        self.journal.notice(&second.to_string());
        Ok(())
    }

    /// Where everything is when cleanup has failed, and what to do about it.
    fn not_taken_back(&self, why: &Failure) -> Failure {
        let (sandbox, parked) = (self.workspace.path(), self.workspace.parked_path());
        Failure::permanent(format_args!(
            "{why}. Nothing is lost: the job's files are in {} (the pilot's own directory is {}). Remove the cause, then \
             call in that directory: condor_glexec_cleanup {} {} {} {} {}",
            Escaped(&sandbox),
            Escaped(&parked),
            Escaped(&self.journal.record.switcher),
            self.workspace.proxy(),
            Escaped(&sandbox),
            self.request.retries,
            self.request.delay,
        ))
    }
}

//! One job's life: the order of its steps, and what is still done when one of them fails.

#![forbid(unsafe_code)]

mod call;
mod end;
mod launch;
mod prepare;
mod watch;

use super::record::{Record, Status};
use super::request::{News, Request};
use super::supervise::{OnStop, Supervisor};
use super::workspace::Workspace;
use crate::ground::escape::Escaped;
use crate::ground::limits;
use crate::ground::outcome::{Failure, Outcome};
use crate::ground::program::Program;
use crate::ground::wait::later;
use std::os::fd::OwnedFd;

/// One job's life, as far as it has come.
pub(super) struct Life<'r> {
    request: &'r Request,
    record: &'r mut Record,
    tell: &'r mut dyn FnMut(News<'_>),
    supervisor: Supervisor,
    workspace: Workspace,
    environment: Vec<u8>,
    streams: [OwnedFd; 3],
}

impl<'r> Life<'r> {
    /// Everything before a helper is called.
    pub(super) fn begin(
        request: &'r Request,
        record: &'r mut Record,
        tell: &'r mut dyn FnMut(News<'_>),
    ) -> Outcome<Self> {
        record.begin("prepare");
        let supervisor = Supervisor::new()?;
        record.switcher = prepare::switcher(request)?;
        let input = prepare::input(request)?;
        let mut workspace = Workspace::prepare(request)?;
        record.sandbox = Some(workspace.path());
        let rest = prepare::environment(&workspace, &request.environment)
            .and_then(|environment| Ok((environment, prepare::outputs(request)?)));
        match rest {
            Ok((environment, [output, errors])) => {
                let streams = [input, output, errors];
                Ok(Life { request, record, tell, supervisor, workspace, environment, streams })
            }
            Err(failure) => {
                workspace.undo()?;
                Err(failure)
            }
        }
    }

    /// Everything else. What fails is noted, and what has to be done all the same is done.
    pub(super) fn live(mut self) -> Outcome {
        self.step("setup", &format!("handing over the sandbox {}", Escaped(&self.workspace.path())));
        if let Err(failure) = self.set_up() {
            self.fail(failure);
            return self.recover();
        }
        let has_run = self.run_to_end();
        self.step("cleanup", "taking the sandbox back");
        self.take_back()?;
        self.step("output", "leaving the output in its place");
        if has_run { self.leave_output() } else { self.workspace.undo() }
    }

    fn set_up(&mut self) -> Outcome {
        self.record.setup = self.copy(Program::Setup, OnStop::PassOn)?;
        Ok(())
    }

    /// After a setup that failed: everything back as it was.
    fn recover(mut self) -> Outcome {
        // The target side undoes its part when it has lost its partner.
        if !self.supervisor.wait_for_none(later(limits::UNDO_DEADLINE))? {
            (self.tell)(News::Notice("the switcher of the setup is still there; look at its log"));
        }
        if !self.workspace.is_home()? {
            self.take_back()?;
        }
        self.workspace.undo()
    }

    /// The job from its start until none of its processes is left; false if it was never started.
    fn run_to_end(&mut self) -> bool {
        let launched = self.workspace.hide_stand_in().and_then(|()| self.launch());
        let watched = launched.as_ref().map_or(Ok(()), |root| self.watch(*root));
        let ended = self.end_family();
        if let Ok(root) = &launched {
            self.record.status = self.supervisor.status(*root).and_then(Status::of);
        }
        let has_run = launched.is_ok();
        for failure in [launched.map(drop), watched, ended].into_iter().filter_map(Result::err) {
            self.fail(failure);
        }
        has_run
    }

    fn leave_output(&mut self) -> Outcome {
        self.record.output = self.workspace.leave()?;
        if let (Some(output), None) = (&self.record.output, &self.request.output) {
            (self.tell)(News::Notice(&format!("the output is in {}", Escaped(output))));
        }
        Ok(())
    }

    fn step(&mut self, name: &'static str, text: &str) {
        self.record.begin(name);
        (self.tell)(News::Step(text));
    }

    /// Notes a failure after which there is still something to be done. The first one counts; all are told.
    fn fail(&mut self, failure: Failure) {
        if self.record.failure.is_some() {
            (self.tell)(News::Notice(&failure.to_string()));
        } else {
            self.record.failure = Some(failure);
        }
    }
}

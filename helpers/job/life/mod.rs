//! One job's life: the order of its steps, and what is still done when one of them fails.

mod call;
mod end;
mod journal;
mod launch;
mod prepare;
mod watch;

use super::record::{Record, Status};
use super::request::{News, Request};
use super::streams;
use super::supervise::{OnStop, Supervisor};
use super::workspace::Workspace;
use crate::ground::escape::Escaped;
use crate::ground::limits;
use crate::ground::outcome::Outcome;
use crate::ground::program::Program;
use crate::ground::root::require_ordinary_account;
use crate::ground::wait::later;
use call::Helpers;
use end::end_family;
use journal::Journal;
use launch::launch;
use prepare::Equipment;
use watch::watch;

/// One job's life, as far as it has come.
pub(super) struct Life<'r> {
    request: &'r Request,
    journal: Journal<'r>,
    supervisor: Supervisor,
    workspace: Workspace,
    equipment: Equipment,
}

impl<'r> Life<'r> {
    /// Everything before a helper is called.
    pub(super) fn begin(
        request: &'r Request,
        record: &'r mut Record,
        tell: &'r mut dyn FnMut(News<'_>),
    ) -> Outcome<Self> {
        record.begin("prepare");
        require_ordinary_account(request.allow_root)?;
        let supervisor = Supervisor::new()?;
        record.switcher = prepare::switcher(request)?;
        let input = streams::input(request)?;
        let mut workspace = Workspace::prepare(request, &streams::held(request)?)?;
        record.sandbox = Some(workspace.path());
        let rest = prepare::environment(&workspace, &request.environment)
            .and_then(|environment| Ok((environment, streams::with_outputs(request, input, &workspace.path())?)));
        match rest {
            Ok((environment, streams)) => {
                let equipment = Equipment { environment, streams };
                let mut journal = Journal { record, tell };
                journal.notices(&mut workspace.notices);
                Ok(Life { request, journal, supervisor, workspace, equipment })
            }
            Err(failure) => {
                workspace.undo()?;
                Err(failure)
            }
        }
    }

    /// Everything else. What fails is noted, and what has to be done all the same is done.
    pub(super) fn live(mut self) -> Outcome {
        self.journal.step("setup", &format!("handing over the sandbox {}", Escaped(&self.workspace.path())));
        if let Err(failure) = self.helpers().copy(Program::Setup, OnStop::PassOn) {
            self.journal.fail(failure);
            return self.recover();
        }
        let has_run = self.run_to_end();
        self.journal.step("cleanup", "taking the sandbox back");
        self.helpers().take_back()?;
        self.journal.step("output", "leaving the output in its place");
        if has_run { self.leave_output() } else { self.undo() }
    }

    fn undo(&mut self) -> Outcome {
        let undone = self.workspace.undo();
        self.journal.notices(&mut self.workspace.notices);
        undone
    }

    fn helpers(&mut self) -> Helpers<'_, 'r> {
        Helpers {
            request: self.request,
            journal: &mut self.journal,
            supervisor: &mut self.supervisor,
            workspace: &self.workspace,
        }
    }

    /// After a setup that failed: everything back as it was.
    fn recover(mut self) -> Outcome {
        // The target side undoes its part when it has lost its partner.
        if !self.supervisor.wait_for_none(later(limits::UNDO_DEADLINE))? {
            self.journal.notice("the switcher of the setup is still there; look at its log");
        }
        if !self.workspace.is_home()? {
            self.helpers().take_back()?;
        }
        self.undo()
    }

    /// The job from its start until none of its processes is left; false if it was never started.
    fn run_to_end(&mut self) -> bool {
        let Life { request, journal, supervisor, workspace, equipment } = self;
        let mut helpers = Helpers { request, journal, supervisor, workspace };
        let launched = helpers.workspace.hide_stand_in().and_then(|()| launch(&mut helpers, equipment));
        let watched = launched.as_ref().map_or(Ok(()), |root| watch(&mut helpers, *root));
        let ended = end_family(&mut helpers);
        if let Ok(root) = &launched {
            journal.record.status = supervisor.status(*root).and_then(Status::of);
        }
        let has_run = launched.is_ok();
        for failure in [launched.map(drop), watched, ended].into_iter().filter_map(Result::err) {
            journal.fail(failure);
        }
        has_run
    }

    fn leave_output(&mut self) -> Outcome {
        self.journal.record.output = self.workspace.leave()?;
        self.journal.notices(&mut self.workspace.notices);
        if let (Some(output), None) = (&self.journal.record.output, &self.request.output) {
            let text = format!("the output is in {}", Escaped(output));
            self.journal.notice(&text);
        }
        Ok(())
    }
}

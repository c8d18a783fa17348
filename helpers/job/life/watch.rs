//! The job while it runs, until it has ended or has to.

#![forbid(unsafe_code)]

use super::Life;
use crate::ground::outcome::Outcome;
use crate::ground::wait::later;
use crate::job::record::EndedBy;
use crate::job::request::News;
use rustix::process::{Pid, Signal};
use std::time::Instant;

impl Life<'_> {
    /// Watches the job until its first process has ended, or it is time to end all of them.
    pub(super) fn watch(&mut self, root: Pid) -> Outcome {
        self.step("job", "the job runs");
        let limit = self.request.time_limit.map(later);
        let mut kill_at = None;
        self.record.ended_by = Some(EndedBy::Itself);
        while self.supervisor.status(root).is_none() {
            let now = Instant::now();
            match (self.asked_to_end(limit.is_some_and(|limit| now >= limit)), kill_at) {
                (Some(by), None) => {
                    self.record.ended_by = Some(by);
                    kill_at = Some(later(self.request.grace));
                    let asked = self.ask_to_end(root, by);
                    if let Err(failure) = asked
                        && self.supervisor.status(root).is_none()
                    {
                        // A lingering switcher is root's, for one. Then there is no soft way.
                        (self.tell)(News::Notice(&failure.to_string()));
                        return Ok(());
                    }
                }
                (_, Some(kill_at)) if now >= kill_at || self.supervisor.stopped_again() => return Ok(()),
                _ => self.supervisor.wait(&[], kill_at.or(limit))?,
            }
        }
        Ok(())
    }

    /// Who wants the job to end before it does so by itself.
    fn asked_to_end(&self, too_long: bool) -> Option<EndedBy> {
        let signal = self.supervisor.stopped_by().map(EndedBy::Signal);
        signal.or(too_long.then_some(EndedBy::TimeLimit))
    }

    fn ask_to_end(&mut self, root: Pid, by: EndedBy) -> Outcome {
        let why = match by {
            EndedBy::Signal(signal) => format!("signal {signal} came"),
            EndedBy::TimeLimit | EndedBy::Itself => "the time limit has passed".to_owned(),
        };
        (self.tell)(News::Notice(&format!(
            "{why}: the job is asked to end, and killed in {} s",
            self.request.grace.as_secs()
        )));
        self.kill(&[], root, Signal::TERM)
    }
}

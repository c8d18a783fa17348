//! The job while it runs, until it has ended or has to.

use super::call::Helpers;
use crate::ground::outcome::Outcome;
use crate::ground::wait::later;
use crate::job::record::EndedBy;
use crate::job::supervise::Supervisor;
use rustix::process::{Pid, Signal};
use std::time::Instant;

/// Watches the job until its first process has ended, or it is time to end all of them.
pub(super) fn watch(helpers: &mut Helpers<'_, '_>, root: Pid) -> Outcome {
    helpers.journal.step("job", "the job runs");
    let limit = helpers.request.time_limit.map(later);
    let mut kill_at = None;
    helpers.journal.record.ended_by = Some(EndedBy::Itself);
    while helpers.supervisor.status(root).is_none() {
        let now = Instant::now();
        match (asked_to_end(helpers.supervisor, limit.is_some_and(|limit| now >= limit)), kill_at) {
            (Some(by), None) => {
                helpers.journal.record.ended_by = Some(by);
                kill_at = Some(later(helpers.request.grace));
                let asked = ask_to_end(helpers, root, by);
                if let Err(failure) = asked
                    && helpers.supervisor.status(root).is_none()
                {
                    // A lingering switcher is root's, for one. Then there is no soft way.
                    helpers.journal.notice(&failure.to_string());
                    return Ok(());
                }
            }
            (_, Some(kill_at)) if now >= kill_at || helpers.supervisor.stopped_again() => return Ok(()),
            _ => helpers.supervisor.wait(&[], kill_at.or(limit))?,
        }
    }
    Ok(())
}

/// Who wants the job to end before it does so by itself.
fn asked_to_end(supervisor: &Supervisor, too_long: bool) -> Option<EndedBy> {
    let signal = supervisor.stopped_by().map(EndedBy::Signal);
    signal.or(too_long.then_some(EndedBy::TimeLimit))
}

fn ask_to_end(helpers: &mut Helpers<'_, '_>, root: Pid, by: EndedBy) -> Outcome {
    let why = match by {
        EndedBy::Signal(signal) => format!("signal {signal} came"),
        EndedBy::TimeLimit | EndedBy::Itself => "the time limit has passed".to_owned(),
    };
    helpers
        .journal
        .notice(&format!("{why}: the job is asked to end, and killed in {} s", helpers.request.grace.as_secs()));
    helpers.kill(&[], root, Signal::TERM)
}

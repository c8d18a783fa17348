//! The end of whatever the job has left behind.

use super::call::Helpers;
use crate::ground::limits;
use crate::ground::outcome::{Failure, Outcome};
use crate::ground::wait::later;
use rustix::process::{Signal, getpid};

/// Ends whatever is left of the job.
pub(super) fn end_family(helpers: &mut Helpers<'_, '_>) -> Outcome {
    let mut last = None;
    let mut patience = limits::FAMILY_OWN_END;
    for _ in 0..limits::FAMILY_TRIES {
        if helpers.supervisor.wait_for_none(later(patience))? {
            return Ok(());
        }
        patience = limits::SWITCHER_END_DEADLINE;
        helpers.journal.step("kill", "ending the job's processes");
        last = helpers.kill(&["--family"], getpid(), Signal::KILL).err();
    }
    if helpers.supervisor.wait_for_none(later(patience))? {
        return Ok(());
    }
    let last = last.map_or_else(
        || "none can be found; do new ones come all the time, or is /proc mounted with hidepid?".to_owned(),
        |failure| failure.to_string(),
    );
    Err(Failure::permanent(format_args!("processes of the job are still there: {last}")))
}

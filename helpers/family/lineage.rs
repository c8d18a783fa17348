//! Down from one process to its only child, for a switcher that stays between its caller and the job.

use super::{Birth, FAILED, Proc};
use crate::ground::limits;
use crate::ground::outcome::{OrFail, Outcome};
use rustix::fs::{AtFlags, statat};
use std::os::fd::OwnedFd;

/// Whose number 0 is: a switcher has become another account's program by being root's.
const ROOT: u32 = 0;

/// The processes below `top` that `wanted` may be asked about, from its child downwards, as long as every one has
/// exactly one child and all above it are root's. Ends with the first that `wanted` gives something for.
///
/// A number can become another process's between two looks: whoever is asked about is held, and both it and the
/// one above it are looked at again before that.
pub(crate) fn only_descendant<T>(
    proc: Proc<'_>,
    top: u32,
    mut wanted: impl FnMut(OwnedFd) -> Outcome<Option<T>>,
) -> Outcome<Option<T>> {
    let mut above = proc.look_at(top).or_fail(FAILED)?;
    for _ in 0..limits::SWITCHER_CHAIN {
        let Some(parent) = above.filter(|above| is_roots(proc, above.birth)) else { return Ok(None) };
        let Some(child) = only_child(proc, parent.birth)? else { return Ok(None) };
        let Some(process) = proc.look_at(child).or_fail(FAILED)?.filter(|now| now.parent == parent.birth.pid) else {
            return Ok(None);
        };
        let Some(held) = proc.hold(&process).or_fail(FAILED)? else { return Ok(None) };
        if proc.look_at(parent.birth.pid).or_fail(FAILED)?.is_none_or(|again| again.birth != parent.birth) {
            return Ok(None);
        }
        if let Some(found) = wanted(held)? {
            return Ok(Some(found));
        }
        above = Some(process);
    }
    Ok(None)
}

fn is_roots(proc: Proc<'_>, process: Birth) -> bool {
    statat(proc.directory, process.pid.to_string(), AtFlags::SYMLINK_NOFOLLOW).is_ok_and(|found| found.st_uid == ROOT)
}

/// The number of its child; `None` when it has none, or more than one.
fn only_child(proc: Proc<'_>, parent: Birth) -> Outcome<Option<u32>> {
    let (mut only, mut count) = (None, 0_u32);
    proc.each_number(|number| {
        if proc.look_at(number).or_fail(FAILED)?.is_some_and(|process| process.parent == parent.pid) {
            (only, count) = (Some(number), count.saturating_add(1));
        }
        Ok(())
    })?;
    Ok(only.filter(|_| count == 1))
}

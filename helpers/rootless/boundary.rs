//! The boundary around a job: what has to hold before it is drawn, and the drawing.

use super::account::Account;
use super::ancestors::ancestors;
use super::command::Command;
use super::fault::site_fault;
use super::filter;
use super::system::{self, Allowed};
use crate::confine::capabilities;
use crate::confine::landlock::{Domain, Grant, REQUIRED};
use crate::files::metadata::Metadata;
use crate::files::sandbox::Names;
use crate::ground::escape::Escaped;
use crate::ground::outcome::{Failure, Kind, Outcome};
use landlock::{Access, AccessFs, Scope};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// Takes all three means on for good, if nothing of the pilot lies where every job can read.
///
/// # Errors
/// The administrator's.
pub(super) fn confine(command: &Command, sandbox: &OwnedFd, names: &Names, account: &Account) -> Outcome {
    let system = system::allowed()?;
    require_nothing_exposed(&system, names, account)?;
    capabilities::give_up().map_err(|failure| Failure::new(Kind::SiteFault, failure))?;
    enter_domain(sandbox.as_fd(), command.file.as_fd(), &system)?;
    filter::install()
}

/// Fails where the pilot's directories lie below something that every job can read.
fn require_nothing_exposed(system: &[Allowed], names: &Names, account: &Account) -> Outcome {
    if let Some(covering) = covering(system, names.parent.as_fd())? {
        return Err(Failure::new(
            Kind::SiteFault,
            format_args!(
                "the directory of the sandboxes {} lies below {}, which every job can read; use another one for EXECUTE",
                Escaped(&names.parent_path),
                Escaped(&covering.path)
            ),
        ));
    }
    // A home that is another's holds nothing private of this account: system accounts have such.
    let own = |home: &OwnedFd| Metadata::of(home).is_ok_and(|found| found.owner == rustix::process::geteuid().as_raw());
    if let Some(home) = account.open_home().filter(own)
        && let Some(covering) = covering(system, home.as_fd())?
    {
        return Err(Failure::new(
            Kind::SiteFault,
            format_args!(
                "this account's home directory lies below {}, which every job can read; give the account another one",
                Escaped(&covering.path)
            ),
        ));
    }
    Ok(())
}

/// Enters the domain for good: full use of `sandbox`, reading and executing `command`, and what `system` grants; of
/// everything else nothing. No signals, no tracing and no abstract UNIX sockets across its border. TCP stays open: jobs
/// fetch data.
///
/// Whatever the site's policy says, the kernel has to know all of it: nothing else keeps the job from the pilot.
///
/// # Errors
/// The administrator's, when the kernel lacks a part (it is named) or does not enforce all of it.
fn enter_domain(sandbox: BorrowedFd<'_>, command: BorrowedFd<'_>, system: &[Allowed]) -> Outcome {
    // A sandbox has no devices.
    let full_use = AccessFs::from_all(REQUIRED) & !(AccessFs::MakeChar | AccessFs::MakeBlock | AccessFs::IoctlDev);
    let grants: Vec<Grant<'_>> = [(sandbox, full_use), (command, AccessFs::ReadFile | AccessFs::Execute)]
        .into_iter()
        .chain(system.iter().map(|allowed| (allowed.object.as_fd(), allowed.rights)))
        .map(|(object, rights)| Grant { object, rights })
        .collect();
    Domain { network: false, scopes: Scope::from_all(REQUIRED) }
        .enter(&grants, None)
        .map_err(|failure| Failure::new(Kind::SiteFault, failure))
}

/// What a directory lies below, or is, of all that is allowed.
fn covering<'s>(system: &'s [Allowed], directory: BorrowedFd<'_>) -> Outcome<Option<&'s Allowed>> {
    let above = ancestors(directory).map_err(site_fault("cannot look at the directories above what is the pilot's"))?;
    Ok(system.iter().find(|allowed| above.contains(&allowed.identity)))
}

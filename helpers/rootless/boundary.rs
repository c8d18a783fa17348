//! The boundary around a job: what has to hold before it is drawn, and the drawing.

use super::command::Command;
use super::filter;
use super::mounts::Mounts;
use super::system::{self, Allowed};
use crate::confine::capabilities;
use crate::confine::landlock::{Domain, Grant, REQUIRED};
use crate::files::sandbox::Names;
use crate::ground::escape::Escaped;
use crate::ground::outcome::{Failure, Kind, Outcome};
use landlock::{Access, AccessFs, Scope};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// Takes all three means on for good, if nothing of the pilot lies where every job can read.
///
/// # Errors
/// The administrator's.
pub(super) fn confine(command: &Command, sandbox: &OwnedFd, names: &Names, home: Option<&OwnedFd>) -> Outcome {
    let system = system::allowed()?;
    require_nothing_exposed(&system, names, home)?;
    capabilities::give_up().map_err(|failure| Failure::new(Kind::SiteFault, failure))?;
    enter_domain(sandbox.as_fd(), command.file.as_fd(), &system)?;
    filter::install()
}

/// Fails where the pilot's directories are in something that every job can read, by whatever path.
fn require_nothing_exposed(system: &[Allowed], names: &Names, home: Option<&OwnedFd>) -> Outcome {
    let mounts = Mounts::read()?;
    let require_hidden = |private: BorrowedFd<'_>, name: &str| match mounts.showing(system, private)? {
        Some(path) => Err(Failure::new(
            Kind::SiteFault,
            format_args!(
                "every job can read {name}, or a part of it, below {}; use another one, or unmount it there",
                Escaped(&path)
            ),
        )),
        None => Ok(()),
    };
    let parent = format!("the directory of the sandboxes (EXECUTE) {}", Escaped(&names.parent_path));
    require_hidden(names.parent.as_fd(), &parent)?;
    home.map_or(Ok(()), |home| require_hidden(home.as_fd(), "this account's home directory"))
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

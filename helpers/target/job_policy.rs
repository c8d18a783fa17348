//! What a site keeps its jobs from, taken on by the wrapper right before it becomes the job. By default nothing: a
//! job may do what its account may, set-id programs included.

use crate::confine::landlock::{Domain, Grant, REQUIRED};
use crate::confine::seccomp::{JOB_POLICY, JOB_POLICY_ABSENT};
use crate::files::metadata::Metadata;
use crate::ground::escape::Escaped;
use crate::ground::installation::POLICY as PATH;
use crate::ground::outcome::{OrFail, Outcome};
use crate::policy::{JobPolicy, View};
use landlock::{Access, AccessFs, BitFlags, Scope};
use rustix::fs::{FileType, Mode, OFlags, open};
use std::os::fd::{AsFd, OwnedFd};

/// Takes all of it on, for good. The working directory is the sandbox, which the job can use in full.
///
/// # Errors
/// When a path of the view cannot be opened, or the kernel lacks or refuses a part: whatever the policy lets the
/// helpers do without, a job that a site wants to hold is held or not started.
pub(crate) fn take_on(policy: &JobPolicy) -> Outcome {
    if let Some(view) = &policy.view {
        enter(view)?;
    }
    if policy.no_new_privs {
        rustix::thread::set_no_new_privs(true).or_fail(|| "cannot set no_new_privs for the job")?;
    }
    if policy.seccomp {
        let context = || "cannot install the job's seccomp filters";
        JOB_POLICY.install().or_fail(context)?;
        JOB_POLICY_ABSENT.install().or_fail(context)?;
    }
    Ok(())
}

/// Nothing but these files, and no signals or abstract sockets to what is outside: they would undo it.
fn enter(view: &View) -> Outcome {
    let read = AccessFs::ReadFile | AccessFs::ReadDir;
    let execute = read | AccessFs::Execute;
    // Whatever a sandbox or a shared directory may hold; no devices are made.
    let change = AccessFs::from_all(REQUIRED) & !(AccessFs::MakeChar | AccessFs::MakeBlock);
    let sandbox = (open_object(b".")?, change & !BitFlags::from(AccessFs::IoctlDev));
    let mut objects = vec![sandbox];
    for (paths, rights) in
        [(&view.read, read), (&view.execute, execute), (&view.write, change & !BitFlags::from(AccessFs::Execute))]
    {
        for path in paths {
            let object = open_object(path)?;
            let found = Metadata::of(&object).or_fail(|| "cannot look at a part of the job's view")?;
            // The kernel takes a directory's rights for directories only.
            let fitting =
                if found.kind == FileType::Directory { rights } else { rights & AccessFs::from_file(REQUIRED) };
            objects.push((object, fitting));
        }
    }
    let grants: Vec<Grant<'_>> =
        objects.iter().map(|(object, rights)| Grant { object: object.as_fd(), rights: *rights }).collect();
    Domain { network: false, scopes: Scope::from_all(REQUIRED) }.enter(&grants, None)
}

fn open_object(path: &[u8]) -> Outcome<OwnedFd> {
    open(path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty())
        .map_err(|errno| format!("{errno} (make it or remove it there): {}", Escaped(path)))
        .or_fail(|| format!("cannot open a part of the job's view of {PATH}"))
}

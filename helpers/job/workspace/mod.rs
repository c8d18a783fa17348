//! The sandbox of one job on the pilot's side: made or taken, filled, and left where the output is wanted.

mod contents;
mod directory;
mod entry;
mod given;
mod make;
mod survey;

use super::request::Request;
use super::streams::Held;
use crate::files::component::Component;
use crate::files::metadata::Metadata;
use crate::files::sandbox::Names;
use crate::ground::escape::Escaped;
use crate::ground::outcome::{Failure, OrFail, Outcome};
use contents::Contents;
use directory::Directory;
use entry::{DIRECTORY, Entry, remove_file};
use given::{Given, resolved};
use rustix::fs::{AtFlags, Mode, OFlags, fchmod, openat, renameat, unlinkat};
use rustix::io::Errno;
use rustix::process::umask;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use survey::survey;

/// The sandbox, what was put into it, and where it goes in the end.
pub(super) struct Workspace {
    directory: Directory,
    contents: Contents,
    output: Option<Entry>,
    /// What is to be told, and is no failure.
    pub(super) notices: Vec<String>,
}

impl Workspace {
    /// Makes or takes the sandbox and puts the proxy and the input files into it. All that exists already is opened and
    /// checked before anything is made, and nothing in it may be one of `held`; if something fails after that, it is
    /// undone.
    ///
    /// # Errors
    /// Names the file or directory that is missing or unfit.
    pub(super) fn prepare(request: &Request, held: &[Held]) -> Outcome<Self> {
        // The caller's may take the owner's bits from what is made here, which then could not be opened.
        let umask_before = umask(Mode::RWXG | Mode::RWXO);
        let prepared = Self::make_or_take(request, held);
        umask(umask_before);
        prepared
    }

    fn make_or_take(request: &Request, held: &[Held]) -> Outcome<Self> {
        let Given { inputs, proxy, output } = Given::open(request)?;
        let contents = Contents::new()?;
        let mut notices = Vec::new();
        let directory = match &request.sandbox {
            Some(sandbox) => {
                let directory = Directory::enter(Names::find(&resolved(sandbox, "--sandbox")?)?, false)?;
                let proxy = proxy.as_ref().map_or(&contents.proxy, |proxy| &proxy.source.name);
                notices.extend(survey(&directory, proxy, held)?);
                directory
            }
            None => make::make(request, output.as_ref())?,
        };
        let mut workspace = Workspace { directory, contents, output, notices };
        let Workspace { directory, contents, output, .. } = &mut workspace;
        let filled = output
            .as_ref()
            .map_or(Ok(()), |output| require_one_file_system(&directory.names, output))
            .and_then(|()| contents.fill(&directory.home, proxy, &inputs));
        match filled {
            Ok(()) => Ok(workspace),
            Err(failure) => {
                workspace.undo()?;
                Err(failure)
            }
        }
    }

    /// S, its absolute path.
    pub(super) fn path(&self) -> Vec<u8> {
        self.directory.names.sandbox_path()
    }

    /// Where the pilot's own directory is while the job has the sandbox.
    pub(super) fn parked_path(&self) -> Vec<u8> {
        self.directory.names.parked_path()
    }

    /// The pilot's own directory, under whichever of the two names it is at the moment.
    pub(super) fn home(&self) -> BorrowedFd<'_> {
        self.directory.home.as_fd()
    }

    /// P, the proxy's name in it.
    pub(super) fn proxy(&self) -> &Component {
        &self.contents.proxy
    }

    /// The proxy's name, if it is a credential and not only a stand-in.
    pub(super) fn credential(&self) -> Option<&Component> {
        self.contents.proxy_is_real.then_some(&self.contents.proxy)
    }

    /// After setup: removes the job's copy of the stand-in for a proxy, which would only mislead it. The sandbox is
    /// still this account's then, since there is a stand-in only where the switcher stays in it.
    ///
    /// # Errors
    /// When it cannot be removed.
    pub(super) fn hide_stand_in(&self) -> Outcome {
        if self.credential().is_some() {
            return Ok(());
        }
        let Names { parent, sandbox, .. } = &self.directory.names;
        openat(parent, sandbox.c_str(), DIRECTORY | OFlags::NOFOLLOW, Mode::empty())
            .and_then(|opened| unlinkat(opened, self.proxy().c_str(), AtFlags::empty()))
            .or_fail(|| format!("cannot remove {} from the sandbox", self.proxy()))
    }

    /// Whether the sandbox is in our hands: under its name, and nothing is parked beside it.
    ///
    /// # Errors
    /// When the kernel does not tell.
    pub(super) fn is_home(&self) -> Outcome<bool> {
        let names = &self.directory.names;
        Ok(self.is_back()? && names.look(&names.parked)?.is_none())
    }

    /// Whether the sandbox is in our hands, whatever is parked beside it.
    ///
    /// # Errors
    /// When the kernel does not tell.
    pub(super) fn is_back(&self) -> Outcome<bool> {
        let Directory { names, home, .. } = &self.directory;
        let home = Metadata::of(home).or_fail(|| "cannot look at the sandbox")?;
        Ok(names.look(&names.sandbox)?.is_some_and(|named| named.identity == home.identity))
    }

    /// For a job that has not run: removes what was made and put here.
    ///
    /// # Errors
    /// When something cannot be removed, or is in the way; says where it is.
    pub(super) fn undo(&mut self) -> Outcome {
        self.contents.take_out(&self.directory.home)?;
        if self.directory.made {
            self.remove().or_fail(|| format!("cannot remove the sandbox {}", Escaped(&self.path())))?;
        }
        self.remove_run_directory();
        Ok(())
    }

    /// For a job that has run, and whose sandbox has come back: removes the credential that was put there and leaves
    /// all else where it is wanted. Gives the place, or nothing if there is nothing and nobody asked for a place.
    ///
    /// # Errors
    /// When it has to stay where it is; says where.
    pub(super) fn leave(&mut self) -> Outcome<Option<Vec<u8>>> {
        let stays = || format!("the output stays in {}", Escaped(&self.path()));
        if self.contents.proxy_put {
            remove_file(self.home(), self.proxy().c_str())
                .or_fail(|| format!("{}; cannot remove {}", stays(), self.proxy()))?;
        }
        let left = match &self.output {
            Some(output) => Some(self.rename_to(output, stays)?),
            None if self.directory.made && self.remove_if_empty().or_fail(stays)? => None,
            None => Some(self.path()),
        };
        if left.is_none() || self.output.is_some() {
            self.remove_run_directory();
        }
        Ok(left)
    }

    /// Others can put something into that directory, where a second account has to make a name in it. That is not the
    /// job's, and no failure of it.
    fn remove_run_directory(&mut self) {
        if let Some(Err(failure)) = self.directory.run_directory.as_ref().map(Entry::remove_directory) {
            self.notices.push(format!("{failure}; it is not needed any more: look what somebody put there"));
        }
    }

    /// Makes the sandbox the output, whose path is given.
    fn rename_to(&self, output: &Entry, stays: impl Fn() -> String) -> Outcome<Vec<u8>> {
        if self.directory.made {
            fchmod(&self.directory.home, new_directory_mode()).or_fail(&stays)?;
        }
        let Names { parent, sandbox, .. } = &self.directory.names;
        renameat(parent, sandbox.c_str(), &output.directory, output.name.c_str())
            .or_fail(|| format!("{}; cannot rename it to {}", stays(), Escaped(&output.path())))?;
        Ok(output.path())
    }

    /// Whether the sandbox was empty; then it is gone.
    fn remove_if_empty(&self) -> Result<bool, Errno> {
        match self.remove() {
            Err(Errno::NOTEMPTY | Errno::EXIST) => Ok(false),
            removed => removed.map(|()| true),
        }
    }

    fn remove(&self) -> Result<(), Errno> {
        unlinkat(&self.directory.names.parent, self.directory.names.sandbox.c_str(), AtFlags::REMOVEDIR)
    }
}

/// The output is to be left by a renaming.
fn require_one_file_system(names: &Names, output: &Entry) -> Outcome {
    let device = |directory: &OwnedFd| Metadata::of(directory).map(|found| found.device());
    let same = device(&names.parent).and_then(|here| Ok(here == device(&output.directory)?));
    if same.or_fail(|| "cannot look at the output's directory")? {
        return Ok(());
    }
    Err(Failure::permanent(format_args!(
        "the output {} is on another file system than the sandbox's parent {}; put one beside the other (--execute)",
        Escaped(&output.path()),
        Escaped(&names.parent_path)
    )))
}

/// The mode that a new directory of the caller's gets. The umask can only be asked for by setting it.
fn new_directory_mode() -> Mode {
    let mask = umask(Mode::RWXG | Mode::RWXO);
    umask(mask);
    Mode::RWXU | (Mode::RWXG | Mode::RWXO).difference(mask)
}

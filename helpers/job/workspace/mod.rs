//! The sandbox of one job on the pilot's side: made or taken, filled, and left where the output is wanted.

#![forbid(unsafe_code)]

mod entry;
mod fill;
mod given;
mod make;

use super::request::Request;
use crate::files::component::Component;
use crate::files::metadata::Metadata;
use crate::files::sandbox::Names;
use crate::ground::escape::Escaped;
use crate::ground::outcome::{OrFail, Outcome};
use entry::{DIRECTORY, Entry};
use fill::PLACEHOLDER_NAME;
use given::{Given, resolved};
use rustix::fs::{AtFlags, Mode, OFlags, fchmod, openat, renameat, unlinkat};
use rustix::io::Errno;
use rustix::process::umask;
use std::ffi::CStr;
use std::os::fd::OwnedFd;

/// The sandbox S. As long as the job has it, `home` is the directory S.condor.
pub(super) struct Workspace {
    /// Its names in its parent.
    place: Names,
    /// The pilot's own directory, under whichever of the two names it is at the moment.
    pub(super) home: OwnedFd,
    /// P, the proxy's name in it.
    pub(super) proxy: Component,
    /// Whether the proxy in it is a credential, and not only a stand-in.
    pub(super) proxy_is_real: bool,
    /// The name of the proxy if it was put there by us, so that it has to go.
    proxy_put: bool,
    /// Whether the sandbox was made by us.
    made: bool,
    /// All that was put into it by us.
    put: Vec<Component>,
    run_directory: Option<Entry>,
    output: Option<Entry>,
}

impl Workspace {
    /// Makes or takes the sandbox and puts the proxy and the input files into it. All that exists already is opened and
    /// checked before anything is made; if something fails after that, it is undone.
    ///
    /// # Errors
    /// Names the file or directory that is missing or unfit.
    pub(super) fn prepare(request: &Request) -> Outcome<Self> {
        // The caller's may take the owner's bits from what is made here, which then could not be opened.
        let umask_before = umask(Mode::RWXG | Mode::RWXO);
        let prepared = Self::make_or_take(request);
        umask(umask_before);
        prepared
    }

    fn make_or_take(request: &Request) -> Outcome<Self> {
        let given = Given::open(request)?;
        let mut workspace = match &request.sandbox {
            Some(sandbox) => Self::enter(Names::find(&resolved(sandbox)?)?, false)?,
            None => make::make(request, given.output.as_ref())?,
        };
        match workspace.fill(given) {
            Ok(()) => Ok(workspace),
            Err(failure) => {
                workspace.undo()?;
                Err(failure)
            }
        }
    }

    /// Takes a directory as the sandbox.
    fn enter(place: Names, made: bool) -> Outcome<Self> {
        place.require_own_parent()?;
        let home = place.open_own(&place.name)?.directory;
        let proxy = Component::new(PLACEHOLDER_NAME).or_fail(|| "the stand-in's name")?;
        Ok(Workspace {
            place,
            home,
            proxy,
            proxy_is_real: false,
            proxy_put: false,
            made,
            put: Vec::new(),
            run_directory: None,
            output: None,
        })
    }

    /// S, its absolute path.
    pub(super) fn path(&self) -> Vec<u8> {
        self.place.sandbox_path()
    }

    /// Where the pilot's own directory is while the job has the sandbox.
    pub(super) fn parked_path(&self) -> Vec<u8> {
        self.place.parked_path()
    }

    /// After setup: removes the job's copy of the stand-in for a proxy, which would only mislead it. The sandbox is
    /// still this account's then, since there is a stand-in only where the switcher stays in it.
    ///
    /// # Errors
    /// When it cannot be removed.
    pub(super) fn hide_stand_in(&self) -> Outcome {
        if self.proxy_is_real {
            return Ok(());
        }
        openat(&self.place.parent, self.place.name.c_str(), DIRECTORY | OFlags::NOFOLLOW, Mode::empty())
            .and_then(|sandbox| unlinkat(sandbox, self.proxy.c_str(), AtFlags::empty()))
            .or_fail(|| format!("cannot remove {} from the sandbox", self.proxy))
    }

    /// Whether the sandbox is in our hands: under its name, and nothing is parked beside it.
    ///
    /// # Errors
    /// When the kernel does not tell.
    pub(super) fn is_home(&self) -> Outcome<bool> {
        let home = Metadata::of(&self.home).or_fail(|| "cannot look at the sandbox")?;
        let named = self.place.look(&self.place.name)?;
        Ok(named.is_some_and(|named| named.identity == home.identity) && self.place.look(&self.place.parked)?.is_none())
    }

    /// For a job that has not run: removes what was made and put here.
    ///
    /// # Errors
    /// When something cannot be removed, or is in the way; says where it is.
    pub(super) fn undo(&mut self) -> Outcome {
        for name in core::mem::take(&mut self.put) {
            remove_file(&self.home, name.c_str()).or_fail(|| format!("cannot remove {name}"))?;
        }
        if self.made {
            unlinkat(&self.place.parent, self.place.name.c_str(), AtFlags::REMOVEDIR)
                .or_fail(|| format!("cannot remove the sandbox {}", Escaped(&self.path())))?;
        }
        self.run_directory.as_ref().map_or(Ok(()), Entry::remove_directory)
    }

    /// For a job that has run, and whose sandbox has come back: removes the credential that was put there and leaves
    /// all else where it is wanted. Gives the place, or nothing if there is nothing and nobody asked for a place.
    ///
    /// # Errors
    /// When it has to stay where it is; says where.
    pub(super) fn leave(&mut self) -> Outcome<Option<Vec<u8>>> {
        let stays = || format!("the output stays in {}", Escaped(&self.path()));
        if self.proxy_put {
            remove_file(&self.home, self.proxy.c_str())
                .or_fail(|| format!("{}; cannot remove {}", stays(), self.proxy))?;
        }
        let left = match &self.output {
            Some(output) => Some(self.rename_to(output, stays)?),
            None if self.made && self.remove_if_empty().or_fail(stays)? => None,
            None => Some(self.path()),
        };
        if let Some(run_directory) = &self.run_directory
            && (left.is_none() || self.output.is_some())
        {
            run_directory.remove_directory()?;
        }
        Ok(left)
    }

    /// Makes the sandbox the output, whose path is given.
    fn rename_to(&self, output: &Entry, stays: impl Fn() -> String) -> Outcome<Vec<u8>> {
        if self.made {
            fchmod(&self.home, new_directory_mode()).or_fail(&stays)?;
        }
        renameat(&self.place.parent, self.place.name.c_str(), &output.directory, output.name.c_str())
            .or_fail(|| format!("{}; cannot rename it to {}", stays(), Escaped(&output.path())))?;
        Ok(output.path())
    }

    /// Whether the sandbox was empty; then it is gone.
    fn remove_if_empty(&self) -> Result<bool, Errno> {
        match unlinkat(&self.place.parent, self.place.name.c_str(), AtFlags::REMOVEDIR) {
            Err(Errno::NOTEMPTY | Errno::EXIST) => Ok(false),
            removed => removed.map(|()| true),
        }
    }
}

/// Removes a file, should it still be there.
fn remove_file(directory: &OwnedFd, name: &CStr) -> Result<(), Errno> {
    match unlinkat(directory, name, AtFlags::empty()) {
        Err(Errno::NOENT) => Ok(()),
        removed => removed,
    }
}

/// The mode that a new directory of the caller's gets. The umask can only be asked for by setting it.
fn new_directory_mode() -> Mode {
    let mask = umask(Mode::RWXG | Mode::RWXO);
    umask(mask);
    Mode::RWXU | (Mode::RWXG | Mode::RWXO).difference(mask)
}

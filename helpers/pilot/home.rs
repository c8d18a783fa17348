//! The pilot's own directory of one sandbox: opened once, named by whichever of its two names it has, held against
//! other helpers.

use crate::files::component::Component;
use crate::files::metadata::Metadata;
use crate::files::proxy;
use crate::files::sandbox::Names;
use crate::files::walk::Opened;
use crate::ground::outcome::{Failure, OrFail, Outcome};
use rustix::fs::{FlockOperation, Mode, OFlags, flock, openat};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// Which of its two names the pilot's directory has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum At {
    /// S: the pilot has the sandbox.
    Sandbox,
    /// `S.condor`: the job has it.
    Parked,
}

impl At {
    fn among(self, names: &Names) -> &Component {
        match self {
            At::Sandbox => &names.sandbox,
            At::Parked => &names.parked,
        }
    }
}

/// The pilot's own directory, with the proxy in it.
pub(crate) struct Home {
    /// The sandbox's names, among which it has one.
    pub names: Names,
    at: At,
    /// P, the proxy's name in it.
    pub proxy: Component,
    opened: Opened,
}

impl Home {
    /// Opens the directory that has the name `at`, if it is this account's.
    ///
    /// # Errors
    /// When it is anything else.
    pub(crate) fn open(names: Names, at: At, proxy: Component) -> Outcome<Self> {
        let opened = names.open_own(at.among(&names))?;
        Ok(Home { names, at, proxy, opened })
    }

    /// Keeps other helpers of the pilot away from this sandbox as long as the result is open.
    ///
    /// What is locked is the proxy. Whoever can open a file can lock it: the directory is open to all, the proxy to
    /// nobody else. Only where there is none, and so nothing to do but to bring one, the directory is locked.
    ///
    /// # Errors
    /// When another one is at work, or was until now and has put a new proxy in the place of the one that was locked.
    pub(crate) fn lock(&self) -> Outcome<OwnedFd> {
        let busy = || format!("another helper is at work on the sandbox {}", self.names.sandbox);
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
        let found = openat(self.directory(), self.proxy.c_str(), flags, Mode::empty());
        let there = found.is_ok();
        let held = found.or_else(|_| rustix::io::fcntl_dupfd_cloexec(self.directory(), 3)).or_fail(busy)?;
        flock(&held, FlockOperation::NonBlockingLockExclusive).or_fail(busy)?;
        let identity = Metadata::of(&held).or_fail(busy)?.identity;
        let is_still = |now: Metadata| now.identity == identity;
        if there && !Metadata::at(self.directory(), self.proxy.c_str()).is_ok_and(is_still) {
            return Err(Failure::permanent(busy()));
        }
        Ok(held)
    }

    /// The directory, open to be listed.
    pub(crate) fn directory(&self) -> BorrowedFd<'_> {
        self.opened.directory.as_fd()
    }

    /// A second descriptor of the directory, and what it was before it was opened up: for who walks it.
    ///
    /// # Errors
    /// When there is no descriptor left.
    pub(crate) fn to_walk(&self) -> Outcome<Opened> {
        let directory =
            rustix::io::fcntl_dupfd_cloexec(self.directory(), 3).or_fail(|| "cannot duplicate a descriptor")?;
        Ok(Opened { directory, found: self.opened.found, restore: self.opened.restore })
    }

    /// The proxy, if it is fit to be one.
    ///
    /// # Errors
    /// As [`proxy::open`].
    pub(crate) fn open_proxy(&self) -> Outcome<OwnedFd> {
        proxy::open(self.directory(), &self.proxy)
    }

    /// The absolute path of an entry, for the switcher's environment.
    pub(crate) fn path_of(&self, entry: &Component) -> Vec<u8> {
        self.names.path_of(self.at.among(&self.names), entry)
    }

    /// The proxy's absolute path.
    pub(crate) fn proxy_path(&self) -> Vec<u8> {
        self.path_of(&self.proxy)
    }
}

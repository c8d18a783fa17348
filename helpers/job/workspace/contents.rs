//! What is put into a sandbox before the job has it.

use super::entry::remove_file;
use super::given::{Proxy, Source};
use crate::files::component::Component;
use crate::files::content::{Copier, Uncopied};
use crate::files::metadata::Metadata;
use crate::ground::outcome::{OrFail, Outcome};
use crate::sys::close_written;
use core::convert::Infallible;
use rustix::fs::{Mode, OFlags, Timestamps, fchmod, futimens, openat};
use std::os::fd::{AsFd, OwnedFd};

/// The name of the stand-in for a proxy when the switcher stays in this account and needs none.
const PLACEHOLDER_NAME: &[u8] = b".condor_glexec_job.credential";

/// What is in it: no switcher that asks for an identity would take it.
const PLACEHOLDER: &[u8] = b"No proxy: the switcher stays in this account.\n";

const NEW_FILE: OFlags =
    OFlags::WRONLY.union(OFlags::CREATE).union(OFlags::EXCL).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// What has been put into the sandbox so far.
pub(super) struct Contents {
    /// P, the proxy's name in it.
    pub(super) proxy: Component,
    /// Whether the proxy in it is a credential, and not only a stand-in.
    pub(super) proxy_is_real: bool,
    /// Whether the proxy was put there by us, so that it has to go.
    pub(super) proxy_put: bool,
    /// All that was put into it by us.
    put: Vec<Component>,
}

impl Contents {
    /// Nothing yet.
    pub(super) fn new() -> Outcome<Self> {
        let proxy = Component::new(PLACEHOLDER_NAME).or_fail(|| "the stand-in's name")?;
        Ok(Contents { proxy, proxy_is_real: false, proxy_put: false, put: Vec::new() })
    }

    /// Puts the proxy and the input files into the sandbox.
    pub(super) fn fill(&mut self, home: &OwnedFd, proxy: Option<Proxy>, inputs: &[Source]) -> Outcome {
        match proxy {
            None => self.put_stand_in(home)?,
            Some(proxy) => self.put_proxy(home, proxy)?,
        }
        inputs.iter().try_for_each(|input| self.put_input(home, input))
    }

    /// Takes out all that was put in.
    pub(super) fn take_out(&mut self, home: &OwnedFd) -> Outcome {
        core::mem::take(&mut self.put)
            .iter()
            .try_for_each(|name| remove_file(home, name.c_str()).or_fail(|| format!("cannot remove {name}")))
    }

    fn put_stand_in(&mut self, home: &OwnedFd) -> Outcome {
        let file = self.create(home, &self.proxy.clone())?;
        rustix::io::write(&file, PLACEHOLDER).or_fail(|| "cannot write into the sandbox")?;
        self.proxy_put = true;
        Ok(())
    }

    fn put_proxy(&mut self, home: &OwnedFd, proxy: Proxy) -> Outcome {
        let found = Metadata::of(home).or_fail(|| "cannot look at the sandbox")?;
        if proxy.directory.identity != found.identity {
            let file = self.put(home, &proxy.source)?;
            self.proxy_put = true;
            close_written(file).or_fail(|| format!("cannot copy {} into the sandbox", proxy.source.name))?;
        }
        self.proxy = proxy.source.name;
        self.proxy_is_real = true;
        Ok(())
    }

    fn put_input(&mut self, home: &OwnedFd, input: &Source) -> Outcome {
        let file = self.put(home, input)?;
        let mode = Mode::from_raw_mode(u32::from(input.found.mode & 0o755));
        fchmod(&file, mode)
            .and_then(|()| futimens(&file, &Timestamps::from(input.found.mtime)))
            .and_then(|()| close_written(file))
            .or_fail(|| format!("cannot finish the copy of {} in the sandbox", input.name))
    }

    fn put(&mut self, home: &OwnedFd, source: &Source) -> Outcome<OwnedFd> {
        let file = self.create(home, &source.name)?;
        let copied = Copier::new(home.as_fd())
            .copy(source.file.as_fd(), file.as_fd(), &source.found, |_| Ok::<(), Infallible>(()));
        let failed = || format!("cannot copy {} into the sandbox", source.name);
        match copied {
            Ok(()) => Ok(file),
            Err(Uncopied::Changed) => Err("it changed meanwhile").or_fail(failed),
            Err(Uncopied::Unreadable(error) | Uncopied::System(error)) => Err(error).or_fail(failed),
            Err(Uncopied::Stopped(never)) => match never {},
        }
    }

    fn create(&mut self, home: &OwnedFd, name: &Component) -> Outcome<OwnedFd> {
        let file = openat(home, name.c_str(), NEW_FILE, Mode::RUSR | Mode::WUSR)
            .or_fail(|| format!("cannot make {name} in the sandbox"))?;
        self.put.push(name.clone());
        Ok(file)
    }
}

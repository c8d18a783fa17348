//! What is put into a sandbox before the job has it.

#![forbid(unsafe_code)]

use super::Workspace;
use super::given::{Given, Proxy, Source};
use crate::files::component::Component;
use crate::files::content::{Copier, Uncopied};
use crate::files::metadata::Metadata;
use crate::ground::escape::Escaped;
use crate::ground::outcome::{Failure, OrFail, Outcome};
use core::convert::Infallible;
use rustix::fs::{Mode, OFlags, Timestamps, fchmod, futimens, openat};
use std::os::fd::{AsFd, OwnedFd};

/// The name of the stand-in for a proxy when the switcher stays in this account and needs none.
pub(super) const PLACEHOLDER_NAME: &[u8] = b".condor_glexec_job.credential";

/// What is in it: no switcher that asks for an identity would take it.
const PLACEHOLDER: &[u8] = b"No proxy: the switcher stays in this account.\n";

const NEW_FILE: OFlags =
    OFlags::WRONLY.union(OFlags::CREATE).union(OFlags::EXCL).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

impl Workspace {
    /// Notes the place of the output, and puts the proxy and the input files into the sandbox.
    pub(super) fn fill(&mut self, given: Given) -> Outcome {
        self.output = given.output;
        self.require_one_file_system()?;
        match given.proxy {
            None => self.put_stand_in()?,
            Some(proxy) => self.put_proxy(&proxy)?,
        }
        given.inputs.iter().try_for_each(|input| self.put_input(input))
    }

    /// The output is to be left by a renaming.
    fn require_one_file_system(&self) -> Outcome {
        let Some(output) = &self.output else { return Ok(()) };
        let device = |directory: &OwnedFd| Metadata::of(directory).map(|found| found.device());
        let same = device(&self.place.parent).and_then(|here| Ok(here == device(&output.directory)?));
        if same.or_fail(|| "cannot look at the output's directory")? {
            return Ok(());
        }
        Err(Failure::permanent(format_args!(
            "the output {} is on another file system than the sandbox's parent {}; put one beside the other (--execute)",
            Escaped(&output.path()),
            Escaped(&self.place.parent_path)
        )))
    }

    fn put_stand_in(&mut self) -> Outcome {
        let file = self.create(&self.proxy.clone())?;
        rustix::io::write(&file, PLACEHOLDER).or_fail(|| "cannot write into the sandbox")?;
        self.proxy_put = true;
        Ok(())
    }

    fn put_proxy(&mut self, proxy: &Proxy) -> Outcome {
        self.proxy = proxy.source.name.clone();
        self.proxy_is_real = true;
        let home = Metadata::of(&self.home).or_fail(|| "cannot look at the sandbox")?;
        if proxy.directory.identity != home.identity {
            self.put(&proxy.source)?;
            self.proxy_put = true;
        }
        Ok(())
    }

    fn put_input(&mut self, input: &Source) -> Outcome {
        let file = self.put(input)?;
        let mode = Mode::from_raw_mode(u32::from(input.found.mode & 0o755));
        fchmod(&file, mode)
            .and_then(|()| futimens(&file, &Timestamps::from(input.found.mtime)))
            .or_fail(|| format!("cannot set the mode and time of {}", input.name))
    }

    fn put(&mut self, source: &Source) -> Outcome<OwnedFd> {
        let file = self.create(&source.name)?;
        let copied = Copier::new(self.home.as_fd())
            .copy(source.file.as_fd(), file.as_fd(), &source.found, |_| Ok::<(), Infallible>(()));
        let failed = || format!("cannot copy {} into the sandbox", source.name);
        match copied {
            Ok(()) => Ok(file),
            Err(Uncopied::Changed) => Err("it changed meanwhile").or_fail(failed),
            Err(Uncopied::System(error)) => Err(error).or_fail(failed),
            Err(Uncopied::Stopped(never)) => match never {},
        }
    }

    fn create(&mut self, name: &Component) -> Outcome<OwnedFd> {
        let file = openat(&self.home, name.c_str(), NEW_FILE, Mode::RUSR | Mode::WUSR)
            .or_fail(|| format!("cannot make {name} in the sandbox"))?;
        self.put.push(name.clone());
        Ok(file)
    }
}

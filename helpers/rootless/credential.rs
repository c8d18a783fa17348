//! The proxy that the caller names, and where it lies: that decides what the job's sandbox is.

use super::ancestors::ancestors;
use crate::files::component::Component;
use crate::files::metadata::Metadata;
use crate::files::path::split;
use crate::files::proxy;
use crate::files::sandbox::{Names, PARKED_SUFFIX};
use crate::ground::escape::Escaped;
use crate::ground::limits;
use crate::ground::outcome::{Failure, OrFail, Outcome};
use rustix::fs::{Mode, OFlags, openat};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStringExt;

/// The proxy that the caller named, and the sandbox that this makes the command's.
pub(super) struct Credential {
    /// The names of the sandbox.
    pub(super) names: Names,
    name: Component,
}

impl Credential {
    /// What the caller's environment says.
    pub(super) fn from_environment() -> Outcome<Self> {
        let proxy_path = std::env::var_os("GLEXEC_CLIENT_CERT")
            .ok_or_else(|| Failure::permanent("GLEXEC_CLIENT_CERT is not set; it must name the job's proxy"))?
            .into_vec();
        if !proxy_path.starts_with(b"/") || proxy_path.len() >= limits::PATH_BYTES {
            return Err(Failure::permanent(format_args!(
                "GLEXEC_CLIENT_CERT is {}; it must be an absolute path of at most 4095 bytes",
                Escaped(&proxy_path)
            )));
        }
        if std::env::var_os("GLEXEC_TARGET_PROXY").is_some_and(|target| target != "/dev/null") {
            return Err(Failure::permanent(
                "GLEXEC_TARGET_PROXY is not /dev/null; this switcher makes no copy of the proxy anywhere",
            ));
        }
        let (directory, name) = split(&proxy_path)?;
        let is_parked = directory.ends_with(PARKED_SUFFIX);
        let names = Names::find(directory.strip_suffix(PARKED_SUFFIX).unwrap_or(&directory))?;
        let home = open_own(&names, if is_parked { &names.parked } else { &names.sandbox })?;
        proxy::open(home.as_fd(), &name)?;
        Ok(Credential { names, name })
    }

    /// The sandbox, and the path of the job's copy of the proxy if there is one.
    pub(super) fn sandbox(&self, home: Option<&OwnedFd>) -> Outcome<(OwnedFd, Option<Vec<u8>>)> {
        let sandbox = open_own(&self.names, &self.names.sandbox)?;
        let found = Metadata::of(&sandbox).or_fail(|| "cannot look at the sandbox")?;
        let holds = |home: &OwnedFd| ancestors(home).is_ok_and(|above| above.contains(&found.identity));
        if home.is_some_and(holds) {
            return Err(Failure::permanent(format_args!(
                "the sandbox {} is or holds this account's home directory; the proxy must be in a directory of the job's own",
                Escaped(&self.names.sandbox_path())
            )));
        }
        let copy = Metadata::at(&sandbox, self.name.c_str())
            .is_ok()
            .then(|| self.names.path_of(&self.names.sandbox, &self.name));
        Ok((sandbox, copy))
    }
}

/// A directory of this account by one of the names, as a handle.
fn open_own(names: &Names, name: &Component) -> Outcome<OwnedFd> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let directory =
        openat(&names.parent, name.c_str(), flags, Mode::empty()).or_fail(|| format!("cannot open {name}"))?;
    let found = Metadata::of(&directory).or_fail(|| format!("cannot look at {name}"))?;
    if found.owner == rustix::process::geteuid().as_raw() {
        Ok(directory)
    } else {
        Err(Failure::permanent(format_args!("{name} belongs to uid {}, not to this account", found.owner)))
    }
}

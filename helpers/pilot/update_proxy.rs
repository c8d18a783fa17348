//! Renews the job's proxy, in the job's sandbox and in the pilot's directory. The pilot side.

use crate::confine::landlock::Grant;
use crate::confine::side::{UPDATE_PROXY_PILOT, filling};
use crate::confine::{Confined, confine};
use crate::files::component::Component;
use crate::files::path::{split, trusted_directory};
use crate::files::pem::{self, Unfit};
use crate::files::proxy;
use crate::files::sandbox::{Names, STAGED_NAME};
use crate::files::staged_proxy::Staged;
use crate::ground::argv::Arguments;
use crate::ground::escape::Escaped;
use crate::ground::outcome::{Failure, OrFail, Outcome};
use crate::ground::program::Program;
use crate::ground::{frame, limits, signals};
use crate::pilot::home::{At, Home};
use crate::pilot::switch::Switcher;
use crate::pilot::watchdog::attend;
use crate::policy;
use crate::protocol::greeting::Operation;
use rustix::fs::{AtFlags, unlinkat};
use rustix::process::geteuid;
use std::os::fd::{AsFd, OwnedFd};
use std::process::ExitCode;
use zeroize::Zeroizing;

const HELP: &str = include_str!("update_proxy.txt");

/// The switcher argument that stands for none.
const NO_SWITCHER: &[u8] = b"-";

/// The program.
pub fn main() -> ExitCode {
    frame::run(Program::UpdateProxy, HELP, |arguments| {
        let arguments = UpdateArguments::parse(arguments)?;
        attend(Program::UpdateProxy, || work(arguments))
    })
}

/// What the program is called with.
pub struct UpdateArguments {
    /// G, which is called once; `None` for `-`.
    pub switcher: Option<Switcher>,
    /// NEW, the new proxy's absolute path.
    pub new: Vec<u8>,
    /// P, the proxy's name.
    pub proxy: Component,
    /// S, the sandbox's absolute path.
    pub sandbox: Vec<u8>,
}

impl UpdateArguments {
    /// Reads all of them.
    ///
    /// # Errors
    /// Usage.
    pub fn parse(mut arguments: Arguments) -> Outcome<Self> {
        let switcher = if arguments.take_flag(NO_SWITCHER) {
            None
        } else {
            // The shadow tries again later: nobody but that does.
            let path = arguments.take_absolute("G (the switcher; - for none)")?;
            Some(Switcher { path, retries: 0, delay: 0 })
        };
        let parsed = UpdateArguments {
            switcher,
            new: arguments.take_absolute("NEW (the new proxy)")?,
            proxy: Component::take(&mut arguments, "P (the proxy's name)")?,
            sandbox: arguments.take_absolute("S (the sandbox)")?,
        };
        arguments.end()?;
        Ok(parsed)
    }
}

fn work(arguments: UpdateArguments) -> Outcome {
    let UpdateArguments { switcher, new, proxy, sandbox } = arguments;
    // A file size limit is an error to report, not a signal to die of.
    signals::ignore_write_signals();
    let new = take_new(&new)?;
    // After that: NEW is gone whatever becomes of this call.
    let may_lack = policy::load()?.may_lack;

    let at = if switcher.is_some() { At::Parked } else { At::Sandbox };
    let home = Home::open(Names::find(&sandbox)?, at, proxy)?;
    let _held = home.lock()?;
    let staged = Staged::copy(home.directory(), &new)?;
    let grants = [Grant { object: home.directory(), rights: filling() }];
    match switcher {
        None => {
            let proof = confine(&UPDATE_PROXY_PILOT, &grants, may_lack)?;
            require_whole(&new, &proof)?;
        }
        // First the job's, then the pilot's: so the pilot's copy is never ahead of what the job can use.
        Some(switcher) => {
            let waiting = Component::new(STAGED_NAME.to_bytes()).or_fail(|| "the new proxy")?;
            // The switcher is another program, for which everything is at its default.
            signals::reset_signals();
            let switched = switcher.switch(&home.path_of(&waiting), Operation::UpdateProxy)?;
            switched.confined(&UPDATE_PROXY_PILOT, &grants, may_lack, |target| {
                require_whole(&new, target.proof)?;
                target.send_to(&home.names, &home.names.sandbox, &home.proxy, false, &[new.as_fd()])?;
                target.await_done(limits::SILENCE_DEADLINE)
            })?;
        }
    }
    staged.install(&home.proxy)
}

/// Opens NEW, if it is fit to be a proxy, and removes its name in any case.
fn take_new(path: &[u8]) -> Outcome<OwnedFd> {
    let (parent_path, name) = split(path)?;
    let parent = trusted_directory(&parent_path, &[geteuid().as_raw()])?;
    let opened = proxy::open(parent.as_fd(), &name);
    let removed = unlinkat(&parent, name.c_str(), AtFlags::empty());
    let new = opened?;
    removed.or_fail(|| format!("cannot remove {}", Escaped(path)))?;
    Ok(new)
}

/// Looks into the new proxy; only now, and only confined.
fn require_whole(new: &OwnedFd, proof: &Confined) -> Outcome {
    let room = usize::try_from(limits::PROXY_BYTES).unwrap_or(usize::MAX);
    let mut pem = Zeroizing::new(vec![0_u8; room]);
    let mut length = 0_usize;
    while let Some(rest) = pem.get_mut(length..).filter(|rest| !rest.is_empty()) {
        let at = u64::try_from(length).unwrap_or(u64::MAX);
        match rustix::io::pread(new, rest, at).or_fail(|| "cannot read the new proxy")? {
            0 => break,
            count => length = length.saturating_add(count),
        }
    }
    pem::check(pem.get(..length).unwrap_or_default(), proof).map_err(|unfit| {
        Failure::permanent(match unfit {
            Unfit::NotWhole => {
                "the new proxy is not a whole PEM credential (certificate and key); it was cut off or is none"
            }
            Unfit::Encrypted => "the new proxy's key is encrypted; nobody would be asked for its pass phrase",
        })
    })
}

#[cfg(test)]
mod tests {
    use super::UpdateArguments;
    use crate::ground::argv::Arguments;
    use crate::ground::limits;

    #[test]
    fn the_switcher_is_a_path_that_a_program_can_have_or_none() {
        let switcher = |switcher: &str| {
            let argv = ["update_proxy", switcher, "/tmp/new", "x509", "/execute/dir_1"].map(Into::into);
            UpdateArguments::parse(Arguments::new(argv.to_vec())?)
                .map(|parsed| parsed.switcher.map(|switcher| switcher.path))
        };
        let path = |bytes: usize| "/".repeat(bytes);
        assert_eq!(switcher("-"), Ok(None));
        assert_eq!(switcher(&path(limits::PATH_BYTES - 1)), Ok(Some(path(limits::PATH_BYTES - 1).into_bytes())));
        for bad in ["", "glexec", "--", &path(limits::PATH_BYTES)] {
            assert!(switcher(bad).is_err(), "{} bytes", bad.len());
        }
    }
}

//! How a helper ends: the one table of exit codes, and the one line that says why.

#![forbid(unsafe_code)]

use core::fmt::{self, Display, Formatter};
use rustix::io::Errno;

/// The programs that share this library, by the names under which they are installed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Program {
    /// `condor_glexec_setup`
    Setup,
    /// `condor_glexec_run`
    Run,
    /// `condor_glexec_job_wrapper`
    JobWrapper,
    /// `condor_glexec_kill`
    Kill,
    /// `condor_glexec_cleanup`
    Cleanup,
    /// `condor_glexec_update_proxy`
    UpdateProxy,
    /// `condor_glexec_peer`
    Peer,
    /// `condor_glexec_job`
    Job,
    /// `glexec_rootless`
    Rootless,
}

impl Program {
    /// The installed name.
    pub const fn name(self) -> &'static str {
        match self {
            Program::Setup => "condor_glexec_setup",
            Program::Run => "condor_glexec_run",
            Program::JobWrapper => "condor_glexec_job_wrapper",
            Program::Kill => "condor_glexec_kill",
            Program::Cleanup => "condor_glexec_cleanup",
            Program::UpdateProxy => "condor_glexec_update_proxy",
            Program::Peer => "condor_glexec_peer",
            Program::Job => "condor_glexec_job",
            Program::Rootless => "glexec_rootless",
        }
    }
}

/// Why a helper did not do what it was called for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The arguments are not of the contract's form; nothing was touched.
    Usage,
    /// Trying the same again will not help (or the contract forbids trying).
    Permanent,
    /// The switcher kept answering 202 or 203 until the retries were used up.
    RetriesExhausted,
    /// For a switcher: the caller has to change something (glexec's 201).
    CallerFault,
    /// For a switcher: the administrator or the kernel has to (glexec's 202).
    SiteFault,
    /// For a switcher: the command could not be executed (126).
    ExecFailed,
}

/// The exit code of `program` for a failure of this kind.
///
/// Source: the table of exit codes that HTCondor's Starter and ProcD (up to 9.10) act upon, and glexec's manual for the
/// switcher. Zero always means done.
pub const fn exit_code(program: Program, kind: Kind) -> u8 {
    match (program, kind) {
        (Program::Rootless, Kind::ExecFailed) => 126,
        (Program::Rootless, Kind::SiteFault) => 202,
        (Program::Rootless, _) => 201,
        (Program::Setup | Program::Kill, Kind::Permanent) => 2,
        (Program::Setup | Program::Kill, Kind::RetriesExhausted) => 3,
        // The exit status of `condor_glexec_job` is the job's; env(1), timeout(1) and docker use 125 for "could not run it".
        (Program::Job, Kind::Usage) => 1,
        (Program::Job, _) => 125,
        _ => 1,
    }
}

/// A failure with the line that explains it: the object, the reason, the remedy. Bytes from outside are in it only
/// through [`crate::ground::escape::Escaped`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// What decides the exit code.
    pub kind: Kind,
    message: String,
}

/// The result of a step that can end the helper.
pub type Outcome<T = ()> = Result<T, Failure>;

impl Failure {
    /// A failure of any kind.
    pub fn new(kind: Kind, message: impl Display) -> Self {
        Failure { kind, message: message.to_string() }
    }

    /// The arguments are wrong.
    pub fn usage(message: impl Display) -> Self {
        Self::new(Kind::Usage, message)
    }

    /// Not worth another try.
    pub fn permanent(message: impl Display) -> Self {
        Self::new(Kind::Permanent, message)
    }
}

impl Display for Failure {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

/// Turns an error with a context into a [`Failure`]: `result.or_fail(|| format!("cannot open {}", ...))`.
pub trait OrFail<T> {
    /// A [`Kind::Permanent`] failure that reads "`context`: error text".
    fn or_fail<C: Display>(self, context: impl FnOnce() -> C) -> Outcome<T>;
}

impl<T, E: Display> OrFail<T> for Result<T, E> {
    fn or_fail<C: Display>(self, context: impl FnOnce() -> C) -> Outcome<T> {
        self.map_err(|error| Failure::permanent(format_args!("{}: {error}", context())))
    }
}

/// What the kernel refused while something was made, and the remedy where there is no room for it.
pub struct Unmade(pub Errno);

impl Display for Unmade {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let remedy = match self.0 {
            Errno::NOSPC => "; make room (space and inodes) and call this again",
            Errno::DQUOT => "; make room or raise the quota, and call this again",
            _ => "",
        };
        write!(f, "{}{remedy}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::{Kind::*, Program::*, exit_code};

    #[test]
    fn the_exit_codes_are_those_of_the_contract() {
        let table = [
            (Setup, [1, 2, 3]),
            (Kill, [1, 2, 3]),
            (Cleanup, [1, 1, 1]),
            (UpdateProxy, [1, 1, 1]),
            (Run, [1, 1, 1]),
            (JobWrapper, [1, 1, 1]),
            (Peer, [1, 1, 1]),
            (Job, [1, 125, 125]),
            (Rootless, [201, 201, 201]),
        ];
        for (program, codes) in table {
            let ours = [Usage, Permanent, RetriesExhausted].map(|kind| exit_code(program, kind));
            assert_eq!(ours, codes, "{}", program.name());
        }
        assert_eq!([CallerFault, SiteFault, ExecFailed].map(|kind| exit_code(Rootless, kind)), [201, 202, 126]);
    }
}

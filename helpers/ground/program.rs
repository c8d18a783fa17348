//! The programs by name, and the one table of their exit codes.

use crate::ground::outcome::Kind;

/// The programs that share this library, by the names under which they are installed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Program {
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
    pub(crate) const fn name(self) -> &'static str {
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

/// The exit code of `program` for a failure of this kind.
///
/// Source: the table of exit codes that HTCondor's Starter and ProcD (up to 9.10) act upon, and glexec's manual for the
/// switcher. Zero always means done.
pub(crate) const fn exit_code(program: Program, kind: Kind) -> u8 {
    match (program, kind) {
        (Program::Rootless, Kind::ExecFailed) => 126,
        (Program::Rootless, Kind::SiteFault) => 202,
        (Program::Rootless, _) => 201,
        (Program::Setup | Program::Kill, Kind::Permanent) => 2,
        (Program::Setup | Program::Kill, Kind::RetriesExhausted) => 3,
        // The exit status of `condor_glexec_job` is the job's; env(1), timeout(1) and docker use 125 for "could not
        // run it".
        (Program::Job, Kind::Usage) => 1,
        (Program::Job, _) => 125,
        _ => 1,
    }
}

#[cfg(test)]
mod tests {
    use super::{Program::*, exit_code};
    use crate::ground::outcome::Kind::*;

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

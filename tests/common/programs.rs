//! The programs that are tested.

#![forbid(unsafe_code)]
#![allow(dead_code)] // each test program uses a part of it

use std::path::PathBuf;

/// As cargo has built them for the tests.
const PROGRAMS: [(&str, &str); 9] = [
    ("condor_glexec_setup", env!("CARGO_BIN_EXE_condor_glexec_setup")),
    ("condor_glexec_run", env!("CARGO_BIN_EXE_condor_glexec_run")),
    ("condor_glexec_job_wrapper", env!("CARGO_BIN_EXE_condor_glexec_job_wrapper")),
    ("condor_glexec_kill", env!("CARGO_BIN_EXE_condor_glexec_kill")),
    ("condor_glexec_cleanup", env!("CARGO_BIN_EXE_condor_glexec_cleanup")),
    ("condor_glexec_update_proxy", env!("CARGO_BIN_EXE_condor_glexec_update_proxy")),
    ("condor_glexec_peer", env!("CARGO_BIN_EXE_condor_glexec_peer")),
    ("condor_glexec_job", env!("CARGO_BIN_EXE_condor_glexec_job")),
    ("glexec_rootless", env!("CARGO_BIN_EXE_glexec_rootless")),
];

/// All of them, by name: those in the folder that the variable `GLEXEC_RS_PROGRAMS` names (a release build), else
/// cargo's.
pub fn built() -> impl Iterator<Item = (&'static str, PathBuf)> {
    let folder = std::env::var_os("GLEXEC_RS_PROGRAMS").map(PathBuf::from);
    PROGRAMS
        .into_iter()
        .map(move |(name, own)| (name, folder.as_ref().map_or_else(|| own.into(), |folder| folder.join(name))))
}

/// One of them.
pub fn built_program(wanted: &str) -> PathBuf {
    built().find_map(|(name, path)| (name == wanted).then_some(path)).expect("a program's name")
}

//! What a caller asks for, and what it is told meanwhile.

use super::environment::Variable;
use crate::files::component::Component;
use core::time::Duration;
use std::fs::File;
use std::path::PathBuf;
use std::sync::Arc;

/// A job: what to run, where, and with what.
#[derive(Clone, Debug)]
pub struct Request {
    /// The directory in which the helper programs are installed, an absolute path.
    pub helpers: PathBuf,
    /// The switcher; without one, `glexec_rootless` among the helpers, which stays in this account and needs no proxy.
    pub switcher: Option<PathBuf>,
    /// The job's proxy credential. A switcher needs one.
    pub proxy: Option<PathBuf>,
    /// A directory to be used as the sandbox. Without one, a sandbox is made.
    pub sandbox: Option<PathBuf>,
    /// Where the sandbox is to be made. Without it, in a directory that is made for this job only.
    pub execute: Option<PathBuf>,
    /// Where the output is to be left, a new name or an empty directory. Without it, it stays in the sandbox.
    pub output: Option<PathBuf>,
    /// Files that are copied into the sandbox before the job.
    pub inputs: Vec<Input>,
    /// The job's environment, besides the few variables that say where the sandbox is (`TMPDIR`, `TMP`, `TEMP`,
    /// `_CONDOR_SCRATCH_DIR`) and, with a proxy, `X509_USER_PROXY`; each name at most once.
    pub environment: Vec<Variable>,
    /// The job's standard input; without it, ours.
    pub stdin: Option<PathBuf>,
    /// The job's standard output; without it, ours. A file below the sandbox, or below [`Request::output`], is one of
    /// the job's output.
    pub stdout: Option<PathBuf>,
    /// The job's standard error; without it, ours. As for [`Request::stdout`].
    pub stderr: Option<PathBuf>,
    /// What the caller writes to afterwards, a record for one. It has to be another object than the job's streams, and
    /// no file in the sandbox.
    pub record: Option<Arc<File>>,
    /// Whether root's own account may be the job's.
    pub allow_root: bool,
    /// How long the job may run.
    pub time_limit: Option<Duration>,
    /// How long the job has between SIGTERM and SIGKILL.
    pub grace: Duration,
    /// How often the switcher's 202 and 203 are tried again.
    pub retries: u32,
    /// The least pause before that, in seconds.
    pub delay: u32,
    /// The command and its arguments, byte for byte, without NUL. The command is an absolute path or one below the
    /// sandbox.
    pub command: Vec<Vec<u8>>,
}

/// A file that is copied into the sandbox.
#[derive(Clone, Debug)]
pub struct Input {
    /// Where it is.
    pub file: PathBuf,
    /// What it is called in the sandbox.
    pub name: Component,
}

/// What a caller may want to tell a person while it happens.
#[derive(Clone, Copy, Debug)]
pub enum News<'n> {
    /// A step begins.
    Step(&'n str),
    /// Something to be known even by those who don't watch, one line.
    Notice(&'n str),
}

//! What the job is given: a switcher, an environment, standard streams.

use crate::ground::limits;
use crate::ground::outcome::{Failure, OrFail, Outcome};
use crate::ground::program::Program;
use crate::job::environment::{Variable, encode, layered};
use crate::job::request::Request;
use crate::job::shown::shown;
use crate::job::workspace::Workspace;
use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

/// What the job gets through the channel.
pub(super) struct Equipment {
    pub(super) environment: Vec<u8>,
    /// Its standard input, output and error.
    pub(super) streams: [OwnedFd; 3],
}

/// The switcher's absolute path.
pub(super) fn switcher(request: &Request) -> Outcome<Vec<u8>> {
    let path = match &request.switcher {
        Some(switcher) => switcher.canonicalize().or_fail(|| format!("the switcher {}", shown(switcher)))?,
        None => request.helpers.join(Program::Rootless.name()),
    };
    Ok(path.into_os_string().into_encoded_bytes())
}

/// The job's environment as it goes over the channel.
pub(super) fn environment(workspace: &Workspace, asked_for: &[Variable]) -> Outcome<Vec<u8>> {
    let sandbox = workspace.path();
    let mut own = ["TMPDIR", "TMP", "TEMP", "_CONDOR_SCRATCH_DIR"]
        .into_iter()
        .map(|name| Variable::of(name, &sandbox))
        .collect::<Outcome<Vec<_>>>()?;
    if let Some(credential) = workspace.credential() {
        own.push(Variable::of("X509_USER_PROXY", &[&sandbox, &b"/"[..], credential.bytes()].concat())?);
    }
    let environment = encode(&layered([&own, asked_for, &[]]));
    if environment.len() > limits::ENVIRONMENT_BYTES {
        return Err(Failure::usage(format_args!(
            "the job's environment is {} bytes long; at most {} fit",
            environment.len(),
            limits::ENVIRONMENT_BYTES
        )));
    }
    Ok(environment)
}

/// The job's standard input, opened before anything is made.
pub(super) fn input(request: &Request) -> Outcome<OwnedFd> {
    stream(request.stdin.as_deref(), std::io::stdin().as_fd(), |path| File::open(path))
}

/// The job's standard output and standard error: one file, if they have one name.
pub(super) fn outputs(request: &Request) -> Outcome<[OwnedFd; 2]> {
    let create = |path: &Path| File::create(path);
    let output = stream(request.stdout.as_deref(), std::io::stdout().as_fd(), create)?;
    let same = request.stderr.is_some() && request.stderr == request.stdout;
    let errors = if same {
        output.try_clone().or_fail(|| "cannot duplicate a descriptor")?
    } else {
        stream(request.stderr.as_deref(), std::io::stderr().as_fd(), create)?
    };
    Ok([output, errors])
}

fn stream(
    path: Option<&Path>,
    own: BorrowedFd<'_>,
    open: impl FnOnce(&Path) -> std::io::Result<File>,
) -> Outcome<OwnedFd> {
    match path {
        Some(path) => open(path).map(OwnedFd::from).or_fail(|| format!("cannot open {}", shown(path))),
        None => own.try_clone_to_owned().or_fail(|| "cannot duplicate a standard descriptor"),
    }
}

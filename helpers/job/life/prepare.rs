//! What the job is given: a switcher, an environment.

use crate::ground::limits;
use crate::ground::outcome::{Failure, OrFail, Outcome};
use crate::ground::program::Program;
use crate::job::environment::{Variable, encode, layered};
use crate::job::request::Request;
use crate::job::shown::shown;
use crate::job::streams::Stream;
use crate::job::workspace::Workspace;

/// What the job gets through the channel.
pub(super) struct Equipment {
    pub(super) environment: Vec<u8>,
    /// Its standard input, output and error.
    pub(super) streams: [Stream; 3],
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

//! Jobs under a policy.

use crate::common::{Channel, Sandbox, Site};
use crate::etc;
use std::fs;

/// What became of a job.
pub struct Job {
    pub sandbox: Sandbox,
    /// Why it was not started; empty if it was.
    pub refusal: String,
    /// What it wrote on its standard output and error.
    pub output: String,
}

/// Starts this job in a sandbox of its own under this policy.
pub fn job(site: &Site, policy: &str, command: &[&str]) -> Job {
    job_with(site, policy, command, b"")
}

pub fn job_with(site: &Site, policy: &str, command: &[&str], environment: &[u8]) -> Job {
    let sandbox = site.empty_sandbox();
    crate::common::copy_program(&std::env::current_exe().unwrap(), &sandbox.path.join("probe"), "755");
    crate::common::finish(crate::common::PILOT, &sandbox.path.join("probe"), 0o755);
    site.setup(&sandbox).run().expect_quiet();
    let etc = etc::put(site, policy);
    let (channel, theirs) = Channel::open();
    let call = site
        .call("condor_glexec_run")
        .arg(site.switcher())
        .arg(&sandbox.proxy)
        .arg(&sandbox.path)
        .arg(site.program("condor_glexec_job_wrapper"))
        .arg("/dev/null")
        .args([sandbox.path.join("out"), sandbox.path.join("err")])
        .args(command)
        .cwd(&sandbox.parked)
        .input(theirs);
    let refusal = etc::with(&etc, || {
        let running = call.start();
        let refusal = channel.start_job(environment);
        running.finish();
        refusal.trim_end_matches('\0').to_owned()
    });
    let read = |name| fs::read_to_string(sandbox.path.join(name)).unwrap_or_default();
    let output = read("out") + &read("err");
    Job { sandbox, refusal, output }
}

//! System calls that a kernel, a container or a filter around us may refuse (H6), as far as they come before confinement: setup and cleanup do their work all the same, or refuse and
//! leave everything as it was. strace answers the calls in the kernel's place, in the helper, the switcher and the peer.

#![deny(unsafe_code)]

mod common;

use common::{Account, Call, Finished, Sandbox, Site};

/// What some kernel, container or filter lacks, of the calls before a process is confined. Those that come later cannot be answered in
/// this way: to a seccomp profile a call that a tracer takes away is one that it does not know.
const CALLS: [&str; 6] =
    ["close_range", "pidfd_open", "seccomp", "landlock_create_ruleset", "landlock_add_rule", "landlock_restrict_self"];

/// How they are refused.
const ERRNOS: [&str; 4] = ["ENOSYS", "EPERM", "EINVAL", "EXDEV"];

/// A helper's call under strace, which becomes the pilot itself: so the kernel honours the setuid switcher.
fn without(site: &Site, program: &str, sandbox: &Sandbox, call: &str, errno: &str) -> Finished {
    let directory = if sandbox.parked.is_dir() { &sandbox.parked } else { &sandbox.path };
    Call::new("/usr/bin/strace")
        .account(Account { name: "root" })
        .args(["-f", "-qq", "-o", "/dev/null", "-u", "pilot", "-e"])
        .arg(format!("inject={call}:error={errno}"))
        .arg(site.program(program))
        .arg(site.switcher())
        .arg(&sandbox.proxy)
        .arg(&sandbox.path)
        .args(["0", "0"])
        .cwd(directory)
        .run()
}

#[test]
fn setup_works_or_leaves_the_sandbox_as_it_was() {
    let Some(site) = Site::new() else { return };
    for (call, errno) in CALLS.iter().flat_map(|call| ERRNOS.map(|errno| (call, errno))) {
        let sandbox = site.sandbox();
        let before = sandbox.snapshot();
        let finished = without(&site, "condor_glexec_setup", &sandbox, call, errno);
        match finished.code {
            Some(0) => sandbox.assert_handed_over(&before),
            Some(2) => {
                assert_eq!(finished.said().lines().count(), 1, "{call} {errno}: {finished:?}");
                sandbox.assert_as_before(&before);
            }
            _ => panic!("{call} {errno}: {finished:?}"),
        }
        site.setup(&sandbox).run().expect(0);
        sandbox.assert_handed_over(&before);
        site.cleanup(&sandbox).run().expect_quiet();
    }
}

#[test]
fn cleanup_works_or_leaves_the_jobs_sandbox_as_it_was() {
    let Some(site) = Site::new() else { return };
    for (call, errno) in CALLS.iter().flat_map(|call| ERRNOS.map(|errno| (call, errno))) {
        let sandbox = site.sandbox();
        let given = sandbox.snapshot();
        site.setup(&sandbox).run().expect_quiet();
        let left = sandbox.snapshot();
        let finished = without(&site, "condor_glexec_cleanup", &sandbox, call, errno);
        match finished.code {
            Some(0) => {}
            Some(1) => {
                assert_eq!(finished.said().lines().count(), 1, "{call} {errno}: {finished:?}");
                sandbox.snapshot().assert_same(&left);
                site.cleanup(&sandbox).run().expect_quiet();
            }
            _ => panic!("{call} {errno}: {finished:?}"),
        }
        sandbox.assert_taken_back(&left, &given);
    }
}

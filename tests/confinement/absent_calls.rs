//! System calls that a kernel, a container or a filter around us may refuse (H6), as far as they come before
//! confinement: setup, cleanup, run, the job wrapper and condor_glexec_job do their work all the same, or refuse and
//! leave everything as it was. strace answers the calls in the kernel's place, in the helper and, for setup and
//! cleanup, in the switcher and the peer.

use crate::common::{Account, Call, Finished, GREG, PILOT, Sandbox, Site, finish};
use crate::starter::Starter;
use std::fs::{create_dir, read_dir, remove_dir_all, remove_file};
use std::time::{Duration, Instant};

/// What some kernel, container or filter lacks, of the calls before a process is confined, and whether setup and
/// cleanup do without it: nothing that protects is left out. Calls that come later cannot be answered in this way: to a
/// seccomp profile a call that a tracer takes away is one that it does not know.
const CALLS: [(&str, bool); 6] = [
    ("close_range", true),
    ("pidfd_open", false),
    ("seccomp", false),
    ("landlock_create_ruleset", false),
    ("landlock_add_rule", false),
    ("landlock_restrict_self", false),
];

/// How they are refused.
const ERRNOS: [&str; 4] = ["ENOSYS", "EPERM", "EINVAL", "EXDEV"];

/// Every one of these calls with every way to refuse it.
fn refusals<C: Copy>(calls: &[C]) -> impl Iterator<Item = (C, &'static str)> {
    calls.iter().flat_map(|call| ERRNOS.map(|errno| (*call, errno)))
}

/// A call of a program under strace, which becomes the account itself: so the kernel honours the setuid switcher.
fn strace(account: Account, call: &str, errno: &str) -> Call {
    Call::new("/usr/bin/strace")
        .account(Account { name: "root" })
        .args(["-f", "-qq", "-o", "/dev/null", "-u", account.name, "-e"])
        .arg(format!("inject={call}:error={errno}"))
}

/// Where the program ends by executing another one, or its child does, that one's calls are answered by the kernel.
const NOT_BEYOND_EXEC: [&str; 2] = ["-b", "execve"];

/// A call of setup or cleanup.
fn without(site: &Site, program: &str, sandbox: &Sandbox, call: &str, errno: &str) -> Finished {
    let directory = if sandbox.parked.is_dir() { &sandbox.parked } else { &sandbox.path };
    strace(PILOT, call, errno)
        .arg(site.program(program))
        .arg(site.switcher())
        .arg(&sandbox.proxy)
        .arg(&sandbox.path)
        .args(["0", "0"])
        .cwd(directory)
        .run()
}

#[test]
#[ignore = "needs root"]
fn setup_works_or_leaves_the_sandbox_as_it_was() {
    let site = Site::new();
    for ((call, is_done_without), errno) in refusals(&CALLS) {
        let sandbox = site.sandbox();
        let before = sandbox.snapshot();
        let finished = without(&site, "condor_glexec_setup", &sandbox, call, errno);
        if is_done_without {
            assert_eq!((finished.code, finished.said().as_str()), (Some(0), ""), "{call} {errno}");
            sandbox.assert_handed_over(&before);
        } else {
            assert_eq!((finished.code, finished.said().lines().count()), (Some(2), 1), "{call} {errno}: {finished:?}");
            sandbox.assert_as_before(&before);
        }
        site.setup(&sandbox).run().expect(0);
        sandbox.assert_handed_over(&before);
        site.cleanup(&sandbox).run().expect_quiet();
    }
}

#[test]
#[ignore = "needs root"]
fn cleanup_works_or_leaves_the_jobs_sandbox_as_it_was() {
    let site = Site::new();
    for ((call, is_done_without), errno) in refusals(&CALLS) {
        let sandbox = site.sandbox();
        let given = sandbox.snapshot();
        site.setup(&sandbox).run().expect_quiet();
        let left = sandbox.snapshot();
        let finished = without(&site, "condor_glexec_cleanup", &sandbox, call, errno);
        if is_done_without {
            assert_eq!((finished.code, finished.said().as_str()), (Some(0), ""), "{call} {errno}");
        } else {
            assert_eq!((finished.code, finished.said().lines().count()), (Some(1), 1), "{call} {errno}: {finished:?}");
            sandbox.snapshot().assert_same(&left);
            site.cleanup(&sandbox).run().expect_quiet();
        }
        sandbox.assert_taken_back(&left, &given);
    }
}

/// The calls of run before it becomes the switcher, and whether it does without them. Not among them, here and below:
/// what no kernel refuses and Rust's run-time ends the process for (`poll` of the standard descriptors, dispositions of
/// signals, memory, who one is).
const OF_RUN: [(&str, bool); 10] = [
    ("close_range", true),
    ("setitimer", true),
    ("rt_sigprocmask", true),
    ("sigaltstack", true),
    ("fcntl", true),
    ("open", false),
    ("openat", false),
    ("statx", false),
    ("fchdir", false),
    ("execve", false),
];

#[test]
#[ignore = "needs root"]
fn run_starts_the_job_or_says_why_not() {
    let site = Site::new();
    let sandbox = site.handed_over();
    for ((call, is_done_without), errno) in refusals(&OF_RUN) {
        let (starter, theirs) = Starter::new();
        let running = strace(PILOT, call, errno)
            .args(NOT_BEYOND_EXEC)
            .arg(site.program("condor_glexec_run"))
            .arg(site.switcher())
            .arg(&sandbox.proxy)
            .arg(&sandbox.path)
            .arg(site.program("condor_glexec_job_wrapper"))
            .args(["/dev/null", "/dev/null", "/dev/null", "/usr/bin/touch", "ran"])
            .cwd(&sandbox.parked)
            .input(theirs)
            .start();
        if is_done_without {
            assert_eq!(starter.start_job(b"\0", &[]), Ok(()), "{call} {errno}");
            running.finish().expect_quiet();
        } else {
            assert_eq!(starter.rest(), b"", "{call} {errno}");
            running.finish().expect_refusal(1, &["condor_glexec_run: "]);
        }
        assert_eq!(remove_file(sandbox.path.join("ran")).is_ok(), is_done_without, "{call} {errno}");
    }
}

/// What comes of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// The job runs.
    Runs,
    /// The reason is told on the socket for that.
    Told,
    /// There is no job, and the reason is printed.
    Printed,
}

/// The calls of the wrapper before it becomes the job.
const OF_THE_WRAPPER: [(&str, End); 15] = [
    ("close_range", End::Runs),
    ("setitimer", End::Runs),
    ("rt_sigprocmask", End::Runs),
    ("sigaltstack", End::Runs),
    ("openat", End::Told),
    ("statx", End::Told),
    ("fstat", End::Told),
    ("dup2", End::Told),
    ("execve", End::Told),
    ("prctl", End::Printed),
    ("fcntl", End::Printed),
    ("getsockopt", End::Printed),
    ("sendmsg", End::Printed),
    ("recvmsg", End::Printed),
    ("ppoll", End::Told),
];

#[test]
#[ignore = "needs root"]
fn the_wrapper_starts_the_job_or_says_why_not() {
    let site = Site::new();
    let sandbox = site.handed_over();
    for ((call, end), errno) in refusals(&OF_THE_WRAPPER) {
        // All at once: who cannot say hello does not wait for more.
        let (mut starter, theirs) = Starter::new();
        starter.send_environment(b"\0");
        let fresh = starter.send_fresh_socket();
        starter.fall_silent();
        let finished = strace(GREG, call, errno)
            .args(NOT_BEYOND_EXEC)
            .arg(site.program("condor_glexec_job_wrapper"))
            .args(["/dev/null", "/dev/null", "/dev/null", "/usr/bin/touch", "ran"])
            .cwd(&sandbox.path)
            .input(theirs)
            .run();
        let ran = remove_file(sandbox.path.join("ran")).is_ok();
        assert_eq!(ran, end == End::Runs, "{call} {errno}: {finished:?}");
        // Where nobody has taken the fresh socket, it ends.
        assert_eq!(fresh.outcome().is_err(), end == End::Told, "{call} {errno}: {finished:?}");
        match end {
            End::Runs => drop(finished.expect_quiet()),
            End::Told => assert_eq!((finished.code, finished.said().as_str()), (Some(1), ""), "{call} {errno}"),
            End::Printed => drop(finished.expect_refusal(1, &["condor_glexec_job_wrapper: "])),
        }
    }
}

/// The calls of condor_glexec_job for itself and, up to their exec, for the helpers that it starts.
const OF_THE_JOB: [(&str, End); 32] = [
    ("close_range", End::Runs),
    ("setitimer", End::Runs),
    ("sigaltstack", End::Runs),
    ("dup2", End::Printed),
    ("execve", End::Printed),
    ("fchdir", End::Printed),
    ("fcntl", End::Printed),
    ("fork", End::Printed),
    ("ioctl", End::Printed),
    ("mkdirat", End::Printed),
    ("openat", End::Printed),
    ("pipe2", End::Printed),
    ("prctl", End::Printed),
    ("prlimit64", End::Printed),
    ("readlink", End::Printed),
    ("readlinkat", End::Printed),
    ("rt_sigprocmask", End::Printed),
    ("sendmsg", End::Printed),
    ("recvmsg", End::Printed),
    ("setpgid", End::Printed),
    ("setsid", End::Printed),
    ("signalfd4", End::Printed),
    ("socketpair", End::Printed),
    ("statx", End::Printed),
    ("waitid", End::Printed),
    ("fchmod", End::Printed),
    ("pidfd_open", End::Printed),
    ("ppoll", End::Printed),
    ("read", End::Printed),
    ("unlinkat", End::Printed),
    ("wait4", End::Printed),
    ("open", End::Printed),
];

/// Without these it may not see that the sandbox is back, or cannot remove it, and leaves it; unless a cleanup that it
/// could not wait for was done in time.
const CANNOT_REMOVE: [&str; 5] = ["pidfd_open", "ppoll", "read", "unlinkat", "wait4"];

#[test]
#[ignore = "needs root"]
fn the_job_is_run_or_it_is_said_why_not() {
    let site = Site::new();
    let temporary = site.root.join("tmp");
    // The last one refuses nothing: it says that there is no link.
    for ((call, end), errno) in
        refusals(&OF_THE_JOB).filter(|((call, _), errno)| (*call, *errno) != ("readlink", "EINVAL"))
    {
        create_dir(&temporary).unwrap();
        finish(PILOT, &temporary, 0o755);
        let finished = strace(PILOT, call, errno)
            .args(NOT_BEYOND_EXEC)
            .arg(site.program("condor_glexec_job"))
            .args(["--", "/bin/echo", "ran"])
            .env("TMPDIR", &temporary)
            .cwd("/")
            .separate_errors()
            .run();
        // Whom it could not wait for ends without it.
        let deadline = Instant::now() + Duration::from_secs(60);
        while !site.processes().is_empty() {
            assert!(Instant::now() < deadline, "{call} {errno}: {:?}", site.processes());
            std::thread::sleep(Duration::from_millis(10));
        }
        let is_left = read_dir(&temporary).unwrap().next().is_some();
        if end == End::Runs {
            assert_eq!((finished.code, &*finished.output, &*finished.errors), (Some(0), "ran\n", ""), "{call} {errno}");
        } else {
            assert_eq!((finished.code, &*finished.output), (Some(125), ""), "{call} {errno}: {finished:?}");
            let is_told = |line: &str| line.starts_with("condor_glexec_job: ") && !line.contains(char::is_control);
            assert!(
                !finished.errors.is_empty() && finished.errors.lines().all(is_told),
                "{call} {errno}: {finished:?}"
            );
        }
        assert!(!is_left || CANNOT_REMOVE.contains(&call), "{call} {errno}: {finished:?}");
        remove_dir_all(&temporary).unwrap();
    }
}

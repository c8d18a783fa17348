//! What a caller may leave a helper with: tiny limits, odd signals, no working directory. The helper does its work, or
//! says that it cannot and has changed nothing for the worse.

#![allow(unsafe_code)] // what a child does to itself before it executes a helper

use crate::common::{Call, Channel, Finished, GREG, PILOT, Site, Sleeper, finish, pem};
use crate::playground::{Helper, Playground};
use rustix::process::Resource;
use std::ffi::CString;
use std::io::Error;
use std::panic::catch_unwind;

/// Puts a call into it.
type Hardship = fn(&Site, Call) -> Call;

/// What may come of a call.
#[derive(Clone, Copy)]
enum Ends {
    /// The work is done.
    Done,
    /// The work is done, unless this signal strikes before the helper could switch its timer off: then it may try
    /// again.
    DoneUnless(i32),
    /// The work is done, or the helper says why not.
    Said,
    /// Or the kernel or the run-time ends it, by one of these signals, where there is no room for the program or its
    /// stack, or its time is up.
    By(&'static [i32]),
}

/// Without room the kernel ends a program before its first instruction; without memory, the run-time does.
const NO_ROOM: Ends = Ends::By(&[libc::SIGSEGV, libc::SIGKILL, libc::SIGABRT]);

/// How often a timer may be too fast.
const TOO_FAST: usize = 40;

/// How much of its second of processor a helper has used up, in microseconds, when it begins.
const USED_UP: i64 = 990_000;

const HARDSHIPS: [(&str, Hardship, Ends); 18] = [
    ("no bytes in files", |_, call| call.limit(Resource::Fsize, 0), Ends::Said),
    ("one page in files", |_, call| call.limit(Resource::Fsize, 4096), Ends::Said),
    ("3 descriptors", |_, call| call.limit(Resource::Nofile, 3), Ends::Said),
    ("8 descriptors", |_, call| call.limit(Resource::Nofile, 8), Ends::Said),
    ("16 descriptors", |_, call| call.limit(Resource::Nofile, 16), Ends::Said),
    ("1 MiB of memory", |_, call| call.limit(Resource::As, 1 << 20), NO_ROOM),
    ("16 MiB of memory", |_, call| call.limit(Resource::As, 16 << 20), Ends::Done),
    ("one process", |_, call| call.limit(Resource::Nproc, 1), Ends::Said),
    ("a second of processor", |_, call| call.limit(Resource::Cpu, 1), Ends::Done),
    (
        "processor that is used up soon",
        |_, call| call.limit(Resource::Cpu, 1).last(use_up),
        Ends::By(&[libc::SIGKILL, libc::SIGXCPU]),
    ),
    ("16 KiB of stack", |_, call| call.limit(Resource::Stack, 16 << 10), NO_ROOM),
    ("128 KiB of stack", |_, call| call.limit(Resource::Stack, 128 << 10), Ends::Done),
    ("every signal blocked", |_, call| call.last(|| signals(true)), Ends::Done),
    ("every signal ignored", |_, call| call.last(|| signals(false)), Ends::Done),
    ("an alarm in 2 ms", |_, call| call.last(|| timer(libc::ITIMER_REAL, 2_000)), Ends::DoneUnless(libc::SIGALRM)),
    (
        "a timer of 1 ms of processor",
        |_, call| call.last(|| timer(libc::ITIMER_PROF, 1_000)),
        Ends::DoneUnless(libc::SIGPROF),
    ),
    (
        "no working directory",
        |site, call| {
            let directory = site.root.join("pilot/gone");
            std::fs::create_dir(&directory).unwrap();
            finish(PILOT, &directory, 0o700);
            let path = CString::new(directory.as_os_str().as_encoded_bytes()).unwrap();
            call.cwd(directory).last(move || {
                // SAFETY: the path lives as long as the closure.
                result(unsafe { libc::rmdir(path.as_ptr()) })
            })
        },
        Ends::Done,
    ),
    (
        "nice 19",
        |_, call| {
            call.last(|| {
                // SAFETY: a number.
                unsafe { libc::nice(19) };
                Ok(())
            })
        },
        Ends::Done,
    ),
];

/// Uses the processor, of which the time goes on across the execution of a program.
fn use_up() -> std::io::Result<()> {
    loop {
        // SAFETY: a plain C structure of numbers, for which zero is a value, and which the kernel fills.
        let used = unsafe {
            let mut used: libc::rusage = std::mem::zeroed();
            libc::getrusage(libc::RUSAGE_SELF, &raw mut used);
            used
        };
        if (used.ru_utime.tv_sec + used.ru_stime.tv_sec) * 1_000_000 + used.ru_utime.tv_usec + used.ru_stime.tv_usec
            >= USED_UP
        {
            return Ok(());
        }
    }
}

fn signals(blocked: bool) -> std::io::Result<()> {
    // SAFETY: a set on the stack that is filled before it is used; dispositions without a handler. Signals that cannot
    // be ignored stay as they are.
    unsafe {
        let mut all: libc::sigset_t = std::mem::zeroed();
        libc::sigfillset(&mut all);
        if blocked {
            return result(libc::sigprocmask(libc::SIG_SETMASK, &all, std::ptr::null_mut()));
        }
        for signal in 1..=64 {
            libc::signal(signal, libc::SIG_IGN);
        }
    }
    Ok(())
}

fn timer(which: i32, microseconds: i64) -> std::io::Result<()> {
    let value = libc::itimerval {
        it_interval: libc::timeval { tv_sec: 0, tv_usec: microseconds },
        it_value: libc::timeval { tv_sec: 0, tv_usec: microseconds },
    };
    // SAFETY: the kernel reads one structure, which lives through the call, and writes nothing.
    result(unsafe { libc::syscall(libc::SYS_setitimer, which, &raw const value, 0) } as i32)
}

fn result(returned: i32) -> std::io::Result<()> {
    if returned == 0 { Ok(()) } else { Err(Error::last_os_error()) }
}

fn may_fail(ends: Ends) -> bool {
    matches!(ends, Ends::Said | Ends::By(_))
}

/// The test goes on only if a call ended as it may.
#[track_caller]
fn assert_ends(what: &str, ends: Ends, finished: &Finished) {
    match (finished.code, finished.signal) {
        (Some(0), _) => {}
        (Some(_), _) if may_fail(ends) => assert!(!finished.said().is_empty(), "{what}: it failed without a word"),
        (None, Some(signal)) if matches!(ends, Ends::By(signals) if signals.contains(&signal)) => {}
        (None, Some(signal)) if matches!(ends, Ends::DoneUnless(timers) if timers == signal) => {}
        _ => panic!("{what}: {finished:?}"),
    }
}

/// Does `attempt` in every hardship: until it is done, where only a timer can be faster.
fn in_every_hardship(mut attempt: impl FnMut(&str, Hardship, Ends) -> Finished) {
    for (what, hardship, ends) in HARDSHIPS {
        let tries = if matches!(ends, Ends::DoneUnless(_)) { TOO_FAST } else { 1 };
        let done = (0..tries).any(|_| attempt(what, hardship, ends).code == Some(0));
        assert!(done || tries == 1, "{what}: it is struck every time");
    }
}

fn helper_in_hardship(helper: Helper) {
    let site = Site::new();
    in_every_hardship(|what, hardship, ends| {
        let playground = Playground::new(&site, helper);
        let finished = hardship(&site, playground.call()).run();
        assert_ends(&format!("{helper:?} with {what}"), ends, &finished);
        playground.judge(&finished, false).unwrap_or_else(|why| panic!("{helper:?} with {what}: {finished:?}: {why}"));
        playground.clear();
        finished
    });
}

#[test]
#[ignore = "needs root"]
fn h1_setup() {
    helper_in_hardship(Helper::Setup);
}

#[test]
#[ignore = "needs root"]
fn h1_cleanup() {
    helper_in_hardship(Helper::Cleanup);
}

#[test]
#[ignore = "needs root"]
fn h1_update_proxy() {
    helper_in_hardship(Helper::UpdateProxy);
}

#[test]
#[ignore = "needs root"]
fn h1_kill() {
    let site = Site::new();
    let sandbox = site.handed_over();
    in_every_hardship(|what, hardship, ends| {
        let mut sleeper = Sleeper::start(GREG);
        let finished = hardship(&site, site.kill(&sandbox, sleeper.pid(), libc::SIGKILL).closed(&[])).run();
        assert_ends(&format!("kill with {what}"), ends, &finished);
        if finished.code == Some(0) {
            assert_eq!(sleeper.ended_by(), libc::SIGKILL);
        } else {
            site.kill(&sandbox, sleeper.pid(), libc::SIGKILL).run().expect(0);
        }
        finished
    });
}

#[test]
#[ignore = "needs root"]
fn h1_run_and_the_job_wrapper() {
    let site = Site::new();
    let sandbox = site.handed_over();
    let mut started = 0;
    in_every_hardship(|what, hardship, ends| {
        let (starter, wrapper) = Channel::open();
        let call = site
            .call("condor_glexec_run")
            .arg(site.switcher())
            .arg(&sandbox.proxy)
            .arg(&sandbox.path)
            .arg(site.program("condor_glexec_job_wrapper"))
            .args(["/dev/null", "/dev/null", "/dev/null", "/bin/sh", "-c", "exit 0"])
            .cwd(&sandbox.parked)
            .input(wrapper);
        let running = hardship(&site, call).start();
        // Where run gives up there is no hello, and its word is on stderr.
        let told = catch_unwind(|| starter.start_job(b"A=1"));
        let finished = running.finish();
        match told {
            Ok(text) if text.is_empty() => {
                started += 1;
                // The limits are the job's, too, and of the loader of its shell, which says why where nobody listens.
                let unloaded = finished.code == Some(127) && may_fail(ends);
                let limited = finished.signal.is_some() || finished.said().contains("sh:") || unloaded;
                assert!(limited || finished.code == Some(0), "{what}: {finished:?}");
                if !unloaded {
                    assert_ends(&format!("the job with {what}"), ends, &finished);
                }
            }
            Ok(text) => {
                assert_eq!(finished.code, Some(1), "{what}: {finished:?}");
                assert!(may_fail(ends), "{what}: {text}");
            }
            Err(_) => assert_ends(&format!("run with {what}"), ends, &finished),
        }
        finished
    });
    assert!(started >= 8, "only {started} jobs were started");
}

#[test]
#[ignore = "needs root"]
fn h1_job() {
    let site = Site::new();
    in_every_hardship(|what, hardship, ends| {
        let proxy = site.private_file("proxy", &pem(9));
        let call = site.call("condor_glexec_job").arg("--switcher").arg(site.switcher()).arg("--proxy").arg(proxy);
        let call = call.arg("--execute").arg(&site.execute).args(["--retries", "0", "--output"]);
        let output = site.execute.join("out");
        let call = call.arg(&output).args(["--", "/bin/sh", "-c", "exit 0"]).cwd(site.root.join("pilot"));
        let finished = hardship(&site, call).run();
        assert_ends(&format!("job with {what}"), ends, &finished);
        for left in std::fs::read_dir(&site.execute).unwrap().flatten() {
            // What it could not take back or remove it has to name, unless the kernel or the run-time did not let it
            // say so.
            let name = left.file_name().to_string_lossy().into_owned();
            let named = finished.said().contains(name.trim_end_matches(".condor"));
            let silenced = matches!(finished.signal, Some(libc::SIGABRT | libc::SIGKILL | libc::SIGXCPU));
            assert!(name == "out" || named || silenced, "{what}: {name} is left: {finished:?}");
            std::fs::remove_dir_all(left.path()).unwrap();
        }
        finished
    });
}

/// The job has said its word if, and only if, the switcher exits with 0.
#[test]
#[ignore = "needs root"]
fn h1_glexec_rootless() {
    let site = Site::new();
    let sandbox = site.sandbox();
    in_every_hardship(|what, hardship, ends| {
        let call = site.call("glexec_rootless").args(["/bin/echo", "a word"]).cwd(&sandbox.path);
        let call = call.env("GLEXEC_CLIENT_CERT", sandbox.proxy_path()).env("GLEXEC_TARGET_PROXY", "/dev/null");
        let finished = hardship(&site, call).run();
        assert_ends(&format!("glexec_rootless with {what}"), ends, &finished);
        assert_eq!(finished.said() == "a word\n", finished.code == Some(0), "{what}: {finished:?}");
        finished
    });
}

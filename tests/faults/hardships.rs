//! What a caller may leave a helper with: tiny limits, odd signals, no working directory. The helper does its work, or says that it cannot and has
//! changed nothing for the worse.

#![allow(unsafe_code)] // what a child does to itself before it executes a helper

use crate::common::{Call, Channel, Finished, GREG, PILOT, Site, Sleeper, finish, pem};
use crate::ground::{Ground, Helper};
use rustix::process::Resource;
use std::ffi::CString;
use std::io::Error;
use std::panic::catch_unwind;

/// Puts a call into it.
type Hardship = fn(&Site, Call) -> Call;

const HARDSHIPS: [(&str, Hardship); 17] = [
    ("no bytes in files", |_, call| call.limit(Resource::Fsize, 0)),
    ("one page in files", |_, call| call.limit(Resource::Fsize, 4096)),
    ("3 descriptors", |_, call| call.limit(Resource::Nofile, 3)),
    ("8 descriptors", |_, call| call.limit(Resource::Nofile, 8)),
    ("16 descriptors", |_, call| call.limit(Resource::Nofile, 16)),
    ("1 MiB of memory", |_, call| call.limit(Resource::As, 1 << 20)),
    ("16 MiB of memory", |_, call| call.limit(Resource::As, 16 << 20)),
    ("one process", |_, call| call.limit(Resource::Nproc, 1)),
    ("a second of processor", |_, call| call.limit(Resource::Cpu, 1)),
    ("16 KiB of stack", |_, call| call.limit(Resource::Stack, 16 << 10)),
    ("128 KiB of stack", |_, call| call.limit(Resource::Stack, 128 << 10)),
    ("every signal blocked", |_, call| call.last(|| signals(true))),
    ("every signal ignored", |_, call| call.last(|| signals(false))),
    ("an alarm in 2 ms", |_, call| call.last(|| timer(libc::ITIMER_REAL, 2_000))),
    ("a timer of 1 ms of processor", |_, call| call.last(|| timer(libc::ITIMER_PROF, 1_000))),
    ("no working directory", |site, call| {
        let directory = site.root.join("pilot/gone");
        std::fs::create_dir(&directory).unwrap();
        finish(PILOT, &directory, 0o700);
        let path = CString::new(directory.as_os_str().as_encoded_bytes()).unwrap();
        call.cwd(directory).last(move || {
            // SAFETY: the path lives as long as the closure.
            result(unsafe { libc::rmdir(path.as_ptr()) })
        })
    }),
    ("nice 19", |_, call| {
        call.last(|| {
            // SAFETY: a number.
            unsafe { libc::nice(19) };
            Ok(())
        })
    }),
];

fn signals(blocked: bool) -> std::io::Result<()> {
    // SAFETY: a set on the stack that is filled before it is used; dispositions without a handler. Signals that cannot be ignored stay as they are.
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

/// A helper that fails says why, unless the kernel did not let it begin at all.
fn assert_clean(what: &str, finished: &Finished) {
    match (finished.code, finished.signal) {
        (Some(0), _) => {}
        (Some(_), _) => assert!(!finished.said().is_empty(), "{what}: it failed without a word"),
        // Where there is no room for its stack or its program, the kernel ends it before its first instruction; without memory, the run-time does.
        (None, Some(libc::SIGSEGV | libc::SIGKILL | libc::SIGABRT))
            if what.contains("memory") || what.contains("stack") => {}
        // It has become the tests' switcher, which keeps a log.
        (None, Some(libc::SIGXFSZ)) if what.starts_with("run") => {}
        // Before it could switch the timer off.
        (None, Some(libc::SIGALRM | libc::SIGPROF)) if what.contains("alarm") || what.contains("timer") => {}
        _ => panic!("{what}: {finished:?}"),
    }
}

fn helper_in_hardship(helper: Helper) {
    let Some(site) = Site::new() else { return };
    let mut succeeded = 0;
    for (what, hardship) in HARDSHIPS {
        let ground = Ground::new(&site, helper);
        let finished = hardship(&site, ground.call()).run();
        assert_clean(&format!("{helper:?} with {what}"), &finished);
        succeeded += usize::from(finished.code == Some(0));
        ground.judge(&finished, false).unwrap_or_else(|why| panic!("{helper:?} with {what}: {finished:?}: {why}"));
        ground.clear();
    }
    assert!(succeeded >= 7, "only {succeeded} hardships were overcome");
}

#[test]
fn h1_setup() {
    helper_in_hardship(Helper::Setup);
}

#[test]
fn h1_cleanup() {
    helper_in_hardship(Helper::Cleanup);
}

#[test]
fn h1_update_proxy() {
    helper_in_hardship(Helper::UpdateProxy);
}

#[test]
fn h1_kill() {
    let Some(site) = Site::new() else { return };
    let sandbox = site.handed_over();
    for (what, hardship) in HARDSHIPS {
        let mut sleeper = Sleeper::start(GREG);
        let finished = hardship(&site, site.kill(&sandbox, sleeper.pid(), libc::SIGKILL).closed(&[])).run();
        assert_clean(&format!("kill with {what}"), &finished);
        if finished.code == Some(0) {
            assert_eq!(sleeper.ended_by(), libc::SIGKILL);
        } else {
            site.kill(&sandbox, sleeper.pid(), libc::SIGKILL).run().expect(0);
        }
    }
}

#[test]
fn h1_run_and_the_job_wrapper() {
    let Some(site) = Site::new() else { return };
    let sandbox = site.handed_over();
    let mut started = 0;
    for (what, hardship) in HARDSHIPS {
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
                // The limits are the job's, too.
                let limited = what.contains("memory") || finished.signal.is_some() || finished.said().contains("sh:");
                assert!(limited || finished.code == Some(0), "{what}: {finished:?}");
            }
            Ok(_) => assert_eq!(finished.code, Some(1), "{what}: {finished:?}"),
            Err(_) => assert_clean(&format!("run with {what}"), &finished),
        }
    }
    assert!(started >= 8, "only {started} jobs were started");
}

#[test]
fn h1_job() {
    let Some(site) = Site::new() else { return };
    let mut succeeded = 0;
    for (what, hardship) in HARDSHIPS {
        let proxy = site.private_file("proxy", &pem(9));
        let call = site.call("condor_glexec_job").arg("--switcher").arg(site.switcher()).arg("--proxy").arg(proxy);
        let call = call.arg("--execute").arg(&site.execute).args(["--retries", "0", "--output"]);
        let output = site.execute.join("out");
        let call = call.arg(&output).args(["--", "/bin/sh", "-c", "exit 0"]).cwd(site.root.join("pilot"));
        let finished = hardship(&site, call).run();
        assert_clean(&format!("job with {what}"), &finished);
        succeeded += usize::from(finished.code == Some(0));
        for left in std::fs::read_dir(&site.execute).unwrap().flatten() {
            // What it could not take back or remove it has to name, unless there was no memory left even to say so.
            let name = left.file_name().to_string_lossy().into_owned();
            let named = finished.said().contains(name.trim_end_matches(".condor"));
            assert!(
                name == "out" || named || finished.signal == Some(libc::SIGABRT),
                "{what}: {name} is left: {finished:?}"
            );
            std::fs::remove_dir_all(left.path()).unwrap();
        }
    }
    assert!(succeeded >= 7, "only {succeeded} hardships were overcome");
}

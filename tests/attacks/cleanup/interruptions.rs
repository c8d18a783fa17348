//! Helpers that meet others, are killed, overwritten or have too little.

use crate::common::{Channel, GREG, MALLORY, PILOT, Seat, Site};
use crate::common::{another_round, as_account, pem, put_file};
use rustix::fs::{FlockOperation, flock};
use rustix::process::Resource;
use std::fs::{self};
use std::io::{self, ErrorKind::PermissionDenied};
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// The other side has done nothing wrong, and is not blamed.
#[test]
#[ignore = "needs root"]
fn h1_a_limit_on_descriptors_that_is_too_small_is_named() {
    let site = Site::new();
    let sandbox = site.handed_over();
    for index in 0..40 {
        put_file(GREG, &sandbox.path.join(format!("output{index}")), &[5; 50_000], 0o644);
    }
    let left = sandbox.snapshot();
    site.cleanup(&sandbox).limit(Resource::Nofile, 16).run().expect_refusal(1, &["RLIMIT_NOFILE"]);
    sandbox.snapshot().assert_same(&left);
}

#[test]
#[ignore = "needs root"]
fn c13_two_cleanups_at_once() {
    let site = Site::new();
    let mut refused = 0;
    let mut rounds = 0..;
    while rounds.next().is_some_and(|round| another_round(round, 10, refused > 0)) {
        let sandbox = site.sandbox();
        let given = sandbox.snapshot();
        site.setup(&sandbox).run().expect_quiet();
        as_account(GREG, || fs::write(sandbox.path.join("output"), vec![1; 5_000_000])).unwrap();
        let left = sandbox.snapshot().with("output", |entry| entry.mode = 0o644);
        let call = || site.cleanup(&sandbox).cwd("/").start();
        let both = [call(), call()].map(crate::common::Running::finish);
        assert!(both.iter().any(|finished| finished.code == Some(0)), "{both:?}");
        for finished in both {
            match finished.code {
                Some(0) => drop(finished.expect_quiet()),
                _ => {
                    refused += 1;
                    finished.expect_refusal(1, &["another helper"]);
                }
            }
        }
        sandbox.assert_taken_back(&left, &given);
    }
    assert!(refused > 0, "they never met");
}

/// Run is still at it when the sandbox is taken back: the job has its own tree, whole or gone, and never what is the
/// pilot's again.
#[test]
#[ignore = "needs root"]
fn h2_a_cleanup_while_the_job_is_being_started() {
    let site = Site::new();
    let (mut came_back, mut late) = (0, 0);
    let mut rounds = 0..;
    while let Some(round) = rounds.next().filter(|round| another_round(*round, 20, came_back > 0 && late > 0)) {
        let sandbox = site.sandbox();
        let given = sandbox.snapshot();
        site.setup(&sandbox).run().expect_quiet();
        as_account(GREG, || fs::write(sandbox.path.join("output"), vec![1; 1_000_000])).unwrap();
        let left = sandbox.snapshot().with("output", |entry| entry.mode = 0o644);
        let (starter, channel) = Channel::open();
        let run = site.call("condor_glexec_run").arg(site.switcher()).arg(&sandbox.proxy).arg(&sandbox.path);
        let run = run.arg(site.program("condor_glexec_job_wrapper"));
        let run = run.args(["/dev/null", "/dev/null", "/dev/null", "/usr/bin/touch", "made"]);
        let run = run.cwd(&sandbox.parked).input(channel).start();
        let start_job = move || std::thread::spawn(|| starter.start_job(b"NAME=value"));
        let cleanup = || {
            std::thread::sleep(Duration::from_millis(round % 20));
            site.cleanup(&sandbox).cwd("/").run()
        };
        let (started, cleanup) = if round % 2 == 0 {
            let started = start_job();
            (started, cleanup())
        } else {
            let cleanup = cleanup();
            (start_job(), cleanup)
        };
        assert!(matches!(cleanup.code, Some(0 | 1)), "{cleanup:?}");
        let run = run.finish();
        match run.code {
            Some(0) => assert_eq!(started.join().unwrap(), "", "the job did run"),
            // The job could not make its file any more, or there was no sandbox to start it in.
            code => assert_eq!(code, Some(1), "{run:?}"),
        }
        site.cleanup(&sandbox).cwd("/").run().expect_quiet();
        let made = sandbox.path.join("made");
        if let Ok(found) = fs::metadata(&made) {
            came_back += 1;
            assert_eq!(found.uid(), PILOT.uid());
            fs::remove_file(made).unwrap();
        } else {
            late += 1;
        }
        sandbox.assert_taken_back(&left, &given);
    }
    assert!(came_back > 0 && late > 0, "{came_back} outputs came back, {late} jobs were too late");
}

/// The pilot's directory can be listed by everybody, and whoever can open a directory can lock it.
#[test]
#[ignore = "needs root"]
fn c13_other_accounts_cannot_lock_the_helpers_out() {
    let site = Site::new();
    for account in [GREG, MALLORY] {
        let sandbox = site.sandbox();
        let _held = as_account(account, || {
            let directory = fs::File::open(&sandbox.path).unwrap();
            flock(&directory, FlockOperation::NonBlockingLockExclusive).unwrap();
            directory
        });
        let given = sandbox.snapshot();
        site.setup(&sandbox).run().expect_quiet();
        sandbox.assert_handed_over(&given);
        let new = site.private_file("new", &pem(2));
        site.update_proxy(&sandbox, &new).run().expect_quiet();
        site.cleanup(&sandbox).run().expect_quiet();
        assert!(!sandbox.parked.exists());
        assert_eq!(fs::read(sandbox.proxy_path()).unwrap(), pem(2));
    }
}

#[test]
#[ignore = "needs root"]
fn c13_a_sandbox_that_has_gone_is_not_given_up_under_another_helper() {
    let site = Site::new();
    let sandbox = site.sandbox();
    site.setup(&sandbox).run().expect_quiet();
    as_account(GREG, || fs::rename(&sandbox.path, sandbox.path.with_extension("moved"))).unwrap();
    let at_work = fs::File::open(sandbox.parked_proxy()).unwrap();
    flock(&at_work, FlockOperation::NonBlockingLockExclusive).unwrap();
    site.cleanup(&sandbox).run().expect_refusal(1, &["another helper"]);
    assert!(sandbox.parked.exists() && !sandbox.path.exists());
    // Not by closing it alone: a child that another test forks meanwhile may hold it, too.
    flock(&at_work, FlockOperation::Unlock).unwrap();
    site.cleanup(&sandbox).run().expect_refusal(1, &["removed its sandbox"]);
    assert!(!sandbox.parked.exists() && sandbox.path.exists());
    fs::remove_dir_all(sandbox.path.with_extension("moved")).unwrap();
}

#[test]
#[ignore = "needs root"]
fn c13_while_setup_is_at_work() {
    let site = Site::new();
    for round in 0..20 {
        let sandbox = site.sandbox();
        sandbox.add_file("large", &vec![3; 20_000_000], 0o644);
        let given = sandbox.snapshot();
        let setup = site.setup(&sandbox).start();
        std::thread::sleep(Duration::from_millis(round * 3));
        let cleanup = site.cleanup(&sandbox).cwd("/").run();
        let setup = setup.finish();
        assert!(matches!(cleanup.code, Some(0 | 1)), "{cleanup:?}");
        assert!(matches!(setup.code, Some(0 | 2)), "{setup:?}");
        // Whoever has it has all of it, and cleanup ends well.
        site.cleanup(&sandbox).cwd("/").run().expect_quiet();
        sandbox.snapshot().below().assert_same(&given.masked(0o755).below());
        assert!(!sandbox.parked.exists());
    }
}

#[test]
#[ignore = "needs root"]
fn r13_the_job_overwrites_a_running_helper() {
    const FILES: usize = 3000;
    let site = Site::new();
    let programs = ["condor_glexec_cleanup", "condor_glexec_peer"].map(|name| site.program(name));
    let content = || programs.each_ref().map(|program| fs::read(program).unwrap());
    let before = content();
    let mut refused = [0; 2];
    let mut rounds = 0..;
    while rounds.next().is_some_and(|round| another_round(round, 1, !refused.contains(&0))) {
        let sandbox = site.handed_over();
        as_account(GREG, || (0..FILES).for_each(|n| fs::write(sandbox.path.join(n.to_string()), b"x").unwrap()));
        let mut running = site.cleanup(&sandbox).start();
        // What comes of the target side before its first file counts as the job's: see R13 in the ledger.
        let arrives =
            |staging: fs::DirEntry| fs::read_dir(staging.path().join("tree")).is_ok_and(|tree| tree.count() > 0);
        while !fs::read_dir(&sandbox.parked).into_iter().flatten().flatten().any(arrives) && !running.has_ended() {
            std::thread::yield_now();
        }
        while !running.has_ended() {
            for (pid, _) in site.processes() {
                let process = PathBuf::from(format!("/proc/{pid}"));
                let runs = |program: &PathBuf| fs::read_link(process.join("exe")).is_ok_and(|runs| runs == *program);
                let Some(side) = programs.iter().position(runs) else { continue };
                let tried = as_account(GREG, || {
                    let write = |name: &str| fs::OpenOptions::new().write(true).open(process.join(name)).map(drop);
                    [write("exe"), write("mem"), fs::read_dir(process.join("fd")).map(drop)]
                });
                if runs(&programs[side]) {
                    let denied =
                        |tried: &io::Result<()>| tried.as_ref().is_err_and(|why| why.kind() == PermissionDenied);
                    assert!(tried.iter().all(denied), "{}: {tried:?}", programs[side].display());
                    refused[side] += 1;
                }
            }
        }
        running.finish().expect_quiet();
    }
    assert!(!refused.contains(&0), "not each side was met at its work: {refused:?}");
    assert!(content() == before);
}

/// One side dies at any moment; the next call ends well.
fn killed_at_any_moment(site: &Site, kill: impl Fn(&mut crate::common::Running) -> usize) {
    let mut killed = 0;
    for round in 0..40_u64 {
        let sandbox = site.sandbox();
        let seat = Seat::take(&sandbox.path);
        let given = sandbox.snapshot();
        site.setup(&sandbox).run().expect_quiet();
        as_account(GREG, || fs::write(sandbox.path.join("output"), vec![1; 3_000_000])).unwrap();
        let left = sandbox.snapshot().with("output", |entry| entry.mode = 0o644);
        let mut running = site.cleanup(&sandbox).cwd("/").start();
        std::thread::sleep(Duration::from_micros(round * 700));
        killed += kill(&mut running);
        let finished = running.finish();
        assert!(matches!((finished.code, finished.signal), (Some(0 | 1), _) | (_, Some(9))), "{finished:?}");
        // What is left of the first call's target side may still be at work for a moment.
        let deadline = Instant::now() + Duration::from_secs(60);
        while site.cleanup(&sandbox).cwd("/").run().code != Some(0) {
            assert!(Instant::now() < deadline, "it never comes back");
            std::thread::sleep(Duration::from_millis(20));
        }
        assert_eq!(seat.path(), sandbox.path);
        let deadline = Instant::now() + Duration::from_secs(10);
        while sandbox.parked.exists() && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(5));
        }
        sandbox.assert_taken_back(&left, &given);
    }
    assert!(killed > 0, "nobody was ever there to be killed");
}

#[test]
#[ignore = "needs root"]
fn s8_c12_the_pilot_side_is_killed_at_any_moment() {
    let site = Site::new();
    killed_at_any_moment(&site, |running| {
        running.kill();
        1
    });
}

#[test]
#[ignore = "needs root"]
fn s8_c12_the_target_side_is_killed_at_any_moment() {
    let site = Site::new();
    killed_at_any_moment(&site, |_| site.kill_peers());
}

#[test]
#[ignore = "needs root"]
fn s8_c12_a_switcher_that_stays_is_killed_at_any_moment() {
    let site = Site::new();
    site.configure_switcher("linger = yes");
    killed_at_any_moment(&site, |_| site.kill_switchers());
}

//! `condor_glexec_cleanup` against the built programs, with two accounts: what the Starter gives it and expects of it.

use crate::common::{FileSystem, Finished, GREG, MALLORY, PILOT, Sandbox, Seat, Site, Sleeper, Snapshot};
use crate::common::{as_account, finish, put_file};
use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::process::CommandExt;
use std::process::Command;

/// What a well-behaved job does.
pub fn job(sandbox: &Sandbox) {
    as_account(GREG, || {
        let here = |name: &str| sandbox.path.join(name);
        fs::write(here("output"), vec![9; 100_000]).unwrap();
        fs::write(here("input"), b"changed").unwrap();
        fs::remove_file(here("condor_exec.exe")).unwrap();
        fs::create_dir_all(here("results/run 1")).unwrap();
        fs::write(here("results/run 1/a\nb"), b"odd").unwrap();
        std::os::unix::fs::symlink("run 1", here("results/last")).unwrap();
        fs::hard_link(here("output"), here("results/same")).unwrap();
        fs::set_permissions(here("output"), fs::Permissions::from_mode(0o666)).unwrap();
        fs::set_permissions(here("results"), fs::Permissions::from_mode(0o777)).unwrap();
    });
}

#[test]
#[ignore = "needs root"]
fn takes_back_what_the_job_left_into_the_inode_where_the_starter_sits() {
    for file_system in [FileSystem::Disk, FileSystem::Tmpfs(64)] {
        let site = Site::on(file_system);
        let sandbox = site.sandbox();
        let seat = Seat::take(&sandbox.path);
        let (inode, given) = (seat.inode(), sandbox.snapshot());
        let proxy_inode = fs::metadata(sandbox.proxy_path()).unwrap().ino();
        site.setup(&sandbox).run().expect_quiet();
        job(&sandbox);
        let left = sandbox.snapshot();

        site.cleanup(&sandbox).run().expect_quiet();

        sandbox.assert_taken_back(&left, &given);
        assert_eq!((seat.path(), seat.inode()), (sandbox.path.clone(), inode));
        assert_eq!(fs::metadata(sandbox.proxy_path()).unwrap().ino(), proxy_inode);
        assert_eq!(fs::metadata(&sandbox.path).unwrap().mode() & 0o7777, 0o755);
    }
}

#[test]
#[ignore = "needs root"]
fn a_job_that_did_nothing_leaves_the_sandbox_as_the_starter_made_it() {
    let site = Site::new();
    let sandbox = site.sandbox();
    let before = sandbox.snapshot();
    site.setup(&sandbox).run().expect_quiet();
    site.cleanup(&sandbox).run().expect_quiet();
    sandbox.snapshot().below().assert_same(&before.below());
}

#[test]
#[ignore = "needs root"]
fn wrong_arguments_are_answered_with_the_usage_and_touch_nothing() {
    let site = Site::new();
    let sandbox = site.handed_over();
    let (job, parked) = (sandbox.snapshot(), Snapshot::of(&sandbox.parked));
    let calls = site.switcher_calls().len();
    let g = site.switcher().into_os_string();
    let s = sandbox.path.clone().into_os_string();
    let p = sandbox.proxy.clone();
    let wrong: Vec<Vec<OsString>> = vec![
        vec![],
        vec![g.clone()],
        vec![g.clone(), p.clone()],
        vec![g.clone(), p.clone(), s.clone()],
        vec![g.clone(), p.clone(), s.clone(), "0".into()],
        vec![g.clone(), p.clone(), s.clone(), "0".into(), "0".into(), "0".into()],
        vec!["switcher".into(), p.clone(), s.clone(), "0".into(), "0".into()],
        vec![g.clone(), "a/b".into(), s.clone(), "0".into(), "0".into()],
        vec![g.clone(), "".into(), s.clone(), "0".into(), "0".into()],
        vec![g.clone(), p.clone(), "dir_1".into(), "0".into(), "0".into()],
        vec![g.clone(), p.clone(), s.clone(), "-1".into(), "0".into()],
        vec![g.clone(), p.clone(), s.clone(), "0".into(), "1 2".into()],
    ];
    for arguments in wrong {
        site.call("condor_glexec_cleanup")
            .args(&arguments)
            .cwd(&sandbox.parked)
            .separate_errors()
            .run()
            .expect_usage("condor_glexec_cleanup");
    }
    sandbox.snapshot().assert_same(&job);
    Snapshot::of(&sandbox.parked).assert_same(&parked);
    assert_eq!(site.switcher_calls().len(), calls);
}

fn with_retries(site: &Site, sandbox: &Sandbox, retries: &str) -> Finished {
    let arguments = [site.switcher().into_os_string(), sandbox.proxy.clone(), sandbox.path.clone().into_os_string()];
    site.cleanup(sandbox).only_args(arguments).args([retries, "0"]).run()
}

#[test]
#[ignore = "needs root"]
fn every_failure_is_1_and_leaves_the_jobs_sandbox_for_the_next_call() {
    let site = Site::new();
    let sandbox = site.sandbox();
    let given = sandbox.snapshot();
    site.setup(&sandbox).run().expect_quiet();
    job(&sandbox);
    let (left, parked) = (sandbox.snapshot(), Snapshot::of(&sandbox.parked));
    for (code, attempts) in [(202, 4), (203, 4), (201, 1), (1, 1), (0, 1), (126, 1)] {
        let calls = site.switcher_calls().len();
        site.configure_switcher(&format!("fail = {code} always"));
        with_retries(&site, &sandbox, "3").expect_refusal(1, &["switcher"]);
        assert_eq!(site.switcher_calls().len() - calls, attempts, "{code}");
        sandbox.snapshot().assert_same(&left);
        Snapshot::of(&sandbox.parked).assert_same(&parked);
    }
    site.configure_switcher("fail = 203 times 3");
    with_retries(&site, &sandbox, "3").expect_quiet();
    sandbox.assert_taken_back(&left, &given);
}

#[test]
#[ignore = "needs root"]
fn the_starters_second_call_does_nothing() {
    let site = Site::new();
    let sandbox = site.handed_over();
    job(&sandbox);
    site.cleanup(&sandbox).run().expect_quiet();
    let (after, calls) = (sandbox.snapshot(), site.switcher_calls().len());
    site.cleanup(&sandbox).run().expect_quiet();
    sandbox.assert_as_before(&after);
    assert_eq!(site.switcher_calls().len(), calls);
}

#[test]
#[ignore = "needs root"]
fn a_sandbox_can_be_handed_over_and_taken_back_again_and_again() {
    let site = Site::new();
    let sandbox = site.sandbox();
    let before = sandbox.snapshot().below();
    for _ in 0..5 {
        site.setup(&sandbox).run().expect_quiet();
        site.cleanup(&sandbox).run().expect_quiet();
        sandbox.snapshot().below().assert_same(&before);
    }
}

#[test]
#[ignore = "needs root"]
fn ticket_1688_refuses_what_setup_did_not_make() {
    let site = Site::new();
    let refused = |sandbox: &Sandbox| site.cleanup(sandbox).cwd(&site.execute).run().expect_refusal(1, &[]);

    let mut absent = site.empty_sandbox();
    absent.path = site.execute.join("dir_absent");
    absent.parked = site.execute.join("dir_absent.condor");
    refused(&absent);

    // Directories of others, with things in them, and without the pilot's parked one.
    for owner in [GREG, MALLORY] {
        let sandbox = site.sandbox();
        finish(owner, &sandbox.path, 0o755);
        let before = sandbox.snapshot();
        refused(&sandbox);
        sandbox.assert_as_before(&before);
    }

    // A parked directory that is not the pilot's.
    for owner in [GREG, MALLORY] {
        let sandbox = site.sandbox();
        finish(GREG, &sandbox.path, 0o755);
        fs::create_dir(&sandbox.parked).unwrap();
        put_file(owner, &sandbox.parked_proxy(), &crate::common::pem(1), 0o600);
        finish(owner, &sandbox.parked, 0o755);
        let before = (sandbox.snapshot(), Snapshot::of(&sandbox.parked));
        refused(&sandbox);
        sandbox.snapshot().assert_same(&before.0);
        Snapshot::of(&sandbox.parked).assert_same(&before.1);
    }
    assert!(site.switcher_calls().is_empty());
}

#[test]
#[ignore = "needs root"]
fn ticket_6058_after_the_starter_died_with_processes_alive_and_twice() {
    let site = Site::new();
    let sandbox = site.sandbox();
    let given = sandbox.snapshot();
    site.setup(&sandbox).run().expect_quiet();
    job(&sandbox);
    let left = sandbox.snapshot();
    let mut alive = Command::new("/bin/sleep");
    alive.arg("1000").uid(GREG.uid()).gid(GREG.gid()).current_dir(&sandbox.path);
    let mut alive = alive.spawn().unwrap();
    for _ in 0..2 {
        site.cleanup(&sandbox).cwd("/").run().expect_quiet();
        sandbox.assert_taken_back(&left, &given);
    }
    assert!(alive.try_wait().unwrap().is_none(), "cleanup is not there to kill");
    alive.kill().unwrap();
    alive.wait().unwrap();
}

#[test]
#[ignore = "needs root"]
fn ticket_1717_the_proxy_may_have_expired_as_far_as_the_helper_is_concerned() {
    // A helper looks at a proxy's file, never at its dates: whether it is still good is the switcher's to say.
    let site = Site::new();
    for proxy in [&include_bytes!("../expired-certificate.pem")[..], b"an old one"] {
        let sandbox = site.handed_over();
        put_file(PILOT, &sandbox.parked_proxy(), proxy, 0o600);
        site.cleanup(&sandbox).run().expect_quiet();
        assert_eq!(fs::read(sandbox.proxy_path()).unwrap(), proxy);
    }
}

/// #235, #3280: a proxy that has expired does not get better by trying, and whoever holds the job should read what is
/// wrong.
#[test]
#[ignore = "needs root"]
fn a_proxy_that_the_switcher_finds_expired_is_named_and_no_helper_tries_again() {
    let site = Site::new();
    let (new_one, sandbox) = (site.sandbox(), site.handed_over());
    let mut process = Sleeper::start(GREG);
    let new = site.private_file("new", &crate::common::pem(2));
    let trees = || [&new_one.path, &sandbox.path, &sandbox.parked].map(|tree| Snapshot::of(tree).below());
    let before = trees();
    site.configure_switcher("fail = 201 always");
    let g = site.switcher().into_os_string();
    let of =
        |sandbox: &Sandbox| [g.clone(), sandbox.proxy.clone(), sandbox.path.clone().into(), "3".into(), "0".into()];
    let kill = [g.clone(), sandbox.parked_proxy().into(), process.pid().to_string().into()];
    let calls = [
        (2, site.setup(&new_one).only_args(of(&new_one))),
        (1, site.update_proxy(&sandbox, &new)),
        (2, site.kill(&sandbox, process.pid(), 9).only_args(kill).args(["9", "3", "0"]).closed(&[])),
        (1, site.cleanup(&sandbox).only_args(of(&sandbox))),
    ];
    for (code, call) in calls {
        let calls = site.switcher_calls().len();
        call.run().expect_refusal(code, &["201: the proxy is missing, expired or unfit"]);
        assert_eq!(site.switcher_calls().len(), calls + 1);
    }
    process.assert_alive();
    before.iter().zip(trees()).for_each(|(before, now)| now.assert_same(before));
}

#[test]
#[ignore = "needs root"]
fn the_job_removed_or_moved_its_sandbox() {
    // The owner of a directory may do so even in a sticky one. At least the Starter's own directory comes back.
    let site = Site::new();
    let sandbox = site.handed_over();
    as_account(GREG, || {
        fs::rename(&sandbox.path, site.execute.join("elsewhere")).unwrap();
        fs::remove_dir_all(site.execute.join("elsewhere")).unwrap();
    });
    site.cleanup(&sandbox).run().expect_refusal(1, &["removed"]);
    assert_eq!(sandbox.snapshot().names(), [&sandbox.proxy]);
    assert!(!sandbox.parked.exists());
}

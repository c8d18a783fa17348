//! `condor_glexec_update_proxy` against the built programs, with two accounts: what the Starter gives it and expects of
//! it.

use crate::common::{FileSystem, GREG, PILOT, Sandbox, Site, Snapshot, as_account, pem, put_file};
use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

/// A proxy of this owner, mode 0600, with this content, and nothing else new beside it.
#[track_caller]
pub fn assert_proxy(path: &Path, owner: crate::common::Account, content: &[u8]) {
    let found = fs::symlink_metadata(path).unwrap();
    assert!(found.is_file(), "{}", path.display());
    assert_eq!((found.uid(), found.mode() & 0o7777, found.nlink()), (owner.uid(), 0o600, 1), "{}", path.display());
    assert!(fs::read(path).unwrap() == content, "{} has another content", path.display());
}

/// Everything but the two proxies is as it was.
#[track_caller]
fn assert_nothing_else_changed(sandbox: &Sandbox, job: &Snapshot) {
    sandbox.snapshot().below().without(&sandbox.proxy).assert_same(&job.clone().below().without(&sandbox.proxy));
    assert_eq!(Snapshot::of(&sandbox.parked).names(), [Path::new(&sandbox.proxy)]);
}

#[test]
#[ignore = "needs root"]
fn renews_both_proxies() {
    for file_system in [FileSystem::Disk, FileSystem::Tmpfs(64)] {
        let site = Site::on(file_system);
        let sandbox = site.handed_over();
        let job = sandbox.snapshot();
        for seed in 2..5 {
            // On the disk as well as on another file system than the sandbox's.
            let new = site.private_file("new", &pem(seed));
            site.update_proxy(&sandbox, &new).run().expect_quiet();
            assert!(!new.exists());
            assert_proxy(&sandbox.proxy_path(), GREG, &pem(seed));
            assert_proxy(&sandbox.parked_proxy(), PILOT, &pem(seed));
            assert_nothing_else_changed(&sandbox, &job);
        }
    }
}

#[test]
#[ignore = "needs root"]
fn a_new_proxy_in_tmp() {
    let site = Site::new();
    let sandbox = site.handed_over();
    let new = site.root.with_added_extension("new");
    put_file(PILOT, &new, &pem(2), 0o600);
    site.update_proxy(&sandbox, &new).run().expect_quiet();
    assert!(!new.exists());
    assert_proxy(&sandbox.proxy_path(), GREG, &pem(2));
}

#[test]
#[ignore = "needs root"]
fn with_a_dash_only_the_pilots_own_is_renewed() {
    let site = Site::new();
    let sandbox = site.sandbox();
    let before = sandbox.snapshot();
    let renew = |seed| {
        let new = site.private_file("new", &pem(seed));
        let arguments = [OsString::from("-"), new.clone().into(), sandbox.proxy.clone(), sandbox.path.clone().into()];
        site.update_proxy(&sandbox, &new).only_args(arguments).run().expect_quiet();
        assert!(!new.exists());
        assert_proxy(&sandbox.proxy_path(), PILOT, &pem(seed));
    };
    renew(2);
    assert!(site.switcher_calls().is_empty());
    assert!(!sandbox.parked.exists());
    sandbox.snapshot().below().without(&sandbox.proxy).assert_same(&before.below().without(&sandbox.proxy));

    // And again when the sandbox has come back.
    site.setup(&sandbox).run().expect_quiet();
    site.cleanup(&sandbox).run().expect_quiet();
    renew(3);
}

#[test]
#[ignore = "needs root"]
fn wrong_arguments_are_answered_with_the_usage_and_touch_nothing() {
    let site = Site::new();
    let sandbox = site.handed_over();
    let (job, parked) = (sandbox.snapshot(), Snapshot::of(&sandbox.parked));
    let calls = site.switcher_calls().len();
    let new = site.private_file("new", &pem(2)).into_os_string();
    let g = site.switcher().into_os_string();
    let s = sandbox.path.clone().into_os_string();
    let p = sandbox.proxy.clone();
    let wrong: Vec<Vec<OsString>> = vec![
        vec![],
        vec![g.clone()],
        vec![g.clone(), new.clone()],
        vec![g.clone(), new.clone(), p.clone()],
        vec![g.clone(), new.clone(), p.clone(), s.clone(), "0".into()],
        vec!["switcher".into(), new.clone(), p.clone(), s.clone()],
        vec!["".into(), new.clone(), p.clone(), s.clone()],
        vec!["--".into(), new.clone(), p.clone(), s.clone()],
        vec![g.clone(), "new".into(), p.clone(), s.clone()],
        vec![g.clone(), new.clone(), "a/b".into(), s.clone()],
        vec![g.clone(), new.clone(), "".into(), s.clone()],
        vec![g.clone(), new.clone(), "..".into(), s.clone()],
        vec![g.clone(), new.clone(), p.clone(), "dir_1".into()],
    ];
    for arguments in wrong {
        let call = site.call("condor_glexec_update_proxy").args(&arguments).cwd(&sandbox.parked).separate_errors();
        call.run().expect_usage("condor_glexec_update_proxy");
    }
    sandbox.snapshot().assert_same(&job);
    Snapshot::of(&sandbox.parked).assert_same(&parked);
    assert_eq!(site.switcher_calls().len(), calls);
}

#[test]
#[ignore = "needs root"]
fn a_switcher_that_refuses_is_asked_once_and_both_proxies_stay() {
    let site = Site::new();
    let sandbox = site.handed_over();
    let (job, parked) = (sandbox.snapshot(), Snapshot::of(&sandbox.parked));
    for code in [201, 202, 203, 1, 0] {
        let calls = site.switcher_calls().len();
        site.configure_switcher(&format!("fail = {code} always"));
        let new = site.private_file("new", &pem(2));
        site.update_proxy(&sandbox, &new).run().expect_refusal(1, &["switcher"]);
        assert_eq!(site.switcher_calls().len() - calls, 1);
        assert!(!new.exists(), "NEW is removed whatever happens");
        sandbox.snapshot().assert_same(&job);
        Snapshot::of(&sandbox.parked).below().assert_same(&parked.clone().below());
    }
}

#[test]
#[ignore = "needs root"]
fn who_reads_a_proxy_meanwhile_gets_a_whole_one() {
    let site = Site::new();
    let sandbox = site.handed_over();
    let known: Vec<Vec<u8>> = (1..20).map(pem).collect();
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let read = |path: &Path| {
            let mut count = 0;
            while !over.load(Ordering::Relaxed) {
                let content = fs::read(path).unwrap();
                assert!(known.contains(&content), "{} bytes that are no proxy", content.len());
                count += 1;
            }
            count
        };
        let readers = [sandbox.proxy_path(), sandbox.parked_proxy()].map(|path| scope.spawn(move || read(&path)));
        for seed in 2..20 {
            let new = site.private_file("new", &pem(seed));
            site.update_proxy(&sandbox, &new).run().expect_quiet();
        }
        over.store(true, Ordering::Relaxed);
        for reader in readers {
            assert!(reader.join().unwrap() > 18);
        }
    });
}

#[test]
#[ignore = "needs root"]
fn a_job_that_removed_its_proxy_or_closed_its_sandbox_gets_the_new_one() {
    let site = Site::new();
    let sandbox = site.handed_over();
    as_account(GREG, || {
        fs::remove_file(sandbox.proxy_path()).unwrap();
        fs::set_permissions(&sandbox.path, std::os::unix::fs::PermissionsExt::from_mode(0o500)).unwrap();
    });
    let new = site.private_file("new", &pem(2));
    site.update_proxy(&sandbox, &new).run().expect_quiet();
    assert_proxy(&sandbox.proxy_path(), GREG, &pem(2));
    assert_proxy(&sandbox.parked_proxy(), PILOT, &pem(2));
    assert_eq!(fs::metadata(&sandbox.path).unwrap().mode() & 0o7777, 0o500);
}

#[test]
#[ignore = "needs root"]
fn the_renewed_proxy_is_the_one_after_cleanup() {
    let site = Site::new();
    let sandbox = site.handed_over();
    let new = site.private_file("new", &pem(2));
    site.update_proxy(&sandbox, &new).run().expect_quiet();
    site.cleanup(&sandbox).run().expect_quiet();
    assert_proxy(&sandbox.proxy_path(), PILOT, &pem(2));
}

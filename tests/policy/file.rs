//! A policy that is not exactly right stops everything; without one the defaults hold.

use crate::common::{GREG, MALLORY, Site};
use crate::etc;
use crate::playground::job;
use std::fs;
use std::os::unix::fs::{PermissionsExt, lchown, symlink};
use std::path::Path;

#[test]
#[ignore = "needs root"]
fn a_policy_that_is_not_right_stops_every_helper_and_says_where() {
    let site = Site::new();
    let words = ["/etc/glexec-rs/policy:3: ", "no key is called \"cleanup-byte\""];
    let etc = etc::put(&site, "# a comment\n\ncleanup-byte = 1\n");

    let fresh = site.sandbox();
    let before = fresh.snapshot();
    etc::with(&etc, || site.setup(&fresh).run()).expect_refusal(2, &words);
    fresh.assert_as_before(&before);

    let sandbox = site.handed_over();
    let job = sandbox.snapshot();
    let new = site.private_file("new", &crate::common::pem(2));
    etc::with(&etc, || {
        site.cleanup(&sandbox).run().expect_refusal(1, &words);
        site.update_proxy(&sandbox, &new).run().expect_refusal(1, &words);
    });
    assert!(!new.exists(), "NEW is removed in any case");
    sandbox.snapshot().assert_same(&job);

    let mut sleeper = crate::common::Sleeper::start(GREG);
    let finished = etc::with(&etc, || site.kill(&sandbox, sleeper.pid(), 9).run());
    assert_eq!(finished.code, Some(2));
    sleeper.assert_alive();
    sleeper.end();

    let job = self::job(&site, "# a comment\n\ncleanup-byte = 1\n", &["/bin/sh", "-c", "echo started"]);
    assert!(words.iter().all(|word| job.refusal.contains(word)), "{}", job.refusal);
    assert_eq!(job.output, "");
    drop(job.sandbox);
}

#[test]
#[ignore = "needs root"]
fn a_policy_that_another_account_could_change_is_refused() {
    let site = Site::new();
    let mode = |path: &Path, mode| fs::set_permissions(path, PermissionsExt::from_mode(mode)).unwrap();
    let own = |path: &Path| lchown(path, Some(MALLORY.uid()), Some(0)).unwrap();
    let fifo = |path: &Path| {
        fs::remove_file(path).unwrap();
        let done = std::process::Command::new("mkfifo").args(["-m", "644"]).arg(path).status().unwrap();
        assert!(done.success());
    };
    type Change<'a> = &'a dyn Fn(&Path);
    let policy = |etc: &Path| etc.join("glexec-rs/policy");
    let directory = |etc: &Path| etc.join("glexec-rs");
    let table: [(&str, Change<'_>); 12] = [
        ("/etc/glexec-rs/policy belongs to uid", &|etc| own(&policy(etc))),
        ("others can write to /etc/glexec-rs/policy (mode 0664)", &|etc| mode(&policy(etc), 0o664)),
        ("others can write to /etc/glexec-rs/policy (mode 0646)", &|etc| mode(&policy(etc), 0o646)),
        ("mode 0644", &|etc| mode(&policy(etc), 0o600)),
        ("/etc/glexec-rs belongs to uid", &|etc| own(&directory(etc))),
        ("others can write to /etc/glexec-rs (mode 1777)", &|etc| mode(&directory(etc), 0o1777)),
        ("others can write to /etc (mode 0775)", &|etc| mode(etc, 0o775)),
        ("/etc belongs to uid", &own),
        ("it is a symbolic link", &|etc| {
            fs::rename(policy(etc), directory(etc).join("other")).unwrap();
            symlink("other", policy(etc)).unwrap();
        }),
        ("/etc/glexec-rs is not a directory", &|etc| {
            fs::rename(directory(etc), etc.join("other")).unwrap();
            symlink("other", directory(etc)).unwrap();
        }),
        ("it is not a regular file", &|etc| fifo(&policy(etc))),
        ("it is not a regular file", &|etc| {
            fs::remove_file(policy(etc)).unwrap();
            fs::create_dir(policy(etc)).unwrap();
            mode(&policy(etc), 0o755);
        }),
    ];
    let sandbox = site.sandbox();
    let before = sandbox.snapshot();
    for (says, change) in table {
        let etc = etc::put(&site, "");
        change(&etc);
        etc::with(&etc, || site.setup(&sandbox).run()).expect_refusal(2, &["/etc/glexec-rs/policy", says]);
        sandbox.assert_as_before(&before);
    }
    // What the environment says is nobody's policy.
    let bad = site.private_file("bad", b"nonsense\n");
    let call = site.setup(&sandbox).env("GLEXEC_RS_POLICY", &bad).env("HOME", site.root.join("pilot"));
    etc::with(&etc::put(&site, ""), || call.run()).expect_quiet();
}

#[test]
#[ignore = "needs root"]
fn without_a_policy_the_defaults_hold() {
    let site = Site::new();
    for remove in ["glexec-rs/policy", "glexec-rs"] {
        let etc = etc::put(&site, "");
        let path = etc.join(remove);
        if path.is_dir() {
            fs::remove_dir_all(path).unwrap()
        } else {
            fs::remove_file(path).unwrap()
        };
        let sandbox = site.sandbox();
        let before = sandbox.snapshot();
        etc::with(&etc, || site.setup(&sandbox).run()).expect_quiet();
        sandbox.assert_handed_over(&before);
    }
}

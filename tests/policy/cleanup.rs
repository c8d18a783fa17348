//! What cleanup holds to.

use crate::common::{GREG, Sandbox, Site, Snapshot, put_file, put_link};
use crate::etc;
use std::fs;
use std::os::unix::fs::lchown;
use std::path::Path;

/// A sandbox that a job has left with `fill`'s files in it.
fn left_by_a_job(site: &Site, fill: impl FnOnce(&Path)) -> Sandbox {
    let sandbox = site.empty_sandbox();
    site.setup(&sandbox).run().expect_quiet();
    fill(&sandbox.path);
    sandbox
}

/// Cleanup works at the bound; one past it, it says so, nothing is lost, and with the bound raised it works after all.
#[track_caller]
fn assert_bound(site: &Site, key: &str, bound: u64, fill: impl Fn(&Path), too_much: &str) {
    let sandbox = left_by_a_job(site, &fill);
    etc::with(&etc::put(site, format!("{key} = {bound}\n")), || site.cleanup(&sandbox).run()).expect_quiet();

    let sandbox = left_by_a_job(site, &fill);
    let (job, parked) = (Snapshot::of(&sandbox.path), Snapshot::of(&sandbox.parked));
    let etc = etc::put(site, format!("{key} = {}\n", bound - 1));
    etc::with(&etc, || site.cleanup(&sandbox).run())
        .expect_refusal(1, &[too_much, &(bound - 1).to_string(), key, "/etc/glexec-rs/policy", "it stays as it was"]);
    Snapshot::of(&sandbox.path).assert_same(&job);
    let names = Snapshot::of(&sandbox.parked);
    assert_eq!(names.get(&sandbox.proxy), parked.get(&sandbox.proxy));
    site.cleanup(&sandbox).run().expect_quiet();
    sandbox.assert_taken_back(&job, &parked);
}

#[test]
#[ignore = "needs root"]
fn cleanups_bounds_hold_at_the_bound_and_one_past_it() {
    let site = Site::new();
    let fill = |root: &Path| {
        put_file(GREG, &root.join("small"), &[1; 1000], 0o644);
        put_file(GREG, &root.join("large"), &[2; 100_000], 0o644);
        put_link(GREG, &root.join("link"), "small");
        let mut deep = root.to_owned();
        for _ in 0..3 {
            deep = deep.join("d");
            fs::create_dir(&deep).unwrap();
            lchown(&deep, Some(GREG.uid()), Some(GREG.gid())).unwrap();
        }
    };
    assert_bound(&site, "cleanup-entries", 6, fill, "has more than");
    assert_bound(&site, "cleanup-depth", 3, fill, "is deeper than");
    assert_bound(&site, "cleanup-bytes", 101_000, fill, "has more than");
}

#[test]
#[ignore = "needs root"]
fn the_links_that_come_back_are_those_that_the_site_wants() {
    let site = Site::new();
    let fill = |root: &Path| {
        put_file(GREG, &root.join("file"), b"", 0o644);
        put_link(GREG, &root.join("in"), "file");
        put_link(GREG, &root.join("out"), "/etc/passwd");
    };
    for (rule, kept, reason) in [
        ("none", &[][..], "a symbolic link; this site takes none back"),
        ("inside", &["in"], "could lead out"),
        ("all", &["in", "out"], ""),
    ] {
        let sandbox = left_by_a_job(&site, fill);
        let etc = etc::put(&site, format!("cleanup-symlinks = {rule}\n"));
        let finished = etc::with(&etc, || site.cleanup(&sandbox).run()).expect(0);
        assert!(
            finished.said().contains(reason) && finished.said().is_empty() == reason.is_empty(),
            "{rule}: {finished:?}"
        );
        let found: Vec<&str> =
            ["in", "out"].into_iter().filter(|name| sandbox.path.join(name).symlink_metadata().is_ok()).collect();
        assert_eq!(found, kept, "{rule}");
    }
}

/// The Starter drops what cleanup says when it exits with 0. By default nothing is put into the sandbox: without
/// `transfer_output_files` the Starter would send it back as one of the job's outputs.
#[test]
#[ignore = "needs root"]
fn p2_a_file_says_what_was_left_out_if_the_site_wants_it() {
    let site = Site::new();
    let reports = |sandbox: &Sandbox| {
        let listed = fs::read_dir(&sandbox.path).unwrap().flatten().map(|entry| entry.file_name());
        let mut names: Vec<_> = listed.filter_map(|name| name.into_string().ok()).collect();
        names.retain(|name| name.starts_with(".glexec-left-out"));
        names.sort();
        names
    };
    let fill = |root: &Path| {
        put_link(GREG, &root.join("out\n\x1b"), "/etc/passwd");
    };
    for (policy, count) in [("", 0), ("report-left-out = none\n", 0), ("report-left-out = file\n", 1)] {
        let sandbox = left_by_a_job(&site, fill);
        etc::with(&etc::put(&site, policy), || site.cleanup(&sandbox).run()).expect(0);
        assert_eq!(reports(&sandbox).len(), count, "{policy}");
    }
    let etc = etc::put(&site, "report-left-out = file\n");
    // Nothing was left out.
    let sandbox = left_by_a_job(&site, |_| ());
    etc::with(&etc, || site.cleanup(&sandbox).run()).expect_quiet();
    assert_eq!(reports(&sandbox), Vec::<String>::new());
    // What the job calls so stays its own, and is not written through.
    let sandbox = left_by_a_job(&site, |root| {
        fill(root);
        put_link(GREG, &root.join(".glexec-left-out"), "target");
        put_file(GREG, &root.join("target"), b"the job's", 0o644);
    });
    etc::with(&etc, || site.cleanup(&sandbox).run()).expect(0);
    let names = reports(&sandbox);
    assert_eq!((names.len(), names[0].as_str()), (2, ".glexec-left-out"));
    assert_eq!(fs::read(sandbox.path.join("target")).unwrap(), b"the job's");
    let text = fs::read_to_string(sandbox.path.join(&names[1])).unwrap();
    assert!(text.ends_with("1 left out\n") && text.contains("could lead out") && text.lines().count() == 2, "{text:?}");
    assert!(!text.replace('\n', "").contains(char::is_control), "{text:?}");
}

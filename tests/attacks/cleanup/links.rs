//! Symbolic and hard links.

use crate::cleanup::playground::assert_no_link_leads_out;
use crate::common::{GREG, MALLORY, PILOT, Site};
use crate::common::{as_account, put_file};
use rustix::fs::{AtFlags, CWD, linkat};
use std::collections::BTreeSet;
use std::fs::{self};
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::{Path, PathBuf};

#[test]
#[ignore = "needs root"]
fn c3_links_that_lead_out_or_to_the_proxy_are_left_out() {
    let site = Site::new();
    let secret = site.private_file("secret", b"secret");
    let sandbox = site.handed_over();
    let below = |rest: &str| format!("{}{rest}", sandbox.path.display());
    let outside = ["/..", ".condor/input", "/x509up_u1234", "/x/x509up_u1234", "/x/.."].map(below);
    let inside = ["", "/", "/input", "//data/./in/"].map(below);
    let kept = [
        ("own", inside[0].as_str()),
        ("own-slash", &inside[1]),
        ("data/own-input", &inside[2]),
        ("data/in/own-data", &inside[3]),
        ("to-file", "input"),
        ("to-directory", "data"),
        ("to-self", "."),
        ("dangling", "nothing/there"),
        ("dots", "./././data//secret"),
        ("loop1", "loop2"),
        ("loop2", "loop1"),
        ("data/up-1", ".."),
        ("data/up-2", "../input"),
        ("data/in/up-3", "../../data/secret"),
        ("x", "."),
    ];
    let left_out = [
        ("own-parent", outside[0].as_str()),
        ("own-parked", &outside[1]),
        ("own-proxy", &outside[2]),
        ("own-proxy-through", &outside[3]),
        ("own-x-up", &outside[4]),
        ("root", "/"),
        ("passwd", "/etc/passwd"),
        ("secret", secret.to_str().unwrap()),
        ("parent", ".."),
        ("beside", "../other/file"),
        ("above", "../../../../../../etc/passwd"),
        ("y", "x/x/../.."),
        ("z", "data/../../out"),
        ("data/two-up", "../.."),
        ("data/in/three-up", "../../../x"),
        ("proxy", "x509up_u1234"),
        ("proxy-dots", "./x509up_u1234"),
        ("data/proxy", "../x509up_u1234"),
        ("proxy-through", "x/x509up_u1234"),
        ("proc", "/proc/self/root"),
    ];
    as_account(GREG, || {
        fs::create_dir(sandbox.path.join("data/in")).unwrap();
        for (name, target) in kept.iter().chain(&left_out) {
            symlink(target, sandbox.path.join(name)).unwrap();
        }
    });
    let arguments = [site.switcher().into(), sandbox.proxy.clone(), sandbox.path.clone().into_os_string()];
    let call = site.cleanup(&sandbox).only_args(["--json"]).args(arguments).args(["0", "0"]).separate_errors();
    let finished = call.run().expect(0);
    assert!(finished.errors.contains(&format!("{} left out", left_out.len())), "{finished:?}");
    let record: serde_json::Value = serde_json::from_str(&finished.output).unwrap();
    let mut named: Vec<&str> =
        record["left_out"].as_array().unwrap().iter().map(|entry| entry["name"].as_str().unwrap()).collect();
    named.sort_unstable();
    let mut expected: Vec<String> = left_out.iter().map(|(name, _)| format!("\"{name}\"")).collect();
    expected.sort_unstable();
    assert_eq!(named, expected);
    let found = assert_no_link_leads_out(&sandbox);
    let mut expected: BTreeSet<PathBuf> = kept.iter().map(|(name, _)| name.into()).collect();
    expected.insert("data/up".into());
    assert_eq!(found, expected);
    for (name, target) in kept {
        assert_eq!(fs::read_link(sandbox.path.join(name)).unwrap(), Path::new(target));
    }
}

/// All targets of up to four components out of a few names, as links at three depths, all at once: whatever leads
/// through whatever.
#[test]
#[ignore = "needs root"]
fn c3_no_combination_of_links_leads_out() {
    let site = Site::new();
    let parts = [".", "..", "a", "b", "l1", "x509up_u1234"];
    let mut targets = vec![String::new()];
    for _ in 0..4 {
        let longer: Vec<String> = targets
            .iter()
            .flat_map(|target| {
                parts.map(|part| if target.is_empty() { part.into() } else { format!("{target}/{part}") })
            })
            .collect();
        targets.extend(longer);
        targets.sort();
        targets.dedup();
    }
    targets.retain(|target| !target.is_empty());
    let sandbox = site.handed_over();
    as_account(GREG, || {
        fs::create_dir_all(sandbox.path.join("a/b")).unwrap();
        for directory in ["", "a", "a/b"] {
            for (index, target) in targets.iter().enumerate() {
                symlink(target, sandbox.path.join(directory).join(format!("l{index}"))).unwrap();
            }
        }
    });
    site.cleanup(&sandbox).run().expect_refusal(0, &["left out"]);
    let kept = assert_no_link_leads_out(&sandbox);
    assert!(kept.len() > 100, "only {} of {} were kept", kept.len(), 3 * targets.len());
}

#[test]
#[ignore = "needs root"]
fn c3_kept_links_stay_harmless_when_the_job_replaces_what_they_lead_through() {
    // What the rule keeps must not depend on the tree at the moment of the copy: a directory that is a link a moment
    // later.
    let site = Site::new();
    let sandbox = site.handed_over();
    as_account(GREG, || {
        fs::create_dir_all(sandbox.path.join("d/e")).unwrap();
        symlink("d/e/f", sandbox.path.join("through")).unwrap();
        symlink("../..", sandbox.path.join("d/e/f")).unwrap();
        symlink("through/x", sandbox.path.join("more")).unwrap();
    });
    site.cleanup(&sandbox).run().expect_quiet();
    assert_eq!(assert_no_link_leads_out(&sandbox).len(), 4);
}

#[test]
#[ignore = "needs root"]
fn c6_hard_links_to_what_the_job_may_read_come_back_as_content() {
    let site = Site::new();
    let sandbox = site.handed_over();
    // As the job could make them where fs.protected_hardlinks is 0.
    for (owner, name) in [(PILOT, "of-pilot"), (MALLORY, "of-mallory")] {
        let outside = site.execute.join(name);
        put_file(owner, &outside, name.as_bytes(), 0o644);
        site.expect_left(name);
        linkat(CWD, &outside, CWD, sandbox.path.join(name), AtFlags::empty()).unwrap();
        linkat(CWD, &outside, CWD, sandbox.path.join(format!("again-{name}")), AtFlags::empty()).unwrap();
    }
    site.cleanup(&sandbox).run().expect_quiet();
    for (owner, name) in [(PILOT, "of-pilot"), (MALLORY, "of-mallory")] {
        let outside = fs::metadata(site.execute.join(name)).unwrap();
        assert_eq!((outside.uid(), outside.nlink(), outside.mode() & 0o7777), (owner.uid(), 1, 0o644));
        for name in [name.to_owned(), format!("again-{name}")] {
            let back = fs::metadata(sandbox.path.join(&name)).unwrap();
            assert_eq!(back.uid(), PILOT.uid());
            assert_ne!(back.ino(), outside.ino());
        }
        assert_eq!(fs::read(sandbox.path.join(name)).unwrap(), name.as_bytes());
    }
}

#[test]
#[ignore = "needs root"]
fn c6_hard_links_to_what_the_job_may_not_read_do_not_come_back_and_do_not_hold_up_the_rest() {
    let site = Site::new();
    for owner in [PILOT, MALLORY] {
        let sandbox = site.sandbox();
        let given = sandbox.snapshot();
        site.setup(&sandbox).run().expect_quiet();
        let outside = site.execute.join(format!("private-{}", owner.name));
        put_file(owner, &outside, b"private", 0o600);
        site.expect_left(outside.file_name().unwrap());
        as_account(GREG, || fs::write(sandbox.path.join("output"), b"output")).unwrap();
        linkat(CWD, &outside, CWD, sandbox.path.join("taken"), AtFlags::empty()).unwrap();
        let left = sandbox.snapshot();

        let finished = site.cleanup(&sandbox).run();

        let after = fs::metadata(&outside).unwrap();
        assert_eq!((after.uid(), after.mode() & 0o7777, after.len()), (owner.uid(), 0o600, 7));
        finished.expect_refusal(0, &["1 left out", "taken"]);
        assert_eq!(fs::metadata(&outside).unwrap().nlink(), 1);
        let rest = left.without("taken").with("output", |entry| entry.mode = 0o644);
        sandbox.assert_taken_back(&rest, &given);
    }
}

/// HTCondor's Starter may call the sandbox by another path than the one that a job finds itself in.
#[test]
#[ignore = "needs root"]
fn p1_absolute_links_below_the_sandbox_come_back_whatever_path_it_is_called_by() {
    let site = Site::new();
    let alias = site.root.join("alias");
    symlink("execute", &alias).unwrap();
    for moves in [false, true] {
        let sandbox = site.sandbox();
        let name = sandbox.path.file_name().unwrap();
        let given = alias.join(".").join(name);
        // As an input, too.
        sandbox.add_link("given", sandbox.path.join("input"));
        sandbox.finish_directory("", 0o755);
        let call = |program: &str, flags: &[&str]| {
            let call = site.call(program).args(flags).arg(site.switcher()).arg(&sandbox.proxy);
            call.arg(&given).args(["0", "0"])
        };
        call("condor_glexec_setup", &[]).cwd(&sandbox.path).run().expect_quiet();
        let links = [("by-alias", alias.join(name).join("res")), ("by-path", sandbox.path.join("res"))];
        as_account(GREG, || {
            fs::write(sandbox.path.join("res"), b"result").unwrap();
            links.iter().for_each(|(name, target)| symlink(target, sandbox.path.join(name)).unwrap());
            symlink(site.execute.join("other/res"), sandbox.path.join("by-other")).unwrap();
        });
        let flags: &[&str] = if moves { &["--moves"] } else { &[] };
        let left_out = if moves { "4 left out" } else { "1 left out" };
        call("condor_glexec_cleanup", flags).cwd(&sandbox.parked).run().expect_refusal(0, &[left_out, "by-other"]);
        let found = |name: &str| fs::read_link(sandbox.path.join(name)).ok();
        for (name, target) in links {
            assert_eq!(found(name), (!moves).then_some(target), "{name}");
        }
        assert_eq!(found("given"), (!moves).then(|| sandbox.path.join("input")));
        assert_eq!(found("by-other"), None);
        assert_no_link_leads_out(&sandbox);
    }
}

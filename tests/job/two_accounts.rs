//! With two accounts, through the test switcher.

use crate::common::{GREG, PILOT, Site, pem};
use crate::hostile_family;
use crate::playground::{alone, entries, limit_processes};
use serde_json::Value;
use std::fs::Permissions;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::PathBuf;

/// A job through the test switcher, as the pilot: `--execute` is the site's.
fn as_greg(site: &Site) -> (crate::common::Call, PathBuf) {
    let proxy = site.private_file("proxy", &pem(9));
    let output = site.execute.join("out");
    site.expect_left("out");
    let call = site.call("condor_glexec_job").separate_errors().cwd(site.root.join("pilot"));
    let call =
        call.arg("--switcher").arg(site.switcher()).arg("--proxy").arg(proxy).arg("--execute").arg(&site.execute);
    (call.arg("--json").arg(record(site)).args(["--retries", "1", "--delay", "0", "--output"]).arg(&output), output)
}

fn record(site: &Site) -> PathBuf {
    site.root.join("pilot/record")
}

fn greg_record(site: &Site) -> Value {
    serde_json::from_slice(&std::fs::read(record(site)).unwrap()).unwrap()
}

#[test]
#[ignore = "needs root"]
fn with_two_accounts_the_job_is_the_targets_and_its_output_the_pilots() {
    let site = Site::new();
    let (call, output) = as_greg(&site);
    let script = "id -un; pwd; echo result > file; chmod 0 file; mkdir d; chmod 0 d; exit 5";
    let finished = call.args(["--", "/bin/sh", "-c", script]).run().expect(5);
    assert_eq!(finished.errors, "");
    let record = greg_record(&site);
    let lines: Vec<&str> = finished.output.lines().collect();
    assert_eq!(lines[..2], [GREG.name, record["sandbox"].as_str().unwrap()]);
    let file = output.join("file").metadata().unwrap();
    assert_eq!((file.uid(), file.len()), (PILOT.uid(), 7));
    assert_eq!(output.metadata().unwrap().uid(), PILOT.uid());
    assert_eq!(record["cleanup"]["directories"], 1);
    let secrets = ["CONDOR_INHERIT", "CONDOR_PRIVATE_SHARED_PORT_COOKIE", "BEARER_TOKEN_FILE", "LD_LIBRARY_PATH"];
    for call in site.switcher_calls() {
        assert!(secrets.iter().all(|name| call.variable(name).is_none()), "{call:?}");
        assert_eq!(
            call.variable("X509_USER_PROXY").map(|value| value.to_str().unwrap()),
            Some("/home/pilot/pilot-proxy")
        );
    }
}

/// What nobody of the job's account can remove is reported, and is no reason to keep the output back.
#[test]
#[ignore = "needs root"]
fn c17_with_two_accounts_what_cannot_be_removed_keeps_no_output_back() {
    let site = Site::new();
    let (call, output) = as_greg(&site);
    let script = "echo result > file; mkdir -m 777 open; until [ -e go ]; do sleep 0.05; done; exit 7";
    let running = call.args(["--", "/bin/sh", "-c", script]).start();
    let mut open = None;
    crate::common::await_that("the job has begun", || {
        let pattern = format!("find {} -name open", site.execute.display());
        let found = std::process::Command::new("sh").args(["-c", &pattern]).output().unwrap().stdout;
        open = String::from_utf8(found).unwrap().lines().next().map(PathBuf::from);
        open.is_some()
    });
    let open = open.unwrap();
    std::fs::create_dir(open.join("roots")).unwrap();
    std::fs::write(open.join("roots/in"), b"x").unwrap();
    std::fs::write(open.parent().unwrap().join("go"), b"").unwrap();
    let finished = running.finish().expect(7);
    let record = greg_record(&site);
    assert_eq!(std::fs::read(output.join("file")).unwrap(), b"result\n");
    assert_eq!((&record["status"]["exit_code"], &record["failure"]), (&Value::from(7), &Value::Null), "{record}");
    assert_eq!(record["cleanup"]["left_out_total"], 0, "{record}");
    assert!(record["cleanup"]["files"].as_u64().unwrap() >= 2, "{record}");
    assert!(finished.errors.contains("cannot remove the job's own copy"), "{finished:?}");
    let left: Vec<_> = std::fs::read_dir(&site.execute).unwrap().flatten().map(|entry| entry.path()).collect();
    for path in left.iter().filter(|path| **path != output) {
        std::fs::remove_dir_all(path).unwrap();
    }
}

#[test]
#[ignore = "needs root"]
fn with_two_accounts_the_family_is_ended_by_one_switch() {
    let site = Site::new();
    let (call, _) = as_greg(&site);
    let script = "for n in 1 2 3 4 5 6 7 8 9; do setsid sh -c 'sleep 1000 & wait' & done; sleep 0.3; exit 0";
    let finished = call.args(["--", "/bin/sh", "-c", script]).run().expect(0);
    assert_eq!(finished.errors, "");
    let operations: Vec<String> = site
        .switcher_calls()
        .iter()
        .map(|call| call.arguments.get(1).map_or(String::new(), |word| word.to_string_lossy().into_owned()))
        .collect();
    assert_eq!(operations.iter().filter(|word| *word == "kill").count(), 1, "{operations:?}");
}

#[test]
#[ignore = "needs root"]
fn with_two_accounts_hostile_families_end() {
    let site = Site::new();
    let program = site.private_file("family", &std::fs::read(std::env::current_exe().unwrap()).unwrap());
    std::fs::set_permissions(&program, Permissions::from_mode(0o755)).unwrap();
    for kind in ["bomb", "chain", "threads", "vfork", "stopped", "traced", "namespaces"] {
        let (call, output) = as_greg(&site);
        let call = call.args(["--time-limit", "1", "--grace", "0", "--stdout", "/dev/null", "--input"]).arg(&program);
        let call = call.args(["--env", &format!("{}={kind}", hostile_family::VARIABLE), "--", "./family"]);
        // `finish` waits for the end of all who hold the output.
        let finished = call.args(hostile_family::ARGUMENTS).run();
        let record = greg_record(&site);
        assert_eq!(record["failure"], Value::Null, "{kind}: {finished:?}");
        assert!(output.join(hostile_family::READY).exists(), "{kind}: {finished:?}");
        std::fs::remove_dir_all(&output).unwrap();
    }
}

#[test]
#[ignore = "needs root"]
fn with_two_accounts_a_family_that_uses_up_its_accounts_processes_ends() {
    let _alone = alone();
    let site = Site::new();
    let program = site.private_file("family", &std::fs::read(std::env::current_exe().unwrap()).unwrap());
    std::fs::set_permissions(&program, Permissions::from_mode(0o755)).unwrap();
    let (call, output) = as_greg(&site);
    // An account as which no other test starts a job at the same time.
    site.configure_switcher("account = mallory\n");
    let call =
        call.last(limit_processes).args(["--time-limit", "2", "--grace", "0", "--stdout", "/dev/null", "--input"]);
    let call = call.arg(&program).args(["--env", &format!("{}=full", hostile_family::VARIABLE), "--", "./family"]);
    let finished = call.args(hostile_family::ARGUMENTS).run();
    assert_eq!(greg_record(&site)["failure"], Value::Null, "{finished:?}");
    assert!(output.join(hostile_family::READY).exists(), "{finished:?}");
}

#[test]
#[ignore = "needs root"]
fn with_two_accounts_time_limit_and_signals_work() {
    let site = Site::new();
    let (call, output) = as_greg(&site);
    let call = call.args(["--time-limit", "1", "--grace", "1"]);
    let script = "trap '' TERM; echo kept > file; setsid sleep 1000 & sleep 1000; sleep 1000";
    let finished = call.args(["--", "/bin/sh", "-c", script]).run();
    assert_eq!(finished.signal, Some(9), "{finished:?}");
    assert_eq!(greg_record(&site)["ended_by"], "time limit");
    assert_eq!(std::fs::read_to_string(output.join("file")).unwrap(), "kept\n");
}

#[test]
#[ignore = "needs root"]
fn with_two_accounts_a_refusal_leaves_nothing() {
    let site = Site::new();
    let closed = site.root.join("pilot");
    let (call, output) = as_greg(&site);
    let finished = call.args(["--execute"]).arg(&closed).args(["--", "/bin/true"]).run().expect(1);
    assert!(finished.errors.contains("given twice"));
    // An EXECUTE that the target account cannot reach.
    let proxy = site.private_file("proxy", &pem(9));
    let call = site.call("condor_glexec_job").separate_errors().cwd(&closed);
    let call = call.arg("--switcher").arg(site.switcher()).arg("--proxy").arg(&proxy).arg("--execute").arg(&closed);
    let finished = call.args(["--retries", "0", "--", "/bin/true"]).run().expect(125);
    assert!(finished.errors.contains("condor_glexec_setup"), "{finished:?}");
    assert_eq!(entries(&closed), [proxy]);
    assert!(!output.exists());
}

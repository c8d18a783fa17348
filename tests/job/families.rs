//! Families of processes that do everything not to be killed.

use crate::common::copy_program;
use crate::hostile_family;
use crate::playground::{User, alone};
use serde_json::Value;
use std::time::Duration;

/// A family that does everything not to be killed, by itself and at the time limit. The end of its output shows that
/// nobody is left.
fn family_ends(kind: &str) -> Value {
    let _alone = alone();
    let user = User::new();
    let own = std::env::current_exe().unwrap();
    let program = user.home.join("family");
    copy_program(&own, &program, "755");
    let call = user.job().args(["--json", "record", "--time-limit", "1", "--grace", "0", "--input", "family", "--env"]);
    let call = call.args([format!("{}={kind}", hostile_family::VARIABLE)]);
    let call = call.args(["--output", "out", "--", "./family"]).args(hostile_family::ARGUMENTS);
    let done = call.run();
    let record: Value = serde_json::from_slice(&std::fs::read(user.home.join("record")).unwrap()).unwrap();
    assert!(done.took < Duration::from_secs(60), "{done:?}");
    assert_eq!(record["failure"], Value::Null, "{record}");
    assert!(record["phases"].as_array().unwrap().iter().any(|phase| phase["name"] == "kill"), "{record}");
    assert!(user.home.join("out").join(hostile_family::READY).exists(), "it has not come to what it is for: {done:?}");
    record
}

#[test]
fn a_fork_bomb_ends() {
    family_ends("bomb");
}

#[test]
fn a_chain_of_double_forks_ends() {
    family_ends("chain");
}

#[test]
fn a_process_whose_first_thread_has_ended_ends() {
    family_ends("threads");
}

#[test]
fn a_process_that_waits_in_vfork_ends() {
    family_ends("vfork");
}

#[test]
fn processes_that_stop_and_wake_each_other_end() {
    family_ends("stopped");
}

#[test]
fn a_traced_stop_is_no_end() {
    let record = family_ends("traced");
    assert_eq!(record["ended_by"], "time limit", "{record}");
}

#[test]
fn processes_in_namespaces_of_their_own_end() {
    family_ends("namespaces");
}

#[test]
#[ignore = "needs root"]
fn a_family_that_uses_up_its_accounts_processes_ends() {
    assert!(User::is_root(), "the processes of this account are not the test's to use up");
    let _alone = alone();
    let user = User::new();
    let program = user.home.join("family");
    copy_program(&std::env::current_exe().unwrap(), &program, "755");
    let call =
        user.job().limited().args(["--json", "record", "--time-limit", "2", "--grace", "0", "--input", "family"]);
    let call = call.args(["--env", &format!("{}=full", hostile_family::VARIABLE), "--output", "out", "--", "./family"]);
    let done = call.args(hostile_family::ARGUMENTS).run();
    let record: Value = serde_json::from_slice(&std::fs::read(user.home.join("record")).unwrap()).unwrap();
    assert_eq!(record["failure"], Value::Null, "{done:?}");
    assert!(user.home.join("out").join(hostile_family::READY).exists(), "{done:?}");
}

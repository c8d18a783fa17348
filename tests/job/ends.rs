//! Time limits, signals, and what the job leaves running.

use crate::common::PILOT;
use crate::playground::{Call, HANGS, Running, User, entries};
use serde_json::Value;
use std::io::Read;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

#[test]
fn the_time_limit_ends_the_job_softly_or_hard() {
    let user = User::new();
    let limited = |grace: &str| user.job().recorded().args(["--time-limit", "1", "--grace", grace]);
    let done = limited("60").script("trap 'exit 9' TERM; while :; do sleep 0.1; done").run().expect(9);
    assert!(done.took > Duration::from_secs(1) && done.took < Duration::from_secs(30), "{:?}", done.took);
    assert_eq!(done.record()["ended_by"], "time limit");

    let done = limited("60").script("sleep 1000").run().expect_killed(15);
    assert_eq!(done.record()["status"]["signal"], 15);

    let done = limited("1").script("trap '' TERM; sleep 1000; sleep 1000").run().expect_killed(9);
    assert!(done.took > Duration::from_secs(2) && done.took < Duration::from_secs(30), "{:?}", done.took);
    assert_eq!(done.record()["ended_by"], "time limit");
    assert_eq!(user.temporary_files(), [] as [PathBuf; 0]);
}

#[test]
fn a_job_of_the_same_account_that_changes_the_stand_ins_mode_is_ended_all_the_same() {
    let user = User::new();
    for mode in ["0666", "0"] {
        let call = user.job().recorded().args(["--time-limit", "1", "--grace", "0"]);
        let script = format!("chmod {mode} \"$HOME.condor/.condor_glexec_job.credential\" && trap '' TERM; sleep 1000");
        let done = call.script(&script).run().expect_killed(9);
        assert_eq!(done.record()["failure"], Value::Null, "{done:?}");
        assert_eq!(user.temporary_files(), [] as [PathBuf; 0]);
    }
}

#[test]
fn a_stopping_signal_ends_the_job_and_what_it_wrote_is_kept() {
    let user = User::new();
    for signal in ["TERM", "INT", "HUP"] {
        let ready = user.file("ready", b"", 0o666);
        std::fs::remove_file(&ready).unwrap();
        let output = user.home.join(signal);
        let call = user.job().recorded().args(["--stdout", "ready"]).arg2("--output", &output);
        let mut running =
            call.script("echo kept > file; trap 'echo end >> file; exit 3' TERM; while :; do sleep 0.1; done").start();
        wait_for_sandbox_file(&mut running, &user.home, "file");
        running.signal(signal);
        let done = running.finish().expect(3);
        assert_eq!(std::fs::read_to_string(output.join("file")).unwrap(), "kept\nend\n");
        assert!(done.record()["ended_by"].as_str().unwrap().starts_with("signal "));
        std::fs::remove_file(&ready).unwrap();
    }
}

#[test]
fn a_second_signal_does_not_wait_for_the_grace_period() {
    let user = User::new();
    let output = user.home.join("out");
    let call = user.job().args(["--grace", "1000"]).arg2("--output", &output);
    let mut running = call.script("trap 'echo asked > asked' TERM; echo > ready; while :; do sleep 0.1; done").start();
    wait_for_sandbox_file(&mut running, &user.home, "ready");
    running.signal("TERM");
    wait_for_sandbox_file(&mut running, &user.home, "asked");
    running.signal("TERM");
    running.finish().expect_killed(9);
    assert!(output.join("asked").exists());
}

/// Waits until the job has written a file in its sandbox, which is somewhere below `directory`.
fn wait_for_sandbox_file(running: &mut Running, directory: &Path, name: &str) {
    while running.began.elapsed() < HANGS {
        let runs = entries(directory);
        let sandboxes =
            runs.iter().filter(|run| run.to_string_lossy().contains("condor_glexec_job.")).flat_map(|run| {
                std::fs::read_dir(run).into_iter().flatten().flatten().map(|entry| entry.path()).collect::<Vec<_>>()
            });
        if sandboxes.map(|sandbox| sandbox.join(name)).any(|path| path.exists()) {
            return;
        }
        assert!(running.child.try_wait().unwrap().is_none(), "it has ended early");
        std::thread::sleep(Duration::from_millis(5));
    }
    panic!("{name} has not come");
}

#[test]
fn what_the_job_leaves_running_is_ended() {
    let user = User::new();
    let scripts = [
        "sleep 1000 & exit 5",
        "setsid sleep 1000 & exit 5",
        "(setsid sh -c 'sleep 1000 & sleep 1000 &' &) ; exit 5",
        "sh -c 'kill -STOP $$; sleep 1000' & exit 5",
        "(trap '' TERM HUP INT; sleep 1000) & exit 5",
    ];
    for script in scripts {
        let done = user.job().script(script).run().expect_quiet(5);
        assert!(done.took < Duration::from_secs(20), "{script}: {:?}", done.took);
    }
}

#[test]
#[ignore = "needs root"]
fn as_the_first_process_of_a_namespace_it_ends_what_the_job_leaves_running() {
    assert!(User::is_root(), "a PID namespace needs root");
    let user = User::new();
    let mut command = Command::new("/usr/bin/unshare");
    command.args(["--pid", "--fork", "--kill-child", "--mount-proc", "/usr/bin/setpriv", "--clear-groups"]);
    command.arg(format!("--reuid={}", PILOT.uid())).arg(format!("--regid={}", PILOT.gid()));
    command.arg(user.program("condor_glexec_job")).current_dir(&user.home).env_clear().env("TMPDIR", &user.temporary);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    Call { command, record: PathBuf::new() }.script("setsid sleep 1000 & exit 5").run().expect_quiet(5);
}

#[test]
fn a_signal_during_setup_leaves_nothing() {
    let user = User::new();
    let marker = user.home.join("setup");
    let slow = format!(
        "case $2 in setup) echo $$ > {0}.new; mv {0}.new {0}; exec sleep 1000;; esac; exec \"$@\"",
        marker.display()
    );
    let mut running = user.job().args(user.switcher(&slow)).args(["--", "/bin/true"]).start();
    running.wait_for(&marker);
    running.signal("TERM");
    // The switcher itself sleeps on; it is the site's, and would end when it looks at its socket.
    std::thread::sleep(Duration::from_millis(300));
    let switcher = std::fs::read_to_string(&marker).unwrap();
    assert!(Command::new("kill").arg(switcher.trim()).status().unwrap().success());
    running.finish().expect_refusal(&["condor_glexec_setup"]);
    assert_eq!(user.temporary_files(), [] as [PathBuf; 0]);
}

#[test]
fn children_that_it_did_not_start_are_refused() {
    let user = User::new();
    let mut shell = Command::new("/bin/sh");
    let program = user.program("condor_glexec_job");
    shell.args(["-c", "sleep 3 & exec \"$0\" -- /bin/true"]).arg(program).stdout(Stdio::null());
    if User::is_root() {
        shell.uid(PILOT.uid()).gid(PILOT.gid());
    }
    let said = shell.stderr(Stdio::piped()).current_dir(&user.home);
    let (mut errors, writer) = std::io::pipe().unwrap();
    let status = said.stderr(writer).status().unwrap();
    shell.stderr(Stdio::null());
    let mut text = String::new();
    errors.read_to_string(&mut text).unwrap();
    assert_eq!(status.code(), Some(125), "{text}");
    assert!(text.contains("has children already"), "{text}");
}

//! What cannot be done is said, and nothing is left.

use crate::common::pem;
use crate::playground::{User, directory, entries};
use serde_json::Value;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;

#[test]
fn a_wrong_command_line_touches_nothing() {
    let user = User::new();
    for bad in [
        &[][..],
        &["--json", "record"],
        &["--json", "record", "--output", "out", "--"],
        &["--json", "record", "--output", "out", "--output", "out", "--", "/bin/true"],
        &["--json", "record", "--frobnicate", "--", "/bin/true"],
        &["--json", "record", "--time-limit", "1s", "--", "/bin/true"],
        &["--json", "record", "--env", "A", "--", "/bin/true"],
        &["--json", "record", "--env", "A=\x01\x02\x03\x04\x05\x06", "--", "/bin/true"],
        &["--json", "record", "--switcher", "/bin/false", "--", "/bin/true"],
        &["--json", "record", "--env-file", "missing=", "--env", "=", "--", "/bin/true"],
    ] {
        let done = user.job().args(bad).run().expect(1);
        assert_eq!(done.output, b"");
        let mut lines = done.errors.lines();
        assert!(lines.next().unwrap().starts_with("condor_glexec_job: "), "{}", done.errors);
        assert!(lines.next().unwrap().starts_with("usage: condor_glexec_job "), "{}", done.errors);
        assert_eq!((entries(&user.home), user.temporary_files()), (Vec::new(), Vec::new()), "{bad:?}");
    }
    let odd = user.job().args([OsStr::from_bytes(b"--\x1b[31m\n\xff")]).run().expect(1);
    assert!(!odd.errors.contains('\x1b'), "{:?}", odd.errors);
    let done = user.job().args(["--help"]).run().expect_quiet(0);
    assert!(done.output.starts_with(b"usage: condor_glexec_job"));
    assert_eq!(user.job().args(["-h"]).run().expect_quiet(0).output, done.output);
    assert_eq!(user.job().args(["-V"]).run().expect_quiet(0).output, user.job().args(["--version"]).run().output);
    let done = user.job().args(["--version"]).run().expect_quiet(0);
    assert_eq!(done.output, format!("condor_glexec_job {}\n", env!("CARGO_PKG_VERSION")).as_bytes());
}

#[test]
fn what_is_missing_or_unfit_is_named_and_nothing_is_left() {
    let user = User::new();
    let proxy = user.file("open_proxy", pem(1), 0o644);
    user.file("file", b"", 0o644);
    directory(&user.home.join("full"));
    user.give(&user.home.join("full"));
    user.file("full/file", b"", 0o644);
    user.file("bad_environment", b"A=1\nB\n", 0o644);
    let before = entries(&user.home);
    let cases: [(&[&str], &[&str]); 13] = [
        (&["--input", "missing"], &["missing", "No such file"]),
        (&["--input", "/dev/null"], &["/dev/null", "not a regular file"]),
        (&["--input", "file", "--input", "file"], &["file", "exists"]),
        (&["--sandbox", "missing"], &["--sandbox", "missing"]),
        (&["--execute=missing"], &["--execute", "missing"]),
        (&["--proxy", "missing"], &["--proxy", "missing"]),
        (&["--env-file", "missing"], &["--env-file", "missing"]),
        (&["--output", "full"], &["full", "not empty"]),
        (&["--output", "file"], &["file", "no directory"]),
        (&["--output", "missing/out"], &["--output", "missing"]),
        (&["--stdin", "missing"], &["--stdin", "missing"]),
        (&["--stdout=missing/file"], &["--stdout", "missing/file"]),
        (&["--json", "missing/record"], &["--json", "missing/record"]),
    ];
    for (options, words) in cases {
        user.job().args(options).args(["--", "/bin/true"]).run().expect_refusal(words);
        assert_eq!((entries(&user.home), user.temporary_files()), (before.clone(), Vec::new()), "{options:?}");
    }
    let call = user.job().arg2("--proxy", &proxy).args(["--switcher", "file", "--", "/bin/true"]);
    call.run().expect_refusal(&["open_proxy", "chmod 600"]);
    let done = user.job().args(["--env-file", "bad_environment", "--", "/bin/true"]).run().expect(1);
    assert!(done.errors.contains("\"B\""), "{}", done.errors);
    assert_eq!(user.temporary_files(), [] as [PathBuf; 0]);
}

#[test]
fn help_that_cannot_be_written_is_no_success() {
    for (name, program) in crate::common::built() {
        for word in ["--help", "--version"] {
            let full = std::fs::File::options().write(true).open("/dev/full").unwrap();
            let ended = std::process::Command::new(&program).arg(word).stdout(full).output().unwrap();
            assert!(!ended.status.success() && ended.stderr.starts_with(name.as_bytes()), "{name} {word}: {ended:?}");
        }
    }
}

/// A job as root could change the modes and owners of all that is root's.
#[test]
#[ignore = "needs root"]
fn j10_called_as_root_nothing_is_run_unless_that_is_asked_for() {
    assert!(User::is_root(), "root is needed to be refused");
    let user = User::new();
    let as_root = || {
        let mut call = user.job();
        call.command.uid(0).gid(0).current_dir(&user.root);
        call
    };
    let done =
        as_root().args(["--output", "out"]).script("touch ran").run().expect_refusal(&["as root", "--allow-root"]);
    assert!(done.output.is_empty() && !user.root.join("out").exists());
    assert_eq!(user.temporary_files(), [] as [PathBuf; 0]);
    for (helper, code, arguments) in [
        ("condor_glexec_setup", 2, &["/bin/false", "p", "/x", "0", "0"][..]),
        ("condor_glexec_run", 1, &["/bin/false", "p", "/x", "/bin/true", "-", "-", "-", "/bin/true"]),
    ] {
        let mut command = std::process::Command::new(user.program(helper));
        let ended = command.args(arguments).env_clear().output().unwrap();
        let said = String::from_utf8([ended.stdout, ended.stderr].concat()).unwrap();
        assert!(ended.status.code() == Some(code) && said.contains("called as root"), "{helper}: {said}");
    }
    as_root().args(["--allow-root"]).arg2("--execute", &user.root).script("exit 4").run().expect_quiet(4);
}

#[test]
fn a_job_that_cannot_be_started_says_why() {
    let user = User::new();
    let script = user.file("script", b"no interpreter line\n", 0o755);
    for (command, words) in [
        ("/nonexistent", "No such file"),
        ("true", "No such file"),
        ("/etc/passwd", "Permission denied"),
        ("./script", "Exec format error"),
    ] {
        let call = user.job().recorded().arg2("--input", &script).args(["--", command]);
        let done = call.run().expect_refusal(&["could not be started", words]);
        let record = done.record();
        assert_eq!((&record["status"], &record["ended_by"]), (&Value::Null, &Value::Null));
        assert!(record["failure"].as_str().unwrap().contains(words));
        assert_eq!(user.temporary_files(), [] as [PathBuf; 0]);
    }
}

#[test]
fn a_switcher_that_refuses_is_tried_again_only_where_that_may_help() {
    let user = User::new();
    let calls = user.home.join("calls");
    let tries = || std::fs::read_to_string(&calls).unwrap_or_default().lines().count();
    for (code, expected) in [(201, 1), (202, 3), (203, 3), (1, 1)] {
        let _ = std::fs::remove_file(&calls);
        let options =
            user.switcher(&format!("echo >> {}; echo 'what I think of it' >&2; exit {code}", calls.display()));
        let call = user.job().args(options).args(["--retries", "2", "--delay", "0", "--", "/bin/true"]);
        call.run().expect_refusal(&["condor_glexec_setup", &code.to_string(), "what I think of it"]);
        assert_eq!(tries(), expected, "{code}");
        assert_eq!(user.temporary_files(), [] as [PathBuf; 0]);
    }
    // Setup goes well, run is refused.
    for (code, expected) in [(201, 1), (203, 3)] {
        let _ = std::fs::remove_file(&calls);
        let refuse =
            format!("case $1 in *_peer) exec \"$@\";; esac; echo >> {}; echo no >&2; exit {code}", calls.display());
        let call = user.job().args(user.switcher(&refuse)).args(["--retries", "2", "--delay", "0", "--", "/bin/true"]);
        call.run().expect_refusal(&["switcher", &code.to_string(), "no"]);
        assert_eq!(tries(), expected, "{code}");
        assert_eq!(user.temporary_files(), [] as [PathBuf; 0]);
    }
    // … twice, and then it goes well.
    let _ = std::fs::remove_file(&calls);
    let refuse = format!(
        "case $1 in *_peer) exec \"$@\";; esac; echo >> {0}; [ $(wc -l < {0}) -gt 2 ] || exit 203; exec \"$@\"",
        calls.display()
    );
    let call = user.job().args(user.switcher(&refuse)).args(["--retries", "2", "--delay", "0"]);
    call.script("exit 6").run().expect_quiet(6);
}

#[test]
fn a_switcher_that_dies_is_no_status_of_the_job() {
    let user = User::new();
    let call = user.job().args(user.switcher("kill -9 $$")).args(["--", "/bin/true"]);
    call.run().expect_refusal(&["condor_glexec_setup", "signal 9"]);
    let only_setup = "case $1 in *_peer) exec \"$@\";; esac; kill -9 $$";
    let call = user.job().args(user.switcher(only_setup)).args(["--", "/bin/true"]);
    call.run().expect_refusal(&["signal 9", "before the job was started"]);
    let liar = "case $1 in *_peer) exec \"$@\";; esac; exec printf 'hello there' >&0";
    let call = user.job().args(user.switcher(liar)).args(["--", "/bin/true"]);
    call.run().expect(125);
    assert_eq!(user.temporary_files(), [] as [PathBuf; 0]);
}

#[test]
fn a_cleanup_that_fails_once_is_repeated_and_one_that_fails_twice_loses_nothing() {
    let user = User::new();
    let marker = user.home.join("failed");
    let once =
        format!("case $2 in cleanup) [ -e {0} ] || {{ touch {0}; exit 201; }};; esac; exec \"$@\"", marker.display());
    let call = user.job().args(user.switcher(&once)).args(["--output", "out"]);
    let done = call.script("echo precious > file").run().expect(0);
    assert!(done.errors.contains("trying again"), "{}", done.errors);
    assert_eq!(std::fs::read_to_string(user.home.join("out/file")).unwrap(), "precious\n");

    let never = "case $2 in cleanup) exit 201;; esac; exec \"$@\"";
    let call = user.job().args(user.switcher(never)).args(["--output", "out2"]).recorded();
    let done =
        call.script("echo precious > file; exit 3").run().expect_refusal(&["Nothing is lost", "condor_glexec_cleanup"]);
    let record = done.record();
    assert_eq!(record["status"]["exit_code"], 3);
    let sandbox = PathBuf::from(record["sandbox"].as_str().unwrap());
    assert_eq!(std::fs::read_to_string(sandbox.join("file")).unwrap(), "precious\n");
    assert!(!user.home.join("out2").exists());
}

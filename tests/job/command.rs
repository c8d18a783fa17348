//! What the command gets: arguments, environment, streams and nothing else; how it ends, and what is told of it.

use crate::common::pem;
use crate::hostile_family;
use crate::playground::{User, directory, entries};
use serde_json::Value;
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::Read;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;

#[test]
fn the_exit_code_and_the_signal_are_the_jobs() {
    let user = User::new();
    for code in [0, 1, 7, 125, 201, 202, 203, 255] {
        user.job().script(&format!("exit {code}")).run().expect_quiet(code);
    }
    for signal in [1, 2, 3, 6, 9, 11, 13, 15, 64] {
        user.job().script(&format!("kill -{signal} $$")).run().expect_killed(signal);
    }
    assert_eq!(user.temporary_files(), [] as [PathBuf; 0]);
}

#[test]
fn arguments_arrive_byte_for_byte() {
    let user = User::new();
    let odd = ["", " ", "a b", "--", "-x", "$(id)", "`id`", "'", "\"", "\n", "*", "\\", "%s"];
    let mut arguments: Vec<OsString> = odd.iter().map(OsString::from).collect();
    arguments.push(OsStr::from_bytes(b"\xff\xfe\x01\x7f").into());
    arguments.push("x".repeat(100_000).into());
    let call = user.job().args(["--", "/usr/bin/printf", "%s\\0"]).args(&arguments);
    let done = call.run().expect_quiet(0);
    let arrived: Vec<&[u8]> = done.output.split(|byte| *byte == 0).collect();
    let sent: Vec<&[u8]> = arguments.iter().map(|argument| argument.as_bytes()).chain([&b""[..]]).collect();
    assert!(arrived == sent);
}

#[test]
fn the_environment_is_what_was_asked_for() {
    let user = User::new();
    let file = user.file("environment", b"FROM_FILE=1\nBOTH=file\nQUOTED= it's \"x\"\t$$ \\ \n", 0o644);
    let call = user.job().args(["--env", "BOTH=option", "--env", "EMPTY=", "--env", "EQUAL==a=b="]);
    let mut odd = OsString::from("ODD=");
    odd.push(OsStr::from_bytes(b"\xff '\n'' \x01"));
    let call = call.args([OsStr::new("--env"), &odd, "--env".as_ref(), "TMP=/elsewhere".as_ref()]);
    let done = call.arg2("--env-file", &file).args(["--", "/usr/bin/env", "-0"]).run().expect_quiet(0);
    let variables: Vec<&[u8]> = done.output.split(|byte| *byte == 0).collect();
    let has = |entry: &[u8]| variables.contains(&entry);
    for entry in [
        &b"FROM_FILE=1"[..],
        b"BOTH=option",
        b"EMPTY=",
        b"EQUAL==a=b=",
        b"QUOTED= it's \"x\"\t$$ \\ ",
        b"ODD=\xff '\n'' \x01",
        b"TMP=/elsewhere",
    ] {
        assert!(has(entry), "{} is missing in {variables:?}", String::from_utf8_lossy(entry));
    }
    let sandbox = variables.iter().find_map(|entry| entry.strip_prefix(b"TMPDIR=")).unwrap();
    assert!(sandbox.starts_with(user.temporary.as_os_str().as_bytes()));
    assert!(has(&[b"_CONDOR_SCRATCH_DIR=", sandbox].concat()));
    let with = |name: &[u8]| variables.iter().any(|entry| entry.starts_with(name));
    assert!(!with(b"SECRET=") && !with(b"X509_USER_PROXY="));

    let nul = user.file("environment0", b"A=1\n2\0B=\0", 0o644);
    let done = user.job().arg2("--env-file", &nul).script("printf '%s|%s' \"$A\" \"$B\"").run().expect_quiet(0);
    assert_eq!(done.output, b"1\n2|");
}

#[test]
fn standard_streams_are_files_or_ours() {
    let user = User::new();
    let input = user.file("input", b"from a file\n", 0o600);
    user.file("both", b"something that was there before", 0o600);
    let script = "cat; echo out; echo err >&2";
    let done = user.job().stdin(File::open(&input).unwrap()).script(script).run().expect(0);
    assert_eq!((&done.output[..], &done.errors[..]), (&b"from a file\nout\n"[..], "err\n"));

    let call = user.job().args(["--stdin", "input", "--stdout", "out", "--stderr", "err"]);
    let done = call.script(script).run().expect_quiet(0);
    assert_eq!(done.output, b"");
    assert_eq!(std::fs::read(user.home.join("out")).unwrap(), b"from a file\nout\n");
    assert_eq!(std::fs::read(user.home.join("err")).unwrap(), b"err\n");

    let call = user.job().args(["--stdout", "both", "--stderr", "both"]);
    call.script("echo out; echo err >&2; echo out").run().expect_quiet(0);
    assert_eq!(std::fs::read(user.home.join("both")).unwrap(), b"out\nerr\nout\n");
}

#[test]
fn the_job_has_nothing_but_what_it_should() {
    let user = User::new();
    let script = "ulimit -c; umask; for n in 3 4 5 6 7 8 9; do (: >&$n) 2>/dev/null && echo $n is open; done; \
                  while read name value; do case $name in Sig[BI]*) echo $value;; esac; done < /proc/$$/status; \
                  cut -d' ' -f5-7 /proc/$$/stat; echo $$ $$ 0";
    let done = user.job().script(script).run().expect(0);
    let text = String::from_utf8(done.output).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines[..4], ["0", "0022", "0000000000000000", "0000000000000000"], "{text}{}", done.errors);
    assert_eq!(lines[4], lines[5], "group, session and no terminal of its own");
}

#[test]
fn the_record_has_the_figures() {
    let user = User::new();
    let call = user.job().args(["--json", "record", "--output", "out", "--input"]);
    let call = call.args([user.file("input", [7; 1000], 0o600)]);
    let script = "mkdir d; echo hello > d/f; ln d/f g; ln -s d/f l; mkfifo fifo; ln -s /etc/passwd bad; exit 2";
    call.script(script).run().expect(2);
    let line = std::fs::read_to_string(user.home.join("record")).unwrap();
    assert!(line.ends_with('\n') && line.trim_end().bytes().all(|byte| (b' '..=b'~').contains(&byte)), "{line:?}");
    let record: Value = serde_json::from_str(&line).unwrap();
    assert_eq!(record["version"], env!("CARGO_PKG_VERSION"));
    assert_eq!(record["status"]["exit_code"], 2);
    assert_eq!(record["ended_by"], "itself");
    assert_eq!(record["failure"], Value::Null);
    assert_eq!(record["output"], user.home.join("out").to_str().unwrap());
    assert!(record["setup"]["bytes"].as_u64().unwrap() >= 1000 && record["setup"]["left_out_total"] == 0);
    let cleanup = &record["cleanup"];
    assert_eq!(
        (&cleanup["directories"], &cleanup["symlinks"], &cleanup["hard_links"]),
        (&1.into(), &1.into(), &1.into())
    );
    assert_eq!(cleanup["left_out_total"], 2, "{cleanup}");
    let names: Vec<&str> =
        cleanup["left_out"].as_array().unwrap().iter().map(|entry| entry["name"].as_str().unwrap()).collect();
    assert!(
        names.iter().any(|name| name.contains("fifo")) && names.iter().any(|name| name.contains("bad")),
        "{names:?}"
    );
    let phases: Vec<&str> =
        record["phases"].as_array().unwrap().iter().map(|phase| phase["name"].as_str().unwrap()).collect();
    assert_eq!(phases, ["prepare", "setup", "start", "job", "cleanup", "output"]);
    let mut end = 0;
    for phase in record["phases"].as_array().unwrap() {
        let start = phase["start_ns"].as_u64().unwrap();
        assert!(start >= end, "{record}");
        end = start + phase["duration_ns"].as_u64().unwrap();
    }
}

#[test]
fn the_proxy_is_the_jobs_while_it_runs_and_gone_afterwards() {
    let user = User::new();
    let call = user.job().args(user.switcher("exec \"$@\"")).args(["--output", "out"]);
    let done = call
        .script("echo $X509_USER_PROXY; stat -c %a $X509_USER_PROXY; cat $X509_USER_PROXY; pwd")
        .run()
        .expect_quiet(0);
    let text = String::from_utf8(done.output).unwrap();
    let sandbox = text.lines().last().unwrap();
    let expected = format!("{sandbox}/proxy\n600\n{}{sandbox}\n", String::from_utf8(pem(7)).unwrap());
    assert_eq!(text, expected);
    assert_eq!(entries(&user.home.join("out")), [] as [PathBuf; 0]);
}

#[test]
fn a_proxy_that_is_in_the_sandbox_already_stays_there() {
    let user = User::new();
    for path in ["execute", "execute/dir_1"] {
        directory(&user.home.join(path));
        user.give(&user.home.join(path));
    }
    let proxy = user.file("execute/dir_1/p", pem(3), 0o600);
    let inode = proxy.metadata().unwrap().ino();
    user.switcher("exec \"$@\"");
    let switcher = user.home.join("switcher");
    let call = user.job().arg2("--sandbox", &user.home.join("execute/dir_1")).arg2("--switcher", &switcher);
    call.arg2("--proxy", &proxy).args(["--", "/bin/true"]).run().expect(0);
    assert_eq!(entries(&user.home.join("execute/dir_1")), std::slice::from_ref(&proxy));
    assert_eq!(proxy.metadata().unwrap().ino(), inode);
}

#[test]
fn on_a_terminal_the_steps_are_shown() {
    let user = User::new();
    let (mut ours, theirs) = hostile_family::terminal();
    let mut running = user.job().stderr(theirs).args(["--", "/bin/true"]).start();
    let status = running.child.wait().unwrap();
    assert!(status.success());
    // Without the command's own copy of the other end, the terminal is at its end.
    drop(running);
    let mut shown = Vec::new();
    let _ = ours.read_to_end(&mut shown);
    let shown = String::from_utf8_lossy(&shown);
    for step in ["handing over the sandbox", "starting", "the job runs", "taking the sandbox back"] {
        assert!(shown.contains(step), "{shown:?}");
    }
    user.job().args(["--", "/bin/true"]).run().expect_quiet(0);
    let done = user.job().args(["--verbose", "--", "/bin/true"]).run().expect(0);
    assert!(done.errors.contains("handing over the sandbox"), "{}", done.errors);
}

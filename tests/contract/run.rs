//! `condor_glexec_run` against the built programs, with two accounts: what the Starter gives it and expects of it. In
//! the wrapper's place there is a script that tells what it finds; the wrapper itself has tests of its own.

use crate::common::{Call, Channel, Finished, GREG, Kind, Sandbox, Seat, Site, as_account, write_program};
use rustix::process::Resource;
use std::collections::HashMap;
use std::ffi::OsString;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;

/// Prints `key=value` lines about itself, and exits with 7.
const PROBE: &str = r#"#!/bin/sh
echo "pid=$$"
echo "uid=$(id -u) $(id -ru)"
echo "gid=$(id -g) $(id -rg) $(id -G)"
echo "cwd=$(pwd -P)"
echo "umask=$(umask)"
echo "files=$(ulimit -n) $(ulimit -Hn)"
echo "core=$(ulimit -c)"
echo "arguments=$#"
echo "session=$(cut -d' ' -f6 /proc/$$/stat)"
ls -l /proc/$$/fd
while read -r name value; do
    case $name in SigBlk: | SigIgn: | NoNewPrivs: | Seccomp:) echo "${name%:}=$value" ;; esac
done </proc/$$/status
env | cut -d= -f1 | sort | sed 's/^/env_/; s/$/=1/'
exit 7
"#;

/// The shell's own descriptor of its script.
const SCRIPT: &str = "10";

/// A wrapper's stand-in.
fn probe(site: &Site) -> PathBuf {
    let path = site.root.join("probe");
    if !path.exists() {
        write_program(&path, PROBE);
    }
    path
}

/// The Starter's call: G P S WRAPPER IN OUT ERR CMD ARGS…, from `S.condor`, SIGPIPE ignored, no core files, 0 a socket.
fn run(site: &Site, sandbox: &Sandbox) -> (Call, UnixStream) {
    let (starter, wrapper) = UnixStream::pair().unwrap();
    let call = site
        .call("condor_glexec_run")
        .arg(site.switcher())
        .arg(&sandbox.proxy)
        .arg(&sandbox.path)
        .arg(probe(site))
        .args(["-", "-", "-", "/bin/true"])
        .cwd(&sandbox.parked)
        .ignore_sigpipe()
        .limit(Resource::Core, 0)
        .input(wrapper);
    (call, starter)
}

fn found(finished: &Finished) -> HashMap<&str, &str> {
    finished.output.lines().filter_map(|line| line.split_once('=')).collect()
}

#[test]
#[ignore = "needs root"]
fn becomes_the_switcher_which_becomes_the_wrapper_in_the_sandbox() {
    let site = Site::new();
    let sandbox = site.handed_over();
    let (call, _starter) = run(&site, &sandbox);
    let running = call.extra_descriptors(300).limit(Resource::Nofile, 777).start();
    let pid = running.pid().to_string();
    let finished = running.finish().expect(7);
    let found = found(&finished);

    assert_eq!(found["pid"], pid, "the Starter watches this process");
    assert_eq!(found["uid"], format!("{0} {0}", GREG.uid()));
    assert_eq!(found["gid"], format!("{0} {0} {0}", GREG.gid()));
    assert_eq!(found["cwd"], sandbox.path.to_str().unwrap());
    assert_eq!(found["umask"], "0022");
    assert_eq!(found["files"], "777 777");
    assert_eq!(found["core"], "0");
    assert_eq!(found["arguments"], "4");
    assert_eq!(found["session"], fs::read_to_string("/proc/self/stat").unwrap().split(' ').nth(5).unwrap());
    let links = finished.output.lines().filter_map(|line| line.split_once(" -> "));
    let kinds: Vec<_> = links
        .map(|(front, target)| (front.rsplit(' ').next().unwrap(), target.split(':').next().unwrap()))
        .filter(|(number, _)| *number != SCRIPT)
        .collect();
    assert_eq!(kinds, [("0", "socket"), ("1", "pipe"), ("2", "pipe")]);
    assert_eq!(found["SigBlk"], "0000000000000000");
    assert_eq!(found["SigIgn"], "0000000000000000");
    assert_eq!((found["NoNewPrivs"], found["Seccomp"]), ("0", "0"), "none of the helper's own confinement");
    let mut names: Vec<_> = found.keys().filter_map(|key| key.strip_prefix("env_")).collect();
    names.sort_unstable();
    assert_eq!(names, ["HOME", "LOGNAME", "PATH", "PWD", "USER"]);
}

#[test]
#[ignore = "needs root"]
fn the_switcher_gets_the_arguments_the_allow_list_and_the_starters_descriptors() {
    let site = Site::new();
    let sandbox = site.handed_over();
    let (call, _starter) = run(&site, &sandbox);
    call.env("GLEXEC_MODE", "m")
        .env("GLEXEC_ENV", "e")
        .env("GLEXEC_ID", "i")
        .env("LD_PRELOAD", "/nonexistent.so")
        .env("GLEXEC_TARGET_PROXY", "/tmp/x")
        .extra_descriptors(300)
        .run()
        .expect(7);
    let calls = site.switcher_calls();
    let call = calls.last().unwrap();
    let probe = probe(&site).into_os_string();
    assert_eq!(call.arguments, [probe, "-".into(), "-".into(), "-".into(), "/bin/true".into()]);
    let proxy = sandbox.parked_proxy().into_os_string();
    let expected: [(OsString, OsString); 7] = [
        ("GLEXEC_CLIENT_CERT".into(), proxy.clone()),
        ("GLEXEC_ENV".into(), "e".into()),
        ("GLEXEC_ID".into(), "i".into()),
        ("GLEXEC_MODE".into(), "m".into()),
        ("GLEXEC_SOURCE_PROXY".into(), proxy),
        ("GLEXEC_TARGET_PROXY".into(), "/dev/null".into()),
        ("X509_USER_PROXY".into(), "/home/pilot/pilot-proxy".into()),
    ];
    assert_eq!(call.environment, expected);
    let kinds: Vec<_> = call.descriptors.iter().map(|(number, target)| (*number, target.split(':').next())).collect();
    assert_eq!(kinds, [(0, Some("socket")), (1, Some("pipe")), (2, Some("pipe"))]);
    assert_eq!(call.directory, sandbox.path);
}

#[test]
#[ignore = "needs root"]
fn umask_and_any_working_directory_are_the_callers() {
    let site = Site::new();
    let sandbox = site.handed_over();
    for (umask, shown) in [(0, "0000"), (0o077, "0077"), (0o777, "0777")] {
        let (call, _starter) = run(&site, &sandbox);
        let finished = call.umask(umask).cwd("/").run().expect(7);
        assert_eq!(found(&finished)["umask"], shown);
        assert_eq!(found(&finished)["cwd"], sandbox.path.to_str().unwrap());
    }
}

#[test]
#[ignore = "needs root"]
fn the_switchers_exit_code_is_the_answer_and_it_is_called_once() {
    let site = Site::new();
    let sandbox = site.handed_over();
    for code in [201, 202, 203, 1, 126] {
        let calls = site.switcher_calls().len();
        site.configure_switcher(&format!("fail = {code} always"));
        let (call, _starter) = run(&site, &sandbox);
        // Its text goes to the diagnostic pipe as it is.
        let finished = call.run().expect(code);
        assert_eq!(finished.output, "test-switcher: refused, as the test wants it\n");
        assert_eq!(site.switcher_calls().len() - calls, 1);
    }
    site.configure_switcher("linger = yes");
    let (call, _starter) = run(&site, &sandbox);
    call.run().expect(7);
}

#[test]
#[ignore = "needs root"]
fn wrong_arguments_are_answered_with_the_usage() {
    let site = Site::new();
    let sandbox = site.handed_over();
    let calls = site.switcher_calls().len();
    let g = site.switcher().into_os_string();
    let s = sandbox.path.clone().into_os_string();
    let w = probe(&site).into_os_string();
    let p = sandbox.proxy.clone();
    let whole: Vec<OsString> =
        vec![g.clone(), p.clone(), s.clone(), w.clone(), "-".into(), "-".into(), "-".into(), "/bin/true".into()];
    let mut wrong: Vec<Vec<OsString>> = (0..whole.len()).map(|count| whole[..count].to_vec()).collect();
    for (place, word) in [(0, "switcher"), (0, ""), (1, ""), (1, "a/b"), (1, ".."), (2, "dir_1"), (2, ""), (3, "probe")]
    {
        let mut arguments = whole.clone();
        arguments[place] = word.into();
        wrong.push(arguments);
    }
    for arguments in wrong {
        let (call, _starter) = run(&site, &sandbox);
        call.only_args(&arguments).separate_errors().run().expect_usage("condor_glexec_run");
    }
    assert_eq!(site.switcher_calls().len(), calls);
}

#[test]
#[ignore = "needs root"]
fn ticket_1385_arguments_arrive_verbatim() {
    let site = Site::new();
    let sandbox = site.handed_over();
    let long = "x".repeat(128 * 1024 - 1);
    let odd: [&[u8]; 14] = [
        b"",
        b" ",
        b"a b",
        b"\"",
        b"'",
        b"$(touch pwned)",
        b"`touch pwned`",
        b"; touch pwned",
        b"\n",
        b"\\",
        b"\xff\xfe",
        b"%s%n",
        b"--help",
        long.as_bytes(),
    ];
    let many: Vec<OsString> = (0..2000).map(|index| format!("argument {index}").into()).collect();
    for arguments in [odd.map(crate::common::bytes).to_vec(), many] {
        let (call, _starter) = run(&site, &sandbox);
        let finished = call.args(&arguments).run().expect(7);
        assert_eq!(found(&finished)["arguments"], (4 + arguments.len()).to_string());
        let calls = site.switcher_calls();
        assert!(calls.last().unwrap().arguments[5..] == arguments, "some argument was changed");
    }
    assert!(!sandbox.path.join("pwned").exists());
}

#[test]
#[ignore = "needs root"]
fn odd_names_for_the_streams_and_the_command_arrive_verbatim() {
    let site = Site::new();
    let sandbox = site.handed_over();
    let words: [OsString; 4] = [b"/in\n\xff", &b""[..], b"/dev/null", b"relative command"].map(crate::common::bytes);
    let (call, _starter) = run(&site, &sandbox);
    let head = [site.switcher().into(), sandbox.proxy.clone(), sandbox.path.clone().into(), probe(&site).into()];
    call.only_args(head).args(&words).run().expect(7);
    assert_eq!(site.switcher_calls().last().unwrap().arguments[1..], words);
}

#[test]
#[ignore = "needs root"]
fn works_from_where_the_job_may_not_list_its_own_sandbox() {
    let site = Site::new();
    let sandbox = site.handed_over();
    as_account(GREG, || fs::set_permissions(&sandbox.path, fs::Permissions::from_mode(0o711)).unwrap());
    let (call, _starter) = run(&site, &sandbox);
    let finished = call.run().expect(7);
    assert_eq!(found(&finished)["cwd"].as_bytes(), sandbox.path.as_os_str().as_bytes());
}

/// Setup, a job that reads an input and writes an output, cleanup: as on any day.
#[test]
#[ignore = "needs root"]
fn an_honest_job_from_setup_to_cleanup() {
    let site = Site::new();
    for linger in ["no", "yes"] {
        site.configure_switcher(&format!("linger = {linger}"));
        let sandbox = site.sandbox();
        let seat = Seat::take(&sandbox.path);
        let (inode, given) = (seat.inode(), sandbox.snapshot());
        site.setup(&sandbox).run().expect_quiet();

        let (channel, theirs) = Channel::open();
        let job = "wc -c < input > count; id -un; echo \"$GREETING\"; pwd; umask; exit 3";
        let head = [site.switcher().into(), sandbox.proxy.clone(), sandbox.path.clone().into()];
        let here = |name: &str| sandbox.path.join(name).into_os_string();
        let running = site
            .call("condor_glexec_run")
            .args(&head)
            .arg(site.program("condor_glexec_job_wrapper"))
            .args(["/dev/null".into(), here("out"), here("err")])
            .args(["/bin/sh", "-c", job])
            .cwd(&sandbox.parked)
            .ignore_sigpipe()
            .input(theirs)
            .start();
        assert_eq!(channel.start_job(b"GREETING='hello world'"), "");
        running.finish().expect(3);

        let left = sandbox.snapshot();
        site.cleanup(&sandbox).run().expect_quiet();
        sandbox.assert_taken_back(&left, &given);
        assert_eq!((seat.inode(), seat.path()), (inode, sandbox.path.clone()));
        let back = sandbox.snapshot();
        assert!(matches!(back.get("count").kind, Kind::File { .. }));
        assert_eq!(fs::read_to_string(here("count")).unwrap().trim(), "10000");
        let said = fs::read_to_string(here("out")).unwrap();
        assert_eq!(said, format!("greg\nhello world\n{}\n0022\n", sandbox.path.display()));
        assert_eq!(fs::read_to_string(here("err")).unwrap(), "");
    }
}

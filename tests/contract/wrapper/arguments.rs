//! Arguments, file names and what cannot be executed.

use crate::starter::text;
use crate::wrapper::playground::{
    NOTHING, Sandbox, expect_words, give, job, marking_job, names, output_with, raw, refusal, start, wrapper,
};
use std::ffi::{OsStr, OsString};
use std::fs::{self};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::symlink;

fn bytes(bytes: &[u8]) -> OsString {
    OsString::from_vec(bytes.to_vec())
}

#[test]
fn too_few_arguments_are_answered_with_the_usage_instead_of_the_hello() {
    for count in 0..4 {
        let sandbox = Sandbox::new();
        let (running, starter) = start(wrapper(&sandbox, ["-", "-", "-", "/bin/true"].iter().take(count)));
        assert!(text(&starter.rest()).starts_with("usage: condor_glexec_job_wrapper IN OUT ERR CMD"), "{count}");
        assert_eq!(running.end().code, Some(1), "{count}");
    }
}

#[test]
fn a_call_without_even_a_name_is_a_usage_error() {
    let sandbox = Sandbox::new();
    let mut call = wrapper(&sandbox, ["unused"]);
    raw::exactly(&mut call, &[], &[]);
    let (running, starter) = start(call);
    let ended = running.end();
    assert_eq!(ended.code, Some(1));
    expect_words(&ended.printed, &["usage: condor_glexec_job_wrapper"]);
    // From Linux 5.18 on an empty list of arguments is given one empty name: then the Starter hears of it.
    let said = starter.rest();
    assert!(said.is_empty() || text(&said).starts_with("usage: "), "{said:?}");
}

#[test]
fn arguments_arrive_byte_for_byte() {
    let odd: [&[u8]; 12] = [
        b"",
        b" ",
        b"two words",
        b"it's",
        b"\"$(touch pwned)`touch pwned`\"",
        b"new\nline",
        b"\xff\xfe\x80",
        b"-",
        b"--",
        b"%s%n",
        b"\x01\x1b[0m\\",
        "größe".as_bytes(),
    ];
    let many: Vec<Vec<u8>> = (0..2000).map(|n| format!("argument {n}").into_bytes()).collect();
    let large = [vec![b'x'; 131_071]];
    let lists = [odd.iter().map(|a| a.to_vec()).collect(), many, large.to_vec()];
    for arguments in lists {
        let sandbox = Sandbox::new();
        let fixed: [&[u8]; 3] = [b"/bin/sh", b"-c", b"cat /proc/$$/cmdline; exit 0"];
        let whole: Vec<Vec<u8>> = fixed.iter().map(|word| word.to_vec()).chain(arguments).collect();
        let mut expected = whole.join(&0);
        expected.push(0);
        let call = job(&sandbox, whole.into_iter().map(OsString::from_vec));
        assert!(output_with(&sandbox, call, NOTHING) == expected, "the arguments differ");
        assert!(!sandbox.has("pwned"));
    }
}

#[test]
fn file_names_and_the_commands_name_are_taken_byte_for_byte() {
    for name in [&b"two words"[..], b"it's \"$(touch pwned)\"", b"new\nline", b"\xff\xfe", b"-rf", b" ", b"%s"] {
        let sandbox = Sandbox::new();
        let with = |suffix: &[u8]| bytes(&[name, suffix].concat());
        sandbox.write(with(b".in"), "input");
        let command = sandbox.executable(with(b".sh"), "#!/bin/sh\ncat\necho \"$0\" >&2\n");
        let streams = [b".in".as_slice(), b".out", b".err"].map(|suffix| sandbox.at(with(suffix)));
        let mut call = wrapper(&sandbox, streams);
        call.arg(&command);
        let (running, starter) = start(call);
        assert_eq!(starter.start_job(NOTHING, &[]), Ok(()));
        assert_eq!(running.end().code, Some(0));
        assert_eq!(fs::read(sandbox.at(with(b".out"))).unwrap(), b"input");
        assert_eq!(fs::read(sandbox.at(with(b".err"))).unwrap(), [command.as_bytes(), b"\n"].concat());
        assert!(!sandbox.has("pwned"));
    }
}

#[test]
fn what_cannot_be_executed_is_explained_with_the_errno() {
    let sandbox = Sandbox::new();
    sandbox.write("plain", "#!/bin/sh\n");
    let cases = [
        (sandbox.at("missing"), "No such file or directory"),
        (sandbox.at("plain"), "Permission denied"),
        (sandbox.path.clone().into(), "Permission denied"),
        (
            sandbox.executable("interpreter", "#!/nonexistent\n"),
            "No such file or directory: the script is there, its interpreter is not: \"/nonexistent\"",
        ),
        (
            sandbox.executable("argument", "#! \t/none xistent -x"),
            "No such file or directory: the script is there, its interpreter is not: \"/none\"",
        ),
        (
            sandbox.executable("other-lines", "#!/bin/sh\r\ntrue\r\n"),
            "No such file or directory: the script is there, its interpreter is not, its line ends in CR LF: \"/bin/sh\\x0d\"",
        ),
        (sandbox.executable("text", "echo no interpreter line\n"), "Exec format error"),
        (sandbox.executable("empty", ""), "Exec format error"),
        (sandbox.executable("binary", "\u{7f}ELF"), "Exec format error"),
        ("true".into(), "No such file or directory"), // no search along PATH
        ("".into(), "No such file or directory"),
    ];
    for (command, why) in cases {
        let mut call = job(&sandbox, [&command]);
        call.env("PATH", "/bin:/usr/bin");
        assert_eq!(refusal(&sandbox, call, NOTHING, &[]), format!("execve error: {why}"), "{command:?}");
        assert_eq!(sandbox.read("err"), b"", "{command:?}: the wrapper's trouble is not the job's output");
    }
    let long = job(&sandbox, [OsString::from("/".to_owned() + &"x/".repeat(4000))]);
    expect_words(&refusal(&sandbox, long, NOTHING, &[]), &["execve error: ", "too long"]);
}

#[test]
fn more_than_the_kernel_takes_is_explained() {
    let sandbox = Sandbox::new();
    let one_large = [b"A=".to_vec(), vec![b'x'; 131_072], vec![0]].concat();
    let many = [(0..300_000).flat_map(|n| format!("A{n}=1 ").into_bytes()).collect(), vec![0]].concat();
    for raw in [one_large, many] {
        let call = marking_job(&sandbox, names(["/dev/null"; 3]));
        expect_words(&refusal(&sandbox, call, &raw, &[]), &["execve error: ", "too long"]);
    }
}

#[test]
fn the_reason_is_told_however_long_the_name_is() {
    let sandbox = Sandbox::new();
    let name = sandbox.at(bytes(&[0xff; 255]));
    symlink("/dev/null", &name).unwrap();
    give(name.as_ref());
    let null = OsStr::new("/dev/null");
    let text = refusal(&sandbox, marking_job(&sandbox, [null, &name, null]), NOTHING, &[]);
    expect_words(&text, &["standard output", "symbolic link"]);
}

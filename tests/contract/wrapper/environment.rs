//! The environment: what the original gave, what is dropped, what is refused, and what it costs.

use crate::wrapper::playground::{
    Sandbox, expect_no_job, expect_words, field, job, marking_job, names, raw, refusal, set_of, start, wrapper,
};
use glexec_rs::ground::escape::Escaped;
use glexec_rs::ground::limits;
use std::collections::BTreeSet;
use std::fs::{self};
use std::io::{self};
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::UnixStream;
use std::path::Path;

fn golden(name: &str) -> Vec<serde_json::Value> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/vectors").join(name);
    let file: serde_json::Value = serde_json::from_slice(&fs::read(path).unwrap()).unwrap();
    file["cases"].as_array().unwrap().clone()
}

fn from_hex(value: &serde_json::Value) -> Vec<u8> {
    let digits = value.as_str().unwrap_or_default().as_bytes();
    digits.chunks(2).map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap()).collect()
}

fn all_from_hex(value: &serde_json::Value) -> Vec<Vec<u8>> {
    value.as_array().unwrap().iter().map(from_hex).collect()
}

/// What the job's environment is for this base and buffer, or the text.
fn environment_of_a_job(sandbox: &Sandbox, base: &[Vec<u8>], raw: &[u8]) -> Result<BTreeSet<Vec<u8>>, String> {
    let out = sandbox.at("out");
    let mut call = wrapper(sandbox, ["unused"]);
    let argv = [b"wrapper".as_slice(), b"/dev/null", out.as_bytes(), b"/dev/null", b"/usr/bin/env", b"-0"];
    raw::exactly(&mut call, &argv, base);
    let (running, starter) = start(call);
    let outcome = starter.start_job(raw, &[]);
    let ended = running.end();
    assert_eq!((ended.code, ended.printed.as_str()), (Some(i32::from(outcome.is_err())), ""));
    let listed = outcome.map(|()| sandbox.read("out"))?;
    let entries = set_of(&listed);
    assert_eq!(entries.len(), listed.iter().filter(|byte| **byte == 0).count(), "an entry is empty or there twice");
    Ok(entries)
}

/// What an error text of the original is about.
fn named_by_the_original(error: &[u8]) -> &[u8] {
    let about = |front: &[u8], back: &[u8]| error.strip_prefix(front)?.strip_suffix(back);
    about(b"Unbalanced quote starting here: ", b"")
        .or_else(|| about(b"ERROR: Missing '=' after environment variable '", b"'."))
        .or_else(|| about(b"ERROR: missing variable in '", b"'."))
        .unwrap_or(error)
}

#[test]
fn every_golden_case_gives_the_job_the_environment_that_the_original_gave_it() {
    let sandbox = Sandbox::new();
    let cases = golden("env_merge.json");
    assert_eq!(cases.len(), 620);
    let (mut accepted, mut refused) = (0, 0);
    for case in cases {
        let (id, raw) = (&case["id"], from_hex(&case["raw"]));
        let ours = environment_of_a_job(&sandbox, &all_from_hex(&case["base"]), &raw);
        if raw.iter().position(|byte| *byte == 0) != raw.len().checked_sub(1) {
            // The one deliberate difference: the original cut the buffer at its first NUL, or read past its end.
            expect_words(&ours.expect_err("a NUL inside"), &["NUL"]);
            refused += 1;
        } else if case["accepted"] == true {
            assert_eq!(ours, Ok(all_from_hex(&case["env"]).into_iter().collect()), "{id}");
            accepted += 1;
        } else {
            let why = ours.expect_err("the original refused it");
            let error = from_hex(&case["error"]);
            let named = Escaped(named_by_the_original(&error)).to_string();
            let shown = &why[why.find('"').unwrap_or_else(|| panic!("{id}: {why}"))..];
            let cut = why.len() == limits::CHANNEL_ERROR_BYTES;
            assert!(shown == named || cut && named.starts_with(shown), "{id}: {why} is not about {named}");
            refused += 1;
        }
    }
    assert!(accepted > 400 && refused > 150, "{accepted} {refused}");
}

#[test]
fn what_the_original_starter_sends_arrives() {
    let sandbox = Sandbox::new();
    let cases = golden("env_encode.json");
    assert_eq!(cases.len(), 200);
    for case in cases {
        let raw = [from_hex(&case["raw_sent"]), vec![0]].concat();
        let ours = environment_of_a_job(&sandbox, &[], &raw);
        if case["roundtrip_ok"] == true {
            assert_eq!(ours, Ok(all_from_hex(&case["roundtrip_env"]).into_iter().collect()), "{}", case["id"]);
        } else {
            assert!(ours.is_err(), "{}", case["id"]);
        }
    }
}

#[test]
fn the_starters_secrets_are_dropped_and_all_else_is_kept() {
    let sandbox = Sandbox::new();
    let raw = b"CONDOR_INHERIT='1 2' CONDOR_PRIVATE_INHERIT=3 CONDOR_PRIVATE_SHARED_PORT_COOKIE=4 CONDOR_INHERIT2=5 \
        CONDOR_PRIVATE=6 condor_inherit=7 LD_PRELOAD=8 X509_USER_PROXY=9 PATH= CONDOR_INHERIT=again\0";
    let expected =
        b"CONDOR_INHERIT2=5\0CONDOR_PRIVATE=6\0condor_inherit=7\0LD_PRELOAD=8\0X509_USER_PROXY=9\0PATH=\0HOME=/h\0CONDOR_PRIVATE_INHERIT=kept\0";
    // What the switcher itself has let through is the site's decision.
    let base = [b"PATH=/bin".to_vec(), b"HOME=/h".to_vec(), b"CONDOR_PRIVATE_INHERIT=kept".to_vec()];
    assert_eq!(environment_of_a_job(&sandbox, &base, raw), Ok(set_of(expected)));
}

#[test]
fn a_bad_environment_is_explained_on_the_fresh_socket() {
    let a_million = b"A=1 ".repeat(1_000_000);
    let cases: Vec<(&str, Vec<u8>, &str)> = vec![
        ("empty", b"".to_vec(), "does not end with a NUL"),
        ("one byte that is no NUL", b"A".to_vec(), "does not end with a NUL"),
        ("no final NUL", b"A=1".to_vec(), "does not end with a NUL"),
        ("a NUL inside", b"A=1\0B=2\0".to_vec(), "NUL inside"),
        ("NULs only", b"\0\0".to_vec(), "NUL inside"),
        ("a million variables", [a_million, vec![0]].concat(), "more than"),
        ("a quote that is not closed", b"A=1 B='2\n\0".to_vec(), "\"'2\\x0a\""),
        ("escape sequences", b"\x1b[2J%n\xff\0".to_vec(), "\"\\x1b[2J%n\\xff\""),
        ("a long entry without a value", [vec![0xff; 200_000], vec![0]].concat(), "no '='"),
        ("a long open quote", [b"'".to_vec(), vec![b'\n'; 200_000], vec![0]].concat(), "not closed"),
    ];
    for (what, raw, why) in cases {
        let sandbox = Sandbox::new();
        let (read, write) = io::pipe().unwrap();
        let call = marking_job(&sandbox, names(["-", "-", "/dev/null"]));
        let text = refusal(&sandbox, call, &raw, &[read.as_fd(), write.as_fd()]);
        assert!(text.contains(why), "{what}: {text}");
    }
}

#[test]
fn the_bounds_of_the_environment_are_exact() {
    let sandbox = Sandbox::new();
    // 786,432 times the same variable: the most that is taken, and one is left of it.
    let most = |count: usize| [b"A= ".repeat(count), vec![0]].concat();
    assert_eq!(environment_of_a_job(&sandbox, &[], &most(limits::ENVIRONMENT_ENTRIES)), Ok(set_of(b"A=\0")));
    let why = environment_of_a_job(&sandbox, &[], &most(limits::ENVIRONMENT_ENTRIES + 1)).unwrap_err();
    expect_words(&why, &["more than 786432 variables"]);

    // The kernel's bound on one string; what is longer is taken here and refused there.
    let long = |size: usize| [b"A=".to_vec(), vec![b'x'; size], vec![0]].concat();
    assert_eq!(environment_of_a_job(&sandbox, &[], &long(131_069)), Ok(set_of(&long(131_069))));
    for size in [131_070, 200_000] {
        let why = environment_of_a_job(&sandbox, &[], &long(size)).unwrap_err();
        expect_words(&why, &["execve error: ", "too long"]);
    }

    let largest = |size: usize| [vec![b' '; size - 4], b"B=1\0".to_vec()].concat();
    assert_eq!(environment_of_a_job(&sandbox, &[], &largest(limits::ENVIRONMENT_BYTES)), Ok(set_of(b"B=1\0")));
    let why = environment_of_a_job(&sandbox, &[], &largest(limits::ENVIRONMENT_BYTES + 1)).unwrap_err();
    expect_words(&why, &["larger than 6291456 bytes"]);
}

#[test]
fn a_length_that_is_not_kept_costs_neither_memory_nor_the_text() {
    for (length, sent, why) in [
        (-1, &b""[..], "negative"),
        (-1, b"A=1\0", "negative"),
        (i32::MIN, b"", "negative"),
        (0, b"", "does not end with a NUL"),
        (i32::MAX, b"", "larger than"),
        (i32::MAX, b"A=1\0", "larger than"),
        (limits::ENVIRONMENT_BYTES as i32 + 1, b"A=1\0", "larger than"),
        (100, b"A=1\0", "before"),
        (5, b"", "before"),
        (2, b"A=1\0", "does not end with a NUL"),
    ] {
        for passed in [false, true] {
            let sandbox = Sandbox::new();
            let first = if passed { "-" } else { "/dev/null" };
            let (running, mut starter) = start(marking_job(&sandbox, names([first, "/dev/null", "/dev/null"])));
            starter.expect_hello();
            starter.send_length(length);
            starter.send_bytes(sent);
            running.await_sleep();
            let status = fs::read_to_string(running.proc("status")).unwrap();
            let peak: u32 = field(&status, "VmHWM").split(' ').next().unwrap().parse().unwrap();
            assert!(peak < 4096, "{length}: {peak} KiB");
            if passed {
                // Also a socket; the last one counts.
                starter.send_descriptor(&UnixStream::pair().unwrap().0);
            }
            let text = starter.send_fresh_socket().outcome().expect_err("a text");
            assert!(text.contains(why), "{length}, {sent:?}: {text}");
            expect_no_job(&sandbox, running);
        }
    }
}

#[test]
fn an_ordinary_job_costs_little_memory() {
    let sandbox = Sandbox::new();
    let (running, mut starter) = start(job(&sandbox, ["/bin/true"]));
    starter.expect_hello();
    let mut raw: Vec<u8> = (0..1000).flat_map(|n| format!("VARIABLE_{n}='{}' ", "x".repeat(80)).into_bytes()).collect();
    raw.push(0);
    starter.send_environment(&raw);
    running.await_sleep();
    let status = fs::read_to_string(running.proc("status")).unwrap();
    let peak: u32 = field(&status, "VmHWM").split(' ').next().unwrap().parse().unwrap();
    assert!(peak < 4096, "{peak} KiB");
    assert_eq!(starter.send_fresh_socket().outcome(), Ok(()));
}

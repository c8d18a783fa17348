//! The files that are named for the standard streams.

use crate::wrapper::playground::{
    NOTHING, STREAMS, Sandbox, expect_words, give, job, marking_job, names, output, raw, refusal, start, terminal,
    wrapper,
};
use rustix::fs::{CWD, FileType, Mode, OFlags, mknodat};
use std::ffi::OsStr;
use std::fs::{self};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::os::unix::net::UnixListener;
use std::time::{Duration, Instant};

#[test]
fn output_files_are_created_closed_to_others_or_truncated_with_their_mode() {
    for (umask, mode) in [(0o022, 0o600), (0, 0o600), (0o277, 0o400), (0o777, 0)] {
        let sandbox = Sandbox::new();
        sandbox.write("err", "an old and long text");
        fs::set_permissions(sandbox.at("err"), fs::Permissions::from_mode(0o640)).unwrap();
        let mut call = job(&sandbox, ["/bin/sh", "-c", "echo new >&2"]);
        raw::before_exec(&mut call, move || {
            rustix::process::umask(Mode::from_raw_mode(umask));
            Ok(())
        });
        let (running, starter) = start(call);
        assert_eq!(starter.start_job(NOTHING, &[]), Ok(()));
        assert_eq!(running.end().code, Some(0));
        assert_eq!(fs::metadata(sandbox.at("out")).unwrap().mode() & 0o7777, mode, "umask {umask:o}");
        assert_eq!(fs::metadata(sandbox.at("err")).unwrap().mode() & 0o7777, 0o640);
        assert_eq!(sandbox.read("err"), b"new\n");
    }
}

#[test]
fn one_name_for_two_streams_is_opened_twice() {
    let sandbox = Sandbox::new();
    let both = sandbox.at("both");
    let mut call = wrapper(&sandbox, ["/dev/null".into(), both.clone(), both]);
    call.args(["/bin/sh", "-c", "printf 123456; printf ab >&2"]);
    let (running, starter) = start(call);
    assert_eq!(starter.start_job(NOTHING, &[]), Ok(()));
    assert_eq!(running.end().code, Some(0));
    assert_eq!(sandbox.read("both"), b"ab3456");
}

#[test]
fn named_streams_block_again_when_the_job_has_them() {
    let sandbox = Sandbox::new();
    sandbox.write("in", "");
    let mut call = wrapper(&sandbox, [sandbox.at("in"), sandbox.at("out"), sandbox.at("err")]);
    call.args(["/bin/cat", "/proc/self/fdinfo/0", "/proc/self/fdinfo/1", "/proc/self/fdinfo/2"]);
    let listed = output(&sandbox, call);
    let flags: Vec<u32> = listed
        .lines()
        .filter_map(|line| u32::from_str_radix(line.strip_prefix("flags:")?.trim(), 8).ok())
        .map(|flags| flags & (OFlags::NONBLOCK | OFlags::CLOEXEC | OFlags::RWMODE).bits())
        .collect();
    assert_eq!(flags, [OFlags::RDONLY, OFlags::WRONLY, OFlags::WRONLY].map(|flags| flags.bits()));
}

#[test]
fn what_is_no_regular_file_is_refused_without_waiting_for_it() {
    let sandbox = Sandbox::new();
    sandbox.write("victim", "kept");
    mknodat(CWD, sandbox.at("fifo"), FileType::Fifo, Mode::from_raw_mode(0o600), 0).unwrap();
    fs::create_dir(sandbox.at("directory")).unwrap();
    symlink(sandbox.at("victim"), sandbox.at("link")).unwrap();
    symlink("victim", sandbox.at("relative")).unwrap();
    symlink(sandbox.at("nowhere"), sandbox.at("dangling")).unwrap();
    symlink("/dev/null", sandbox.at("null")).unwrap();
    let _listener = UnixListener::bind(sandbox.at("socket")).unwrap();
    for name in ["fifo", "directory", "link", "relative", "dangling", "null", "socket"] {
        give(sandbox.at(name).as_ref());
    }
    let (_master, slave) = terminal();
    let terminal = fs::read_link(format!("/proc/self/fd/{}", slave.as_raw_fd())).unwrap().into_os_string();
    let cases = [
        (sandbox.at("fifo"), "not a regular file", "not a regular file"),
        (sandbox.at("directory"), "not a regular file", "directory"),
        (sandbox.at("link"), "symbolic link", "symbolic link"),
        (sandbox.at("relative"), "symbolic link", "symbolic link"),
        (sandbox.at("dangling"), "symbolic link", "symbolic link"),
        (sandbox.at("null"), "symbolic link", "symbolic link"),
        (sandbox.at("socket"), "not a regular file", "not a regular file"),
        (terminal, "not a regular file", "not a regular file"),
        ("/dev/zero".into(), "not a regular file", "not a regular file"),
        ("/dev/full".into(), "not a regular file", "not a regular file"),
        ("/dev/tty".into(), "not a regular file", "not a regular file"),
        (sandbox.at("missing/file"), "No such file or directory", "No such file or directory"),
        ("".into(), "No such file or directory", "No such file or directory"),
    ];
    for (name, for_input, for_output) in &cases {
        for (place, stream) in STREAMS.iter().enumerate() {
            let mut words = names(["/dev/null"; 3]);
            words[place] = name;
            let begin = Instant::now();
            let text = refusal(&sandbox, marking_job(&sandbox, words), NOTHING, &[]);
            expect_words(&text, &[stream, if place == 0 { for_input } else { for_output }]);
            assert!(begin.elapsed() < Duration::from_secs(10), "{name:?}");
        }
    }
    let missing = sandbox.at("missing");
    let call = marking_job(&sandbox, [&missing, OsStr::new("/dev/null"), OsStr::new("/dev/null")]);
    expect_words(&refusal(&sandbox, call, NOTHING, &[]), &["standard input", "No such file"]);
    assert_eq!(sandbox.read("victim"), b"kept");
    assert!(!sandbox.has("nowhere") && !sandbox.has("missing"));
    assert!(fs::metadata("/dev/null").unwrap().mode() & 0o170_000 == 0o020_000);
}

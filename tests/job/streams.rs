//! J6 and J9: nothing that is written is lost, and the record is nobody else's.

use crate::playground::{Call, User, directory, entries};
use std::fs::{File, OpenOptions, hard_link};
use std::os::fd::OwnedFd;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Stdio;

const SCRIPT: &str = "echo out; echo err >&2; echo more > file";

/// A sandbox of the user's with a directory and a file in it.
fn sandbox(user: &User) -> PathBuf {
    let sandbox = user.home.join("s");
    for path in [&sandbox, &sandbox.join("sub")] {
        directory(path);
        user.give(path);
    }
    user.file("s/old", "old content that is longer than what comes\n", 0o644);
    sandbox
}

fn text(path: impl AsRef<Path>) -> String {
    std::fs::read_to_string(path).unwrap()
}

#[test]
fn j6_a_stream_that_is_named_in_the_sandbox_is_a_file_of_the_jobs_copy() {
    let user = User::new();
    let sandbox = sandbox(&user);
    symlink(&sandbox, user.home.join("link")).unwrap();
    symlink(sandbox.join("old"), user.home.join("file_link")).unwrap();
    symlink(sandbox.join("made"), user.home.join("dangling")).unwrap();
    for (given, found) in [
        ("s/out", "out"),
        ("s/sub/out", "sub/out"),
        ("s/old", "old"),
        ("./s/../s//sub/./out", "sub/out"),
        ("link/out", "out"),
        ("file_link", "old"),
        ("dangling", "made"),
    ] {
        for directory in [&sandbox, &user.home.join("link")] {
            let call = user.job().arg2("--sandbox", directory).args(["--stdout", given, "--stderr", "err"]);
            call.script(SCRIPT).run().expect(0);
            assert_eq!(text(sandbox.join(found)), "out\n", "{given}");
            assert_eq!(text(user.home.join("err")), "err\n");
        }
    }
    let both = user.job().arg2("--sandbox", &sandbox).args(["--stdout", "s/both", "--stderr", "link/both"]);
    both.script(SCRIPT).run().expect_refusal(&["one file in the sandbox", "2>&1"]);
    let both = user.job().arg2("--sandbox", &sandbox).args(["--stdout", "s/both"]);
    both.script("echo out; echo err").run().expect(0);
    let call = user.job().arg2("--sandbox", &sandbox).arg2("--stdout", &sandbox.join("sub/out"));
    let done = call.args(["--stdin", "s/both"]).script("cat").run().expect(0);
    assert_eq!((text(sandbox.join("sub/out")), done.output.len()), ("out\nerr\n".to_owned(), 0));
}

#[test]
fn j6_a_stream_below_the_output_comes_with_it() {
    let user = User::new();
    for exists in [false, true] {
        let output = user.home.join(format!("output{exists}"));
        if exists {
            directory(&output);
            user.give(&output);
        }
        if exists {
            symlink(&user.home, user.home.join("again")).unwrap();
        }
        let log = if exists { user.home.join("again/outputtrue/log") } else { output.join("log") };
        let call = user.job().arg2("--output", &output).arg2("--stdout", &log);
        call.arg2("--stderr", &output.join("err")).script(SCRIPT).run().expect(0);
        assert_eq!(["log", "err", "file"].map(|name| text(output.join(name))), ["out\n", "err\n", "more\n"]);
    }
    let call = user.job().args(["--output", "new", "--stdout", "new/missing/log"]);
    call.script(SCRIPT).run().expect_refusal(&["standard output", "missing/log"]);
    assert!(!user.home.join("new").exists());
    assert_eq!(user.temporary_files(), [] as [PathBuf; 0]);
}

/// What the caller itself has opened in the sandbox, in every way, is refused before anything is done.
#[test]
fn j6_what_we_write_to_ourselves_is_not_in_the_sandbox() {
    let user = User::new();
    let sandbox = sandbox(&user);
    hard_link(sandbox.join("old"), user.home.join("other_name")).unwrap();
    let write = |path: &str| {
        let file = OpenOptions::new().create(true).append(true).open(user.home.join(path)).unwrap();
        user.give(&user.home.join(path));
        file
    };
    let moved = write("moved");
    std::fs::rename(user.home.join("moved"), sandbox.join("sub/moved")).unwrap();
    let call = || user.job().arg2("--sandbox", &sandbox);
    let with = |mut call: Call, number: u32, file: File| {
        let file: Stdio = file.into();
        match number {
            0 => call.command.stdin(file),
            1 => call.command.stdout(file),
            _ => call.command.stderr(file),
        };
        call
    };
    let both = File::options().read(true).write(true).open(sandbox.join("old")).unwrap();
    let before = text(sandbox.join("old"));
    for (what, call, word) in [
        ("> S/out", with(call(), 1, write("s/out")), "--stdout"),
        ("> S/sub/out", with(call(), 1, write("s/sub/out")), "--stdout"),
        (">> S/old", with(call(), 1, write("s/old")), "--stdout"),
        ("> another name", with(call(), 1, write("other_name")), "--stdout"),
        ("> moved", with(call(), 1, moved), "--stdout"),
        ("<> S/old", with(call(), 0, both), "--stdin"),
        ("> S/out, by a link to S", with(user.job().args(["--sandbox", "./s/"]), 1, write("s/out")), "--stdout"),
        ("--stdout another name", call().args(["--stdout", "other_name"]), "another name"),
        ("--stderr another name", call().args(["--stderr", "other_name"]), "another name"),
        ("--json S/record", call().args(["--json", "s/record"]), "--json"),
        ("--json S/sub/record", call().args(["--json", "s/sub/../sub/record"]), "--json"),
        ("--json another name", call().args(["--json", "other_name"]), "record"),
    ] {
        let done = call.script("echo > ran");
        let done = done.run().expect(if what.starts_with("--json") { 1 } else { 125 });
        let first = done.errors.lines().next().unwrap();
        assert!(done.output.is_empty() && first.contains("sandbox") && first.contains(word), "{what}: {first}");
        assert_eq!(text(sandbox.join("old")), before, "{what}");
        assert!(!sandbox.join("ran").exists() && !sandbox.join("record").exists(), "{what}");
    }
    let refused = with(call(), 2, write("s/err")).script("echo > ran").run().expect(125);
    assert!(text(sandbox.join("err")).contains("--stderr") && !sandbox.join("ran").exists(), "{refused:?}");
    // What is only read, lies outside, or is in no directory any more, is fine.
    std::fs::remove_file(user.home.join("other_name")).unwrap();
    let removed = write("s/removed");
    std::fs::remove_file(sandbox.join("removed")).unwrap();
    with(call(), 1, removed).script(SCRIPT).run().expect(0);
    with(call(), 1, write("outside")).script(SCRIPT).run().expect(0);
    assert_eq!(text(user.home.join("outside")), "out\n");
    let read = with(call(), 0, File::open(sandbox.join("old")).unwrap()).script("cat").run().expect(0);
    assert_eq!(read.output, before.as_bytes());
}

#[test]
#[ignore = "needs root"]
fn j6_a_directory_of_the_sandbox_that_is_also_mounted_elsewhere_is_no_place_for_a_stream() {
    assert!(User::is_root(), "a mount needs root");
    let user = User::new();
    let sandbox = sandbox(&user);
    let elsewhere = user.home.join("elsewhere");
    directory(&elsewhere);
    for of in [&sandbox.join("sub"), &sandbox] {
        rustix::mount::mount_bind(of, &elsewhere).unwrap();
        let call = user.job().arg2("--sandbox", &sandbox).args(["--stdout", "elsewhere/out"]);
        let done = call.script("echo lost").run();
        rustix::mount::unmount(&elsewhere, rustix::mount::UnmountFlags::empty()).unwrap();
        done.expect_refusal(&["under another name"]);
        assert!(!of.join("out").exists());
    }
}

/// A record on our own standard output has it for itself, or it is refused.
#[test]
fn j9_the_record_is_on_no_stream_that_the_job_has() {
    let user = User::new();
    let forged = "echo '{\"status\":{\"exit_code\":0}}'; exit 3";
    let done = user.job().args(["--json", "-"]).script(forged).run().expect(1);
    assert!(done.errors.contains("--stdout") && done.output.is_empty(), "{done:?}");
    let done = user.job().args(["--json", "-", "--stdout", "out"]).script(forged).run().expect(3);
    let record: serde_json::Value = serde_json::from_slice(&done.output).unwrap();
    assert_eq!(record["status"]["exit_code"], 3);
    assert_eq!(entries(&user.home), [user.home.join("out")]);

    user.file("one", "", 0o644);
    let file = || File::create(user.home.join("one")).unwrap();
    let mut same = user.job().args(["--json", "-", "--stdout", "out"]);
    same.command.stdout(file()).stderr(file());
    same.script(forged).run().expect(1);
    let (_ours, theirs) = std::io::pipe().unwrap();
    let mut piped = user.job().args(["--json", "-", "--stdout", "out"]);
    piped.command.stdout(theirs.try_clone().unwrap()).stderr(OwnedFd::from(theirs));
    piped.script(forged).run().expect(1);
    for options in [
        &["--json", "one", "--stdout", "one"][..],
        &["--json", "one", "--stderr", "./one"],
        &["--json", "/dev/stdout"],
        &["--json", "/proc/self/fd/1"],
        &["--json", "/dev/fd/2", "--stdout", "out"],
        &["--json", "one", "--stdout", "/proc/self/cwd/one"],
    ] {
        let mut call = user.job().args(options);
        if options[1].starts_with('/') {
            call.command.stdout(file()).stderr(file());
        }
        call.script(forged).run().expect(1);
        assert!(!text(user.home.join("one")).contains("exit_code"), "{options:?}");
        assert_eq!(user.temporary_files(), [] as [PathBuf; 0]);
    }
}

/// Nobody reads the record, or whoever shares it made it fail instead of wait.
#[test]
fn j9_a_record_that_cannot_be_written_holds_nothing_up() {
    let user = User::new();
    let (ours, theirs) = std::io::pipe().unwrap();
    rustix::io::ioctl_fionbio(&theirs, true).unwrap();
    while rustix::io::write(&theirs, &[b'x'; 4096]).is_ok() {}
    let mut call = user.job().args(["--json", "-", "--stdout", "out", "--output", "output"]);
    call.command.stdout(theirs);
    let mut running = call.script("echo kept > file").start();
    running.wait_for(&user.home.join("output/file"));
    drop(ours);
    running.finish().expect_refusal(&["record"]);
    assert_eq!(user.temporary_files(), [] as [PathBuf; 0]);
}

//! Inputs, outputs and the sandbox.

use crate::playground::{User, directory, entries};
use std::ffi::OsStr;
use std::fs::Permissions;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

#[test]
fn inputs_keep_mode_and_time_and_the_output_is_where_it_was_asked_for() {
    let user = User::new();
    let input = user.file("input", b"some input", 0o640);
    let program = user.file("program", b"#!/bin/sh\ncat in put > result; stat -c '%a %Y' in\n", 0o755);
    for (output, exists) in [("new", false), ("empty", true)] {
        if exists {
            directory(&user.home.join(output));
            user.give(&user.home.join(output));
        }
        let named = |name: &str| [input.as_os_str(), name.as_ref()].join(OsStr::new("="));
        let call = user.job().args(["--output", output, "--input"]).args([named("in")]);
        let call = call.args(["--input".as_ref(), named("put").as_os_str(), "--input".as_ref(), program.as_os_str()]);
        let done = call.args(["--", "./program"]).run().expect_quiet(0);
        let time = input.metadata().unwrap().mtime();
        assert_eq!(String::from_utf8(done.output).unwrap(), format!("640 {time}\n"));
        let output = user.home.join(output);
        let names: Vec<_> = entries(&output).iter().map(|path| path.file_name().unwrap().to_owned()).collect();
        assert_eq!(names, ["in", "program", "put", "result"]);
        assert_eq!(std::fs::read(output.join("result")).unwrap(), b"some inputsome input");
        assert_eq!(output.metadata().unwrap().uid(), input.metadata().unwrap().uid());
        let (copy, original) = (output.join("in").metadata().unwrap(), input.metadata().unwrap());
        assert_eq!((copy.mtime(), copy.mtime_nsec()), (original.mtime(), original.mtime_nsec()));
    }
    // Beside the output, nothing of the run is left.
    assert_eq!(entries(&user.home).len(), 4, "{:?}", entries(&user.home));
}

#[test]
fn output_that_nobody_asked_for_stays_in_the_sandbox() {
    let user = User::new();
    let done = user.job().script("echo precious > file").run().expect(0);
    let [run] = &user.temporary_files()[..] else { panic!("{:?}", user.temporary_files()) };
    let [sandbox] = &entries(run)[..] else { panic!("{:?}", entries(run)) };
    assert!(done.errors.contains(&format!("the output is in \"{}\"", sandbox.display())), "{}", done.errors);
    assert_eq!(entries(sandbox), [sandbox.join("file")]);
}

/// The directory that is made for one job is open to the target account's names, or a monitor looks into it.
#[test]
fn j12_what_others_put_beside_the_sandbox_costs_nothing_but_a_word() {
    let user = User::new();
    let plant = "case $2 in cleanup) touch \"$(dirname \"$GLEXEC_SOURCE_PROXY\")/../foreign\";; esac; exec \"$@\"";
    for (options, kept) in [(&["--output", "out"][..], true), (&[], false)] {
        let call = user.job().args(user.switcher(plant)).args(options);
        let script = if kept { "echo result > file; exit 3" } else { "exit 3" };
        let done = call.script(script).run().expect(3);
        let [run] = &entries(if kept { &user.home } else { &user.temporary })
            .into_iter()
            .filter(|path| path.to_string_lossy().contains("condor_glexec_job."))
            .collect::<Vec<_>>()[..]
        else {
            panic!("{done:?}")
        };
        assert!(done.errors.contains(run.to_str().unwrap()) && done.errors.contains("not empty"), "{done:?}");
        assert_eq!(entries(run), [run.join("foreign")]);
        assert_eq!(user.home.join("out/file").exists(), kept || user.home.join("out").exists());
    }
}

#[test]
fn an_existing_sandbox_is_used_and_kept() {
    let user = User::new();
    let (execute, sandbox) = (user.home.join("execute"), user.home.join("execute/dir_1"));
    for path in [&execute, &sandbox, &sandbox.join("sub")] {
        directory(path);
        user.give(path);
    }
    user.file("execute/dir_1/sub/data", b"data\n", 0o600);
    let inode = sandbox.metadata().unwrap().ino();
    let call = user.job().arg2("--sandbox", &sandbox).recorded();
    let done = call.script("pwd; cat sub/data; echo more > sub/more; exit 4").run().expect(4);
    assert!(done.output.starts_with(format!("{}\ndata\n", sandbox.display()).as_bytes()));
    assert_eq!(done.record()["output"], sandbox.to_str().unwrap());
    assert_eq!(entries(&execute), std::slice::from_ref(&sandbox));
    assert_eq!(entries(&sandbox.join("sub")), [sandbox.join("sub/data"), sandbox.join("sub/more")]);
    assert_eq!(entries(&sandbox), [sandbox.join("sub")]);
    assert_eq!(sandbox.metadata().unwrap().ino(), inode);

    user.job().arg2("--execute", &execute).arg2("--output", &user.home.join("out")).script("pwd > pwd").run().expect(0);
    let pwd = std::fs::read_to_string(user.home.join("out/pwd")).unwrap();
    assert!(pwd.starts_with(execute.to_str().unwrap()), "{pwd}");
    assert_eq!(entries(&execute), [sandbox]);
}

#[test]
#[ignore = "needs root"]
fn a_sandbox_that_is_made_and_then_refused_is_removed() {
    assert!(User::is_root(), "a directory of another account needs root");
    let user = User::new();
    let shared = user.root.join("shared");
    directory(&shared);
    std::fs::set_permissions(&shared, Permissions::from_mode(0o1777)).unwrap();
    user.job().arg2("--execute", &shared).args(["--", "/bin/true"]).run().expect_refusal(&["belongs to uid 0"]);
    assert_eq!(entries(&shared), [] as [PathBuf; 0]);
}

#[test]
fn the_umask_makes_no_difference_to_what_is_made_for_the_job() {
    let user = User::new();
    let input = user.file("input", b"some input", 0o640);
    for mask in [0o777, 0o700, 0o400, 0] {
        let call = user.job().arg2("--input", &input).umask(mask);
        let done = call.script("umask; stat -c %a . input; rm input").run().expect_quiet(0);
        assert_eq!(String::from_utf8(done.output).unwrap(), "0022\n700\n640\n", "{mask:o}");
        assert_eq!(user.temporary_files(), [] as [PathBuf; 0], "{mask:o}");
    }
}

#[test]
fn an_output_on_another_file_system_is_refused_before_anything_happens() {
    let user = User::new();
    let memory = Path::new("/dev/shm");
    assert_ne!(
        memory.metadata().unwrap().dev(),
        user.home.metadata().unwrap().dev(),
        "the test needs two file systems"
    );
    let output = memory.join(format!("glexec-rs-tests.{}", std::process::id()));
    let call = user.job().arg2("--execute", &user.home).arg2("--output", &output);
    call.script("exit 0").run().expect_refusal(&["another file system", "--execute"]);
    assert_eq!((entries(&user.home), output.exists()), (Vec::new(), false));
}

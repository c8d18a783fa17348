//! Callers that get the contract wrong, and sites that are not fit for it.

use crate::playground::{Playground, SECRET, text};
use libc::{EINVAL, ENOSYS, EOPNOTSUPP, EPERM};
use std::fs;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt, symlink};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::Path;
use std::process::{Command, Output};

/// One line on stderr that holds this, and this exit code.
fn assert_refused(output: &Output, code: i32, says: &str) {
    let (stdout, stderr) = text(output);
    assert_eq!(output.status.code(), Some(code), "{stderr}");
    assert_eq!(stdout, "");
    assert!(stderr.starts_with("glexec_rootless: ") && stderr.contains(says), "{stderr:?} does not say {says:?}");
    assert!(stderr.ends_with('\n') && stderr.lines().count() == 1, "{stderr:?}");
    assert!(stderr.bytes().all(|byte| byte == b'\n' || (b' '..=b'~').contains(&byte)), "{stderr:?}");
}

#[test]
fn faults_of_the_proxy_are_201() {
    let playground = Playground::new();
    let with = |certificate: &Path| {
        playground.switcher().env("GLEXEC_CLIENT_CERT", certificate).arg("/bin/true").output().unwrap()
    };
    let at = |name: &str| playground.parked.join(name);
    assert_eq!(with(&playground.proxy).status.code(), Some(0));
    playground.file(&at("mode 0700"), SECRET, 0o700);
    assert_eq!(with(&at("mode 0700")).status.code(), Some(0));

    let unset = playground.switcher().env_remove("GLEXEC_CLIENT_CERT").arg("/bin/true").output().unwrap();
    assert_refused(&unset, 201, "GLEXEC_CLIENT_CERT is not set");
    for relative in ["", "x509up", "../dir_7.condor/x509up"] {
        assert_refused(&with(Path::new(relative)), 201, "must be an absolute path");
    }
    assert_refused(&with(&at(&"x".repeat(4096))), 201, "must be an absolute path");
    assert_refused(&with(&at("missing")), 201, "cannot open the proxy");
    assert_refused(&with(&at("a\n\x1b[31m%n")), 201, "a\\x0a\\x1b[31m%n");
    assert_refused(&with(&playground.base.join("nowhere/x")), 201, "cannot open");

    playground.file(&at("group"), SECRET, 0o640);
    playground.file(&at("other"), SECRET, 0o604);
    assert_refused(&with(&at("group")), 201, "can be read or written by others");
    assert_refused(&with(&at("other")), 201, "can be read or written by others");
    playground.file(&at("empty"), "", 0o600);
    assert_refused(&with(&at("empty")), 201, "is empty");
    playground.file(&at("first name"), SECRET, 0o600);
    fs::hard_link(at("first name"), at("second name")).unwrap();
    assert_refused(&with(&at("second name")), 201, "hard links");
    symlink("x509up", at("link")).unwrap();
    assert_refused(&with(&at("link")), 201, "cannot open the proxy");
    playground.directory(&at("directory"));
    assert_refused(&with(&at("directory")), 201, "is not a regular file");
    assert!(Command::new("mkfifo").arg("-m600").arg(at("fifo")).status().unwrap().success());
    assert!(fs::metadata(at("fifo")).unwrap().file_type().is_fifo());
    if playground.uid() == fs::metadata("/proc/self").unwrap().uid() {
        assert_refused(&with(&at("fifo")), 201, "is not a regular file");
    } else {
        assert_refused(&with(&at("fifo")), 201, "cannot open the proxy");
        fs::write(at("root's"), SECRET).unwrap();
        fs::set_permissions(at("root's"), fs::Permissions::from_mode(0o600)).unwrap();
        assert_refused(&with(&at("root's")), 201, "cannot open the proxy");
        fs::set_permissions(at("root's"), fs::Permissions::from_mode(0o644)).unwrap();
        assert_refused(&with(&at("root's")), 201, "does not belong to this account");
    }

    for target in ["/tmp/copy", ""] {
        let output = playground.switcher().env("GLEXEC_TARGET_PROXY", target).arg("/bin/true").output().unwrap();
        assert_refused(&output, 201, "GLEXEC_TARGET_PROXY");
    }
    let unset = playground.switcher().env_remove("GLEXEC_TARGET_PROXY").arg("/bin/true").output().unwrap();
    assert_eq!(unset.status.code(), Some(0));
}

#[test]
fn faults_of_the_sandbox_are_201_or_202() {
    let playground = Playground::new();
    let in_sandbox = playground.sandbox.join("x509up");
    playground.file(&in_sandbox, SECRET, 0o600);
    let with = |certificate: &Path| {
        playground.switcher().env("GLEXEC_CLIENT_CERT", certificate).args(["/bin/cat", "input"]).output().unwrap()
    };
    // Before setup the proxy is in the sandbox itself.
    assert_eq!(text(&with(&in_sandbox)), ("input\n".to_owned(), String::new()));

    // The sandbox is a link, or gone.
    let elsewhere = playground.base.join("elsewhere");
    fs::rename(&playground.sandbox, &elsewhere).unwrap();
    let at_root = |certificate: &Path| {
        let mut command = playground.switcher();
        command.current_dir("/").env("GLEXEC_CLIENT_CERT", certificate).arg("/bin/true").output().unwrap()
    };
    assert_refused(&at_root(&playground.proxy), 201, "cannot open \"dir_7\"");
    symlink(&elsewhere, &playground.sandbox).unwrap();
    assert_refused(&at_root(&playground.proxy), 201, "cannot open \"dir_7\"");
    fs::remove_file(&playground.sandbox).unwrap();
    fs::rename(&elsewhere, &playground.sandbox).unwrap();

    // Another account could swap the sandbox.
    fs::set_permissions(playground.sandbox.parent().unwrap(), fs::Permissions::from_mode(0o777)).unwrap();
    assert_refused(&at_root(&playground.proxy), 201, "others may swap what is in it");
    fs::set_permissions(playground.sandbox.parent().unwrap(), fs::Permissions::from_mode(0o1777)).unwrap();
    assert_eq!(at_root(&playground.proxy).status.code(), Some(0));
}

#[test]
#[ignore = "needs root"]
fn a_sandbox_of_another_account_or_below_a_system_directory_is_refused() {
    let playground = Playground::new();
    playground.assert_not_ours();
    std::os::unix::fs::chown(&playground.sandbox, Some(0), Some(0)).unwrap();
    let output = playground.switcher().current_dir("/").arg("/bin/true").output().unwrap();
    assert_refused(&output, 201, "\"dir_7\" belongs to uid 0");
    // Every job could read every sandbox there.
    let covered = Playground::below(Path::new("/opt"));
    assert_refused(&covered.run("/bin/true", [""; 0]), 202, "or a part of it, below \"/opt\"");
}

#[test]
#[ignore = "needs root"]
fn a_home_directory_that_every_job_could_read_is_refused() {
    let playground = Playground::new();
    playground.assert_not_ours();
    let home = Playground::below(Path::new("/opt"));
    let table = playground.base.join("passwd");
    playground.file(&table, &format!("pilot:x:{0}:{0}::{1}:/bin/sh\n", playground.uid(), home.base.display()), 0o644);
    let run = || {
        let script = format!(
            "mount --bind \"$0\" /etc/passwd && exec setpriv --reuid {} --clear-groups \"$@\"",
            playground.uid()
        );
        let mut command = Command::new("/usr/bin/unshare");
        command.args(["--mount", "/bin/sh", "-c", &script]).arg(&table).current_dir(&playground.sandbox);
        command.arg(playground.programs.join("glexec_rootless")).arg("/bin/true");
        command.env("GLEXEC_CLIENT_CERT", &playground.proxy).output().unwrap()
    };
    assert_refused(&run(), 202, "home directory, or a part of it, below \"/opt\"");
    std::os::unix::fs::chown(&home.base, Some(0), Some(0)).unwrap();
    let output = run();
    assert!(output.status.success(), "{:?}", text(&output));
}

#[test]
fn faults_of_the_command_are_201_and_126() {
    let playground = Playground::new();
    let run = |command: &Path| playground.run(command, [""; 0]);
    let at = |name: &str| playground.sandbox.join(name);
    assert_refused(&run(&at("missing")), 201, "cannot use the command");
    assert_refused(&run(&at("missing\n\x1b")), 201, "missing\\x0a\\x1b");
    assert_refused(&run(&at("input")), 201, "is not executable");
    assert_refused(&run(&playground.sandbox), 201, "is not a regular file");
    symlink("/bin/true", at("link")).unwrap();
    assert_refused(&run(&at("link")), 201, "is a symbolic link");
    assert_refused(&run(Path::new("/dev/null")), 201, "is not a regular file");

    playground.file(&at("text"), "no interpreter line\n", 0o755);
    assert_refused(&run(&at("text")), 126, "Exec format error");
    playground.file(&at("interpreted"), "#!/nowhere/sh\n", 0o755);
    assert_refused(&run(&at("interpreted")), 126, "No such file");
    // A program of the pilot as the interpreter is outside the domain.
    let interpreter = playground.programs.join("condor_glexec_kill");
    playground.file(&at("pilots"), &format!("#!{}\n", interpreter.display()), 0o755);
    assert_refused(&run(&at("pilots")), 126, "Permission denied");

    // A command anywhere, even where the domain does not reach, is executed and can be read: here by its interpreter.
    let script = playground.base.join("outside");
    playground.file(&script, "#!/bin/sh\necho ran; exit 42\n", 0o755);
    let output = run(&script);
    assert_eq!((text(&output).0.as_str(), output.status.code()), ("ran\n", Some(42)));
    assert_eq!(playground.run(playground.script("#!/bin/sh\nkill -7 $$\n"), [""; 0]).status.signal(), Some(7));

    for usage in [&[][..], &["relative"], &["-x"], &["--", "/bin/true"], &["-h", "x"]] {
        let output = playground.switcher().args(usage).output().unwrap();
        assert_eq!(output.status.code(), Some(201));
        assert!(text(&output).1.contains("usage: glexec_rootless COMMAND"), "{:?}", text(&output));
    }
    for (option, begins) in
        [("-h", "usage: "), ("--help", "usage: "), ("-v", "glexec_rootless "), ("--version", "glexec_rootless ")]
    {
        let output = playground.pilot(playground.programs.join("glexec_rootless")).arg(option).output().unwrap();
        assert!(output.status.success() && text(&output).0.starts_with(begins), "{option}");
    }
}

/// Lets a system call fail with `errno` in `command` and all that it starts.
fn without(command: &mut Command, number: libc::c_long, errno: i32) {
    use seccompiler::{BpfProgram, SeccompAction, SeccompFilter, TargetArch, apply_filter};
    let architecture: TargetArch = std::env::consts::ARCH.try_into().unwrap();
    let action = SeccompAction::Errno(errno.unsigned_abs());
    let rules = [(number, Vec::new())].into();
    let filter = SeccompFilter::new(rules, SeccompAction::Allow, action, architecture).unwrap();
    let program: BpfProgram = filter.try_into().unwrap();
    // SAFETY: applying a filter makes two system calls.
    unsafe {
        command.pre_exec(move || apply_filter(&program).map_err(|_| std::io::Error::other("no filter")));
    }
}

#[test]
fn a_kernel_without_a_part_is_refused_with_202() {
    let playground = Playground::new();
    for (number, errno, says) in [
        (libc::SYS_landlock_create_ruleset, ENOSYS, "this kernel has no Landlock as of Linux 5.19, or it is off"),
        (libc::SYS_landlock_create_ruleset, EOPNOTSUPP, "this kernel has no Landlock as of Linux 5.19, or it is off"),
        (libc::SYS_landlock_create_ruleset, EPERM, "this kernel has no Landlock as of Linux 5.19, or it is off"),
        (libc::SYS_landlock_add_rule, EINVAL, "cannot enter a Landlock domain"),
        (libc::SYS_landlock_restrict_self, EPERM, "cannot enter a Landlock domain"),
        (libc::SYS_seccomp, EINVAL, "cannot install the seccomp filter"),
    ] {
        let mut command = playground.switcher();
        let marker = playground.sandbox.join("ran");
        command.arg("/usr/bin/touch").arg(&marker);
        without(&mut command, number, errno);
        assert_refused(&command.output().unwrap(), 202, says);
        assert!(!marker.exists());
    }
}

#[test]
#[ignore = "needs strace"]
fn what_an_older_kernel_lacks_is_named() {
    let playground = Playground::new();
    let traced = |abi: &str| {
        let mut command = playground.pilot("strace");
        command.args(["-o", "/dev/null", "-e"]).arg(format!("inject=landlock_create_ruleset:retval={abi}"));
        command.env("GLEXEC_CLIENT_CERT", &playground.proxy).env("PATH", "/usr/bin:/bin");
        command.arg(playground.programs.join("glexec_rootless")).arg("/bin/true").output().unwrap()
    };
    let parts = ["truncation", "device ioctls", "scopes of signals and abstract UNIX sockets"];
    for (abi, lacking) in [("2", 3), ("3", 2), ("4", 2), ("5", 1)] {
        let output = traced(abi);
        assert_refused(&output, 202, "this kernel has a Landlock without");
        for (index, part) in parts.iter().enumerate() {
            assert_eq!(
                text(&output).1.contains(part),
                index >= parts.len() - lacking,
                "ABI {abi}: {:?}",
                text(&output)
            );
        }
    }
}

//! `glexec_rootless` against a job that attacks, a job that works, and callers that get the contract wrong.
//!
//! Needs no privilege: as root the pilot is an unprivileged account, otherwise it is whoever runs the tests.

#[path = "../common/directory.rs"]
mod directory;
mod ground;
mod probe;
#[path = "../common/programs.rs"]
mod programs;

use glexec_rs::target::status::Status;
use ground::{Ground, SECRET, Started, pipe_with, text};
use libc::{EACCES, EBADF, EFAULT, EINVAL, EIO, EISCONN, ENOSYS, ENOTTY, EOPNOTSUPP, EPERM, EUSERS, EXDEV};
use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt, symlink};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::Duration;

/// Not a test of its own: what the others start, in the domain and outside.
#[test]
#[ignore = "started by the other tests"]
fn probe() {
    probe::main();
}

/// A part of a test that this machine has not got what it takes for. Where all of them are to run it fails: it would look like passed.
fn skip(why: &str) {
    assert!(std::env::var_os("CI").is_none(), "{why}");
    eprintln!("skipped: {why}");
}

/// An unconnected UNIX socket.
fn unconnected() -> OwnedFd {
    use rustix::net::{AddressFamily, SocketFlags, SocketType, socket_with};
    socket_with(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None).unwrap()
}

fn attempts(mut command: Command, pid: u32, ground: &Ground, chosen: &str) -> (BTreeMap<String, i32>, Output) {
    let aim = format!("{pid} {}{chosen}", ground.base.display());
    let output = command.env("GLEXEC_ENV", aim).stdin(unconnected()).output().unwrap();
    (probe::results(&text(&output).0), output)
}

/// What the kernel answers outside a domain: the attempt is real and reaches its aim, or gets as far as one of these.
const WORKS: &[i32] = &[0];
/// Depends on the machine.
const ANY: &[i32] = &[];
/// Landlock's two answers to moving a name across the border.
const BORDER: &[i32] = &[EACCES, EXDEV];

/// Attempt, answers outside, answers inside.
const ATTACKS: &[(&str, &[i32], &[i32])] = &[
    ("read_proxy", WORKS, &[EACCES]),
    ("read_proxy_absolute", WORKS, &[EACCES]),
    ("list_parked", WORKS, &[EACCES]),
    ("read_outside", WORKS, &[EACCES]),
    ("list_execute", WORKS, &[EACCES]),
    ("list_tmp", WORKS, &[EACCES]),
    ("follow_link_out", WORKS, &[EACCES]),
    ("link_in", WORKS, BORDER),
    ("rename_in", WORKS, BORDER),
    ("exchange", WORKS, BORDER),
    ("chdir_and_read", WORKS, &[EACCES]),
    ("o_path_and_reopen", WORKS, &[EACCES]),
    ("execute_outside", WORKS, &[EACCES]),
    ("write_outside", WORKS, &[EACCES]),
    ("append_outside", WORKS, &[EACCES]),
    ("truncate_outside", WORKS, &[EACCES]),
    ("create_outside", WORKS, &[EACCES]),
    ("mkdir_outside", WORKS, &[EACCES]),
    ("symlink_outside", WORKS, &[EACCES]),
    ("fifo_outside", WORKS, &[EACCES]),
    ("unlink_outside", WORKS, &[EACCES]),
    ("rmdir_outside", WORKS, &[EACCES]),
    ("rename_out", WORKS, BORDER),
    ("link_out", WORKS, BORDER),
    ("proc_list", WORKS, &[EACCES]),
    ("proc_environ", WORKS, &[EACCES]),
    ("proc_mem", WORKS, &[EACCES]),
    ("proc_maps", WORKS, &[EACCES]),
    ("proc_status", WORKS, &[EACCES]),
    ("proc_cmdline", WORKS, &[EACCES]),
    ("proc_fd", WORKS, &[EACCES]),
    ("proc_exe", WORKS, &[EACCES]),
    ("proc_cwd", WORKS, &[EACCES]),
    ("proc_root", WORKS, &[EACCES]),
    ("kill_0", WORKS, &[EPERM]),
    ("kill_cont", WORKS, &[EPERM]),
    ("tgkill_cont", WORKS, &[EPERM]),
    ("queue_cont", WORKS, &[EPERM]),
    ("pidfd_cont", WORKS, &[EPERM]),
    ("ptrace", WORKS, &[EPERM]),
    ("read_memory", &[EFAULT], &[EPERM]),
    ("take_descriptor", WORKS, &[EPERM]),
    ("prlimit", WORKS, &[EPERM]),
    ("prlimit_high", WORKS, &[EPERM]),
    ("abstract_by_inherited_socket", WORKS, &[EPERM]),
    ("abstract_connect", WORKS, &[EPERM]),
    ("path_connect", WORKS, &[EPERM]),
    ("datagram_pair_send", WORKS, &[EPERM]),
    ("datagram_pair_connect", WORKS, &[EPERM]),
    ("raw_pair", WORKS, &[EPERM]),
    ("raw_pair_high", WORKS, &[EPERM]),
    // Why pairs with a connection need not be denied.
    ("stream_pair_connect", &[EISCONN], &[EISCONN]),
    ("packet_pair_connect", &[EISCONN], &[EISCONN]),
    ("socket_high", WORKS, &[EPERM]),
    ("tiocsti", &[ENOTTY], &[EPERM]),
    ("tiocsti_high", &[ENOTTY], &[EPERM]),
    ("tioclinux", &[ENOTTY], &[EPERM]),
    ("open_pty", WORKS, &[EACCES]),
    ("x32_socket", &[ENOSYS, 0], &[ENOSYS]),
    ("x32_tiocsti", &[ENOSYS, ENOTTY], &[ENOSYS]),
    ("x32_tiocsti_by_other_number", &[ENOSYS, ENOTTY], &[ENOSYS]),
    ("x32_prlimit", &[ENOSYS, 0], &[ENOSYS]),
    ("x32_keyctl", &[ENOSYS, EOPNOTSUPP], &[ENOSYS]),
    ("fchmod_setuid", WORKS, &[EPERM]),
    ("fchmod_setgid_high", WORKS, &[EPERM]),
    ("fchmodat_setuid", WORKS, &[EPERM]),
    ("fchmodat2_setuid", WORKS, &[EPERM]),
    ("openat_setuid", WORKS, &[EPERM]),
    ("openat_setgid", WORKS, &[EPERM]),
    ("tmpfile_setuid", WORKS, &[EPERM]),
    ("mknodat_setuid", WORKS, &[EPERM]),
    ("chmod_setuid", WORKS, &[EPERM]),
    ("creat_setuid", WORKS, &[EPERM]),
    ("open_setuid", WORKS, &[EPERM]),
    ("mknod_setuid", WORKS, &[EPERM]),
    ("shared_memory", WORKS, &[EPERM]),
    ("semaphore", WORKS, &[EPERM]),
    ("message_queue", WORKS, &[EPERM]),
    ("attach_memory", &[EINVAL], &[EPERM]),
    ("keyctl", ANY, &[EPERM]),
    ("add_key", ANY, &[EPERM]),
    ("request_key", ANY, &[EPERM]),
    ("bpf", ANY, &[EPERM]),
    ("perf_event_open", ANY, &[EPERM]),
    ("userfaultfd", ANY, &[EPERM]),
    ("inotify_outside", WORKS, &[ENOSYS]),
    ("inotify_add_watch", &[EBADF], &[ENOSYS]),
    ("inotify_init", WORKS, &[ENOSYS]),
    ("fanotify_init", &[0, EPERM, ENOSYS], &[EPERM]),
    ("fanotify_mark", &[EBADF, ENOSYS], &[EPERM]),
    ("kexec_load", ANY, &[EPERM]),
    ("kexec_file_load", ANY, &[EPERM]),
    ("init_module", ANY, &[EPERM]),
    ("finit_module", ANY, &[EPERM]),
    ("delete_module", ANY, &[EPERM]),
    ("io_uring", ANY, &[ENOSYS]),
    ("openat2", WORKS, &[ENOSYS]),
    ("namespace_mount", &[0, EUSERS], &[EPERM, EUSERS]),
    ("namespace_open", &[0, EUSERS], &[EACCES, EUSERS]),
    ("namespace_kill", &[0, EUSERS], &[EPERM, EUSERS]),
    ("namespace_socket", &[0, EUSERS], &[EPERM, EUSERS]),
];

const NEEDS: &[&str] = &[
    "job_files",
    "job_odd_mode",
    "job_new_file",
    "job_null",
    "job_random",
    "job_system",
    "job_programs",
    "job_tcp",
    "job_udp",
    "job_pair",
    "job_children",
    "job_own_limits",
    "job_own_program",
    "job_memory_file",
];

/// Whether this attempt exists on this architecture.
fn applies(name: &str) -> bool {
    let of_x86_64 = name.starts_with("x32")
        || ["chmod_", "creat_", "open_setuid", "mknod_", "inotify_init"].iter().any(|n| name.starts_with(n));
    cfg!(target_arch = "x86_64") || !of_x86_64
}

fn assert_answers(results: &BTreeMap<String, i32>, inside: bool, output: &Output) {
    let mut wrong = Vec::new();
    for (name, expected_outside, expected_inside) in ATTACKS.iter().filter(|(name, ..)| applies(name)) {
        let expected = if inside { expected_inside } else { expected_outside };
        match results.get(*name) {
            Some(errno) if expected.is_empty() || expected.contains(errno) => {}
            other => wrong.push(format!("{name}: {other:?} instead of {expected:?}")),
        }
    }
    wrong.extend(
        NEEDS
            .iter()
            .filter(|name| results.get(**name) != Some(&0))
            .map(|name| format!("{name}: {:?} instead of success", results.get(*name))),
    );
    assert!(wrong.is_empty(), "inside: {inside}\n{}\n{:?}", wrong.join("\n"), text(output));
}

#[test]
fn a_job_reaches_nothing_of_the_pilot_and_all_that_it_needs() {
    let ground = Ground::new();
    ground.directory(&ground.base.join("empty"));
    let mut victim = ground.start_victim();

    let mut outside = ground.pilot(&ground.probe);
    outside.args(probe::ARGUMENTS);
    let (results, output) = attempts(outside, victim.pid(), &ground, "");
    assert_answers(&results, false, &output);
    assert_eq!(fs::read_to_string(ground.base.join("secret")).unwrap(), SECRET);

    let mut inside = ground.switcher();
    inside.arg(&ground.probe).args(probe::ARGUMENTS);
    let (results, output) = attempts(inside, victim.pid(), &ground, "");
    assert_answers(&results, true, &output);

    let mut inside = ground.switcher();
    inside.arg(&ground.probe).args(probe::ARGUMENTS);
    let (results, _) = attempts(inside, victim.pid(), &ground, " kill_9");
    assert_eq!(results.get("kill_9"), Some(&EPERM));
    assert!(victim.lives());
    assert_eq!(fs::read_to_string(ground.base.join("secret")).unwrap(), SECRET);
}

#[test]
fn a_job_has_none_of_its_callers_capabilities() {
    let ground = Ground::new();
    if ground.uid() == fs::metadata("/proc/self").unwrap().uid() {
        eprintln!("skipped: a caller with capabilities needs root");
        return;
    }
    let uid = ground.uid().to_string();
    let with_capability = || {
        let mut command = Command::new("/usr/bin/setpriv");
        command.args(["--reuid", &uid, "--clear-groups", "--inh-caps", "+sys_nice", "--ambient-caps", "+sys_nice"]);
        command.current_dir(&ground.sandbox);
        command
    };
    let status = ["/bin/cat", "/proc/self/status"];
    let held = |output: &Output| {
        let sets = ["CapInh:", "CapPrm:", "CapEff:", "CapAmb:"];
        let lines = text(output).0;
        let lines = lines.lines().filter_map(|line| line.split_once('\t'));
        lines.filter(|(name, set)| sets.contains(name) && *set != "0000000000000000").count()
    };
    assert_eq!(held(&with_capability().args(status).output().unwrap()), 4);
    let mut inside = with_capability();
    inside.arg(ground.programs.join("glexec_rootless")).env("GLEXEC_CLIENT_CERT", &ground.proxy);
    let output = inside.args(status).output().unwrap();
    assert!(output.status.success() && held(&output) == 0, "{:?}", text(&output));
}

#[test]
fn a_user_namespace_of_its_own_gains_a_job_nothing() {
    let ground = Ground::new();
    ground.directory(&ground.base.join("empty"));
    let victim = ground.start_victim();
    if !ground.pilot("/usr/bin/unshare").args(["--user", "/bin/true"]).status().is_ok_and(|status| status.success()) {
        skip("this system has no user namespaces for everybody");
        return;
    }
    let mut inside = ground.switcher();
    inside.args(["/usr/bin/unshare", "--user"]).arg(&ground.probe).args(probe::ARGUMENTS);
    let (results, output) = attempts(inside, victim.pid(), &ground, "");
    assert_answers(&results, true, &output);
}

#[test]
#[cfg(target_arch = "x86_64")]
fn calls_in_the_32_bit_convention_end_the_process() {
    let ground = Ground::new();
    let mut inside = ground.switcher();
    inside.arg(&ground.probe).args(probe::ARGUMENTS);
    let (results, output) = attempts(inside, 1, &ground, " i386_call");
    assert!(results.is_empty());
    assert_eq!(output.status.signal(), Some(libc::SIGSYS));
}

#[test]
fn everyday_programs_work() {
    let ground = Ground::new();
    let script = ground.script(
        r#"#!/bin/bash
set -e
cat <(echo process substitution)
cat input > copy; cmp input copy
echo discarded > /dev/null; : > /dev/null
cat <<END
here document
END
sleep 60 & kill $!; wait $! || echo killed
mkdir -p a/b; mv copy a/b/; ln a/b/copy a/c; ln -s b a/d; cat a/d/copy
tar cf a.tar a; rm -r a; tar xf a.tar; test a/c -ef a/b/copy
awk 'BEGIN { print "awk " 6 * 7 }'
perl -MPOSIX -e 'print "perl ", POSIX::floor(42.5), "\n"'
getent passwd 0 | cut -d: -f1
getent hosts localhost > /dev/null
date -u +%Z
test -n "$(nproc)"
timeout 0.3 tail -f input 2> /dev/null || true
cp -p input kept; touch -d 2001-02-03 kept; chmod 700 kept
{ echo 'done' > /dev/stdout; } | cat
"#,
    );
    let output = ground.run(&script, [""; 0]);
    let expected = "process substitution\nhere document\nkilled\ninput\nawk 42\nperl 42\nroot\nUTC\ninput\ndone\n";
    assert_eq!((text(&output).0.as_str(), output.status.code()), (expected, Some(0)), "{:?}", text(&output));

    if !Path::new("/usr/bin/python3").exists() {
        skip("no /usr/bin/python3");
        return;
    }
    let python = ground.script(
        "#!/usr/bin/python3\nimport json, os, socket, ssl, subprocess, sys, tempfile, threading\n\
         ssl.create_default_context()\n\
         with tempfile.TemporaryFile() as file: file.write(b'x')\n\
         thread = threading.Thread(target=lambda: None); thread.start(); thread.join()\n\
         answer = subprocess.run(['/bin/echo', *sys.argv[1:]], capture_output=True, check=True).stdout\n\
         print(json.dumps([answer.decode(), os.getcwd() == os.environ['HOME']]))\n",
    );
    let output = ground.run(&python, ["a b", "*"]);
    assert_eq!(text(&output), ("[\"a b *\\n\", true]\n".to_owned(), String::new()));
}

#[test]
fn the_command_gets_what_the_contract_says() {
    let ground = Ground::new();
    let script = ground.script("#!/bin/sh\nexec /usr/bin/env -0\n");
    let run = || {
        let mut command = ground.switcher();
        command.arg(&script).env("GLEXEC_ENV", OsStr::from_bytes(b"e\xff\n")).env("GLEXEC_ID", "i");
        command
            .env("GLEXEC_MODE", "lcmaps_get_account")
            .env("LD_PRELOAD", "/nonexistent")
            .env("X509_USER_PROXY", "/pilots");
        let output = command.output().unwrap();
        assert!(output.status.success(), "{:?}", text(&output));
        let mut lines: Vec<Vec<u8>> = output.stdout.split(|b| *b == 0).map(<[u8]>::to_vec).collect();
        // What dash itself sets.
        lines.retain(|line| !line.is_empty() && !line.starts_with(b"PWD=") && !line.starts_with(b"_="));
        lines.sort();
        lines
    };
    let name = fs::read_to_string("/etc/passwd")
        .unwrap()
        .lines()
        .find(|line| line.split(':').nth(2) == Some(&ground.uid().to_string()))
        .map_or(ground.uid().to_string(), |line| line.split(':').next().unwrap().to_owned());
    let sandbox = ground.sandbox.to_str().unwrap();
    let mut expected: Vec<Vec<u8>> = [
        "GLEXEC_ID=i".to_owned(),
        format!("HOME={sandbox}"),
        format!("LOGNAME={name}"),
        "PATH=/usr/local/bin:/usr/bin:/bin".to_owned(),
        format!("TMPDIR={sandbox}"),
        format!("USER={name}"),
    ]
    .map(String::into_bytes)
    .to_vec();
    expected.push(b"GLEXEC_ENV=e\xff\n".to_vec());
    expected.sort();
    assert_eq!(run(), expected);

    // With a copy of the proxy, the job is told where it is.
    ground.file(&ground.sandbox.join("x509up"), "copy", 0o600);
    expected.push(format!("X509_USER_PROXY={sandbox}/x509up").into_bytes());
    expected.sort();
    assert_eq!(run(), expected);

    // Arguments byte for byte, argv[0] as given.
    let odd = [&b""[..], b" ", b"'\"$(id)`", b"\n\x1b", b"\xff\xfe", b"-h"].map(OsStr::from_bytes);
    let script = ground.script("#!/bin/sh\nfor a in \"$0\" \"$@\"; do printf '%s\\0' \"$a\"; done\n");
    let output = ground.run(&script, odd);
    let expected: Vec<u8> =
        [script.as_os_str()].into_iter().chain(odd).flat_map(|a| [a.as_bytes(), b"\0"].concat()).collect();
    assert_eq!(output.stdout, expected);
}

#[test]
fn descriptors_limits_umask_and_signals_are_the_callers_or_clean() {
    let ground = Ground::new();
    let script = ground.script(
        "#!/bin/bash\numask; ulimit -n; ulimit -c; pwd; ls -1 /proc/self/fd >/dev/null 2>&1 || echo hidden\n\
         for fd in 0 1 2 3 4 5 9 20; do [ -e /proc/$$/fd/$fd ] && echo -n \"$fd \"; done; echo\n",
    );
    let output = with_odd_state(&ground).arg(&script).output().unwrap();
    let lines: Vec<String> = text(&output).0.lines().map(str::to_owned).collect();
    let sandbox = ground.sandbox.to_str().unwrap();
    assert_eq!(lines, ["0027", "77", "0", sandbox, "hidden", "0 1 2 "], "{:?}", text(&output));

    let output = with_odd_state(&ground).args(["/bin/cat", "/proc/self/status"]).output().unwrap();
    let (status, _) = text(&output);
    for line in ["SigBlk:\t0000000000000000", "SigIgn:\t0000000000000000", "NoNewPrivs:\t1"] {
        assert!(status.lines().any(|found| found == line), "{line}: {:?}", text(&output));
    }
}

/// The switcher with a state to be passed on (umask, limits) and one to be cleaned (signals, descriptors).
fn with_odd_state(ground: &Ground) -> Command {
    let mut command = ground.switcher();
    command.stdin(pipe_with(b"in"));
    // SAFETY: system calls only.
    unsafe {
        command.pre_exec(|| {
            libc::umask(0o027);
            libc::setrlimit(libc::RLIMIT_NOFILE, &libc::rlimit { rlim_cur: 77, rlim_max: 99 });
            libc::setrlimit(libc::RLIMIT_CORE, &libc::rlimit { rlim_cur: 0, rlim_max: 0 });
            libc::signal(libc::SIGPIPE, libc::SIG_IGN);
            libc::signal(libc::SIGHUP, libc::SIG_IGN);
            let mut all = std::mem::zeroed();
            libc::sigfillset(&raw mut all);
            libc::sigprocmask(libc::SIG_SETMASK, &raw const all, std::ptr::null_mut());
            for fd in [4, 9, 20] {
                libc::dup2(0, fd);
            }
            Ok(())
        });
    }
    command
}

/// The master and the slave of a new terminal.
fn terminal() -> (OwnedFd, OwnedFd) {
    use rustix::fs::{Mode, OFlags, open};
    let master = rustix::fs::open("/dev/ptmx", OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC, Mode::empty()).unwrap();
    let zero = 0_i32;
    let mut number = 0_i32;
    // SAFETY: both requests take the address of an int that lives through the call.
    unsafe {
        use std::os::fd::AsRawFd;
        assert_eq!(libc::ioctl(master.as_raw_fd(), libc::TIOCSPTLCK as _, &raw const zero), 0);
        assert_eq!(libc::ioctl(master.as_raw_fd(), libc::TIOCGPTN as _, &raw mut number), 0);
    }
    let slave =
        open(format!("/dev/pts/{number}"), OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC, Mode::empty()).unwrap();
    (master, slave)
}

/// A shell of the pilot's with one line to execute. It leads a session whose controlling terminal is its descriptor 0.
fn at_terminal(ground: &Ground, slave: OwnedFd, line: &str) -> Command {
    let mut shell = ground.pilot("/bin/bash");
    shell.args(["-c", line]).env("GLEXEC_CLIENT_CERT", &ground.proxy).stdin(slave);
    // SAFETY: system calls only; descriptor 0 is the terminal.
    unsafe {
        shell.pre_exec(|| {
            if libc::setsid() < 0 || libc::ioctl(0, libc::TIOCSCTTY as _, 0) < 0 {
                return Err(std::io::Error::last_os_error());
            }
            Ok(())
        });
    }
    shell
}

#[test]
fn the_callers_terminal_is_not_the_jobs() {
    let ground = Ground::new();
    let script = ground.script(
        "#!/bin/bash\nread -a f < /proc/$$/stat; echo \"session $((f[5] == $$)) terminal ${f[6]}\"\n\
         test -t 0 && echo still open; { : < /dev/tty; } 2>/dev/null && echo reachable\nexit 0\n",
    );
    // A leader of a session; of a process group only; of nothing.
    for (leads_group, leads_session, session) in [(true, true, 1), (true, false, 0), (false, false, 1)] {
        let (master, slave) = terminal();
        // A session whose leader, a shell with the terminal, starts the switcher in the wanted position.
        let switcher = ground.programs.join("glexec_rootless");
        let line = match (leads_session, leads_group) {
            (true, _) => "exec \"$0\" \"$@\"",
            (false, true) => "set -m; \"$0\" \"$@\"; true",
            (false, false) => "\"$0\" \"$@\"; true",
        };
        let output = at_terminal(&ground, slave, line).arg(switcher).arg(&script).output().unwrap();
        assert_eq!(
            text(&output).0,
            format!("session {session} terminal 0\nstill open\n"),
            "{leads_group} {leads_session} {:?} {:?}",
            text(&output),
            output.status
        );
        drop(master);
    }
}

/// What the job types into the terminal that it got as a stream would be read by the shell that started the switcher.
#[test]
fn nobody_types_into_the_callers_terminal() {
    const ATTEMPTS: [&str; 3] = ["terminal_tiocsti", "terminal_tiocsti_high", "terminal_tioclinux"];
    let ground = Ground::new();
    // As of Linux 6.2 the kernel itself may be told to refuse it.
    let refused = fs::read("/proc/sys/dev/tty/legacy_tiocsti").is_ok_and(|setting| setting == b"0\n");
    let outside = if refused { EIO } else { 0 };
    for own_group in ["", "set -m; "] {
        let line = format!("{own_group}\"$0\" \"$@\"; read -rt 1 && echo typed; true");
        let run = |program: &[&Path]| {
            let (master, slave) = terminal();
            let mut shell = at_terminal(&ground, slave, &line);
            shell.args(program).args(probe::ARGUMENTS).env("GLEXEC_ENV", format!("1 / {}", ATTEMPTS.join(" ")));
            let output = shell.output().unwrap();
            drop(master);
            let (printed, _) = text(&output);
            let results = probe::results(&printed);
            (ATTEMPTS.map(|name| results.get(name).copied()), printed.lines().any(|line| line == "typed"))
        };
        let (results, typed) = run(&[&ground.probe]);
        assert_eq!((results, typed), ([Some(outside), Some(outside), Some(ENOTTY)], !refused));
        let (results, typed) = run(&[&ground.programs.join("glexec_rootless"), &ground.probe]);
        assert_eq!((results, typed), ([Some(EPERM); 3], false));
    }
}

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
    let ground = Ground::new();
    let with = |certificate: &Path| {
        ground.switcher().env("GLEXEC_CLIENT_CERT", certificate).arg("/bin/true").output().unwrap()
    };
    let at = |name: &str| ground.parked.join(name);
    assert_eq!(with(&ground.proxy).status.code(), Some(0));
    ground.file(&at("mode 0700"), SECRET, 0o700);
    assert_eq!(with(&at("mode 0700")).status.code(), Some(0));

    let unset = ground.switcher().env_remove("GLEXEC_CLIENT_CERT").arg("/bin/true").output().unwrap();
    assert_refused(&unset, 201, "GLEXEC_CLIENT_CERT is not set");
    for relative in ["", "x509up", "../dir_7.condor/x509up"] {
        assert_refused(&with(Path::new(relative)), 201, "must be an absolute path");
    }
    assert_refused(&with(&at(&"x".repeat(4096))), 201, "must be an absolute path");
    assert_refused(&with(&at("missing")), 201, "cannot open the proxy");
    assert_refused(&with(&at("a\n\x1b[31m%n")), 201, "a\\x0a\\x1b[31m%n");
    assert_refused(&with(&ground.base.join("nowhere/x")), 201, "cannot open");

    ground.file(&at("group"), SECRET, 0o640);
    ground.file(&at("other"), SECRET, 0o604);
    assert_refused(&with(&at("group")), 201, "can be read or written by others");
    assert_refused(&with(&at("other")), 201, "can be read or written by others");
    ground.file(&at("empty"), "", 0o600);
    assert_refused(&with(&at("empty")), 201, "is empty");
    ground.file(&at("first name"), SECRET, 0o600);
    fs::hard_link(at("first name"), at("second name")).unwrap();
    assert_refused(&with(&at("second name")), 201, "hard links");
    symlink("x509up", at("link")).unwrap();
    assert_refused(&with(&at("link")), 201, "cannot open the proxy");
    ground.directory(&at("directory"));
    assert_refused(&with(&at("directory")), 201, "is not a regular file");
    assert!(Command::new("mkfifo").arg("-m600").arg(at("fifo")).status().unwrap().success());
    assert!(fs::metadata(at("fifo")).unwrap().file_type().is_fifo());
    if ground.uid() == fs::metadata("/proc/self").unwrap().uid() {
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
        let output = ground.switcher().env("GLEXEC_TARGET_PROXY", target).arg("/bin/true").output().unwrap();
        assert_refused(&output, 201, "GLEXEC_TARGET_PROXY");
    }
    let unset = ground.switcher().env_remove("GLEXEC_TARGET_PROXY").arg("/bin/true").output().unwrap();
    assert_eq!(unset.status.code(), Some(0));
}

#[test]
fn faults_of_the_sandbox_are_201_or_202() {
    let ground = Ground::new();
    let in_sandbox = ground.sandbox.join("x509up");
    ground.file(&in_sandbox, SECRET, 0o600);
    let with = |certificate: &Path| {
        ground.switcher().env("GLEXEC_CLIENT_CERT", certificate).args(["/bin/cat", "input"]).output().unwrap()
    };
    // Before setup the proxy is in the sandbox itself.
    assert_eq!(text(&with(&in_sandbox)), ("input\n".to_owned(), String::new()));

    // The sandbox is a link, or gone.
    let elsewhere = ground.base.join("elsewhere");
    fs::rename(&ground.sandbox, &elsewhere).unwrap();
    let at_root = |certificate: &Path| {
        let mut command = ground.switcher();
        command.current_dir("/").env("GLEXEC_CLIENT_CERT", certificate).arg("/bin/true").output().unwrap()
    };
    assert_refused(&at_root(&ground.proxy), 201, "cannot open \"dir_7\"");
    symlink(&elsewhere, &ground.sandbox).unwrap();
    assert_refused(&at_root(&ground.proxy), 201, "cannot open \"dir_7\"");
    fs::remove_file(&ground.sandbox).unwrap();
    fs::rename(&elsewhere, &ground.sandbox).unwrap();

    // Another account could swap the sandbox.
    fs::set_permissions(ground.sandbox.parent().unwrap(), fs::Permissions::from_mode(0o777)).unwrap();
    assert_refused(&at_root(&ground.proxy), 201, "others may swap what is in it");
    fs::set_permissions(ground.sandbox.parent().unwrap(), fs::Permissions::from_mode(0o1777)).unwrap();
    assert_eq!(at_root(&ground.proxy).status.code(), Some(0));

    if ground.uid() == fs::metadata("/proc/self").unwrap().uid() {
        skip("sandboxes of other accounts and below system directories need root");
        return;
    }
    std::os::unix::fs::chown(&ground.sandbox, Some(0), Some(0)).unwrap();
    assert_refused(&at_root(&ground.proxy), 201, "\"dir_7\" belongs to uid 0");
    // Every job could read every sandbox there.
    let covered = Ground::below(Path::new("/opt"));
    assert_refused(&covered.run("/bin/true", [""; 0]), 202, "lies below \"/opt\"");
}

#[test]
fn a_home_directory_that_every_job_could_read_is_refused() {
    let ground = Ground::new();
    if ground.uid() == fs::metadata("/proc/self").unwrap().uid() {
        eprintln!("skipped: an account of the test's own needs root");
        return;
    }
    let home = Ground::below(Path::new("/opt"));
    let table = ground.base.join("passwd");
    ground.file(&table, &format!("pilot:x:{0}:{0}::{1}:/bin/sh\n", ground.uid(), home.base.display()), 0o644);
    let run = || {
        let script =
            format!("mount --bind \"$0\" /etc/passwd && exec setpriv --reuid {} --clear-groups \"$@\"", ground.uid());
        let mut command = Command::new("/usr/bin/unshare");
        command.args(["--mount", "/bin/sh", "-c", &script]).arg(&table).current_dir(&ground.sandbox);
        command.arg(ground.programs.join("glexec_rootless")).arg("/bin/true");
        command.env("GLEXEC_CLIENT_CERT", &ground.proxy).output().unwrap()
    };
    assert_refused(&run(), 202, "home directory lies below \"/opt\"");
    std::os::unix::fs::chown(&home.base, Some(0), Some(0)).unwrap();
    let output = run();
    assert!(output.status.success(), "{:?}", text(&output));
}

#[test]
fn faults_of_the_command_are_201_and_126() {
    let ground = Ground::new();
    let run = |command: &Path| ground.run(command, [""; 0]);
    let at = |name: &str| ground.sandbox.join(name);
    assert_refused(&run(&at("missing")), 201, "cannot use the command");
    assert_refused(&run(&at("missing\n\x1b")), 201, "missing\\x0a\\x1b");
    assert_refused(&run(&at("input")), 201, "is not executable");
    assert_refused(&run(&ground.sandbox), 201, "is not a regular file");
    symlink("/bin/true", at("link")).unwrap();
    assert_refused(&run(&at("link")), 201, "is a symbolic link");
    assert_refused(&run(Path::new("/dev/null")), 201, "is not a regular file");

    ground.file(&at("text"), "no interpreter line\n", 0o755);
    assert_refused(&run(&at("text")), 126, "Exec format error");
    ground.file(&at("interpreted"), "#!/nowhere/sh\n", 0o755);
    assert_refused(&run(&at("interpreted")), 126, "No such file");
    // A program of the pilot as the interpreter is outside the domain.
    let interpreter = ground.programs.join("condor_glexec_kill");
    ground.file(&at("pilots"), &format!("#!{}\n", interpreter.display()), 0o755);
    assert_refused(&run(&at("pilots")), 126, "Permission denied");

    // A command anywhere, even where the domain does not reach, is executed and can be read: here by its interpreter.
    let script = ground.base.join("outside");
    ground.file(&script, "#!/bin/sh\necho ran; exit 42\n", 0o755);
    let output = run(&script);
    assert_eq!((text(&output).0.as_str(), output.status.code()), ("ran\n", Some(42)));
    assert_eq!(ground.run(ground.script("#!/bin/sh\nkill -7 $$\n"), [""; 0]).status.signal(), Some(7));

    for usage in [&[][..], &["relative"], &["-x"], &["--", "/bin/true"], &["-h", "x"]] {
        let output = ground.switcher().args(usage).output().unwrap();
        assert_eq!(output.status.code(), Some(201));
        assert!(text(&output).1.contains("usage: glexec_rootless COMMAND"), "{:?}", text(&output));
    }
    for (option, begins) in
        [("-h", "usage: "), ("--help", "usage: "), ("-v", "glexec_rootless "), ("--version", "glexec_rootless ")]
    {
        let output = ground.pilot(ground.programs.join("glexec_rootless")).arg(option).output().unwrap();
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
    let ground = Ground::new();
    for (number, errno, says) in [
        (libc::SYS_landlock_create_ruleset, ENOSYS, "this kernel has no Landlock as of Linux 5.19, or it is off"),
        (libc::SYS_landlock_create_ruleset, EOPNOTSUPP, "this kernel has no Landlock as of Linux 5.19, or it is off"),
        (libc::SYS_landlock_create_ruleset, EPERM, "this kernel has no Landlock as of Linux 5.19, or it is off"),
        (libc::SYS_landlock_add_rule, EINVAL, "cannot enter a Landlock domain"),
        (libc::SYS_landlock_restrict_self, EPERM, "cannot enter a Landlock domain"),
        (libc::SYS_seccomp, EINVAL, "cannot install the seccomp filter"),
    ] {
        let mut command = ground.switcher();
        let marker = ground.sandbox.join("ran");
        command.arg("/usr/bin/touch").arg(&marker);
        without(&mut command, number, errno);
        assert_refused(&command.output().unwrap(), 202, says);
        assert!(!marker.exists());
    }
}

#[test]
fn what_an_older_kernel_lacks_is_named() {
    let ground = Ground::new();
    let traced = |abi: &str| {
        let mut command = ground.pilot("strace");
        command.args(["-o", "/dev/null", "-e"]).arg(format!("inject=landlock_create_ruleset:retval={abi}"));
        command.env("GLEXEC_CLIENT_CERT", &ground.proxy).env("PATH", "/usr/bin:/bin");
        command.arg(ground.programs.join("glexec_rootless")).arg("/bin/true").output()
    };
    let parts = ["truncation", "device ioctls", "scopes of signals and abstract UNIX sockets"];
    for (abi, lacking) in [("2", 3), ("3", 2), ("4", 2), ("5", 1)] {
        let Ok(output) = traced(abi) else {
            skip("no strace");
            return;
        };
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

fn status(pid: u32) -> Status {
    Status::parse(&fs::read(format!("/proc/{pid}/status")).unwrap()).unwrap()
}

/// Starts a program through the switcher and waits until it is there.
fn started(ground: &Ground, program: &Path, argument: &str, stdin: impl Into<Stdio>) -> Started {
    let started = Started(ground.switcher().arg(program).arg(argument).stdin(stdin).spawn().unwrap());
    // The kernel keeps 15 bytes of the name.
    let name = program.file_name().unwrap().as_bytes();
    let running = || fs::read(format!("/proc/{}/comm", started.pid())).unwrap();
    for _ in 0..200 {
        if running().strip_suffix(b"\n") == name.get(..name.len().min(15)) {
            return started;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    panic!("{program:?} does not run: {:?}", running());
}

/// The two ends of what a helper and its peer talk through.
fn packets() -> (OwnedFd, OwnedFd) {
    use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};
    socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None).unwrap()
}

/// A peer that was started through the switcher and has greeted, and the helper's end.
fn greeted(ground: &Ground) -> (Started, OwnedFd) {
    let (ours, theirs) = packets();
    let peer = started(ground, &ground.programs.join("condor_glexec_peer"), "kill", theirs);
    let mut greeting = [0_u8; 64];
    let length = rustix::io::read(&ours, &mut greeting).unwrap();
    assert_eq!(&greeting[..length], glexec_rs::protocol::greeting::GREETING);
    (peer, ours)
}

/// Attempts on one process.
const ON_A_PROCESS: [&str; 19] = [
    "proc_environ",
    "proc_mem",
    "proc_maps",
    "proc_status",
    "proc_cmdline",
    "proc_fd",
    "proc_exe",
    "proc_cwd",
    "proc_root",
    "kill_0",
    "kill_cont",
    "tgkill_cont",
    "queue_cont",
    "pidfd_cont",
    "ptrace",
    "read_memory",
    "take_descriptor",
    "prlimit",
    "prlimit_high",
];

/// Those for which a process need not be open to tracing, so that they succeed outside.
const WITHOUT_TRACING: [&str; 9] = [
    "proc_status",
    "proc_cmdline",
    "kill_0",
    "kill_cont",
    "tgkill_cont",
    "queue_cont",
    "pidfd_cont",
    "prlimit",
    "prlimit_high",
];

#[test]
fn a_job_reaches_no_helper_and_no_peer_that_runs_already() {
    let ground = Ground::new();
    // Neither has confined itself yet: the peer waits for its first request, the helper for its own peer, which never comes.
    let (peer, _ours) = greeted(&ground);
    let waits = ground.base.join("waits");
    ground.file(&waits, "#!/bin/sh\n: > \"${0%/*}/called\"; exec /bin/cat\n", 0o755);
    let mut helper = ground.pilot(ground.programs.join("condor_glexec_kill"));
    helper.arg(&waits).arg(&ground.proxy).args([&peer.pid().to_string(), "0", "0", "0"]);
    let helper = Started(helper.spawn().unwrap());
    while !ground.base.join("called").exists() {
        std::thread::sleep(Duration::from_millis(10));
    }
    for mut process in [peer, helper] {
        let chosen = format!(" {}", ON_A_PROCESS.join(" "));
        let probe = |mut command: Command, chosen: &str| {
            command.args(probe::ARGUMENTS);
            attempts(command, process.pid(), &ground, chosen).0
        };
        let inside = || {
            let mut switcher = ground.switcher();
            switcher.arg(&ground.probe);
            switcher
        };
        let results = probe(ground.pilot(&ground.probe), &chosen);
        for name in ON_A_PROCESS {
            let succeeds = WITHOUT_TRACING.contains(&name);
            assert_eq!(results.get(name).map(|errno| *errno == 0), Some(succeeds), "{name} outside: {results:?}");
        }
        let results = probe(inside(), &chosen);
        for (name, _, expected) in ATTACKS.iter().filter(|(name, ..)| ON_A_PROCESS.contains(name)) {
            assert!(results.get(*name).is_some_and(|errno| expected.contains(errno)), "{name} inside: {results:?}");
        }
        assert_eq!(probe(inside(), " kill_9").get("kill_9"), Some(&EPERM));
        assert!(process.lives());
    }
}

#[test]
fn only_the_peer_beside_it_is_started_without_a_domain() {
    let ground = Ground::new();
    let own = status(std::process::id()).seccomp_filters;
    let peer = ground.programs.join("condor_glexec_peer");
    let (started_peer, _ours) = greeted(&ground);
    assert!(!status(started_peer.pid()).is_inside_domain(own));

    // The same program elsewhere, or by another name, is any command.
    let copy = ground.sandbox.join("condor_glexec_peer");
    ground.copy(&peer, &copy);
    let (_ours, theirs) = packets();
    let started_copy = started(&ground, &copy, "kill", theirs);
    assert!(status(started_copy.pid()).is_inside_domain(own));

    let marked = started(&ground, Path::new("/bin/sleep"), "60", Stdio::null());
    assert!(status(marked.pid()).is_inside_domain(own));
    assert!(!status(std::process::id()).is_inside_domain(own));
}

#[test]
fn the_pilots_kill_reaches_into_the_domain_and_nowhere_else() {
    let ground = Ground::new();
    let kill = |process: &Started| {
        let mut command = ground.pilot(ground.programs.join("condor_glexec_kill"));
        command.arg(ground.programs.join("glexec_rootless")).arg(&ground.proxy);
        command.args([&process.pid().to_string(), "15", "0", "0"]).output().unwrap()
    };
    let mut job = started(&ground, Path::new("/bin/sleep"), "60", Stdio::null());
    let output = kill(&job);
    assert!(output.status.success(), "{:?}", text(&output));
    assert_eq!(job.0.wait().unwrap().signal(), Some(15));

    // What the kernel does not refuse within one account: a process of the pilot.
    let mut victim = ground.start_victim();
    let output = kill(&victim);
    assert_eq!(output.status.code(), Some(2), "{:?}", text(&output));
    assert!(victim.lives());
}

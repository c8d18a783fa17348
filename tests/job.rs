//! `condor_glexec_job` against the built programs: one job, as an ordinary user and without root through `glexec_rootless` or a switcher
//! that changes nothing, and with two accounts through the test switcher.

#![deny(unsafe_code)]

mod common;
mod hostile;

use common::{GREG, PILOT, Site, pem};
use serde_json::Value;
use std::ffi::{OsStr, OsString};
use std::fs::{File, Permissions};
use std::io::Read;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// After this long a job hangs, and the test has failed.
const HANGS: Duration = Duration::from_secs(120);

/// An ordinary user with the programs, a home and a temporary directory of their own. As root, the user is the pilot.
struct User {
    root: PathBuf,
    home: PathBuf,
    temporary: PathBuf,
}

impl User {
    fn new() -> Self {
        let root = common::new_directory(&std::env::temp_dir().canonicalize().unwrap(), "glexec-rs-tests.job.");
        let user = User { home: root.join("home"), temporary: root.join("tmp"), root };
        directory(&user.root.join("libexec"));
        for (name, built) in common::built() {
            let installed = user.program(name);
            if std::fs::hard_link(&built, &installed).is_err() {
                std::fs::copy(&built, &installed).unwrap();
            }
        }
        for own in [&user.home, &user.temporary] {
            directory(own);
            user.give(own);
        }
        user
    }

    fn is_root() -> bool {
        common::available() && rustix::process::geteuid().is_root()
    }

    fn give(&self, path: &Path) {
        if Self::is_root() {
            chown(path, Some(PILOT.uid()), Some(PILOT.gid())).unwrap();
        }
    }

    fn program(&self, name: &str) -> PathBuf {
        self.root.join("libexec").join(name)
    }

    /// A file of the user's in the home directory.
    fn file(&self, name: impl AsRef<Path>, content: impl AsRef<[u8]>, mode: u32) -> PathBuf {
        let path = self.home.join(name);
        std::fs::write(&path, content).unwrap();
        std::fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
        self.give(&path);
        path
    }

    /// A switcher that is this shell script, and the options to use it.
    fn switcher(&self, script: &str) -> Vec<OsString> {
        let switcher = self.file("switcher", format!("#!/bin/sh\n{script}\n"), 0o755);
        let proxy = self.file("proxy", pem(7), 0o600);
        vec!["--switcher".into(), switcher.into(), "--proxy".into(), proxy.into()]
    }

    /// A call of the program as the user, in the home directory.
    fn job(&self) -> Call {
        let mut command = Command::new(self.program("condor_glexec_job"));
        command.current_dir(&self.home).env_clear().env("TMPDIR", &self.temporary).env("SECRET", "secret");
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).process_group(0);
        if Self::is_root() {
            command.uid(PILOT.uid()).gid(PILOT.gid());
        }
        Call { command }
    }

    /// What is in the temporary directory.
    fn temporary_files(&self) -> Vec<PathBuf> {
        entries(&self.temporary)
    }
}

impl Drop for User {
    fn drop(&mut self) {
        // A process that is about to end has closed its descriptors already but still a working directory.
        for _ in 0..20 {
            if common::processes(&self.root).is_empty() {
                break;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        let left = if std::thread::panicking() { Vec::new() } else { common::processes(&self.root) };
        for (pid, _) in common::processes(&self.root) {
            let _ = Command::new("kill").args(["-9", &pid.to_string()]).status();
        }
        let _ = Command::new("chmod").args(["-R", "u+rwX"]).arg(&self.root).status();
        let _ = std::fs::remove_dir_all(&self.root);
        assert!(left.is_empty(), "left behind: {left:#?}");
    }
}

fn directory(path: &Path) {
    std::fs::create_dir(path).unwrap();
    std::fs::set_permissions(path, Permissions::from_mode(0o755)).unwrap();
}

fn entries(directory: &Path) -> Vec<PathBuf> {
    let mut entries: Vec<PathBuf> = std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()).collect();
    entries.sort();
    entries
}

struct Call {
    command: Command,
}

impl Call {
    fn args<A: AsRef<OsStr>>(mut self, arguments: impl IntoIterator<Item = A>) -> Self {
        self.command.args(arguments);
        self
    }

    /// `-- /bin/sh -c SCRIPT`
    fn script(self, script: &str) -> Self {
        self.args(["--", "/bin/sh", "-c", script])
    }

    fn stdin(mut self, file: File) -> Self {
        self.command.stdin(file);
        self
    }

    fn stderr(mut self, descriptor: OwnedFd) -> Self {
        self.command.stderr(descriptor);
        self
    }

    /// With [`limit_processes`].
    #[allow(unsafe_code)]
    fn limited(mut self) -> Self {
        // SAFETY: one system call between fork and exec.
        unsafe { self.command.pre_exec(limit_processes) };
        self
    }

    #[allow(unsafe_code)]
    fn umask(mut self, mask: u32) -> Self {
        let set = move || {
            rustix::process::umask(rustix::fs::Mode::from_raw_mode(mask));
            Ok(())
        };
        // SAFETY: one system call between fork and exec.
        unsafe { self.command.pre_exec(set) };
        self
    }

    fn start(mut self) -> Running {
        let child = self.command.spawn().unwrap();
        Running { child, began: Instant::now() }
    }

    fn run(self) -> Done {
        self.start().finish()
    }
}

struct Running {
    child: Child,
    began: Instant,
}

impl Running {
    fn signal(&self, signal: &str) {
        let done = Command::new("kill").args(["-s", signal, &self.child.id().to_string()]).status().unwrap();
        assert!(done.success());
    }

    /// Waits until the job has written this file.
    fn wait_for(&mut self, path: &Path) {
        while !path.exists() {
            assert!(self.child.try_wait().unwrap().is_none(), "it has ended early");
            assert!(self.began.elapsed() < HANGS, "{} has not come", path.display());
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Waits for its end, and for the end of everybody who holds its output.
    fn finish(mut self) -> Done {
        let read = |pipe: Option<Box<dyn Read + Send>>| {
            std::thread::spawn(move || {
                let mut bytes = Vec::new();
                pipe.map(|mut pipe| pipe.read_to_end(&mut bytes).unwrap());
                bytes
            })
        };
        let output = read(self.child.stdout.take().map(|pipe| Box::new(pipe) as _));
        let errors = read(self.child.stderr.take().map(|pipe| Box::new(pipe) as _));
        let status = loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                break status;
            }
            if self.began.elapsed() > HANGS {
                let _ = self.child.kill();
                let _ = self.child.wait();
                panic!("it hangs");
            }
            std::thread::sleep(Duration::from_millis(2));
        };
        let ended = Instant::now();
        while !(output.is_finished() && errors.is_finished()) {
            assert!(ended.elapsed() < Duration::from_secs(5), "it has ended, but somebody still holds its output");
            std::thread::sleep(Duration::from_millis(2));
        }
        Done {
            code: status.code(),
            signal: status.signal(),
            output: output.join().unwrap(),
            errors: String::from_utf8(errors.join().unwrap()).expect("messages are text"),
            took: self.began.elapsed(),
        }
    }
}

#[derive(Debug)]
struct Done {
    code: Option<i32>,
    signal: Option<i32>,
    output: Vec<u8>,
    errors: String,
    took: Duration,
}

impl Done {
    #[track_caller]
    fn expect(self, code: i32) -> Self {
        assert_eq!(self.code, Some(code), "{self:#?}");
        self
    }

    #[track_caller]
    fn expect_quiet(self, code: i32) -> Self {
        let done = self.expect(code);
        assert_eq!(done.errors, "");
        done
    }

    #[track_caller]
    fn expect_killed(self, signal: i32) -> Self {
        assert_eq!(self.signal, Some(signal), "{self:#?}");
        self
    }

    /// It could not be run: the last line says why, in these words, and every line is printable.
    #[track_caller]
    fn expect_refusal(self, words: &[&str]) -> Self {
        let done = self.expect(125);
        let last = done.errors.lines().last().unwrap_or_default();
        for word in words {
            assert!(last.contains(word), "{word:?} is missing in {:?}", done.errors);
        }
        assert!(!done.errors.contains(|c: char| c.is_control() && c != '\n'), "{:?}", done.errors);
        done
    }

    /// The record, if it was written to stdout as the last line.
    #[track_caller]
    fn record(&self) -> Value {
        let line = self.output.split(|byte| *byte == b'\n').rev().nth(1).unwrap();
        assert!(line.iter().all(|byte| (b' '..=b'~').contains(byte)));
        serde_json::from_slice(line).unwrap()
    }
}

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
    let call = user.job().arg2("--sandbox", &sandbox).args(["--json", "-"]);
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
fn the_time_limit_ends_the_job_softly_or_hard() {
    let user = User::new();
    let limited = |grace: &str| user.job().args(["--json", "-", "--time-limit", "1", "--grace", grace]);
    let done = limited("60").script("trap 'exit 9' TERM; while :; do sleep 0.1; done").run().expect(9);
    assert!(done.took > Duration::from_secs(1) && done.took < Duration::from_secs(30), "{:?}", done.took);
    assert_eq!(done.record()["ended_by"], "time limit");

    let done = limited("60").script("sleep 1000").run().expect_killed(15);
    assert_eq!(done.record()["status"]["signal"], 15);

    let done = limited("1").script("trap '' TERM; sleep 1000; sleep 1000").run().expect_killed(9);
    assert!(done.took > Duration::from_secs(2) && done.took < Duration::from_secs(30), "{:?}", done.took);
    assert_eq!(done.record()["ended_by"], "time limit");
    assert_eq!(user.temporary_files(), [] as [PathBuf; 0]);
}

#[test]
fn a_job_of_the_same_account_that_changes_the_stand_ins_mode_is_ended_all_the_same() {
    let user = User::new();
    for mode in ["0666", "0"] {
        let call = user.job().args(["--json", "-", "--time-limit", "1", "--grace", "0"]);
        let script = format!("chmod {mode} \"$HOME.condor/.condor_glexec_job.credential\" && trap '' TERM; sleep 1000");
        let done = call.script(&script).run().expect_killed(9);
        assert_eq!(done.record()["failure"], Value::Null, "{done:?}");
        assert_eq!(user.temporary_files(), [] as [PathBuf; 0]);
    }
}

#[test]
fn a_stopping_signal_ends_the_job_and_what_it_wrote_is_kept() {
    let user = User::new();
    for signal in ["TERM", "INT", "HUP"] {
        let ready = user.file("ready", b"", 0o666);
        std::fs::remove_file(&ready).unwrap();
        let output = user.home.join(signal);
        let call = user.job().args(["--json", "-", "--stdout", "ready"]).arg2("--output", &output);
        let mut running =
            call.script("echo kept > file; trap 'echo end >> file; exit 3' TERM; while :; do sleep 0.1; done").start();
        wait_for_sandbox_file(&mut running, &user.home, "file");
        running.signal(signal);
        let done = running.finish().expect(3);
        assert_eq!(std::fs::read_to_string(output.join("file")).unwrap(), "kept\nend\n");
        assert!(done.record()["ended_by"].as_str().unwrap().starts_with("signal "));
        std::fs::remove_file(&ready).unwrap();
    }
}

#[test]
fn a_second_signal_does_not_wait_for_the_grace_period() {
    let user = User::new();
    let output = user.home.join("out");
    let call = user.job().args(["--grace", "1000"]).arg2("--output", &output);
    let mut running = call.script("trap 'echo asked > asked' TERM; echo > ready; while :; do sleep 0.1; done").start();
    wait_for_sandbox_file(&mut running, &user.home, "ready");
    running.signal("TERM");
    wait_for_sandbox_file(&mut running, &user.home, "asked");
    running.signal("TERM");
    running.finish().expect_killed(9);
    assert!(output.join("asked").exists());
}

/// Waits until the job has written a file in its sandbox, which is somewhere below `directory`.
fn wait_for_sandbox_file(running: &mut Running, directory: &Path, name: &str) {
    while running.began.elapsed() < HANGS {
        let runs = entries(directory);
        let sandboxes =
            runs.iter().filter(|run| run.to_string_lossy().contains("condor_glexec_job.")).flat_map(|run| {
                std::fs::read_dir(run).into_iter().flatten().flatten().map(|entry| entry.path()).collect::<Vec<_>>()
            });
        if sandboxes.map(|sandbox| sandbox.join(name)).any(|path| path.exists()) {
            return;
        }
        assert!(running.child.try_wait().unwrap().is_none(), "it has ended early");
        std::thread::sleep(Duration::from_millis(5));
    }
    panic!("{name} has not come");
}

#[test]
fn what_the_job_leaves_running_is_ended() {
    let user = User::new();
    let scripts = [
        "sleep 1000 & exit 5",
        "setsid sleep 1000 & exit 5",
        "(setsid sh -c 'sleep 1000 & sleep 1000 &' &) ; exit 5",
        "sh -c 'kill -STOP $$; sleep 1000' & exit 5",
        "(trap '' TERM HUP INT; sleep 1000) & exit 5",
    ];
    for script in scripts {
        let done = user.job().script(script).run().expect_quiet(5);
        assert!(done.took < Duration::from_secs(20), "{script}: {:?}", done.took);
    }
}

#[test]
fn as_the_first_process_of_a_namespace_it_ends_what_the_job_leaves_running() {
    if !User::is_root() {
        eprintln!("skipped: a PID namespace needs root");
        return;
    }
    let user = User::new();
    let mut command = Command::new("/usr/bin/unshare");
    command.args(["--pid", "--fork", "--kill-child", "--mount-proc", "/usr/bin/setpriv", "--clear-groups"]);
    command.arg(format!("--reuid={}", PILOT.uid())).arg(format!("--regid={}", PILOT.gid()));
    command.arg(user.program("condor_glexec_job")).current_dir(&user.home).env_clear().env("TMPDIR", &user.temporary);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    Call { command }.script("setsid sleep 1000 & exit 5").run().expect_quiet(5);
}

/// One at a time: they share the account's limit of processes.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A family that does everything not to be killed, by itself and at the time limit. The end of its output shows that nobody is left.
fn hostile_family(kind: &str) -> Value {
    let _alone = alone();
    let user = User::new();
    let own = std::env::current_exe().unwrap();
    let program = user.home.join("family");
    std::fs::copy(own, &program).unwrap();
    std::fs::set_permissions(&program, Permissions::from_mode(0o755)).unwrap();
    let call = user.job().args(["--json", "record", "--time-limit", "1", "--grace", "0", "--input", "family", "--env"]);
    let call = call.args([format!("{}={kind}", hostile::VARIABLE)]);
    let call = call.args([
        "--output",
        "out",
        "--",
        "./family",
        "--exact",
        "hostile::family",
        "--nocapture",
        "--test-threads=1",
    ]);
    let done = call.run();
    let record: Value = serde_json::from_slice(&std::fs::read(user.home.join("record")).unwrap()).unwrap();
    assert!(done.took < Duration::from_secs(60), "{done:?}");
    assert_eq!(record["failure"], Value::Null, "{record}");
    assert!(record["phases"].as_array().unwrap().iter().any(|phase| phase["name"] == "kill"), "{record}");
    assert!(user.home.join("out").join(hostile::READY).exists(), "it has not come to what it is for: {done:?}");
    record
}

#[test]
fn a_fork_bomb_ends() {
    hostile_family("bomb");
}

#[test]
fn a_chain_of_double_forks_ends() {
    hostile_family("chain");
}

#[test]
fn a_process_whose_first_thread_has_ended_ends() {
    hostile_family("threads");
}

#[test]
fn a_process_that_waits_in_vfork_ends() {
    hostile_family("vfork");
}

#[test]
fn processes_that_stop_and_wake_each_other_end() {
    hostile_family("stopped");
}

#[test]
fn a_traced_stop_is_no_end() {
    let record = hostile_family("traced");
    assert_eq!(record["ended_by"], "time limit", "{record}");
}

#[test]
fn processes_in_namespaces_of_their_own_end() {
    hostile_family("namespaces");
}

/// A limit of processes with a lower soft one, as distributions make it: a job raises its own.
fn limit_processes() -> std::io::Result<()> {
    let most = rustix::process::Rlimit { current: Some(200), maximum: Some(300) };
    Ok(rustix::process::setrlimit(rustix::process::Resource::Nproc, most)?)
}

#[test]
fn a_family_that_uses_up_its_accounts_processes_ends() {
    if !User::is_root() {
        eprintln!("skipped: the processes of this account are not the test's to use up");
        return;
    }
    let _alone = alone();
    let user = User::new();
    let program = user.home.join("family");
    std::fs::copy(std::env::current_exe().unwrap(), &program).unwrap();
    std::fs::set_permissions(&program, Permissions::from_mode(0o755)).unwrap();
    let call =
        user.job().limited().args(["--json", "record", "--time-limit", "2", "--grace", "0", "--input", "family"]);
    let call = call.args(["--env", &format!("{}=full", hostile::VARIABLE), "--output", "out", "--", "./family"]);
    let done = call.args(["--exact", "hostile::family", "--nocapture", "--test-threads=1"]).run();
    let record: Value = serde_json::from_slice(&std::fs::read(user.home.join("record")).unwrap()).unwrap();
    assert_eq!(record["failure"], Value::Null, "{done:?}");
    assert!(user.home.join("out").join(hostile::READY).exists(), "{done:?}");
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
    let cases: [(&[&str], &[&str]); 11] = [
        (&["--input", "missing"], &["missing", "No such file"]),
        (&["--input", "/dev/null"], &["/dev/null", "not a regular file"]),
        (&["--input", "file", "--input", "file"], &["file", "exists"]),
        (&["--sandbox", "missing"], &["missing"]),
        (&["--execute", "missing"], &["missing"]),
        (&["--output", "full"], &["full", "not empty"]),
        (&["--output", "file"], &["file", "no directory"]),
        (&["--output", "missing/out"], &["missing"]),
        (&["--stdin", "missing"], &["missing"]),
        (&["--stdout", "missing/file"], &["missing/file"]),
        (&["--json", "missing/record"], &["missing/record"]),
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
fn a_sandbox_that_is_made_and_then_refused_is_removed() {
    if !User::is_root() {
        eprintln!("skipped: a directory of another account needs root");
        return;
    }
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
    if !memory.is_dir() || memory.metadata().unwrap().dev() == user.home.metadata().unwrap().dev() {
        return;
    }
    let output = memory.join(format!("glexec-rs-tests.{}", std::process::id()));
    let call = user.job().arg2("--execute", &user.home).arg2("--output", &output);
    call.script("exit 0").run().expect_refusal(&["another file system", "--execute"]);
    assert_eq!((entries(&user.home), output.exists()), (Vec::new(), false));
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
        let call = user.job().args(["--json", "-"]).arg2("--input", &script).args(["--", command]);
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
    let call = user.job().args(user.switcher(never)).args(["--output", "out2", "--json", "-"]);
    let done =
        call.script("echo precious > file; exit 3").run().expect_refusal(&["Nothing is lost", "condor_glexec_cleanup"]);
    let record = done.record();
    assert_eq!(record["status"]["exit_code"], 3);
    let sandbox = PathBuf::from(record["sandbox"].as_str().unwrap());
    assert_eq!(std::fs::read_to_string(sandbox.join("file")).unwrap(), "precious\n");
    assert!(!user.home.join("out2").exists());
}

#[test]
fn a_signal_during_setup_leaves_nothing() {
    let user = User::new();
    let marker = user.home.join("setup");
    let slow = format!(
        "case $2 in setup) echo $$ > {0}.new; mv {0}.new {0}; exec sleep 1000;; esac; exec \"$@\"",
        marker.display()
    );
    let mut running = user.job().args(user.switcher(&slow)).args(["--", "/bin/true"]).start();
    running.wait_for(&marker);
    running.signal("TERM");
    // The switcher itself sleeps on; it is the site's, and would end when it looks at its socket.
    std::thread::sleep(Duration::from_millis(300));
    let switcher = std::fs::read_to_string(&marker).unwrap();
    assert!(Command::new("kill").arg(switcher.trim()).status().unwrap().success());
    running.finish().expect_refusal(&["condor_glexec_setup"]);
    assert_eq!(user.temporary_files(), [] as [PathBuf; 0]);
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
    let (mut ours, theirs) = hostile::terminal();
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

#[test]
fn children_that_it_did_not_start_are_refused() {
    let user = User::new();
    let mut shell = Command::new("/bin/sh");
    let program = user.program("condor_glexec_job");
    shell.args(["-c", "sleep 3 & exec \"$0\" -- /bin/true"]).arg(program).stdout(Stdio::null());
    let said = shell.stderr(Stdio::piped()).current_dir(&user.home);
    let (mut errors, writer) = std::io::pipe().unwrap();
    let status = said.stderr(writer).status().unwrap();
    shell.stderr(Stdio::null());
    let mut text = String::new();
    errors.read_to_string(&mut text).unwrap();
    assert_eq!(status.code(), Some(125), "{text}");
    assert!(text.contains("has children already"), "{text}");
}

/// A job through the test switcher, as the pilot: `--execute` is the site's.
fn as_greg(site: &Site) -> (common::Call, PathBuf) {
    let proxy = site.private_file("proxy", &pem(9));
    let output = site.execute.join("out");
    site.expect_left("out");
    let call = site.call("condor_glexec_job").separate_errors().cwd(site.root.join("pilot"));
    let call =
        call.arg("--switcher").arg(site.switcher()).arg("--proxy").arg(proxy).arg("--execute").arg(&site.execute);
    (call.args(["--json", "-", "--retries", "1", "--delay", "0", "--output"]).arg(&output), output)
}

fn greg_record(finished: &common::Finished) -> Value {
    serde_json::from_str(finished.output.lines().last().unwrap()).unwrap()
}

#[test]
fn with_two_accounts_the_job_is_the_targets_and_its_output_the_pilots() {
    let Some(site) = Site::new() else { return };
    let (call, output) = as_greg(&site);
    let script = "id -un; pwd; echo result > file; chmod 0 file; mkdir d; chmod 0 d; exit 5";
    let finished = call.args(["--", "/bin/sh", "-c", script]).run().expect(5);
    assert_eq!(finished.errors, "");
    let record = greg_record(&finished);
    let lines: Vec<&str> = finished.output.lines().collect();
    assert_eq!(lines[..2], [GREG.name, record["sandbox"].as_str().unwrap()]);
    let file = output.join("file").metadata().unwrap();
    assert_eq!((file.uid(), file.len()), (PILOT.uid(), 7));
    assert_eq!(output.metadata().unwrap().uid(), PILOT.uid());
    assert_eq!(record["cleanup"]["directories"], 1);
    let secrets = ["CONDOR_INHERIT", "CONDOR_PRIVATE_SHARED_PORT_COOKIE", "BEARER_TOKEN_FILE", "LD_LIBRARY_PATH"];
    for call in site.switcher_calls() {
        assert!(secrets.iter().all(|name| call.variable(name).is_none()), "{call:?}");
        assert_eq!(
            call.variable("X509_USER_PROXY").map(|value| value.to_str().unwrap()),
            Some("/home/pilot/pilot-proxy")
        );
    }
}

#[test]
fn with_two_accounts_the_family_is_ended_by_one_switch() {
    let Some(site) = Site::new() else { return };
    let (call, _) = as_greg(&site);
    let script = "for n in 1 2 3 4 5 6 7 8 9; do setsid sh -c 'sleep 1000 & wait' & done; sleep 0.3; exit 0";
    let finished = call.args(["--", "/bin/sh", "-c", script]).run().expect(0);
    assert_eq!(finished.errors, "");
    let operations: Vec<String> = site
        .switcher_calls()
        .iter()
        .map(|call| call.arguments.get(1).map_or(String::new(), |word| word.to_string_lossy().into_owned()))
        .collect();
    assert_eq!(operations.iter().filter(|word| *word == "kill").count(), 1, "{operations:?}");
}

#[test]
fn with_two_accounts_hostile_families_end() {
    let Some(site) = Site::new() else { return };
    let program = site.private_file("family", &std::fs::read(std::env::current_exe().unwrap()).unwrap());
    std::fs::set_permissions(&program, Permissions::from_mode(0o755)).unwrap();
    for kind in ["bomb", "chain", "threads", "vfork", "stopped", "traced", "namespaces"] {
        let (call, output) = as_greg(&site);
        let call = call.args(["--time-limit", "1", "--grace", "0", "--stdout", "/dev/null", "--input"]).arg(&program);
        let call = call.args(["--env", &format!("{}={kind}", hostile::VARIABLE), "--", "./family"]);
        // `finish` waits for the end of all who hold the output.
        let finished = call.args(["--exact", "hostile::family", "--nocapture", "--test-threads=1"]).run();
        let record = greg_record(&finished);
        assert_eq!(record["failure"], Value::Null, "{kind}: {finished:?}");
        assert!(output.join(hostile::READY).exists(), "{kind}: {finished:?}");
        std::fs::remove_dir_all(&output).unwrap();
    }
}

#[test]
fn with_two_accounts_a_family_that_uses_up_its_accounts_processes_ends() {
    let _alone = alone();
    let Some(site) = Site::new() else { return };
    let program = site.private_file("family", &std::fs::read(std::env::current_exe().unwrap()).unwrap());
    std::fs::set_permissions(&program, Permissions::from_mode(0o755)).unwrap();
    let (call, output) = as_greg(&site);
    // An account as which no other test starts a job at the same time.
    site.configure_switcher("account = mallory\n");
    let call =
        call.last(limit_processes).args(["--time-limit", "2", "--grace", "0", "--stdout", "/dev/null", "--input"]);
    let call = call.arg(&program).args(["--env", &format!("{}=full", hostile::VARIABLE), "--", "./family"]);
    let finished = call.args(["--exact", "hostile::family", "--nocapture", "--test-threads=1"]).run();
    assert_eq!(greg_record(&finished)["failure"], Value::Null, "{finished:?}");
    assert!(output.join(hostile::READY).exists(), "{finished:?}");
}

#[test]
fn with_two_accounts_time_limit_and_signals_work() {
    let Some(site) = Site::new() else { return };
    let (call, output) = as_greg(&site);
    let call = call.args(["--time-limit", "1", "--grace", "1"]);
    let script = "trap '' TERM; echo kept > file; setsid sleep 1000 & sleep 1000; sleep 1000";
    let finished = call.args(["--", "/bin/sh", "-c", script]).run();
    assert_eq!(finished.signal, Some(9), "{finished:?}");
    assert_eq!(greg_record(&finished)["ended_by"], "time limit");
    assert_eq!(std::fs::read_to_string(output.join("file")).unwrap(), "kept\n");
}

#[test]
fn with_two_accounts_a_refusal_leaves_nothing() {
    let Some(site) = Site::new() else { return };
    let closed = site.root.join("pilot");
    let (call, output) = as_greg(&site);
    let finished = call.args(["--execute"]).arg(&closed).args(["--", "/bin/true"]).run().expect(1);
    assert!(finished.errors.contains("given twice"));
    // An EXECUTE that the target account cannot reach.
    let proxy = site.private_file("proxy", &pem(9));
    let call = site.call("condor_glexec_job").separate_errors().cwd(&closed);
    let call = call.arg("--switcher").arg(site.switcher()).arg("--proxy").arg(&proxy).arg("--execute").arg(&closed);
    let finished = call.args(["--retries", "0", "--", "/bin/true"]).run().expect(125);
    assert!(finished.errors.contains("condor_glexec_setup"), "{finished:?}");
    assert_eq!(entries(&closed), [proxy]);
    assert!(!output.exists());
}

trait TwoArguments {
    fn arg2(self, option: &str, value: &Path) -> Self;
}

impl TwoArguments for Call {
    fn arg2(self, option: &str, value: &Path) -> Self {
        self.args([OsStr::new(option), value.as_os_str()])
    }
}

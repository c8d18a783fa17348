//! `condor_glexec_job_wrapper` against the built program, driven by a Starter's stand-in: the environment channel byte for byte, the
//! attacks on it, and what the job inherits, seen from inside a job that changes nothing of it (cat, env, ls).

#![deny(unsafe_code)]

mod common;
#[path = "common/starter.rs"]
mod starter;

use common::{GREG, Site};
use glexec_rs::ground::escape::Escaped;
use glexec_rs::ground::limits;
use rustix::fs::{CWD, FileType, Mode, OFlags, mknodat, open};
use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, UCred, sendmsg};
use rustix::process::{Gid, Resource, Rlimit, Uid, getegid, geteuid, getpid, setrlimit};
use rustix::pty::{OpenptFlags, ioctl_tiocgptpeer, openpt, unlockpt};
use rustix::thread::{set_no_new_privs, set_thread_groups, set_thread_res_gid, set_thread_res_uid};
use starter::{Fresh, MOST_DESCRIPTORS, Starter, text};
use std::collections::BTreeSet;
use std::ffi::{CString, OsStr, OsString};
use std::fs::{self, File};
use std::io::{self, IoSlice, Read};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, lchown, symlink};
use std::os::unix::net::{UnixDatagram, UnixListener, UnixStream};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// An empty environment on the channel.
const NOTHING: &[u8] = b"\0";

/// After this long the wrapper or the job hangs.
const TIME_LIMIT: Duration = Duration::from_secs(120);

/// The streams by the names that are used for them.
const STREAMS: [&str; 3] = ["standard input", "standard output", "standard error"];

// ---------------------------------------------------------------------------------------------------------------------------
// Calling the wrapper
// ---------------------------------------------------------------------------------------------------------------------------

/// A directory of the account that the job gets: the target's, or without root the test's own. The wrapper is beside it, where that account gets at it.
/// Removed in the end.
struct Sandbox {
    root: PathBuf,
    path: PathBuf,
    wrapper: PathBuf,
}

impl Sandbox {
    fn new() -> Self {
        let root = common::new_directory(&std::env::temp_dir(), "glexec-rs-wrapper-tests.");
        let sandbox = Sandbox { path: root.join("sandbox"), wrapper: root.join("wrapper"), root };
        common::install_built(&common::built_program("condor_glexec_job_wrapper"), &sandbox.wrapper);
        fs::create_dir(&sandbox.path).unwrap();
        give(&sandbox.path);
        sandbox
    }

    fn at(&self, name: impl AsRef<OsStr>) -> OsString {
        self.path.join(name.as_ref()).into_os_string()
    }

    fn read(&self, name: &str) -> Vec<u8> {
        fs::read(self.at(name)).unwrap()
    }

    /// A file of the job's.
    fn write(&self, name: impl AsRef<OsStr>, content: &str) {
        fs::write(self.at(&name), content).unwrap();
        give(self.at(name).as_ref());
    }

    /// A file of the job's that is empty and open for writing.
    fn create(&self, name: &str) -> File {
        let file = File::create(self.at(name)).unwrap();
        give(self.at(name).as_ref());
        file
    }

    fn has(&self, name: &str) -> bool {
        fs::symlink_metadata(self.at(name)).is_ok()
    }

    /// An executable file. Written by another process: a program that is open for writing in any process, were it only between the
    /// fork and the exec of another test, cannot be executed.
    fn executable(&self, name: impl AsRef<OsStr>, content: &str) -> OsString {
        let path = self.at(name);
        let written = Command::new("/bin/sh")
            .args(["-c", "printf %s \"$2\" > \"$1\" && chmod 755 \"$1\"", "sh"])
            .arg(&path)
            .arg(content)
            .status()
            .unwrap();
        assert!(written.success());
        give(path.as_ref());
        path
    }
}

impl Drop for Sandbox {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.root);
    }
}

/// Makes something the job's, as what is in a sandbox is.
fn give(path: &Path) {
    if common::available() {
        lchown(path, Some(GREG.uid()), Some(GREG.gid())).unwrap();
    }
}

/// A call of a program in the sandbox with no environment, as the job's account.
fn in_sandbox(sandbox: &Sandbox, program: impl AsRef<OsStr>) -> Command {
    let mut call = Command::new(program);
    call.env_clear().current_dir(&sandbox.path);
    if common::available() {
        call.uid(GREG.uid()).gid(GREG.gid());
    }
    call
}

/// A call of the wrapper in the sandbox, with these arguments and no environment.
fn wrapper<A: AsRef<OsStr>>(sandbox: &Sandbox, arguments: impl IntoIterator<Item = A>) -> Command {
    let mut call = in_sandbox(sandbox, &sandbox.wrapper);
    call.args(arguments);
    call
}

/// A call for this job, with `/dev/null`, `out` and `err` as its streams.
fn job<C: AsRef<OsStr>>(sandbox: &Sandbox, command: impl IntoIterator<Item = C>) -> Command {
    let mut call = wrapper(sandbox, ["/dev/null".into(), sandbox.at("out"), sandbox.at("err")]);
    call.args(command);
    call
}

/// A call with these three names for a job that leaves `started`.
fn marking_job(sandbox: &Sandbox, names: [&OsStr; 3]) -> Command {
    let mut call = wrapper(sandbox, names);
    call.arg("/usr/bin/touch").arg(sandbox.at("started"));
    call
}

fn names(names: [&str; 3]) -> [&OsStr; 3] {
    names.map(OsStr::new)
}

/// The wrapper, and later the job that it has become.
struct Running {
    child: Child,
}

struct Ended {
    code: Option<i32>,
    signal: Option<i32>,
    /// What the wrapper printed on 1 and 2.
    printed: String,
}

fn start(call: Command) -> (Running, Starter) {
    let (starter, theirs) = Starter::new();
    (start_with(call, theirs), starter)
}

fn start_with(mut call: Command, input: impl Into<Stdio>) -> Running {
    call.stdin(input).stdout(Stdio::piped()).stderr(Stdio::piped());
    Running { child: call.spawn().unwrap() }
}

impl Running {
    #[track_caller]
    fn end(mut self) -> Ended {
        let deadline = Instant::now() + TIME_LIMIT;
        let status = loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                break status;
            }
            assert!(Instant::now() < deadline, "the wrapper or the job hangs");
            std::thread::sleep(Duration::from_millis(1));
        };
        let mut printed = String::new();
        self.child.stdout.take().unwrap().read_to_string(&mut printed).unwrap();
        self.child.stderr.take().unwrap().read_to_string(&mut printed).unwrap();
        Ended { code: status.code(), signal: status.signal(), printed }
    }

    fn is_alive(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    fn proc(&self, file: &str) -> PathBuf {
        PathBuf::from(format!("/proc/{}/{file}", self.child.id()))
    }

    /// Waits until it has done all that it can and sleeps.
    fn await_sleep(&self) {
        let mut asleep = 0;
        while asleep < 10 {
            let stat = fs::read_to_string(self.proc("stat")).unwrap();
            asleep = if stat.contains(") S ") { asleep + 1 } else { 0 };
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The job starts with this environment and succeeds; what it wrote to `out`.
#[track_caller]
fn output_with(sandbox: &Sandbox, call: Command, raw: &[u8]) -> Vec<u8> {
    let (running, starter) = start(call);
    assert_eq!(starter.start_job(raw, &[]), Ok(()));
    let ended = running.end();
    assert_eq!((ended.code, ended.printed.as_str()), (Some(0), ""), "err: {:?}", sandbox.read("err"));
    sandbox.read("out")
}

#[track_caller]
fn output(sandbox: &Sandbox, call: Command) -> String {
    String::from_utf8(output_with(sandbox, call, NOTHING)).unwrap()
}

/// The wrapper explains itself on the fresh socket after this environment and these descriptors.
#[track_caller]
fn refusal(sandbox: &Sandbox, call: Command, raw: &[u8], passed: &[BorrowedFd]) -> String {
    let (running, starter) = start(call);
    let why = starter.start_job(raw, passed).expect_err("the job should have been refused");
    expect_no_job(sandbox, running);
    why
}

/// It ends with 1, has printed nothing (who reads the fresh socket has the reason), and there was no job.
#[track_caller]
fn expect_no_job(sandbox: &Sandbox, running: Running) {
    let ended = running.end();
    assert_eq!((ended.code, ended.printed.as_str()), (Some(1), ""));
    assert!(!sandbox.has("started"), "the job was started");
}

/// It ends with 1 and has printed its reason, because nobody listens any more; there was no job.
#[track_caller]
fn expect_printed(sandbox: &Sandbox, running: Running, words: &str) {
    let ended = running.end();
    assert_eq!(ended.code, Some(1), "{}", ended.printed);
    assert!(ended.printed.starts_with("condor_glexec_job_wrapper: "), "{:?}", ended.printed);
    assert!(ended.printed.contains(words), "{words:?} is missing in {:?}", ended.printed);
    assert!(!sandbox.has("started"), "the job was started");
}

#[track_caller]
fn expect_words(text: &str, words: &[&str]) {
    for word in words {
        assert!(text.contains(word), "{word:?} is missing in {text:?}");
    }
}

/// The value of one line `Name: value` of a file of /proc.
fn field<'t>(text: &'t str, name: &str) -> &'t str {
    let line = text.lines().find(|line| line.starts_with(name)).unwrap_or_else(|| panic!("{name} is not in {text:?}"));
    line[name.len()..].trim_start_matches(':').trim()
}

fn bytes(bytes: &[u8]) -> OsString {
    OsString::from_vec(bytes.to_vec())
}

// ---------------------------------------------------------------------------------------------------------------------------
// What Command does not offer
// ---------------------------------------------------------------------------------------------------------------------------

#[allow(unsafe_code)]
mod raw {
    use super::*;

    /// Does `work` in the child before it executes the wrapper. `work` makes system calls only.
    pub fn before_exec(call: &mut Command, work: impl FnMut() -> io::Result<()> + Send + Sync + 'static) {
        // SAFETY: the callers only make system calls, without allocating or locking.
        unsafe { call.pre_exec(work) };
    }

    /// Lets `call` execute its program with exactly these arguments (also none) and this environment (also what is none).
    pub fn exactly(call: &mut Command, argv: &[&[u8]], envp: &[Vec<u8>]) {
        let own = |list: &mut dyn Iterator<Item = &[u8]>| list.map(|s| CString::new(s).unwrap()).collect::<Vec<_>>();
        let (argv, envp) = (own(&mut argv.iter().copied()), own(&mut envp.iter().map(Vec::as_slice)));
        let pointers = |list: &[CString]| list.iter().map(|s| s.as_ptr() as usize).chain([0]).collect::<Vec<_>>();
        let (argv_pointers, envp_pointers) = (pointers(&argv), pointers(&envp));
        let program = CString::new(call.get_program().as_bytes()).unwrap();
        before_exec(call, move || {
            let _alive = (&argv, &envp);
            // SAFETY: both arrays are of pointers into strings that the closure owns, and end with a null pointer.
            unsafe {
                libc::execve(program.as_ptr(), argv_pointers.as_ptr().cast(), envp_pointers.as_ptr().cast());
            }
            Err(io::Error::last_os_error())
        });
    }

    /// Types a newline into a terminal (TIOCSTI).
    pub fn type_newline(terminal: &File) -> io::Result<()> {
        // SAFETY: the kernel reads one byte, which lives through the call.
        answer(unsafe { libc::ioctl(terminal.as_raw_fd(), libc::TIOCSTI, c"\n".as_ptr()) })
    }

    /// Pastes a console's selection (TIOCLINUX).
    pub fn paste(terminal: &File) -> io::Result<()> {
        // SAFETY: the kernel reads one byte, the number of what is wanted, which lives through the call.
        answer(unsafe { libc::ioctl(terminal.as_raw_fd(), libc::TIOCLINUX, c"\x03".as_ptr()) })
    }

    fn answer(result: i32) -> io::Result<()> {
        if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
    }

    pub fn close(descriptor: i32) {
        // SAFETY: a number; called in a child that does not use it before it executes.
        unsafe { libc::close(descriptor) };
    }

    /// Ignores and blocks every signal.
    pub fn close_ears() {
        let (ignore, every) = ([1_u64, 0, 0, 0], u64::MAX);
        for signal in 1..=64_i64 {
            // SAFETY: the kernel reads one action and writes nothing.
            unsafe { libc::syscall(libc::SYS_rt_sigaction, signal, ignore.as_ptr(), 0_usize, 8_usize) };
        }
        // SAFETY: the kernel reads eight bytes and writes nothing.
        unsafe { libc::syscall(libc::SYS_rt_sigprocmask, libc::SIG_BLOCK as i64, &raw const every, 0_usize, 8_usize) };
    }
}

/// Both ends of a terminal: the emulator's and the programs'.
fn terminal() -> (OwnedFd, OwnedFd) {
    let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
    let master = openpt(flags).unwrap();
    unlockpt(&master).unwrap();
    let slave = ioctl_tiocgptpeer(&master, flags).unwrap();
    // Whoever has logged in on it is its owner.
    if common::available() {
        rustix::fs::fchown(&slave, Some(Uid::from_raw(GREG.uid())), None).unwrap();
    }
    (master, slave)
}

fn limited(mut call: Command, resource: Resource, value: u64) -> Command {
    raw::before_exec(&mut call, move || {
        Ok(setrlimit(resource, Rlimit { current: Some(value), maximum: Some(value) })?)
    });
    call
}

// ---------------------------------------------------------------------------------------------------------------------------
// The channel
// ---------------------------------------------------------------------------------------------------------------------------

#[test]
fn any_subset_of_the_streams_can_be_passed() {
    for passed in common::subsets_of_0_1_2() {
        let sandbox = Sandbox::new();
        let files = ["in", "out", "err"];
        sandbox.write("in", "question");
        let words: Vec<OsString> =
            (0..3).map(|fd| if passed.contains(&fd) { "-".into() } else { sandbox.at(files[fd as usize]) }).collect();
        let mut call = wrapper(&sandbox, words);
        call.args(["/bin/sh", "-c", "cat; echo complaint >&2; exit 5"]);
        let opened = |fd: i32| match fd {
            0 => File::open(sandbox.at("in")).unwrap(),
            fd => sandbox.create(files[fd as usize]),
        };
        let descriptors: Vec<File> = passed.iter().map(|fd| opened(*fd)).collect();
        let (running, starter) = start(call);
        let borrowed: Vec<_> = descriptors.iter().map(AsFd::as_fd).collect();
        assert_eq!(starter.start_job(NOTHING, &borrowed), Ok(()), "{passed:?}");
        let ended = running.end();
        assert_eq!((ended.code, ended.printed.as_str()), (Some(5), ""), "{passed:?}");
        assert_eq!((sandbox.read("out"), sandbox.read("err")), (b"question".to_vec(), b"complaint\n".to_vec()));
    }
}

#[test]
fn the_job_ends_as_itself() {
    let sandbox = Sandbox::new();
    for (script, code, signal) in
        [("exit 0", Some(0), None), ("exit 255", Some(255), None), ("kill -9 $$", None, Some(9))]
    {
        let (running, starter) = start(job(&sandbox, ["/bin/sh", "-c", script]));
        assert_eq!(starter.start_job(NOTHING, &[]), Ok(()));
        let ended = running.end();
        assert_eq!((ended.code, ended.signal), (code, signal), "{script}");
    }
}

#[test]
fn the_environment_may_come_byte_by_byte_and_the_descriptors_too() {
    let sandbox = Sandbox::new();
    let mut call = job(&sandbox, ["/usr/bin/env", "-0"]);
    call.env("A", "base").env("B", "base");
    let (running, mut starter) = start(call);
    starter.expect_hello();
    let raw = b"A=sent C='it''s two words' D=\0";
    starter.drip_bytes(&(raw.len() as i32).to_ne_bytes());
    starter.drip_bytes(raw);
    running.await_sleep();
    assert_eq!(starter.send_fresh_socket().outcome(), Ok(()));
    assert_eq!(running.end().code, Some(0));
    assert_eq!(set_of(&sandbox.read("out")), set_of(b"A=sent\0B=base\0C=it's two words\0D=\0"));
}

#[test]
fn everything_may_have_been_sent_before_it_is_read() {
    let sandbox = Sandbox::new();
    sandbox.write("in", "abc");
    let (mut starter, theirs) = Starter::new();
    starter.send_environment(b"A=1\0");
    starter.send_descriptor(&File::open(sandbox.at("in")).unwrap());
    starter.send_descriptor(&sandbox.create("out"));
    let fresh = starter.send_fresh_socket();
    starter.fall_silent();
    let mut call = wrapper(&sandbox, ["-", "-", "/dev/null"]);
    call.args(["/bin/sh", "-c", "cat; echo $A"]);
    let running = start_with(call, theirs);
    starter.expect_hello();
    assert_eq!(fresh.outcome(), Ok(()));
    assert_eq!(running.end().code, Some(0));
    assert_eq!(sandbox.read("out"), b"abc1\n");
}

#[test]
fn the_end_of_file_comes_at_exec_although_an_ancestor_holds_the_first_socket() {
    let sandbox = Sandbox::new();
    let (starter, theirs) = Starter::new();
    let held = theirs.try_clone().unwrap();
    let mut running = start_with(job(&sandbox, ["/bin/sleep", "600"]), theirs);
    assert_eq!(starter.start_job(NOTHING, &[]), Ok(()));
    assert!(running.is_alive(), "the job goes on");
    drop(held);
}

#[test]
fn a_starter_that_goes_away_leaves_no_job_behind() {
    type Step = fn(&mut Starter);
    let steps: [(&str, Step); 5] = [
        ("at once", |_| {}),
        ("within the length", |starter| starter.send_bytes(&[9, 0])),
        ("before the environment", |starter| starter.send_length(9)),
        ("within the environment", |starter| {
            starter.send_length(9);
            starter.send_bytes(b"A=1");
        }),
        ("before the descriptors", |starter| starter.send_environment(b"A=1\0")),
    ];
    for (when, step) in steps {
        let sandbox = Sandbox::new();
        let (running, mut starter) = start(marking_job(&sandbox, names(["/dev/null"; 3])));
        starter.expect_hello();
        step(&mut starter);
        drop(starter);
        let ended = running.end();
        assert_eq!(ended.code, Some(1), "{when}");
        assert!(ended.printed.contains("closed the channel"), "{when}: {:?}", ended.printed);
        assert!(!sandbox.has("started"), "{when}");
    }
}

#[test]
fn a_silent_or_slow_starter_is_given_up_with_a_text_on_the_first_socket() {
    type Step = fn(&mut Starter);
    let steps: [(&str, Step); 6] = [
        ("nothing at all", |_| {}),
        ("half a length", |starter| starter.send_bytes(&[9, 0])),
        ("a length", |starter| starter.send_length(9)),
        ("half an environment", |starter| {
            starter.send_length(9);
            starter.send_bytes(b"A=1");
        }),
        ("no fresh socket", |starter| starter.send_environment(b"A=1\0")),
        ("a byte a second", |starter| {
            starter.send_length(1000);
            let begin = Instant::now();
            while begin.elapsed() < limits::CHANNEL_DEADLINE + Duration::from_secs(5) {
                starter.send_bytes(b"A");
                std::thread::sleep(Duration::from_secs(1));
            }
        }),
    ];
    std::thread::scope(|scope| {
        for (what, step) in steps {
            scope.spawn(move || {
                let sandbox = Sandbox::new();
                let begin = Instant::now();
                let (running, mut starter) = start(marking_job(&sandbox, names(["/dev/null"; 3])));
                starter.expect_hello();
                std::thread::scope(|scope| {
                    let ended = scope.spawn(|| (running.end(), begin.elapsed()));
                    step(&mut starter);
                    let (ended, took) = ended.join().unwrap();
                    assert_eq!(ended.code, Some(1), "{what}");
                    assert!(ended.printed.contains("in time"), "{what}: {:?}", ended.printed);
                    // Each on a machine that other tests keep busy; but not the deadline twice.
                    let late = limits::CHANNEL_DEADLINE * 2;
                    assert!(took >= limits::CHANNEL_DEADLINE && took < late, "{what}: {took:?}");
                });
                assert!(text(&starter.rest()).contains("in time"), "{what}");
                assert!(!sandbox.has("started"), "{what}");
            });
        }
    });
}

// ---------------------------------------------------------------------------------------------------------------------------
// Arguments
// ---------------------------------------------------------------------------------------------------------------------------

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
        (sandbox.executable("interpreter", "#!/nonexistent\n"), "No such file or directory"),
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

// ---------------------------------------------------------------------------------------------------------------------------
// The environment
// ---------------------------------------------------------------------------------------------------------------------------

fn set_of(listed: &[u8]) -> BTreeSet<Vec<u8>> {
    listed.split(|byte| *byte == 0).filter(|entry| !entry.is_empty()).map(<[u8]>::to_vec).collect()
}

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

// ---------------------------------------------------------------------------------------------------------------------------
// The descriptors
// ---------------------------------------------------------------------------------------------------------------------------

#[test]
fn files_pipes_sockets_and_terminals_can_be_passed() {
    let sandbox = Sandbox::new();
    let (_master, slave) = terminal();
    let (socket, _other) = UnixStream::pair().unwrap();
    let null = File::options().read(true).write(true).open("/dev/null").unwrap();
    let (pipe, _end) = io::pipe().unwrap();
    let (_begin, end) = io::pipe().unwrap();
    let file = sandbox.create("file");
    for descriptor in [slave.as_fd(), socket.as_fd(), null.as_fd()] {
        let (running, starter) = start(wrapper(&sandbox, ["-", "-", "-", "/bin/true"]));
        assert_eq!(starter.start_job(NOTHING, &[descriptor; 3]), Ok(()));
        assert_eq!(running.end().code, Some(0));
    }
    let (running, starter) = start(wrapper(&sandbox, ["-", "-", "-", "/bin/true"]));
    assert_eq!(starter.start_job(NOTHING, &[pipe.as_fd(), end.as_fd(), file.as_fd()]), Ok(()));
    assert_eq!(running.end().code, Some(0));
}

#[test]
fn what_cannot_be_a_standard_stream_is_refused() {
    let sandbox = Sandbox::new();
    sandbox.write("file", "kept");
    let opened = |name: &str, flags: OFlags| open(sandbox.at(name), flags | OFlags::CLOEXEC, Mode::empty()).unwrap();
    let (pipe, end) = io::pipe().unwrap();
    let cases: [(OwnedFd, &[usize], &str); 6] = [
        (opened("file", OFlags::PATH), &[0, 1, 2], "O_PATH"),
        (opened("", OFlags::RDONLY), &[0, 1, 2], "directory"),
        (opened("file", OFlags::WRONLY), &[0], "not readable"),
        (opened("file", OFlags::RDONLY), &[1, 2], "not writable"),
        (pipe.into(), &[1, 2], "not writable"),
        (end.into(), &[0], "not readable"),
    ];
    for (descriptor, places, why) in cases {
        for &place in places {
            let mut words = ["/dev/null"; 3];
            words[place] = "-";
            let text = refusal(&sandbox, marking_job(&sandbox, names(words)), NOTHING, &[descriptor.as_fd()]);
            expect_words(&text, &[STREAMS[place], why]);
        }
    }
    assert_eq!(sandbox.read("file"), b"kept");
}

/// A name, what is sent with this descriptor at hand, and what the wrapper says to it.
type OddMessage = (&'static str, fn(&mut Starter, &OwnedFd), &'static str);

/// What a message can be instead of one NUL with one descriptor.
fn odd_messages() -> [OddMessage; 7] {
    [
        ("no descriptor", |starter, _| starter.send_bytes(&[0]), "has no descriptor"),
        ("two descriptors", |starter, fd| starter.send_message(&[0], &[fd.as_fd(); 2]), "more than one descriptor"),
        (
            "as many as there can be",
            |starter, fd| starter.send_message(&[0], &[fd.as_fd(); MOST_DESCRIPTORS]),
            "more than one descriptor",
        ),
        ("another byte", |starter, fd| starter.send_message(&[1], &[fd.as_fd()]), "is not a NUL"),
        ("two bytes", |starter, fd| starter.send_message(&[0, 0], &[fd.as_fd()]), "descriptor"),
        ("a hundred bytes", |starter, fd| starter.send_message(&[0; 100], &[fd.as_fd()]), "descriptor"),
        ("credentials", |starter, _| starter.send_credentials(), "has no descriptor"),
    ]
}

#[test]
fn a_message_that_is_not_one_nul_with_one_descriptor_is_explained_on_the_fresh_socket() {
    for place in 0..3 {
        for (what, send, why) in odd_messages() {
            let sandbox = Sandbox::new();
            let null: OwnedFd = File::options().read(true).write(true).open("/dev/null").unwrap().into();
            let (running, mut starter) = start(marking_job(&sandbox, names(["-"; 3])));
            starter.expect_hello();
            starter.send_environment(NOTHING);
            for at in 0..3 {
                if at == place {
                    send(&mut starter, &null);
                } else {
                    starter.send_descriptor(&null);
                }
            }
            let text = starter.send_fresh_socket().outcome().expect_err(what);
            assert!(text.contains(why), "{place}, {what}: {text}");
            expect_no_job(&sandbox, running);
        }
    }
}

#[test]
fn an_odd_message_with_the_fresh_socket_starts_no_job() {
    for (what, send, why) in odd_messages() {
        let sandbox = Sandbox::new();
        let (fresh, theirs) = Fresh::new();
        let (running, mut starter) = start(marking_job(&sandbox, names(["/dev/null"; 3])));
        starter.expect_hello();
        starter.send_environment(NOTHING);
        send(&mut starter, &theirs);
        drop(theirs);
        starter.fall_silent();
        // Where a socket came, the text comes there, else on the first one.
        let (heard, first) = (fresh.outcome(), starter.rest());
        let text = match heard {
            Err(heard) => {
                assert_eq!(first, b"", "{what}");
                assert_eq!(running.end().code, Some(1), "{what}");
                heard
            }
            Ok(()) => {
                expect_printed(&sandbox, running, "descriptor");
                text(&first)
            }
        };
        assert!(text.contains(why) || text.contains("more than was agreed"), "{what}: {text}");
        assert!(!sandbox.has("started"), "{what}");
    }
}

#[test]
fn a_fresh_socket_that_is_none_is_explained_on_the_first() {
    let sandbox = Sandbox::new();
    let (datagrams, _) = UnixDatagram::pair().unwrap();
    for other in [OwnedFd::from(File::open("/dev/null").unwrap()), datagrams.into()] {
        let (running, mut starter) = start(marking_job(&sandbox, names(["/dev/null"; 3])));
        starter.expect_hello();
        starter.send_environment(NOTHING);
        starter.send_descriptor(&other);
        starter.fall_silent();
        expect_words(&text(&starter.rest()), &["fresh socket"]);
        expect_printed(&sandbox, running, "fresh socket");
    }
}

/// The reason that no job is started is for the Starter and nobody else, however slow the Starter is.
#[test]
fn a_stream_that_is_a_socket_is_not_taken_for_the_fresh_one() {
    let sandbox = Sandbox::new();
    let (running, mut starter) = start(marking_job(&sandbox, names(["-", "/dev/null", "/dev/null"])));
    let (mut ours, theirs) = UnixStream::pair().unwrap();
    starter.expect_hello();
    starter.send_length(-1);
    starter.send_descriptor(&theirs);
    drop(theirs);
    std::thread::sleep(Duration::from_millis(1500));
    let heard = starter.send_fresh_socket().outcome();
    let mut said = Vec::new();
    ours.read_to_end(&mut said).unwrap();
    assert_eq!(String::from_utf8_lossy(&said), "", "the standard input hears what the Starter should");
    expect_words(&heard.unwrap_err(), &["length"]);
    expect_no_job(&sandbox, running);
}

#[test]
fn descriptors_among_the_environment_are_closed_and_refused() {
    let sandbox = Sandbox::new();
    let (running, mut starter) = start(marking_job(&sandbox, names(["/dev/null"; 3])));
    let (read, write) = io::pipe().unwrap();
    starter.expect_hello();
    starter.send_length(4);
    starter.send_message(b"A=1\0", &[write.as_fd(); 20]);
    drop(write);
    running.await_sleep();
    let mut none = Vec::new();
    (&read).read_to_end(&mut none).expect("nobody holds the pipe any more");
    let text = starter.send_fresh_socket().outcome().expect_err("a text");
    expect_words(&text, &["descriptor"]);
    expect_no_job(&sandbox, running);
}

#[test]
fn a_tight_limit_on_descriptors_is_explained() {
    let null: OwnedFd = File::options().read(true).write(true).open("/dev/null").unwrap().into();
    let passing = names(["-"; 3]);
    let naming = names(["/dev/null"; 3]);
    // 0, 1, 2 and the socket are 4; where the fresh socket still finds a place, the text comes there.
    for (limit, words, passed, why) in [
        (5, passing, 3, "no descriptor is free"),
        (6, passing, 3, "no descriptor is free"),
        (5, naming, 0, "(os error 24)"),
        (6, naming, 0, "(os error 24)"),
        (7, naming, 0, "(os error 24)"),
    ] {
        let sandbox = Sandbox::new();
        let call = limited(marking_job(&sandbox, words), Resource::Nofile, limit);
        expect_words(&refusal(&sandbox, call, NOTHING, &vec![null.as_fd(); passed]), &[why]);
    }
    // Here it is the fresh socket that finds none.
    for (limit, words, passed) in [(4, passing, 3), (7, passing, 3), (4, naming, 0)] {
        let sandbox = Sandbox::new();
        let (running, mut starter) = start(limited(marking_job(&sandbox, words), Resource::Nofile, limit));
        starter.expect_hello();
        starter.send_environment(NOTHING);
        (0..passed).for_each(|_| starter.send_descriptor(&null));
        let fresh = starter.send_fresh_socket();
        starter.fall_silent();
        expect_words(&text(&starter.rest()), &["no descriptor is free"]);
        expect_printed(&sandbox, running, "no descriptor is free");
        drop(fresh);
    }
    let sandbox = Sandbox::new();
    let (running, _starter) = start(limited(marking_job(&sandbox, naming), Resource::Nofile, 3));
    expect_printed(&sandbox, running, "cannot take the socket");
    for words in [passing, naming] {
        let sandbox = Sandbox::new();
        let (running, starter) = start(limited(marking_job(&sandbox, words), Resource::Nofile, 8));
        let passed = if words == passing { 3 } else { 0 };
        assert_eq!(starter.start_job(NOTHING, &vec![null.as_fd(); passed]), Ok(()));
        drop(running);
    }
}

#[test]
fn an_fd_0_that_is_not_the_starters_socket_is_an_error_on_stderr() {
    let sandbox = Sandbox::new();
    let (datagrams, _one) = UnixDatagram::pair().unwrap();
    let (pipe, _two) = io::pipe().unwrap();
    let inputs: [OwnedFd; 3] = [File::open("/dev/null").unwrap().into(), datagrams.into(), pipe.into()];
    for input in inputs {
        let running = start_with(marking_job(&sandbox, names(["/dev/null"; 3])), input);
        expect_printed(&sandbox, running, "standard input is not the Starter's socket");
    }
}

#[test]
fn all_eight_combinations_of_closed_standard_descriptors() {
    for closed in common::subsets_of_0_1_2() {
        for passed in [false, true] {
            let sandbox = Sandbox::new();
            let mut call = if passed {
                let mut call = wrapper(&sandbox, ["-"; 3]);
                call.args(["/bin/ls", "/proc/self/fd"]);
                call
            } else {
                job(&sandbox, ["/bin/ls", "/proc/self/fd"])
            };
            let list = closed.clone();
            raw::before_exec(&mut call, move || {
                list.iter().for_each(|descriptor| raw::close(*descriptor));
                Ok(())
            });
            let (running, starter) = start(call);
            if closed.contains(&0) {
                let ended = running.end();
                assert_eq!(ended.code, Some(1), "{closed:?}");
                assert_eq!(ended.printed.contains("not the Starter's socket"), !closed.contains(&2), "{closed:?}");
                assert_eq!(starter.rest(), b"", "{closed:?}");
                assert!(!sandbox.has("out"), "{closed:?}");
                continue;
            }
            let descriptors = [File::open("/dev/null").unwrap(), sandbox.create("out"), sandbox.create("err")];
            let borrowed: Vec<_> = descriptors.iter().map(AsFd::as_fd).collect();
            assert_eq!(starter.start_job(NOTHING, if passed { &borrowed } else { &[] }), Ok(()), "{closed:?}");
            let ended = running.end();
            assert_eq!((ended.code, ended.printed.as_str()), (Some(0), ""), "{closed:?}");
            // The last one is the directory itself.
            assert_eq!(sandbox.read("out"), b"0\n1\n2\n3\n", "{closed:?}");
        }
    }
}

// ---------------------------------------------------------------------------------------------------------------------------
// Files by name
// ---------------------------------------------------------------------------------------------------------------------------

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

// ---------------------------------------------------------------------------------------------------------------------------
// What the job inherits
// ---------------------------------------------------------------------------------------------------------------------------

#[test]
fn signals_are_as_a_program_expects_them_and_nothing_is_confined() {
    let sandbox = Sandbox::new();
    let mut call = job(&sandbox, ["/bin/cat", "/proc/self/status"]);
    raw::before_exec(&mut call, || {
        rustix::process::umask(Mode::from_raw_mode(0o013));
        raw::close_ears();
        Ok(())
    });
    let status = output(&sandbox, call);
    for mask in ["SigPnd", "SigBlk", "SigIgn", "SigCgt"] {
        assert_eq!(field(&status, mask), "0000000000000000", "{mask}");
    }
    let own = fs::read_to_string("/proc/self/status").unwrap();
    // As root, the account is another one than the test's.
    let of_account = if common::available() { [].as_slice() } else { &["Uid", "Gid", "Groups", "CapPrm", "CapEff"] };
    let same = ["NoNewPrivs", "Seccomp", "CapInh", "CapBnd", "CapAmb", "Cpus_allowed"];
    for same in same.iter().chain(of_account) {
        assert_eq!(field(&status, same), field(&own, same), "{same}");
    }
    assert_eq!(field(&status, "Umask"), "0013");
}

#[test]
fn account_groups_and_no_new_privs_are_the_callers() {
    if Site::new().is_none() {
        return;
    }
    let (uid, gid, further) = (Uid::from_raw(GREG.uid()), Gid::from_raw(GREG.gid()), Gid::from_raw(54_321));
    for no_new_privs in [false, true] {
        let sandbox = Sandbox::new();
        let mut call = job(&sandbox, ["/bin/cat", "/proc/self/status"]);
        // Root until it has set the groups: Command leaves no further ones.
        call.uid(0).gid(0);
        raw::before_exec(&mut call, move || {
            set_thread_groups(&[gid, further])?;
            set_thread_res_gid(gid, gid, gid)?;
            set_thread_res_uid(uid, uid, uid)?;
            if no_new_privs {
                set_no_new_privs(true)?;
            }
            Ok(())
        });
        let status = output(&sandbox, call);
        let words = |name: &str| field(&status, name).split_whitespace().collect::<Vec<_>>();
        assert_eq!(words("Uid"), vec![uid.to_string(); 4]);
        assert_eq!(words("Gid"), vec![gid.to_string(); 4]);
        assert_eq!(words("Groups"), [gid.to_string(), further.to_string()]);
        assert_eq!(words("NoNewPrivs"), [u8::from(no_new_privs).to_string()]);
        for none in ["CapPrm", "CapEff"] {
            assert_eq!(words(none), ["0000000000000000"], "{none}");
        }
    }
}

#[test]
fn only_0_1_and_2_are_open() {
    let sandbox = Sandbox::new();
    let mut call = job(&sandbox, ["/bin/ls", "/proc/self/fd"]);
    raw::before_exec(&mut call, || {
        for _ in 0..300 {
            std::mem::forget(rustix::io::dup(rustix::stdio::stdin())?);
        }
        Ok(())
    });
    assert_eq!(output(&sandbox, call), "0\n1\n2\n3\n", "the last one is the directory itself");
}

#[test]
fn process_session_directory_and_limits_stay() {
    let sandbox = Sandbox::new();
    let mut call = job(&sandbox, ["/bin/cat", "/proc/self/stat", "/proc/self/limits"]);
    raw::before_exec(&mut call, || {
        rustix::process::setsid()?;
        for (resource, current, maximum) in
            [(Resource::Nofile, 77, 99), (Resource::Core, 0, 5), (Resource::Fsize, 1 << 20, 1 << 30)]
        {
            setrlimit(resource, Rlimit { current: Some(current), maximum: Some(maximum) })?;
        }
        Ok(())
    });
    let (running, starter) = start(call);
    let pid = running.child.id().to_string();
    assert_eq!(starter.start_job(NOTHING, &[]), Ok(()));
    assert_eq!(running.end().code, Some(0));
    let listed = String::from_utf8(sandbox.read("out")).unwrap();
    let numbers: Vec<_> = listed.lines().next().unwrap().split(' ').collect();
    assert_eq!((numbers[0], numbers[5]), (&pid[..], &pid[..]), "process and session");
    for (limit, expected) in
        [("Max open files", "77 99"), ("Max core file size", "0 5"), ("Max file size", "1048576 1073741824")]
    {
        let words: Vec<_> = field(&listed, limit).split_whitespace().take(2).collect();
        assert_eq!(words.join(" "), expected, "{limit}");
    }
    let where_it_is = output(&sandbox, job(&sandbox, ["/bin/readlink", "/proc/self/cwd"]));
    assert_eq!(Path::new(where_it_is.trim_end()), sandbox.path.canonicalize().unwrap());
}

/// A call in the sandbox below a session's leader that is not the call itself, and stays.
fn below_a_leader<A: AsRef<OsStr>>(sandbox: &Sandbox, words: impl IntoIterator<Item = A>) -> Command {
    let mut call = in_sandbox(sandbox, "/bin/sh");
    call.args(["-c", "exec 3<&0; \"$@\" <&3 & exec 3<&-; wait $!", "sh"]).args(words);
    call
}

/// Lets the call lead a session, with this controlling terminal.
fn control(call: &mut Command, terminal: &OwnedFd) {
    let terminal = terminal.try_clone().unwrap();
    raw::before_exec(call, move || {
        rustix::process::setsid()?;
        Ok(rustix::process::ioctl_tiocsctty(&terminal)?)
    });
}

#[test]
fn there_is_no_controlling_terminal() {
    for leader in [true, false] {
        let sandbox = Sandbox::new();
        let (_master, slave) = terminal();
        let script = "cat /proc/self/stat; if (: < /dev/tty) 2> /dev/null; then echo terminal; fi; exit 0";
        let job = job(&sandbox, ["/bin/sh", "-c", script]);
        let mut call = match leader {
            true => job,
            false => below_a_leader(&sandbox, std::iter::once(job.get_program()).chain(job.get_args())),
        };
        control(&mut call, &slave);
        let stat = output(&sandbox, call);
        let terminal = stat.lines().next().unwrap().rsplit(") ").next().unwrap().split(' ').nth(4).unwrap();
        assert_eq!(terminal, "0", "{leader}: {stat}");
        assert_eq!(stat.lines().count(), 1, "{leader}: {stat}");
    }
}

/// Says that this process is the job that types.
const TYPES: &str = "GLEXEC_RS_TYPES";

/// Not a test of its own: a job that types into its standard streams and `/dev/tty`, which become its controlling terminal if they can, and
/// leaves in `typed` what it could do.
#[test]
fn type_into_the_terminal() {
    if std::env::var_os(TYPES).is_none() {
        return;
    }
    let mut done = String::new();
    for name in ["/proc/self/fd/0", "/proc/self/fd/1", "/proc/self/fd/2", "/dev/tty"] {
        let Ok(terminal) = File::options().read(true).write(true).open(name) else { continue };
        for (what, succeeded) in [
            ("takes it", rustix::process::ioctl_tiocsctty(&terminal).is_ok()),
            ("controls it", rustix::termios::tcgetpgrp(&terminal).is_ok()),
            ("types", raw::type_newline(&terminal).is_ok()),
            ("pastes", raw::paste(&terminal).is_ok()),
        ] {
            done += &if succeeded { format!("{name}: {what}\n") } else { String::new() };
        }
    }
    fs::write("typed", done).unwrap();
}

#[test]
fn nothing_is_typed_into_the_callers_terminal_though_it_is_passed() {
    if Site::new().is_none() {
        return;
    }
    let legacy = fs::read_to_string("/proc/sys/dev/tty/legacy_tiocsti").is_ok_and(|on| on.trim() == "1");
    for new_session in [false, true] {
        for wrapped in [true, false] {
            let sandbox = Sandbox::new();
            let typist = sandbox.root.join("typist");
            common::install_built(&std::env::current_exe().unwrap(), &typist);
            let mut words: Vec<OsString> = vec![typist.into(), "--exact".into(), "type_into_the_terminal".into()];
            if new_session {
                words.splice(0..0, ["/usr/bin/setsid".into(), "--wait".into()]);
            }
            if wrapped {
                words.splice(0..0, [sandbox.wrapper.clone().into(), "-".into(), "-".into(), "-".into()]);
            }
            let (_master, slave) = terminal();
            let mut call = below_a_leader(&sandbox, words);
            call.env(TYPES, "1");
            control(&mut call, &slave);
            if wrapped {
                let (running, starter) = start(call);
                assert_eq!(starter.start_job(NOTHING, &[slave.as_fd(); 3]), Ok(()));
                assert_eq!(running.end().code, Some(0));
            } else {
                let stream = || Stdio::from(slave.try_clone().unwrap());
                assert!(call.stdin(stream()).stdout(stream()).stderr(stream()).status().unwrap().success());
            }
            let typed = String::from_utf8(sandbox.read("typed")).unwrap();
            let waiting = rustix::io::ioctl_fionread(&slave).unwrap();
            if wrapped {
                assert_eq!((typed.as_str(), waiting), ("", 0), "{new_session}");
            } else if !new_session {
                // The job is worth something: without the wrapper it has its way, as far as the kernel still lets anybody.
                assert!(typed.contains("controls it"), "{typed}");
                assert_eq!(waiting > 0, legacy, "{typed}");
            }
        }
    }
}

#[test]
fn the_working_directory_has_to_be_the_accounts_own() {
    let sandbox = Sandbox::new();
    let foreign = if geteuid().is_root() {
        let directory = sandbox.at("foreign");
        fs::create_dir(&directory).unwrap();
        chown(&directory, Some(12345), None).unwrap();
        PathBuf::from(directory)
    } else {
        "/".into()
    };
    let mut call = marking_job(&sandbox, names(["/dev/null"; 3]));
    call.current_dir(foreign);
    expect_words(&refusal(&sandbox, call, NOTHING, &[]), &["working directory", "uid"]);
}

#[test]
fn nobody_traces_the_wrapper_and_the_job_is_an_ordinary_process() {
    let Some(site) = Site::new() else { return };
    let sandbox = site.handed_over();
    let (mut starter, theirs) = Starter::new();
    let running = site
        .call("condor_glexec_job_wrapper")
        .account(GREG)
        .args(["/dev/null", "/dev/null", "/dev/null", "/bin/sleep", "600"])
        .cwd(&sandbox.path)
        .input(theirs)
        .start();
    // Whose a process' files in /proc are: root's while it must not be looked into, else its account's.
    let environ = format!("/proc/{}/environ", running.pid());
    starter.expect_hello();
    assert_eq!(fs::metadata(&environ).unwrap().uid(), 0, "the wrapper can be traced");
    starter.send_environment(b"SECRET=1\0");
    assert_eq!(starter.send_fresh_socket().outcome(), Ok(()));
    assert_eq!(fs::metadata(&environ).unwrap().uid(), GREG.uid(), "the job cannot look at itself");
    let mut running = running;
    running.kill();
    assert_eq!(running.finish().signal, Some(9));
}

impl Starter {
    /// One NUL with this process' credentials instead of a descriptor.
    fn send_credentials(&mut self) {
        let own = UCred { pid: getpid(), uid: geteuid(), gid: getegid() };
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmCredentials(1))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        assert!(control.push(SendAncillaryMessage::ScmCredentials(own)));
        assert_eq!(sendmsg(self, &[IoSlice::new(&[0])], &mut control, SendFlags::NOSIGNAL), Ok(1));
    }
}

/// Where `/dev/tty` may not be opened, the caller's terminal cannot be given up: then no job gets it.
#[test]
fn a_terminal_that_cannot_be_given_up_is_not_the_jobs() {
    if Site::new().is_none() {
        return;
    }
    for errno in ["EACCES", "EPERM"] {
        let sandbox = Sandbox::new();
        let (_master, slave) = terminal();
        let strace = ["/usr/bin/strace", "-qq", "-o", "/dev/null", "-b", "execve", "-e"].map(OsString::from);
        let inject = OsString::from(format!("inject=open:error={errno}"));
        let words = [sandbox.wrapper.clone().into(), "-".into(), "-".into(), "-".into()];
        let script = "cut -d' ' -f7 /proc/self/stat > terminal";
        let mut call = below_a_leader(&sandbox, strace.into_iter().chain([inject]).chain(words));
        call.args(["/bin/sh", "-c", script]);
        control(&mut call, &slave);
        let (running, starter) = start(call);
        let outcome = starter.start_job(NOTHING, &[slave.as_fd(); 3]);
        let _ = running.end();
        assert!(
            outcome.is_err() || sandbox.read("terminal") == b"0\n",
            "{errno}: {:?}",
            String::from_utf8(sandbox.read("terminal"))
        );
    }
}

//! A sandbox for the wrapper, and a Starter's stand-in that drives it.

use crate::common::{GREG, write_program};
use crate::starter::Starter;
use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, UCred, sendmsg};
use rustix::process::{Uid, getegid, geteuid, getpid};
use rustix::pty::{OpenptFlags, ioctl_tiocgptpeer, openpt, unlockpt};
use std::collections::BTreeSet;
use std::ffi::{CString, OsStr, OsString};
use std::fs::{self, File};
use std::io::{self, IoSlice, Read};
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::lchown;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// An empty environment on the channel.
pub const NOTHING: &[u8] = b"\0";

/// After this long the wrapper or the job hangs.
pub const TIME_LIMIT: Duration = Duration::from_secs(120);

/// The streams by the names that are used for them.
pub const STREAMS: [&str; 3] = ["standard input", "standard output", "standard error"];

/// A directory of the account that the job gets: the target's, or without root the test's own. The wrapper is beside
/// it, where that account gets at it. Removed in the end.
pub struct Sandbox {
    pub root: PathBuf,
    pub path: PathBuf,
    pub wrapper: PathBuf,
}

impl Sandbox {
    pub fn new() -> Self {
        let root = crate::common::new_directory(&std::env::temp_dir(), "glexec-rs-tests.wrapper.");
        let sandbox = Sandbox { path: root.join("sandbox"), wrapper: root.join("wrapper"), root };
        crate::common::install_built(&crate::common::built_program("condor_glexec_job_wrapper"), &sandbox.wrapper);
        fs::create_dir(&sandbox.path).unwrap();
        give(&sandbox.path);
        sandbox
    }

    pub fn at(&self, name: impl AsRef<OsStr>) -> OsString {
        self.path.join(name.as_ref()).into_os_string()
    }

    pub fn read(&self, name: &str) -> Vec<u8> {
        fs::read(self.at(name)).unwrap()
    }

    /// A file of the job's.
    pub fn write(&self, name: impl AsRef<OsStr>, content: &str) {
        fs::write(self.at(&name), content).unwrap();
        give(self.at(name).as_ref());
    }

    /// A file of the job's that is empty and open for writing.
    pub fn create(&self, name: &str) -> File {
        let file = File::create(self.at(name)).unwrap();
        give(self.at(name).as_ref());
        file
    }

    pub fn has(&self, name: &str) -> bool {
        fs::symlink_metadata(self.at(name)).is_ok()
    }

    /// An executable file.
    pub fn executable(&self, name: impl AsRef<OsStr>, content: &str) -> OsString {
        let path = self.at(name);
        write_program(Path::new(&path), content);
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
pub fn give(path: &Path) {
    if crate::common::available() {
        lchown(path, Some(GREG.uid()), Some(GREG.gid())).unwrap();
    }
}

/// Keeps what is called from the test as `glexec_rootless` does, as far as the wrapper can tell: in one account it
/// starts no job otherwise.
#[allow(unsafe_code)]
fn confine(call: &mut Command) {
    use landlock::{Ruleset, RulesetAttr, Scope};
    use seccompiler::{SeccompAction, SeccompFilter, apply_filter};
    let allow = SeccompAction::Allow;
    let architecture = std::env::consts::ARCH.try_into().unwrap();
    let filter = SeccompFilter::new([].into(), allow.clone(), SeccompAction::Errno(1), architecture).unwrap();
    let filter: seccompiler::BpfProgram = filter.try_into().unwrap();
    let take_on = move || {
        let ruleset = Ruleset::default().scope(Scope::Signal).and_then(Ruleset::create).map_err(io::Error::other)?;
        ruleset.restrict_self().map_err(io::Error::other)?;
        apply_filter(&filter).map_err(io::Error::other)
    };
    // SAFETY: the test program's other threads may hold a lock at the fork; musl's allocator is made ready for that.
    unsafe { call.pre_exec(take_on) };
}

/// A call of a program in the sandbox with no environment, as the job's account.
pub fn in_sandbox(sandbox: &Sandbox, program: impl AsRef<OsStr>) -> Command {
    let mut call = Command::new(program);
    call.env_clear().current_dir(&sandbox.path);
    if crate::common::available() {
        call.uid(GREG.uid()).gid(GREG.gid());
    } else {
        confine(&mut call);
    }
    call
}

/// A call of the wrapper in the sandbox, with these arguments and no environment.
pub fn wrapper<A: AsRef<OsStr>>(sandbox: &Sandbox, arguments: impl IntoIterator<Item = A>) -> Command {
    let mut call = in_sandbox(sandbox, &sandbox.wrapper);
    call.args(arguments);
    call
}

/// A call for this job, with `/dev/null`, `out` and `err` as its streams.
pub fn job<C: AsRef<OsStr>>(sandbox: &Sandbox, command: impl IntoIterator<Item = C>) -> Command {
    let mut call = wrapper(sandbox, ["/dev/null".into(), sandbox.at("out"), sandbox.at("err")]);
    call.args(command);
    call
}

/// A call with these three names for a job that leaves `started`.
pub fn marking_job(sandbox: &Sandbox, names: [&OsStr; 3]) -> Command {
    let mut call = wrapper(sandbox, names);
    call.arg("/usr/bin/touch").arg(sandbox.at("started"));
    call
}

pub fn names(names: [&str; 3]) -> [&OsStr; 3] {
    names.map(OsStr::new)
}

/// The wrapper, and later the job that it has become.
pub struct Running {
    pub child: Child,
}

pub struct Ended {
    pub code: Option<i32>,
    pub signal: Option<i32>,
    /// What the wrapper printed on 1 and 2.
    pub printed: String,
}

pub fn start(call: Command) -> (Running, Starter) {
    let (starter, theirs) = Starter::new();
    (start_with(call, theirs), starter)
}

pub fn start_with(mut call: Command, input: impl Into<Stdio>) -> Running {
    call.stdin(input).stdout(Stdio::piped()).stderr(Stdio::piped());
    Running { child: call.spawn().unwrap() }
}

impl Running {
    #[track_caller]
    pub fn end(mut self) -> Ended {
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

    pub fn is_alive(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    pub fn proc(&self, file: &str) -> PathBuf {
        PathBuf::from(format!("/proc/{}/{file}", self.child.id()))
    }

    /// Waits until it has done all that it can and sleeps.
    pub fn await_sleep(&self) {
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
pub fn output_with(sandbox: &Sandbox, call: Command, raw: &[u8]) -> Vec<u8> {
    let (running, starter) = start(call);
    assert_eq!(starter.start_job(raw, &[]), Ok(()));
    let ended = running.end();
    assert_eq!((ended.code, ended.printed.as_str()), (Some(0), ""), "err: {:?}", sandbox.read("err"));
    sandbox.read("out")
}

#[track_caller]
pub fn output(sandbox: &Sandbox, call: Command) -> String {
    String::from_utf8(output_with(sandbox, call, NOTHING)).unwrap()
}

/// The wrapper explains itself on the fresh socket after this environment and these descriptors.
#[track_caller]
pub fn refusal(sandbox: &Sandbox, call: Command, raw: &[u8], passed: &[BorrowedFd]) -> String {
    let (running, starter) = start(call);
    let why = starter.start_job(raw, passed).expect_err("the job should have been refused");
    expect_no_job(sandbox, running);
    why
}

/// It ends with 1, has printed nothing (who reads the fresh socket has the reason), and there was no job.
#[track_caller]
pub fn expect_no_job(sandbox: &Sandbox, running: Running) {
    let ended = running.end();
    assert_eq!((ended.code, ended.printed.as_str()), (Some(1), ""));
    assert!(!sandbox.has("started"), "the job was started");
}

#[track_caller]
pub fn expect_words(text: &str, words: &[&str]) {
    for word in words {
        assert!(text.contains(word), "{word:?} is missing in {text:?}");
    }
}

/// The value of one line `Name: value` of a file of /proc.
pub fn field<'t>(text: &'t str, name: &str) -> &'t str {
    let line = text.lines().find(|line| line.starts_with(name)).unwrap_or_else(|| panic!("{name} is not in {text:?}"));
    line[name.len()..].trim_start_matches(':').trim()
}

#[allow(unsafe_code)]
pub mod raw {
    use super::*;

    /// Does `work` in the child before it executes the wrapper. `work` makes system calls only.
    pub fn before_exec(call: &mut Command, work: impl FnMut() -> io::Result<()> + Send + Sync + 'static) {
        // SAFETY: the callers only make system calls, without allocating or locking.
        unsafe { call.pre_exec(work) };
    }

    /// Lets `call` execute its program with exactly these arguments (also none) and this environment (also what is
    /// none).
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
pub fn terminal() -> (OwnedFd, OwnedFd) {
    let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
    let master = openpt(flags).unwrap();
    unlockpt(&master).unwrap();
    let slave = ioctl_tiocgptpeer(&master, flags).unwrap();
    // Whoever has logged in on it is its owner.
    if crate::common::available() {
        rustix::fs::fchown(&slave, Some(Uid::from_raw(GREG.uid())), None).unwrap();
    }
    (master, slave)
}

pub fn set_of(listed: &[u8]) -> BTreeSet<Vec<u8>> {
    listed.split(|byte| *byte == 0).filter(|entry| !entry.is_empty()).map(<[u8]>::to_vec).collect()
}

impl Starter {
    /// One NUL with this process' credentials instead of a descriptor.
    pub fn send_credentials(&mut self) {
        let own = UCred { pid: getpid(), uid: geteuid(), gid: getegid() };
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmCredentials(1))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        assert!(control.push(SendAncillaryMessage::ScmCredentials(own)));
        assert_eq!(sendmsg(self, &[IoSlice::new(&[0])], &mut control, SendFlags::NOSIGNAL), Ok(1));
    }
}

//! Calling a program exactly as HTCondor's Starter or ProcD does.

#![allow(unsafe_code)] // what a child does between fork and exec

use super::account::{Account, PILOT};
use rustix::process::{Resource, Rlimit};
use std::ffi::{OsStr, OsString};
use std::fmt::{self, Debug, Formatter};
use std::io::{PipeReader, Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// After this long a helper hangs, and the test has failed.
const TIME_LIMIT: Duration = Duration::from_secs(180);

/// One call of a program, by default as the Starter makes it: as the pilot, without further groups, umask 022, fd 0
/// `/dev/null`, 1 and 2 one pipe, nothing above, SIGPIPE at its default, and the pilot's secrets in the environment.
pub struct Call {
    program: PathBuf,
    arguments: Vec<OsString>,
    account: Account,
    directory: Option<PathBuf>,
    variables: Vec<(OsString, OsString)>,
    umask: u32,
    closed: Vec<i32>,
    extra_descriptors: usize,
    separate_errors: bool,
    ignore_sigpipe: bool,
    traced: bool,
    limits: Vec<(Resource, u64)>,
    time_limit: Duration,
    input: Option<OwnedFd>,
    last: Option<Last>,
}

/// What a child does at the very last before it executes a program: system calls, and nothing else.
type Last = Box<dyn FnMut() -> std::io::Result<()> + Send + Sync>;

/// How a call ended.
pub struct Finished {
    /// The exit code, if it exited.
    pub code: Option<i32>,
    /// The signal, if one killed it.
    pub signal: Option<i32>,
    /// What came on 1, and on 2 unless that is separate.
    pub output: String,
    /// What came on 2, if that is separate.
    pub errors: String,
}

/// A call that may still be going on.
pub struct Running {
    child: Child,
    output: JoinHandle<Vec<u8>>,
    errors: Option<JoinHandle<Vec<u8>>>,
    deadline: Instant,
    name: String,
}

impl Call {
    /// A call of the program at this absolute path.
    pub fn new(program: impl Into<PathBuf>) -> Self {
        Call {
            program: program.into(),
            arguments: Vec::new(),
            account: PILOT,
            directory: None,
            variables: starter_environment(),
            umask: 0o022,
            closed: Vec::new(),
            extra_descriptors: 0,
            separate_errors: false,
            ignore_sigpipe: false,
            traced: false,
            limits: Vec::new(),
            time_limit: TIME_LIMIT,
            input: None,
            last: None,
        }
    }

    /// One more argument, byte for byte.
    pub fn arg(mut self, argument: impl AsRef<OsStr>) -> Self {
        self.arguments.push(argument.as_ref().to_owned());
        self
    }

    /// More arguments.
    pub fn args<A: AsRef<OsStr>>(self, arguments: impl IntoIterator<Item = A>) -> Self {
        arguments.into_iter().fold(self, Call::arg)
    }

    /// All arguments anew.
    pub fn only_args<A: AsRef<OsStr>>(mut self, arguments: impl IntoIterator<Item = A>) -> Self {
        self.arguments.clear();
        self.args(arguments)
    }

    /// As this account instead of the pilot.
    pub fn account(mut self, account: Account) -> Self {
        self.account = account;
        self
    }

    /// The working directory (entered as the account). Without it, that of the test.
    pub fn cwd(mut self, directory: impl Into<PathBuf>) -> Self {
        self.directory = Some(directory.into());
        self
    }

    /// Sets a variable beside those of the Starter.
    pub fn env(mut self, name: impl Into<OsString>, value: impl Into<OsString>) -> Self {
        let name = name.into();
        self.variables.retain(|(there, _)| *there != name);
        self.variables.push((name, value.into()));
        self
    }

    /// Removes a variable.
    pub fn without_env(mut self, name: &str) -> Self {
        self.variables.retain(|(there, _)| there != name);
        self
    }

    /// The umask.
    pub fn umask(mut self, umask: u32) -> Self {
        self.umask = umask;
        self
    }

    /// Closes these of 0, 1 and 2.
    pub fn closed(mut self, descriptors: &[i32]) -> Self {
        self.closed = descriptors.to_vec();
        self
    }

    /// Leaves this many more descriptors open that are not close-on-exec.
    pub fn extra_descriptors(mut self, count: usize) -> Self {
        self.extra_descriptors = count;
        self
    }

    /// Gives 2 a pipe of its own.
    pub fn separate_errors(mut self) -> Self {
        self.separate_errors = true;
        self
    }

    /// SIGPIPE ignored, as the ProcD and the Starter's run have it.
    pub fn ignore_sigpipe(mut self) -> Self {
        self.ignore_sigpipe = true;
        self
    }

    /// Stops at its first instruction, for the thread that starts it to trace it (ptrace(2), `PTRACE_TRACEME`).
    pub fn traced(mut self) -> Self {
        self.traced = true;
        self
    }

    /// A resource limit, soft and hard.
    pub fn limit(mut self, resource: Resource, value: u64) -> Self {
        self.limits.push((resource, value));
        self
    }

    /// What its process does to itself right before it executes the program: system calls only, no allocation.
    pub fn last(mut self, last: impl FnMut() -> std::io::Result<()> + Send + Sync + 'static) -> Self {
        self.last = Some(Box::new(last));
        self
    }

    /// What fd 0 is, instead of `/dev/null`.
    pub fn input(mut self, input: impl Into<OwnedFd>) -> Self {
        self.input = Some(input.into());
        self
    }

    /// How long it may take.
    pub fn time_limit(mut self, limit: Duration) -> Self {
        self.time_limit = limit;
        self
    }

    /// Starts it and waits for its end.
    pub fn run(self) -> Finished {
        self.start().finish()
    }

    /// Starts it.
    pub fn start(self) -> Running {
        let (output, to_output) = std::io::pipe().unwrap();
        let (errors, to_errors) = if self.separate_errors {
            let (errors, to_errors) = std::io::pipe().unwrap();
            (Some(errors), to_errors)
        } else {
            (None, to_output.try_clone().unwrap())
        };
        let mut command = Command::new(&self.program);
        command.args(&self.arguments).env_clear().envs(self.variables.iter().cloned());
        command.process_group(0);
        if !self.traced {
            command.uid(self.account.uid()).gid(self.account.gid());
        }
        command.stdin(self.input.map_or_else(Stdio::null, Stdio::from)).stdout(to_output).stderr(to_errors);
        if let Some(directory) = &self.directory {
            command.current_dir(directory);
        }
        let (umask, closed, extra, ignore_sigpipe, traced, limits) =
            (self.umask, self.closed, self.extra_descriptors, self.ignore_sigpipe, self.traced, self.limits);
        let (uid, gid) = (self.account.uid(), self.account.gid());
        let mut last = self.last;
        let prepare = move || {
            rustix::process::umask(rustix::fs::Mode::from_raw_mode(umask));
            for _ in 0..extra {
                std::mem::forget(rustix::io::dup(rustix::stdio::stdin())?);
            }
            if ignore_sigpipe {
                // SAFETY: takes two numbers and is async-signal-safe.
                unsafe { libc::signal(libc::SIGPIPE, libc::SIG_IGN) };
            }
            for descriptor in &closed {
                // SAFETY: a number; nothing in this child uses 0 to 2 before it executes.
                unsafe { libc::close(*descriptor) };
            }
            for (resource, value) in &limits {
                rustix::process::setrlimit(*resource, Rlimit { current: Some(*value), maximum: Some(*value) })?;
            }
            // Before it becomes the account: the kernel honours a setuid switcher only where tracing began with root's
            // rights. SAFETY: calls that take numbers; the list of groups is empty.
            if traced
                && unsafe {
                    libc::ptrace(libc::PTRACE_TRACEME, 0, 0, 0) != 0
                        || libc::setgroups(0, std::ptr::null()) != 0
                        || libc::setgid(gid) != 0
                        || libc::setuid(uid) != 0
                }
            {
                return Err(std::io::Error::last_os_error());
            }
            last.as_mut().map_or(Ok(()), |last| last())
        };
        // SAFETY: system calls only; no allocation, no lock.
        unsafe { command.pre_exec(prepare) };
        let name = self.program.file_name().unwrap_or_default().display().to_string();
        let child = command.spawn().unwrap_or_else(|why| panic!("cannot start {name}: {why}"));
        // The writing ends are in it: without it, the pipes end when the program does.
        drop(command);
        Running {
            child,
            output: read_all(output),
            errors: errors.map(read_all),
            deadline: Instant::now() + self.time_limit,
            name,
        }
    }
}

fn read_all(mut pipe: PipeReader) -> JoinHandle<Vec<u8>> {
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        pipe.read_to_end(&mut bytes).unwrap();
        bytes
    })
}

/// What a Starter's environment looks like; the secrets in it are nobody else's business.
fn starter_environment() -> Vec<(OsString, OsString)> {
    [
        ("PATH", "/usr/local/bin:/usr/bin:/bin"),
        ("HOME", "/home/pilot"),
        ("_CONDOR_EXECUTE", "/var/lib/condor/execute"),
        ("CONDOR_INHERIT", "1234 <127.0.0.1:9618> secret-inherit"),
        ("CONDOR_PRIVATE_INHERIT", "SessionKey:secret-session"),
        ("CONDOR_PRIVATE_SHARED_PORT_COOKIE", "secret-cookie"),
        ("BEARER_TOKEN_FILE", "/home/pilot/secret-token"),
        ("X509_USER_PROXY", "/home/pilot/pilot-proxy"),
        ("LD_LIBRARY_PATH", "/nonexistent"),
    ]
    .map(|(name, value)| (name.into(), value.into()))
    .to_vec()
}

impl Running {
    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Whether it has ended.
    pub fn has_ended(&mut self) -> bool {
        self.child.try_wait().unwrap().is_some()
    }

    /// Kills the helper itself.
    pub fn kill(&mut self) {
        self.child.kill().unwrap();
    }

    /// Waits for its end.
    ///
    /// # Panics
    /// When it takes longer than its time limit, or leaves somebody behind who holds its output.
    pub fn finish(mut self) -> Finished {
        let status = loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                break status;
            }
            if Instant::now() > self.deadline {
                let _ = self.child.kill();
                let _ = self.child.wait();
                panic!("{} hangs", self.name);
            }
            std::thread::sleep(Duration::from_millis(1));
        };
        self.ended(status)
    }

    /// What it said, once somebody else has waited for its end.
    ///
    /// # Panics
    /// When it has left somebody behind who holds its output.
    pub fn ended(self, status: ExitStatus) -> Finished {
        let text = |reader: JoinHandle<Vec<u8>>| {
            while !reader.is_finished() {
                assert!(Instant::now() < self.deadline, "{} has ended, but its output is still held open", self.name);
                std::thread::sleep(Duration::from_millis(1));
            }
            String::from_utf8(reader.join().unwrap()).expect("a helper's report must be text")
        };
        Finished {
            code: status.code(),
            signal: status.signal(),
            output: text(self.output),
            errors: self.errors.map(text).unwrap_or_default(),
        }
    }
}

impl Finished {
    /// The test goes on only if it exited with this code.
    #[track_caller]
    pub fn expect(self, code: i32) -> Self {
        assert_eq!(self.code, Some(code), "{self:?}");
        self
    }

    /// … and said nothing.
    #[track_caller]
    pub fn expect_quiet(self) -> Self {
        let finished = self.expect(0);
        assert_eq!(finished.said(), "", "a helper that did its work has nothing to say");
        finished
    }

    /// … or with this code and one printable line on what went wrong, in which all of `words` occur.
    #[track_caller]
    pub fn expect_refusal(self, code: i32, words: &[&str]) -> Self {
        let finished = self.expect(code);
        let said = finished.said();
        assert_eq!(said.lines().count(), 1, "one line was expected: {said:?}");
        assert!(said.ends_with('\n') && said.len() <= 1200, "{said:?}");
        assert!(!said.trim_end().contains(|c: char| c.is_control()), "unescaped: {said:?}");
        for word in words {
            assert!(said.contains(word), "{word:?} is missing in {said:?}");
        }
        finished
    }

    /// … or with 1, a line on the argument and the program's usage, all on stderr (which has to be separate).
    #[track_caller]
    pub fn expect_usage(self, program: &str) -> Self {
        let finished = self.expect(1);
        assert_eq!(finished.output, "", "usage belongs on stderr");
        let mut lines = finished.errors.lines();
        let first = lines.next().unwrap_or_default();
        let second = lines.next().unwrap_or_default();
        assert!(first.starts_with(program), "{first:?}");
        assert!(second.starts_with(&format!("usage: {program} ")), "{first:?} {second:?}");
        assert!(!finished.errors.replace('\n', "").contains(|c: char| c.is_control()), "{:?}", finished.errors);
        finished
    }

    /// All that it said.
    pub fn said(&self) -> String {
        format!("{}{}", self.output, self.errors)
    }
}

impl Debug for Finished {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "code {:?}, signal {:?}, said {:?}", self.code, self.signal, self.said())
    }
}

//! Plays the part of HTCondor's Starter and ProcD for one job: setup, run, watch, end the family, cleanup.
//!
//! [`run`] is for other programs; [`main`] is the program `condor_glexec_job`. This process is never confined, because it has to
//! start the switcher again and again, and so it parses nothing that is hostile: all that is done by the helpers that it starts.

#![forbid(unsafe_code)]

pub mod environment;
pub mod options;
mod record;
mod starter;
mod supervise;
mod workspace;

pub use record::{EndedBy, Phase, Record, Status, figures};
pub use starter::LastWord;

use crate::files::component::Component;
use crate::ground::child::Leader;
use crate::ground::escape::Escaped;
use crate::ground::frame;
use crate::ground::limits;
use crate::ground::outcome::{Failure, OrFail, Outcome};
use crate::ground::pipe::Reader;
use crate::ground::program::Program;
use crate::ground::resources::switch_core_off;
use crate::ground::signals;
use crate::sys;
use core::time::Duration;
use environment::{Variable, encode, merge};
use options::{Destination, HELP, Options};
use rustix::fs::Mode;
use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};
use rustix::process::{Pid, Signal, umask};
use starter::{Conversation, Unstarted};
use std::fs::File;
use std::io::{IsTerminal, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::time::Instant;
use supervise::{Called, OnStop, Supervisor};
use workspace::Workspace;

/// The switcher's exit codes for a refusal that may pass.
const TRANSIENT: [u8; 2] = [202, 203];

/// A job: what to run, where, and with what.
#[derive(Clone, Debug)]
pub struct Request {
    /// The directory in which the helper programs are installed, an absolute path.
    pub helpers: PathBuf,
    /// The switcher; without one, `glexec_rootless` among the helpers, which stays in this account and needs no proxy.
    pub switcher: Option<PathBuf>,
    /// The job's proxy credential. A switcher needs one.
    pub proxy: Option<PathBuf>,
    /// A directory to be used as the sandbox. Without one, a sandbox is made.
    pub sandbox: Option<PathBuf>,
    /// Where the sandbox is to be made. Without it, in a directory that is made for this job only.
    pub execute: Option<PathBuf>,
    /// Where the output is to be left, a new name or an empty directory. Without it, it stays in the sandbox.
    pub output: Option<PathBuf>,
    /// Files that are copied into the sandbox before the job.
    pub inputs: Vec<Input>,
    /// The job's environment, besides the few variables that say where the sandbox is (`TMPDIR`, `TMP`, `TEMP`,
    /// `_CONDOR_SCRATCH_DIR`) and, with a proxy, `X509_USER_PROXY`; each name at most once.
    pub environment: Vec<Variable>,
    /// The job's standard input; without it, ours.
    pub stdin: Option<PathBuf>,
    /// The job's standard output; without it, ours.
    pub stdout: Option<PathBuf>,
    /// The job's standard error; without it, ours.
    pub stderr: Option<PathBuf>,
    /// How long the job may run.
    pub time_limit: Option<Duration>,
    /// How long the job has between SIGTERM and SIGKILL.
    pub grace: Duration,
    /// How often the switcher's 202 and 203 are tried again.
    pub retries: u32,
    /// The least pause before that, in seconds.
    pub delay: u32,
    /// The command and its arguments, byte for byte, without NUL. The command is an absolute path or one below the sandbox.
    pub command: Vec<Vec<u8>>,
}

/// A file that is copied into the sandbox.
#[derive(Clone, Debug)]
pub struct Input {
    /// Where it is.
    pub file: PathBuf,
    /// What it is called in the sandbox.
    pub name: Component,
}

/// What a caller may want to tell a person while it happens.
#[derive(Clone, Copy, Debug)]
pub enum News<'n> {
    /// A step begins.
    Step(&'n str),
    /// Something to be known even by those who don't watch, one line.
    Notice(&'n str),
}

/// The program.
pub fn main() -> ExitCode {
    frame::run(Program::Job, HELP, |arguments| work(options::parse(arguments)?))
}

fn work(options: Options) -> Outcome<ExitCode> {
    let Options { request, json, verbose } = options;
    // A file size limit is an error to report; what this starts resets its signals itself.
    signals::ignore_write_signals();
    let json = json.map(|destination| open_record(&destination)).transpose()?;
    let watched = verbose || std::io::stderr().is_terminal();
    let record = run(&request, &mut |news| match news {
        News::Step(text) if watched => frame::report(Program::Job, &text),
        News::Step(_) => {}
        News::Notice(text) => frame::report(Program::Job, &text),
    });
    if let Some(mut file) = json {
        let written = file.write_all(format!("{}\n", record.to_json()).as_bytes());
        written.or_fail(|| "cannot write the record (--json)")?;
    }
    match (record.failure, record.status) {
        (Some(failure), _) => Err(failure),
        (None, Some(status)) => Ok(end_like(status)),
        (None, None) => Err(Failure::permanent("it is not known how the job ended")),
    }
}

fn open_record(destination: &Destination) -> Outcome<File> {
    match destination {
        Destination::Stdout => std::io::stdout().as_fd().try_clone_to_owned().map(File::from).or_fail(|| "stdout"),
        Destination::File(path) => File::create(path).or_fail(|| format!("cannot write {}", shown(path))),
    }
}

fn shown(path: &Path) -> String {
    Escaped(path.as_os_str().as_bytes()).to_string()
}

/// Ends this process as the job has ended.
fn end_like(status: Status) -> ExitCode {
    match status {
        Status::Exited(code) => ExitCode::from(code),
        Status::Killed(number) => {
            signals::reset_signals();
            let _ = switch_core_off();
            if let Ok(number) = u8::try_from(number)
                && let Ok(own) =
                    rustix::process::pidfd_open(rustix::process::getpid(), rustix::process::PidfdFlags::empty())
            {
                let _ = sys::pidfd_signal(own.as_fd(), number);
            }
            // What shells say for a signal, should it not have been deadly.
            ExitCode::from(u8::try_from(number.saturating_add(128)).unwrap_or(u8::MAX))
        }
    }
}

/// Runs one job from the making of its sandbox to the leaving of its output, and says what happened. It never fails otherwise than by
/// [`Record::failure`].
///
/// For the time of the call this process is a child subreaper, has its hard limit of processes as the soft one, waits for every child of its own, and the calling thread takes SIGTERM,
/// SIGINT, SIGHUP (which end the job) and SIGCHLD from a queue: SIGCHLD must not be ignored, there must be no other children, and
/// where there are other threads, they should block these signals, or the signals act on them as before. Everything that this process starts meanwhile is the job's and ends with it.
pub fn run(request: &Request, tell: &mut dyn FnMut(News<'_>)) -> Record {
    let mut record = Record::new();
    if let Err(failure) = Life::begin(request, &mut record, tell).and_then(Life::live) {
        record.failure.get_or_insert(failure);
    }
    record.end();
    record
}

/// One job's life, as far as it has come.
struct Life<'r> {
    request: &'r Request,
    record: &'r mut Record,
    tell: &'r mut dyn FnMut(News<'_>),
    supervisor: Supervisor,
    workspace: Workspace,
    environment: Vec<u8>,
    streams: [OwnedFd; 3],
}

impl<'r> Life<'r> {
    /// Everything before a helper is called.
    fn begin(request: &'r Request, record: &'r mut Record, tell: &'r mut dyn FnMut(News<'_>)) -> Outcome<Self> {
        record.begin("prepare");
        let supervisor = Supervisor::new()?;
        let switcher = match &request.switcher {
            Some(switcher) => switcher.canonicalize().or_fail(|| format!("the switcher {}", shown(switcher)))?,
            None => request.helpers.join(Program::Rootless.name()),
        };
        record.switcher = switcher.into_os_string().into_encoded_bytes();
        let input = stream(request.stdin.as_deref(), std::io::stdin().as_fd(), |path| File::open(path))?;
        // The caller's may take the owner's bits from what is made here, which then could not be opened.
        let umask_before = umask(Mode::RWXG | Mode::RWXO);
        let prepared = Workspace::prepare(request);
        umask(umask_before);
        let mut workspace = prepared?;
        record.sandbox = Some(workspace.path());
        let rest = encoded(&workspace, &request.environment).and_then(|environment| {
            let create = |path: &Path| File::create(path);
            let output = stream(request.stdout.as_deref(), std::io::stdout().as_fd(), create)?;
            let same = request.stderr.is_some() && request.stderr == request.stdout;
            let errors = if same {
                output.try_clone().or_fail(|| "cannot duplicate a descriptor")?
            } else {
                stream(request.stderr.as_deref(), std::io::stderr().as_fd(), create)?
            };
            Ok((environment, [input, output, errors]))
        });
        match rest {
            Ok((environment, streams)) => {
                Ok(Life { request, record, tell, supervisor, workspace, environment, streams })
            }
            Err(failure) => {
                workspace.undo()?;
                Err(failure)
            }
        }
    }

    fn live(mut self) -> Outcome {
        self.step("setup", &format!("handing over the sandbox {}", Escaped(&self.workspace.path())));
        if let Err(failure) = self.set_up() {
            self.fail(failure);
            return self.recover();
        }
        let launched = self.workspace.hide_stand_in().and_then(|()| self.launch());
        let watched = launched.as_ref().map_or(Ok(()), |root| self.watch(*root));
        let ended = self.end_family();
        if let Ok(root) = &launched {
            self.record.status = self.supervisor.status(*root).and_then(Status::of);
        }
        let has_run = launched.is_ok();
        for failure in [launched.map(drop), watched, ended].into_iter().filter_map(Result::err) {
            self.fail(failure);
        }

        self.step("cleanup", "taking the sandbox back");
        self.take_back()?;
        self.step("output", "leaving the output in its place");
        if !has_run {
            return self.workspace.undo();
        }
        self.record.output = self.workspace.leave()?;
        if let (Some(output), None) = (&self.record.output, &self.request.output) {
            (self.tell)(News::Notice(&format!("the output is in {}", Escaped(output))));
        }
        Ok(())
    }

    fn step(&mut self, name: &'static str, text: &str) {
        self.record.begin(name);
        (self.tell)(News::Step(text));
    }

    /// Notes a failure after which there is still something to be done. The first one counts; all are told.
    fn fail(&mut self, failure: Failure) {
        if self.record.failure.is_some() {
            (self.tell)(News::Notice(&failure.to_string()));
        } else {
            self.record.failure = Some(failure);
        }
    }

    /// A command that starts one of the helpers. Like the Starter's, it has our environment; they pass on what is for switchers.
    fn helper(&self, program: Program) -> Command {
        Command::new(self.request.helpers.join(program.name()))
    }

    /// Calls setup or cleanup and gives the figures of the copy.
    fn copy(&mut self, program: Program, on_stop: OnStop) -> Outcome<Option<String>> {
        let mut command = self.helper(program);
        command.arg("--json").args(self.arguments(self.workspace.proxy.bytes(), &[&self.workspace.path()]));
        let called = self.supervisor.call(command, self.workspace.home.as_fd(), on_stop)?;
        self.check(program, &called)?;
        Ok(record::figures(&called.answer))
    }

    /// `G <proxy> <others> R D`, as nearly all helpers are called.
    fn arguments(&self, proxy: &[u8], others: &[&[u8]]) -> Vec<std::ffi::OsString> {
        let numbers = [self.request.retries.to_string(), self.request.delay.to_string()];
        let leading = [self.record.switcher.as_slice(), proxy].into_iter().chain(others.iter().copied());
        leading
            .chain(numbers.iter().map(String::as_bytes))
            .map(|argument| std::ffi::OsStr::from_bytes(argument).to_owned())
            .collect()
    }

    /// A helper's failure as ours. What it says on success is passed on.
    fn check(&mut self, program: Program, called: &Called) -> Outcome {
        let prefix = format!("{}: ", program.name());
        let said = called.said.trim_ascii_end();
        let said = readable(said.strip_prefix(prefix.as_bytes()).unwrap_or(said));
        let how = match Status::of(called.status) {
            Some(Status::Exited(0)) => {
                if !said.is_empty() {
                    (self.tell)(News::Notice(&format!("{prefix}{said}")));
                }
                return Ok(());
            }
            Some(Status::Exited(code)) => format!("exit code {code}"),
            Some(Status::Killed(signal)) => format!("signal {signal}"),
            None => "an unknown state".to_owned(),
        };
        let reason = if said.is_empty() { String::new() } else { format!(": {said}") };
        Err(Failure::permanent(format_args!("{} ended with {how}{reason}", program.name())))
    }

    fn set_up(&mut self) -> Outcome {
        self.record.setup = self.copy(Program::Setup, OnStop::PassOn)?;
        Ok(())
    }

    /// After a setup that failed: everything back as it was.
    fn recover(mut self) -> Outcome {
        // The target side undoes its part when it has lost its partner.
        if !self.supervisor.wait_for_none(later(limits::UNDO_DEADLINE))? {
            (self.tell)(News::Notice("the switcher of the setup is still there; look at its log"));
        }
        if !self.workspace.is_home()? {
            self.take_back()?;
        }
        self.workspace.undo()
    }

    /// Starts the job. While the switcher answers 202 or 203, it is tried again.
    fn launch(&mut self) -> Outcome<Pid> {
        let mut tries_left = self.request.retries;
        loop {
            self.step("start", &format!("starting {}", Escaped(self.request.command.first().map_or(b"", |name| name))));
            let mut pause_until = Instant::now();
            if self.supervisor.stopped_by().is_none() {
                let (unstarted, printed) = match self.try_launch()? {
                    Ok(root) => return Ok(root),
                    Err(unstarted) => unstarted,
                };
                let transient = match &unstarted {
                    Unstarted::Refused(status) => {
                        matches!(Status::of(*status), Some(Status::Exited(code)) if TRANSIENT.contains(&code))
                    }
                    _ => false,
                };
                let failure = unstarted_failure(unstarted, &printed);
                if !transient || tries_left == 0 {
                    return Err(failure);
                }
                tries_left = tries_left.saturating_sub(1);
                (self.tell)(News::Step(&format!("{failure}; trying again")));
                pause_until = later(Duration::from_secs(self.request.delay.into()));
            }
            while self.supervisor.stopped_by().is_none() && Instant::now() < pause_until {
                self.supervisor.wait(&[], Some(pause_until))?;
            }
            if self.supervisor.stopped_by().is_some() {
                return Err(unstarted_failure(Unstarted::Stopped, b""));
            }
        }
    }

    /// Calls run as the Starter does. The inner error is why there is no job, with what was printed.
    fn try_launch(&mut self) -> Outcome<Result<Pid, (Unstarted, Vec<u8>)>> {
        let (ours, theirs) = socketpair(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None)
            .or_fail(|| "cannot make a socket pair")?;
        let (mut printed, printed_to) = Reader::new(limits::REPORT_BYTES)?;
        let errors_to = printed_to.try_clone().or_fail(|| "cannot duplicate a descriptor")?;
        let mut command = self.helper(Program::Run);
        command
            .arg(std::ffi::OsStr::from_bytes(&self.record.switcher))
            .arg(std::ffi::OsStr::from_bytes(self.workspace.proxy.bytes()))
            .arg(std::ffi::OsStr::from_bytes(&self.workspace.path()))
            .arg(self.request.helpers.join(Program::JobWrapper.name()))
            .args(["-", "-", "-"])
            .args(self.request.command.iter().map(|argument| std::ffi::OsStr::from_bytes(argument)))
            .stdin(Stdio::from(theirs))
            .stdout(Stdio::from(printed_to))
            .stderr(Stdio::from(errors_to));
        let root = self.supervisor.start(command, self.workspace.home.as_fd(), Leader::Session)?;
        let mut channel = Conversation { supervisor: &mut self.supervisor, root, printed: &mut printed };
        let started = channel.start_job(ours, &self.environment, &self.streams);
        printed.read();
        Ok(started.map(|()| root).map_err(|unstarted| (unstarted, printed.kept)))
    }

    /// Watches the job until its first process has ended, or it is time to end all of them.
    fn watch(&mut self, root: Pid) -> Outcome {
        self.step("job", "the job runs");
        let limit = self.request.time_limit.map(later);
        let mut kill_at = None;
        self.record.ended_by = Some(EndedBy::Itself);
        while self.supervisor.status(root).is_none() {
            let now = Instant::now();
            let asked = match self.supervisor.stopped_by() {
                Some(signal) => Some(EndedBy::Signal(signal)),
                None if limit.is_some_and(|limit| now >= limit) => Some(EndedBy::TimeLimit),
                None => None,
            };
            match (asked, kill_at) {
                (Some(by), None) => {
                    self.record.ended_by = Some(by);
                    kill_at = Some(later(self.request.grace));
                    let asked = self.ask_to_end(root, by);
                    if let Err(failure) = asked
                        && self.supervisor.status(root).is_none()
                    {
                        // A lingering switcher is root's, for one. Then there is no soft way.
                        (self.tell)(News::Notice(&failure.to_string()));
                        return Ok(());
                    }
                }
                (_, Some(kill_at)) if now >= kill_at || self.supervisor.stopped_again() => return Ok(()),
                _ => self.supervisor.wait(&[], kill_at.or(limit))?,
            }
        }
        Ok(())
    }

    fn ask_to_end(&mut self, root: Pid, by: EndedBy) -> Outcome {
        let why = match by {
            EndedBy::Signal(signal) => format!("signal {signal} came"),
            EndedBy::TimeLimit | EndedBy::Itself => "the time limit has passed".to_owned(),
        };
        (self.tell)(News::Notice(&format!(
            "{why}: the job is asked to end, and killed in {} s",
            self.request.grace.as_secs()
        )));
        self.kill(&[], root, Signal::TERM)
    }

    fn kill(&mut self, mode: &[&str], pid: Pid, signal: Signal) -> Outcome {
        let proxy = [self.workspace.parked_path(), b"/".to_vec(), self.workspace.proxy.bytes().to_vec()].concat();
        let (pid, signal) = (pid.as_raw_nonzero().to_string(), signal.as_raw().to_string());
        let mut command = self.helper(Program::Kill);
        command.args(mode).args(self.arguments(&proxy, &[pid.as_bytes(), signal.as_bytes()]));
        let called = self.supervisor.call(command, self.workspace.home.as_fd(), OnStop::Finish)?;
        self.check(Program::Kill, &called)
    }

    /// Ends whatever is left of the job.
    fn end_family(&mut self) -> Outcome {
        let mut last = None;
        let mut patience = limits::FAMILY_OWN_END;
        for _ in 0..limits::FAMILY_TRIES {
            if self.supervisor.wait_for_none(later(patience))? {
                return Ok(());
            }
            patience = limits::SWITCHER_END_DEADLINE;
            self.step("kill", "ending the job's processes");
            last = self.kill(&["--family"], rustix::process::getpid(), Signal::KILL).err();
        }
        if self.supervisor.wait_for_none(later(patience))? {
            return Ok(());
        }
        let last = last.map_or_else(
            || "they cannot be found; is /proc mounted with hidepid?".to_owned(),
            |failure| failure.to_string(),
        );
        Err(Failure::permanent(format_args!("processes of the job are still there: {last}")))
    }

    /// Calls cleanup, and again if it fails, as the Starter does.
    fn take_back(&mut self) -> Outcome {
        let figures = match self.copy(Program::Cleanup, OnStop::Finish) {
            Ok(figures) => figures,
            Err(first) => {
                (self.tell)(News::Notice(&format!("{first}; trying again")));
                self.copy(Program::Cleanup, OnStop::Finish).map_err(|second| {
                    let (sandbox, parked) = (self.workspace.path(), self.workspace.parked_path());
                    Failure::permanent(format_args!(
                        "{second}. Nothing is lost: the job's files are in {} (the pilot's own directory is {}). Remove the \
                         cause, then call in that directory: condor_glexec_cleanup {} {} {} {} {}",
                        Escaped(&sandbox),
                        Escaped(&parked),
                        Escaped(&self.record.switcher),
                        self.workspace.proxy,
                        Escaped(&sandbox),
                        self.request.retries,
                        self.request.delay,
                    ))
                })?
            }
        };
        self.record.cleanup = figures;
        Ok(())
    }
}

/// The job's environment as it goes over the channel.
fn encoded(workspace: &Workspace, asked_for: &[Variable]) -> Outcome<Vec<u8>> {
    let sandbox = workspace.path();
    let mut own = ["TMPDIR", "TMP", "TEMP", "_CONDOR_SCRATCH_DIR"]
        .into_iter()
        .map(|name| Variable::of(name, &sandbox))
        .collect::<Outcome<Vec<_>>>()?;
    if workspace.proxy_is_real {
        own.push(Variable::of("X509_USER_PROXY", &[&sandbox, &b"/"[..], workspace.proxy.bytes()].concat())?);
    }
    let environment = encode(&merge([&own, asked_for, &[]]));
    if environment.len() > limits::ENVIRONMENT_BYTES {
        return Err(Failure::usage(format_args!(
            "the job's environment is {} bytes long; at most {} fit",
            environment.len(),
            limits::ENVIRONMENT_BYTES
        )));
    }
    Ok(environment)
}

fn stream(
    path: Option<&Path>,
    own: std::os::fd::BorrowedFd<'_>,
    open: impl FnOnce(&Path) -> std::io::Result<File>,
) -> Outcome<OwnedFd> {
    match path {
        Some(path) => open(path).map(OwnedFd::from).or_fail(|| format!("cannot open {}", shown(path))),
        None => own.try_clone_to_owned().or_fail(|| "cannot duplicate a standard descriptor"),
    }
}

fn unstarted_failure(unstarted: Unstarted, printed: &[u8]) -> Failure {
    let said = match printed.trim_ascii() {
        [] => String::new(),
        text => format!("; it said: {}", readable(text)),
    };
    Failure::permanent(match unstarted {
        Unstarted::Refused(status) => match Status::of(status) {
            Some(Status::Exited(code)) => format!("the switcher ended with {code} before the job was started{said}"),
            Some(Status::Killed(signal)) => {
                format!("signal {signal} ended the switcher before the job was started{said}")
            }
            None => format!("the switcher ended before the job was started{said}"),
        },
        Unstarted::Wrapper(text) => format!("the job could not be started: {}", readable(&text)),
        Unstarted::Stopped => "a signal came before the job was started".to_owned(),
        Unstarted::Late => format!("the switcher or the job wrapper did not answer in time{said}"),
        Unstarted::Broken(what) => format!("the job could not be started: {what}{said}"),
    })
}

/// A line of text that is printable as it is, or escaped otherwise.
fn readable(text: &[u8]) -> String {
    match core::str::from_utf8(text) {
        Ok(line) if line.bytes().all(|byte| (b' '..=b'~').contains(&byte)) => line.to_owned(),
        _ => Escaped(text).to_string(),
    }
}

fn later(patience: Duration) -> Instant {
    let now = Instant::now();
    now.checked_add(patience).unwrap_or(now)
}

//! A user with a home directory and an installation, and calls of `condor_glexec_job` as that user.

use crate::common::{PILOT, pem};
use serde_json::Value;
use std::ffi::{OsStr, OsString};
use std::fs::{File, Permissions};
use std::io::Read;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// After this long a job hangs, and the test has failed.
pub const HANGS: Duration = Duration::from_secs(120);

/// An ordinary user with the programs, a home and a temporary directory of their own. As root, the user is the pilot.
pub struct User {
    pub root: PathBuf,
    pub home: PathBuf,
    pub temporary: PathBuf,
}

impl User {
    pub fn new() -> Self {
        let root = crate::common::new_directory(&std::env::temp_dir().canonicalize().unwrap(), "glexec-rs-tests.job.");
        let user = User { home: root.join("home"), temporary: root.join("tmp"), root };
        directory(&user.root.join("libexec"));
        for (name, built) in crate::common::built() {
            crate::common::install_built(&built, &user.program(name));
        }
        for own in [&user.home, &user.temporary] {
            directory(own);
            user.give(own);
        }
        std::fs::write(user.record(), "").unwrap();
        user.give(&user.record());
        user
    }

    pub fn is_root() -> bool {
        crate::common::available()
    }

    pub fn give(&self, path: &Path) {
        if Self::is_root() {
            chown(path, Some(PILOT.uid()), Some(PILOT.gid())).unwrap();
        }
    }

    pub fn program(&self, name: &str) -> PathBuf {
        self.root.join("libexec").join(name)
    }

    /// Where calls with [`Call::recorded`] leave their record.
    fn record(&self) -> PathBuf {
        self.root.join("record")
    }

    /// A file of the user's in the home directory.
    pub fn file(&self, name: impl AsRef<Path>, content: impl AsRef<[u8]>, mode: u32) -> PathBuf {
        let path = self.home.join(name);
        std::fs::write(&path, content).unwrap();
        std::fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
        self.give(&path);
        path
    }

    /// A switcher that is this shell script, and the options to use it. Where it executes the command, it does so by
    /// `glexec_rootless`: what stays in one account without that is refused.
    pub fn switcher(&self, script: &str) -> Vec<OsString> {
        let rootless = format!("exec {} \"$@\"", self.program("glexec_rootless").display());
        let script = script.replace("exec \"$@\"", &rootless);
        let switcher = self.file("switcher", format!("#!/bin/sh\n{script}\n"), 0o755);
        let proxy = self.file("proxy", pem(7), 0o600);
        vec!["--switcher".into(), switcher.into(), "--proxy".into(), proxy.into()]
    }

    /// A call of the program as the user, in the home directory.
    pub fn job(&self) -> Call {
        let mut command = Command::new(self.program("condor_glexec_job"));
        command.current_dir(&self.home).env_clear().env("TMPDIR", &self.temporary).env("SECRET", "secret");
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).process_group(0);
        if Self::is_root() {
            command.uid(PILOT.uid()).gid(PILOT.gid());
        }
        Call { command, record: self.record() }
    }

    /// What is in the temporary directory.
    pub fn temporary_files(&self) -> Vec<PathBuf> {
        entries(&self.temporary)
    }
}

impl Drop for User {
    fn drop(&mut self) {
        // A process that is about to end has closed its descriptors already but still a working directory.
        for _ in 0..20 {
            if crate::common::processes(&self.root).is_empty() {
                break;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        let left = if std::thread::panicking() { Vec::new() } else { crate::common::processes(&self.root) };
        for (pid, _) in crate::common::processes(&self.root) {
            let _ = Command::new("kill").args(["-9", &pid.to_string()]).status();
        }
        let _ = Command::new("chmod").args(["-R", "u+rwX"]).arg(&self.root).status();
        let _ = std::fs::remove_dir_all(&self.root);
        assert!(left.is_empty(), "left behind: {left:#?}");
    }
}

pub fn directory(path: &Path) {
    std::fs::create_dir(path).unwrap();
    std::fs::set_permissions(path, Permissions::from_mode(0o755)).unwrap();
}

pub fn entries(directory: &Path) -> Vec<PathBuf> {
    let mut entries: Vec<PathBuf> = std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()).collect();
    entries.sort();
    entries
}

pub struct Call {
    pub command: Command,
    pub record: PathBuf,
}

impl Call {
    /// An option and its value.
    pub fn arg2(self, option: &str, value: &Path) -> Self {
        self.args([OsStr::new(option), value.as_os_str()])
    }

    pub fn args<A: AsRef<OsStr>>(mut self, arguments: impl IntoIterator<Item = A>) -> Self {
        self.command.args(arguments);
        self
    }

    /// With a record, in a file of its own.
    pub fn recorded(self) -> Self {
        let record = self.record.clone();
        self.arg2("--json", &record)
    }

    /// `-- /bin/sh -c SCRIPT`
    pub fn script(self, script: &str) -> Self {
        self.args(["--", "/bin/sh", "-c", script])
    }

    pub fn stdin(mut self, file: File) -> Self {
        self.command.stdin(file);
        self
    }

    pub fn stderr(mut self, descriptor: OwnedFd) -> Self {
        self.command.stderr(descriptor);
        self
    }

    /// With [`limit_processes`].
    #[allow(unsafe_code)]
    pub fn limited(mut self) -> Self {
        // SAFETY: one system call between fork and exec.
        unsafe { self.command.pre_exec(limit_processes) };
        self
    }

    #[allow(unsafe_code)]
    pub fn umask(mut self, mask: u32) -> Self {
        let set = move || {
            rustix::process::umask(rustix::fs::Mode::from_raw_mode(mask));
            Ok(())
        };
        // SAFETY: one system call between fork and exec.
        unsafe { self.command.pre_exec(set) };
        self
    }

    pub fn start(mut self) -> Running {
        let child = self.command.spawn().unwrap();
        Running { child, began: Instant::now(), record: self.record }
    }

    pub fn run(self) -> Done {
        self.start().finish()
    }
}

pub struct Running {
    pub child: Child,
    pub began: Instant,
    record: PathBuf,
}

impl Running {
    pub fn signal(&self, signal: &str) {
        let done = Command::new("kill").args(["-s", signal, &self.child.id().to_string()]).status().unwrap();
        assert!(done.success());
    }

    /// Waits until the job has written this file.
    pub fn wait_for(&mut self, path: &Path) {
        while !path.exists() {
            assert!(self.child.try_wait().unwrap().is_none(), "it has ended early");
            assert!(self.began.elapsed() < HANGS, "{} has not come", path.display());
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Waits for its end, and for the end of everybody who holds its output.
    pub fn finish(mut self) -> Done {
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
            record: self.record,
        }
    }
}

#[derive(Debug)]
pub struct Done {
    pub code: Option<i32>,
    pub signal: Option<i32>,
    pub output: Vec<u8>,
    pub errors: String,
    pub took: Duration,
    record: PathBuf,
}

impl Done {
    #[track_caller]
    pub fn expect(self, code: i32) -> Self {
        assert_eq!(self.code, Some(code), "{self:#?}");
        self
    }

    #[track_caller]
    pub fn expect_quiet(self, code: i32) -> Self {
        let done = self.expect(code);
        assert_eq!(done.errors, "");
        done
    }

    #[track_caller]
    pub fn expect_killed(self, signal: i32) -> Self {
        assert_eq!(self.signal, Some(signal), "{self:#?}");
        self
    }

    /// It could not be run: the last line says why, in these words, and every line is printable.
    #[track_caller]
    pub fn expect_refusal(self, words: &[&str]) -> Self {
        let done = self.expect(125);
        let last = done.errors.lines().last().unwrap_or_default();
        for word in words {
            assert!(last.contains(word), "{word:?} is missing in {:?}", done.errors);
        }
        assert!(!done.errors.contains(|c: char| c.is_control() && c != '\n'), "{:?}", done.errors);
        done
    }

    /// The record of a call that was to leave one.
    #[track_caller]
    pub fn record(&self) -> Value {
        let record = std::fs::read(&self.record).unwrap();
        let line = record.strip_suffix(b"\n").unwrap();
        assert!(line.iter().all(|byte| (b' '..=b'~').contains(byte)));
        serde_json::from_slice(line).unwrap()
    }
}

/// One at a time: they share the account's limit of processes.
pub fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A limit of processes with a lower soft one, as distributions make it: a job raises its own.
pub fn limit_processes() -> std::io::Result<()> {
    let most = rustix::process::Rlimit { current: Some(200), maximum: Some(300) };
    Ok(rustix::process::setrlimit(rustix::process::Resource::Nproc, most)?)
}

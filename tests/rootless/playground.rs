//! One job's place: a directory of the pilot with a secret, below it EXECUTE with the sandbox and the parked directory
//! with the proxy, and the programs beside each other.

use crate::directory::new_directory;
use crate::probe;
use crate::programs::built_program;
use std::ffi::OsStr;
use std::fs::{self, File, Permissions};
use std::io::Write;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// What no job may learn.
pub const SECRET: &str = "the pilot's secret";

pub struct Playground {
    /// The pilot's directory.
    pub base: PathBuf,
    /// The sandbox S.
    pub sandbox: PathBuf,
    /// S.condor
    pub parked: PathBuf,
    /// S.condor/P
    pub proxy: PathBuf,
    /// Where the programs are.
    pub programs: PathBuf,
    /// A copy of this test program in the sandbox.
    pub probe: PathBuf,
    account: Option<(u32, u32)>,
    turn: Option<MutexGuard<'static, ()>>,
}

/// The tests take turns: a program that one of them is still writing could not be executed if another one forked
/// meanwhile (`ETXTBSY`).
static TURN: Mutex<()> = Mutex::new(());

/// The pilot's account: `pilot`, or else `nobody`, when the tests run as root; otherwise whoever runs them.
fn account() -> Option<(u32, u32)> {
    if fs::metadata("/proc/self").unwrap().uid() != 0 {
        return None;
    }
    let table = fs::read_to_string("/etc/passwd").unwrap();
    let find = |name: &str| {
        let line = table.lines().find(|line| line.split(':').next() == Some(name))?;
        let mut numbers = line.split(':').skip(2).map(|number| number.parse().unwrap());
        Some((numbers.next()?, numbers.next()?))
    };
    Some(find("pilot").or_else(|| find("nobody")).expect("an unprivileged account"))
}

impl Playground {
    pub fn new() -> Self {
        let turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
        let mut playground = Self::below(&std::env::temp_dir());
        playground.turn = Some(turn);
        playground
    }

    /// Another place in the same test.
    pub fn below(parent: &Path) -> Self {
        let base = new_directory(parent, "glexec-rootless-");
        let execute = base.join("execute");
        let sandbox = execute.join("dir_7");
        let parked = execute.join("dir_7.condor");
        let programs = base.join("libexec");
        let playground = Playground {
            proxy: parked.join("x509up"),
            probe: sandbox.join("probe"),
            account: account(),
            turn: None,
            base,
            sandbox,
            parked,
            programs,
        };
        playground.give(&playground.base, 0o755);
        for directory in [&execute, &playground.sandbox, &playground.parked, &playground.programs] {
            playground.directory(directory);
        }
        for program in ["glexec_rootless", "condor_glexec_peer", "condor_glexec_kill"] {
            playground.copy(&built_program(program), &playground.programs.join(program));
        }
        playground.copy(&std::env::current_exe().unwrap(), &playground.probe);
        playground.file(&playground.proxy, SECRET, 0o600);
        playground.file(&playground.base.join("secret"), SECRET, 0o600);
        playground.file(&playground.sandbox.join("input"), "input\n", 0o644);
        playground
    }

    pub fn directory(&self, path: &Path) {
        fs::create_dir(path).unwrap();
        self.give(path, 0o755);
    }

    pub fn file(&self, path: &Path, content: &str, mode: u32) {
        fs::write(path, content).unwrap();
        self.give(path, mode);
    }

    /// A script in the sandbox.
    pub fn script(&self, content: &str) -> PathBuf {
        let path = self.sandbox.join("script");
        self.file(&path, content, 0o755);
        path
    }

    pub fn copy(&self, from: &Path, to: &Path) {
        fs::copy(from, to).unwrap();
        self.give(to, 0o755);
    }

    fn give(&self, path: &Path, mode: u32) {
        fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
        if let Some((user, group)) = self.account {
            chown(path, Some(user), Some(group)).unwrap();
        }
    }

    /// Who the pilot is.
    pub fn uid(&self) -> u32 {
        fs::metadata(&self.base).unwrap().uid()
    }

    /// The test goes on only if the pilot is another account than that of whoever runs it.
    #[track_caller]
    pub fn assert_not_ours(&self) {
        assert_ne!(self.uid(), fs::metadata("/proc/self").unwrap().uid(), "needs root");
    }

    /// A command of the pilot, with nothing in its environment, in the sandbox.
    pub fn pilot(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new(program);
        command.env_clear().current_dir(&self.sandbox).stdin(Stdio::null());
        if let Some((user, group)) = self.account {
            command.uid(user).gid(group);
        }
        command
    }

    /// The switcher as the helpers call it; the command and its arguments are still to be added.
    pub fn switcher(&self) -> Command {
        let mut command = self.pilot(self.programs.join("glexec_rootless"));
        command.env("GLEXEC_CLIENT_CERT", &self.proxy).env("GLEXEC_TARGET_PROXY", "/dev/null");
        command
    }

    /// Runs a command through the switcher.
    pub fn run<A: AsRef<OsStr>>(&self, program: impl AsRef<OsStr>, arguments: impl IntoIterator<Item = A>) -> Output {
        self.switcher().arg(program).args(arguments).output().unwrap()
    }

    /// A process of the pilot that can be attacked: with a secret in its environment, a working directory, and sockets.
    pub fn start_victim(&self) -> Started {
        let child = self
            .pilot(&self.probe)
            .args(probe::ARGUMENTS)
            .env("GLEXEC_ENV", format!("victim {}", self.base.display()))
            .env("SECRET", SECRET)
            .current_dir(&self.base)
            .stdin(Stdio::piped())
            .stdout(Stdio::from(File::create(self.base.join("victim.log")).unwrap()))
            .spawn()
            .map(Started)
            .unwrap();
        self.give(&self.base.join("victim.log"), 0o644);
        for _ in 0..200 {
            if self.base.join("ready").exists() {
                return child;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        panic!("the victim does not get ready: {:?}", fs::read_to_string(self.base.join("victim.log")));
    }
}

impl Drop for Playground {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.base);
    }
}

/// A process that ends with this value, however the test ends.
pub struct Started(pub Child);

impl Started {
    pub fn pid(&self) -> u32 {
        self.0.id()
    }

    pub fn lives(&mut self) -> bool {
        matches!(self.0.try_wait(), Ok(None))
    }
}

impl Drop for Started {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Both standard streams as text.
pub fn text(output: &Output) -> (String, String) {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (text(&output.stdout), text(&output.stderr))
}

/// A pipe whose writing end holds `content`.
pub fn pipe_with(content: &[u8]) -> OwnedFd {
    let (reader, mut writer) = std::io::pipe().unwrap();
    writer.write_all(content).unwrap();
    reader.into()
}

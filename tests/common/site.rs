//! One test's own installation: the programs, the switcher, EXECUTE.

#![forbid(unsafe_code)]

use super::account::{self, GREG, PILOT, as_account};
use super::call::{Call, Finished};
use super::directory::new_directory;
use super::leftovers::{Public, processes};
use super::process::await_that;
use super::programs::built;
use super::sandbox::{Sandbox, finish, put_file};
use super::switcher::{self, SwitcherCall};
use std::ffi::{OsStr, OsString};
use std::os::unix::fs::{PermissionsExt, lchown};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, Ordering};

/// What the names of all directories of the tests begin with.
pub const PREFIX: &str = "glexec-rs-tests.";

/// The programs of the target side.
const CLOSED: [&str; 2] = ["condor_glexec_peer", "condor_glexec_job_wrapper"];

/// Where EXECUTE is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileSystem {
    /// That of the temporary directory.
    Disk,
    /// In memory, of this size in MiB.
    Tmpfs(u32),
    /// An XFS image with reflinks, of this size in MiB.
    Xfs(u32),
    /// An ext4 image of this size in MiB with that many inodes, all of it for everybody.
    Ext4(u32, u32),
    /// A btrfs image of this size in MiB.
    Btrfs(u32),
}

/// A directory of root's, mode 0711, with `libexec` (the programs and the switcher), `execute` (EXECUTE) and `pilot`
/// (the pilot's private files). It is removed in the end, and everything that should not be left is looked for.
pub struct Site {
    /// The directory.
    pub root: PathBuf,
    /// EXECUTE: the pilot's, 1777.
    pub execute: PathBuf,
    mounted: bool,
    public: Public,
    expected: Mutex<Vec<OsString>>,
}

impl Site {
    /// A site on the disk.
    pub fn new() -> Self {
        Self::on(FileSystem::Disk)
    }

    /// A site with EXECUTE on this file system.
    ///
    /// # Panics
    /// Without root: a test that needs it is marked, and left out by who has not got it.
    pub fn on(file_system: FileSystem) -> Self {
        assert!(
            account::available(),
            "pilot, target and another account need root: mark this test #[ignore = \"needs root\"]"
        );
        let root = new_directory(&std::env::temp_dir(), PREFIX);
        set_mode(&root, 0o711);
        let execute = root.join("execute");
        directory(&execute, 0o755);
        mount(file_system, &root, &execute);
        finish(PILOT, &execute, 0o1777);
        directory(&root.join("pilot"), 0o700);
        finish(PILOT, &root.join("pilot"), 0o700);
        install(&root.join("libexec"));
        let mounted = file_system != FileSystem::Disk;
        Site { root, execute, mounted, public: Public::look(), expected: Mutex::default() }
    }

    /// The absolute path of an installed program.
    pub fn program(&self, name: &str) -> PathBuf {
        self.root.join("libexec").join(name)
    }

    /// G.
    pub fn switcher(&self) -> PathBuf {
        self.program("switcher")
    }

    /// Sets what the switcher is to do from now on, as lines `key = value` (see `tests/switcher`), and forgets its
    /// failures.
    pub fn configure_switcher(&self, lines: &str) {
        let _ = std::fs::remove_file(self.program("switcher.failures"));
        std::fs::write(self.program("switcher.conf"), lines).unwrap();
    }

    /// What the switcher was given in each of its calls so far.
    pub fn switcher_calls(&self) -> Vec<SwitcherCall> {
        let log = std::fs::read_to_string(self.program("switcher.log")).unwrap_or_default();
        log.lines().map(SwitcherCall::parse).collect()
    }

    /// Another sandbox, with what HTCondor puts there and some inputs.
    pub fn sandbox(&self) -> Sandbox {
        let sandbox = self.empty_sandbox();
        sandbox.fill();
        sandbox
    }

    /// Another sandbox, with nothing but the proxy.
    pub fn empty_sandbox(&self) -> Sandbox {
        static COUNT: AtomicU32 = AtomicU32::new(1000);
        self.sandbox_named(format!("dir_{}", COUNT.fetch_add(1, Ordering::Relaxed)))
    }

    /// A sandbox with this name and nothing but the proxy.
    pub fn sandbox_named(&self, name: impl Into<OsString>) -> Sandbox {
        let sandbox = Sandbox::make(self.execute.join(name.into()));
        self.expect_left(sandbox.path.file_name().unwrap());
        self.expect_left(sandbox.parked.file_name().unwrap());
        sandbox
    }

    /// This name in EXECUTE may be left when the test ends.
    pub fn expect_left(&self, name: impl Into<OsString>) {
        self.expected.lock().unwrap().push(name.into());
    }

    /// A file of the pilot's that nobody else can reach, mode 0600.
    pub fn private_file(&self, name: &str, content: &[u8]) -> PathBuf {
        let path = self.root.join("pilot").join(name);
        put_file(PILOT, &path, content, 0o600);
        path
    }

    /// A call of a program, without arguments.
    pub fn call(&self, program: &str) -> Call {
        Call::new(self.program(program))
    }

    /// The Starter's call of setup: G P S 0 0.
    pub fn setup(&self, sandbox: &Sandbox) -> Call {
        self.call("condor_glexec_setup")
            .arg(self.switcher())
            .arg(&sandbox.proxy)
            .arg(&sandbox.path)
            .args(["0", "0"])
            .cwd(&sandbox.path)
    }

    /// The Starter's call of cleanup: G P S 0 0.
    pub fn cleanup(&self, sandbox: &Sandbox) -> Call {
        let directory = if sandbox.parked.is_dir() { &sandbox.parked } else { &sandbox.path };
        self.call("condor_glexec_cleanup")
            .arg(self.switcher())
            .arg(&sandbox.proxy)
            .arg(&sandbox.path)
            .args(["0", "0"])
            .cwd(directory)
    }

    /// The ProcD's call of kill: G S.condor/P PID SIGNAL 0 0, without any descriptor.
    pub fn kill(&self, sandbox: &Sandbox, pid: u32, signal: i32) -> Call {
        self.call("condor_glexec_kill")
            .arg(self.switcher())
            .arg(sandbox.parked_proxy())
            .args([pid.to_string(), signal.to_string()])
            .args(["0", "0"])
            .cwd(self.root.join("pilot"))
            .closed(&[0, 1, 2])
            .ignore_sigpipe()
    }

    /// The Starter's call of update_proxy: G NEW P S.
    pub fn update_proxy(&self, sandbox: &Sandbox, new: &Path) -> Call {
        let directory = if sandbox.parked.is_dir() { &sandbox.parked } else { &sandbox.path };
        self.call("condor_glexec_update_proxy")
            .arg(self.switcher())
            .arg(new)
            .arg(&sandbox.proxy)
            .arg(&sandbox.path)
            .cwd(directory)
    }

    /// A sandbox with inputs that has been handed over.
    pub fn handed_over(&self) -> Sandbox {
        let sandbox = self.sandbox();
        self.setup(&sandbox).run().expect_quiet();
        sandbox
    }

    /// What must not be left but is.
    fn leftovers(&self) -> Vec<String> {
        let mut left = Public::look().new_since(&self.public);
        left.extend(processes(&self.root).into_iter().map(|(pid, command)| format!("process {pid}: {command}")));
        let expected = self.expected.lock().unwrap();
        let names = std::fs::read_dir(&self.execute).unwrap().flatten().map(|entry| entry.file_name());
        left.extend(names.filter(|name| !expected.contains(name)).map(|name| format!("EXECUTE/{}", name.display())));
        left
    }

    /// What runs from here, and its command line.
    pub fn processes(&self) -> Vec<(u32, String)> {
        processes(&self.root)
    }

    /// Kills the switchers, as root may: a process that has executed something else is none any more.
    pub fn kill_switchers(&self) -> usize {
        let switcher = self.switcher();
        self.kill_where(|pid, _| {
            std::fs::read_link(format!("/proc/{pid}/exe")).is_ok_and(|program| program == switcher)
        })
    }

    /// Kills what runs as the helpers' target side, as a job may: it is of the same account.
    pub fn kill_peers(&self) -> usize {
        as_account(GREG, || self.kill_where(|_, command| command.contains("condor_glexec_peer")))
    }

    /// Gives how many there were.
    fn kill_where(&self, wanted: impl Fn(u32, &str) -> bool) -> usize {
        let there = self.processes().into_iter().filter(|(pid, command)| wanted(*pid, command));
        let killed = there.map(|(pid, _)| {
            let pid = rustix::process::Pid::from_raw(pid as i32).unwrap();
            rustix::process::kill_process(pid, rustix::process::Signal::KILL)
        });
        killed.filter(Result::is_ok).count()
    }

    /// Kills what still runs from here, and what that starts meanwhile: a switcher that hangs is root's, so that no
    /// helper could.
    #[track_caller]
    pub fn kill_processes(&self) {
        await_that("all processes have ended", || {
            let left = self.processes();
            for (pid, _) in &left {
                let pid = rustix::process::Pid::from_raw(*pid as i32).unwrap();
                let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
            }
            left.is_empty()
        });
    }

    fn remove(&self) {
        self.kill_processes();
        if self.mounted {
            let _ = Command::new("umount").arg("-l").arg(&self.execute).status();
            let _ =
                Command::new("umount").args(["-q", "-l"]).arg(self.root.join("memory")).stderr(Stdio::null()).status();
        }
        let _ = Command::new("rm").arg("-rf").arg(&self.root).status();
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        let left = if std::thread::panicking() { Vec::new() } else { self.leftovers() };
        self.remove();
        assert!(left.is_empty(), "left behind: {left:#?}");
    }
}

fn directory(path: &Path, mode: u32) {
    std::fs::create_dir(path).unwrap();
    set_mode(path, mode);
}

fn set_mode(path: &Path, mode: u32) {
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
}

fn install(libexec: &Path) {
    directory(libexec, 0o755);
    for (name, built) in built() {
        install_built(&built, &libexec.join(name));
    }
    copy_program(switcher::build(), &libexec.join("switcher"), "4755");
}

/// Installs a program that cargo has built where other accounts can get at it; what runs as the target account so that
/// they cannot read it.
pub fn install_built(built: &Path, at: &Path) {
    if CLOSED.iter().any(|name| built.ends_with(name)) {
        copy_program(built, at, "711");
    } else if std::fs::hard_link(built, at).is_err() {
        copy_program(built, at, "755");
    }
}

/// Copies a program. Another process writes it: what this one writes itself, a child that another thread forks
/// meanwhile would hold open, and a file that is open for writing cannot be executed.
pub fn copy_program(from: &Path, to: &Path, mode: &str) {
    run(Command::new("install").args(["-m", mode]).arg(from).arg(to));
}

/// Writes a script that is to be executed, by another process for the same reason.
pub fn write_program(at: &Path, script: impl AsRef<OsStr>) {
    let write = "printf %s \"$2\" > \"$1\" && chmod 755 \"$1\"";
    run(Command::new("/bin/sh").args(["-c", write, "sh"]).arg(at).arg(script));
}

fn mount(file_system: FileSystem, root: &Path, at: &Path) {
    let (size, make, arguments) = match file_system {
        FileSystem::Disk => return,
        FileSystem::Tmpfs(size) => {
            let mut mount = Command::new("mount");
            return run(mount.args(["-t", "tmpfs", "-o", &format!("size={size}m"), "tmpfs"]).arg(at));
        }
        FileSystem::Xfs(size) => (size, "mkfs.xfs", "-q -m reflink=1".to_owned()),
        FileSystem::Ext4(size, inodes) => (size, "mkfs.ext4", format!("-q -m 0 -N {inodes}")),
        FileSystem::Btrfs(size) => (size, "mkfs.btrfs", "-q".to_owned()),
    };
    // In memory: it is not the disk that is tested.
    let memory = root.join("memory");
    directory(&memory, 0o700);
    run(Command::new("mount").args(["-t", "tmpfs", "tmpfs"]).arg(&memory));
    let image = memory.join("image");
    std::fs::File::create(&image).unwrap().set_len(u64::from(size) << 20).unwrap();
    run(Command::new(make).args(arguments.split(' ')).arg(&image));
    run(Command::new("mount").args(["-o", "loop"]).arg(image).arg(at));
    let _ = std::fs::remove_dir(at.join("lost+found"));
}

fn run(command: &mut Command) {
    let done = command.output().unwrap_or_else(|why| panic!("{command:?}: {why}"));
    assert!(done.status.success(), "{command:?}: {}", String::from_utf8_lossy(&done.stderr));
}

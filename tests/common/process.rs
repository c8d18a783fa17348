//! Processes of an account, to be signalled.

#![forbid(unsafe_code)]

use super::account::Account;
use std::io::{BufRead, BufReader};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// A sleeping process of an account, which is killed in the end.
pub struct Sleeper {
    child: Child,
}

impl Sleeper {
    /// Starts one.
    pub fn start(account: Account) -> Self {
        let sleeper = Sleeper { child: command(account, &["/bin/sleep", "1000"]).spawn().unwrap() };
        await_sleep(sleeper.pid());
        sleeper
    }

    /// Starts one with a child that sleeps, too; gives its number as well. It never waits for the child, which stays a
    /// zombie when it has ended.
    pub fn start_with_child(account: Account) -> (Self, u32) {
        let script = "/bin/sleep 1000 & echo $!; exec /bin/sleep 1000";
        let mut child = command(account, &["/bin/sh", "-c", script]).stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let (sleeper, number) = (Sleeper { child }, line.trim().parse().unwrap());
        await_sleep(sleeper.pid());
        await_sleep(number);
        (sleeper, number)
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The state letter of `/proc/PID/stat`: S sleeping, T stopped, Z a zombie.
    pub fn state(&self) -> char {
        state(self.pid())
    }

    /// See [`await_state`].
    #[track_caller]
    pub fn await_state(&self, state: char) {
        await_state(self.pid(), state);
    }

    /// The test goes on only if it is there and has not been signalled.
    #[track_caller]
    pub fn assert_alive(&mut self) {
        // A signal takes effect at once in a sleeping process.
        std::thread::sleep(Duration::from_millis(5));
        assert!(self.child.try_wait().unwrap().is_none(), "process {} was killed", self.child.id());
        assert_eq!(self.state(), 'S', "process {} was stopped", self.child.id());
    }

    /// The signal that ended it.
    #[track_caller]
    pub fn ended_by(&mut self) -> i32 {
        self.await_state('Z');
        self.child.wait().unwrap().signal().expect("a signal ended it")
    }

    /// Ends it and lets its number go.
    pub fn end(mut self) -> u32 {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        self.child.id()
    }
}

impl Drop for Sleeper {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A program of an account's. Whoever runs the tests may ignore signals (nohup does), and would hand that on.
fn command(account: Account, words: &[&str]) -> Command {
    let mut command = Command::new("/usr/bin/env");
    command.arg("--default-signal").args(words).uid(account.uid()).gid(account.gid()).current_dir("/").env_clear();
    command
}

#[track_caller]
fn await_sleep(pid: u32) {
    let name = format!("/proc/{pid}/comm");
    await_that("the program sleep is executed", || std::fs::read_to_string(&name).unwrap() == "sleep\n");
    await_state(pid, 'S');
}

/// Waits until something `holds`, which `what` says in words. It may take as long as all processes of a busy machine
/// need to end.
///
/// # Panics
/// When it takes longer; not while the test fails already, for another reason.
#[track_caller]
pub fn await_that(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while !holds() {
        if Instant::now() > deadline {
            assert!(std::thread::panicking(), "it takes too long until {what}");
            return;
        }
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// The most memory that a process has had resident, in KiB; 0 when it has ended.
pub fn peak_memory(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.and_then(|line| line.trim().trim_end_matches(" kB").parse().ok()).unwrap_or(0)
}

fn state(pid: u32) -> char {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    stat.rsplit(") ").next().unwrap().chars().next().unwrap()
}

/// Waits until a process is in this state.
#[track_caller]
pub fn await_state(pid: u32, wanted: char) {
    let deadline = Instant::now() + Duration::from_secs(10);
    while state(pid) != wanted {
        assert!(Instant::now() < deadline, "it is {} and not {wanted}", state(pid));
        std::thread::sleep(Duration::from_millis(1));
    }
}

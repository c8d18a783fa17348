//! Processes of an account, to be signalled.

#![forbid(unsafe_code)]

use super::account::Account;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, Command};
use std::time::{Duration, Instant};

/// A sleeping process of an account, which is killed in the end.
pub struct Sleeper {
    child: Child,
}

impl Sleeper {
    /// Starts one.
    pub fn start(account: Account) -> Self {
        // Whoever runs the tests may ignore signals (nohup does), and would hand that on.
        let mut command = Command::new("/usr/bin/env");
        command
            .args(["--default-signal", "/bin/sleep", "1000"])
            .uid(account.uid())
            .gid(account.gid())
            .current_dir("/")
            .env_clear();
        let sleeper = Sleeper { child: command.spawn().unwrap() };
        let name = format!("/proc/{}/comm", sleeper.pid());
        while std::fs::read_to_string(&name).unwrap() != "sleep\n" {
            std::thread::sleep(Duration::from_millis(1));
        }
        sleeper.await_state('S');
        sleeper
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The state letter of `/proc/PID/stat`: S sleeping, T stopped, Z a zombie.
    pub fn state(&self) -> char {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.pid())).unwrap();
        stat.rsplit(") ").next().unwrap().chars().next().unwrap()
    }

    /// Waits until it is in this state.
    #[track_caller]
    pub fn await_state(&self, state: char) {
        let deadline = Instant::now() + Duration::from_secs(10);
        while self.state() != state {
            assert!(Instant::now() < deadline, "it is {} and not {state}", self.state());
            std::thread::sleep(Duration::from_millis(1));
        }
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

//! The local accounts of the tests, created when they are absent.

#![forbid(unsafe_code)]

use rustix::process::{Gid, Uid};
use std::process::Command;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

/// Owns EXECUTE; what HTCondor's Starter and ProcD run as.
pub const PILOT: Account = Account { name: "pilot" };
/// What every credential maps to.
pub const GREG: Account = Account { name: "greg" };
/// Another user of the machine, who has nothing to do with any of it.
pub const MALLORY: Account = Account { name: "mallory" };

/// A local account.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Account {
    /// Its name.
    pub name: &'static str,
}

impl Account {
    /// Its user id.
    pub fn uid(self) -> u32 {
        self.ids().0
    }

    /// Its primary group.
    pub fn gid(self) -> u32 {
        self.ids().1
    }

    fn ids(self) -> (u32, u32) {
        ids(self.name).unwrap_or_else(|| panic!("there is no account {}", self.name))
    }
}

/// Whether this process may become the accounts. Creates those that are absent.
pub fn available() -> bool {
    static AVAILABLE: OnceLock<bool> = OnceLock::new();
    *AVAILABLE.get_or_init(|| {
        if rustix::process::geteuid().is_root() {
            for account in [PILOT, GREG, MALLORY] {
                create(account.name);
            }
            return true;
        }
        false
    })
}

fn create(name: &str) {
    if ids(name).is_none() {
        let _ = Command::new("useradd").args(["-r", "-M", "-d", "/nonexistent", "-s", "/bin/sh", name]).status();
        // Another test program may have been faster.
        assert!(ids(name).is_some(), "useradd could not create the account {name}");
    }
}

fn ids(name: &str) -> Option<(u32, u32)> {
    let passwd = std::fs::read_to_string("/etc/passwd").ok()?;
    let fields = passwd.lines().map(|line| line.split(':').collect::<Vec<_>>()).find(|fields| fields[0] == name)?;
    Some((fields[2].parse().ok()?, fields[3].parse().ok()?))
}

/// Does `work` in a thread whose kernel credentials are the account's and nothing else. All that the thread does to
/// files and processes is done by that account (umask and working directory stay the process's: set modes explicitly).
///
/// # Panics
/// When `work` does.
pub fn as_account<T: Send>(account: Account, work: impl FnOnce() -> T + Send) -> T {
    std::thread::scope(|scope| {
        scope
            .spawn(|| {
                let (uid, gid) = (Uid::from_raw(account.uid()), Gid::from_raw(account.gid()));
                rustix::thread::set_thread_groups(&[gid]).unwrap();
                rustix::thread::set_thread_res_gid(gid, gid, gid).unwrap();
                rustix::thread::set_thread_res_uid(uid, uid, uid).unwrap();
                work()
            })
            .join()
            .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

/// Does `attack` as `account`, over and over, while `work` is done.
///
/// # Panics
/// When `work` or `attack` does.
pub fn while_attacked<T>(account: Account, attack: impl Fn() + Sync, work: impl FnOnce() -> T) -> T {
    struct Over<'a>(&'a AtomicBool);
    impl Drop for Over<'_> {
        fn drop(&mut self) {
            self.0.store(true, Ordering::Relaxed);
        }
    }
    let over = AtomicBool::new(false);
    let begun = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            as_account(account, || {
                while !over.load(Ordering::Relaxed) {
                    attack();
                    begun.store(true, Ordering::Relaxed);
                }
            });
        });
        // Also when the work panics: the scope waits for the attacker.
        let _over = Over(&over);
        while !begun.load(Ordering::Relaxed) {
            std::thread::yield_now();
        }
        work()
    })
}

/// Whether a race goes on: for at least so many rounds, and for ten times as many as long as `met` is false, which says
/// that the attacker has come at the right moment once. On a busy machine he gets little time.
pub fn another_round(round: u64, least: u64, met: bool) -> bool {
    round < least || (!met && round < 10 * least)
}

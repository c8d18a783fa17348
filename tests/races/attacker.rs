//! The attacker: a process of its own, which swaps and plants names as fast as it can, on a processor of its own if there is another one.

#![forbid(unsafe_code)]

use crate::common::{Account, Site};
use rustix::fs::{CWD, RenameFlags, renameat_with};
use std::fs::{File, create_dir, remove_dir, remove_file, rename};
use std::os::unix::fs::{FileExt, PermissionsExt, symlink};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

/// What it does, and to which paths (separated by colons).
const VARIABLE: &str = "RACE_ATTACK";

/// What it can do over and over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Attack {
    /// Exchanges the first path with each of the others.
    Exchange,
    /// Puts a directory, a link to the last path, and a directory from elsewhere at each of the other paths.
    Plant,
}

/// One that is at work. Killed when dropped.
pub struct Attacker {
    child: Child,
    count: PathBuf,
}

impl Attacker {
    /// Starts one, and waits until it is at work.
    pub fn start(site: &Site, account: Account, attack: Attack, paths: &[&Path]) -> Self {
        let program = site.program("attacker");
        if !program.exists() {
            std::fs::copy(std::env::current_exe().unwrap(), &program).unwrap();
            std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
        }
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let count = site.root.join(format!("count.{}", NUMBER.fetch_add(1, Ordering::Relaxed)));
        let named: Vec<&str> = paths.iter().map(|path| path.to_str().unwrap()).collect();
        let mut command = Command::new(program);
        command.args(["--exact", "attack", "--nocapture"]).env(VARIABLE, format!("{attack:?}:{}", named.join(":")));
        command.stdin(File::create(&count).unwrap()).stdout(Stdio::null()).stderr(Stdio::null());
        let child = command.uid(account.uid()).gid(account.gid()).current_dir("/").spawn().unwrap();
        let attacker = Attacker { child, count };
        let started = Instant::now();
        while attacker.count() == 0 {
            assert!(started.elapsed() < Duration::from_secs(60), "the attacker does nothing");
            std::thread::sleep(Duration::from_millis(1));
        }
        attacker
    }

    /// How often it has done it.
    pub fn count(&self) -> u64 {
        std::fs::read(&self.count).unwrap().first_chunk().map_or(0, |count| u64::from_le_bytes(*count))
    }
}

impl Drop for Attacker {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The attacker's process, if this is one.
pub fn be() {
    let Ok(order) = std::env::var(VARIABLE) else { return };
    let (attack, paths) = order.split_once(':').unwrap();
    let paths: Vec<&Path> = paths.split(':').map(Path::new).collect();
    let parent = rustix::process::getppid();
    pin_to_the_last_processor();
    let count = File::from(rustix::io::dup(rustix::stdio::stdin()).unwrap());
    for done in 1_u64.. {
        match attack {
            "Exchange" => exchange(&paths, done),
            _ => plant(&paths),
        }
        count.write_all_at(&done.to_le_bytes(), 0).unwrap();
        // Whoever started it was killed.
        if rustix::process::getppid() != parent {
            return;
        }
    }
}

fn exchange(paths: &[&Path], turn: u64) {
    let other = paths[1 + turn as usize / 2 % (paths.len() - 1)];
    let _ = renameat_with(CWD, paths[0], CWD, other, RenameFlags::EXCHANGE);
}

fn plant(paths: &[&Path]) {
    let Some((trap, names)) = paths.split_last() else { return };
    let own = trap.with_extension(std::process::id().to_string());
    for name in names {
        let _ = create_dir(name);
        let _ = remove_dir(name);
        let _ = symlink(trap, name);
        let _ = remove_file(name);
        let _ = create_dir(&own);
        let _ = rename(&own, name);
        let _ = remove_dir(name);
        let _ = rename(name, &own);
        let _ = remove_dir(&own);
    }
}

fn pin_to_the_last_processor() {
    use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};
    let allowed = sched_getaffinity(None).unwrap();
    let last = (0..CpuSet::MAX_CPU).rev().find(|cpu| allowed.is_set(*cpu)).unwrap();
    let mut one = CpuSet::new();
    one.set(last);
    sched_setaffinity(None, &one).unwrap();
}

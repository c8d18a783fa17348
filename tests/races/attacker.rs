//! The attacker: a process of its own, which changes names as fast as it can, on a processor of its own if there are
//! enough.

#![forbid(unsafe_code)]

use crate::common::{Account, Site, copy_program};
use rustix::fs::{CWD, RenameFlags, renameat_with};
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};
use std::fs::{File, create_dir, remove_dir, remove_file, rename};
use std::os::unix::fs::{FileExt, symlink};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

/// What it does, on which processor, and to which paths, separated by colons.
const VARIABLE: &str = "RACE_ATTACK";

/// What it can do over and over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// Exchanges the first path with each of the others.
    Exchange,
    /// Moves the first path to the second and, a moment later, back: so the name is free for others.
    Away,
    /// Puts a directory, a link to the last path, and a directory from elsewhere at each of the other paths.
    Plant,
}

/// Who does what to which paths.
pub struct Attack {
    account: Account,
    way: Way,
    paths: Vec<PathBuf>,
}

impl Attack {
    /// One that is not going on yet.
    pub fn new(account: Account, way: Way, paths: impl IntoIterator<Item = impl AsRef<Path>>) -> Self {
        Attack { account, way, paths: paths.into_iter().map(|path| path.as_ref().to_owned()).collect() }
    }
}

/// One that is at work. Killed when dropped.
pub struct Attacker {
    child: Child,
    count: PathBuf,
}

impl Attacker {
    /// Starts one on a processor (counted round and round), and waits until it is at work.
    pub fn start(site: &Site, attack: &Attack, processor: u64) -> Self {
        let program = site.program("attacker");
        if !program.exists() {
            copy_program(&std::env::current_exe().unwrap(), &program, "755");
        }
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let count = site.root.join(format!("count.{}", NUMBER.fetch_add(1, Ordering::Relaxed)));
        let paths: Vec<&str> = attack.paths.iter().map(|path| path.to_str().unwrap()).collect();
        let order = format!("{:?}:{processor}:{}", attack.way, paths.join(":"));
        let mut command = Command::new(program);
        command.args(["--ignored", "acts_as_the_attacker", "--nocapture"]).env(VARIABLE, order);
        command.stdin(File::create(&count).unwrap()).stdout(Stdio::null()).stderr(Stdio::null());
        command.uid(attack.account.uid()).gid(attack.account.gid()).current_dir("/");
        let attacker = Attacker { child: command.spawn().unwrap(), count };
        let started = Instant::now();
        while attacker.read_count().is_none() {
            assert!(started.elapsed() < Duration::from_secs(60), "the attacker does nothing");
            std::thread::sleep(Duration::from_millis(1));
        }
        attacker
    }

    /// How many names it has changed.
    pub fn count(&self) -> u64 {
        self.read_count().unwrap()
    }

    fn read_count(&self) -> Option<u64> {
        std::fs::read(&self.count).unwrap().first_chunk().map(|count| u64::from_le_bytes(*count))
    }
}

impl Drop for Attacker {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = remove_file(&self.count);
    }
}

/// The attacker's process.
pub fn be() {
    let order = std::env::var(VARIABLE).expect("started by the other tests only");
    let [way, processor, paths] = order.splitn(3, ':').collect::<Vec<_>>()[..] else { panic!("{order}") };
    let paths: Vec<&Path> = paths.split(':').map(Path::new).collect();
    let parent = rustix::process::getppid();
    stay_on(processor.parse().unwrap());
    let file = File::from(rustix::io::dup(rustix::stdio::stdin()).unwrap());
    let mut count = 0_u64;
    for turn in 0.. {
        count += match way {
            "Exchange" => exchange(&paths, turn),
            "Away" => away(&paths),
            _ => plant(&paths),
        };
        file.write_all_at(&count.to_le_bytes(), 0).unwrap();
        // Whoever started it was killed.
        if rustix::process::getppid() != parent {
            return;
        }
    }
}

/// How many of these it has managed to do.
fn successes(tried: &[bool]) -> u64 {
    tried.iter().filter(|success| **success).count() as u64
}

fn exchange(paths: &[&Path], turn: usize) -> u64 {
    let other = paths[1 + turn / 2 % (paths.len() - 1)];
    // Who never rests keeps the lock of the directory to himself, and the helper from the moment that he waits for.
    std::thread::sleep(Duration::from_micros(10));
    successes(&[renameat_with(CWD, paths[0], CWD, other, RenameFlags::EXCHANGE).is_ok()])
}

fn away(paths: &[&Path]) -> u64 {
    let gone = rename(paths[0], paths[1]).is_ok();
    std::thread::sleep(Duration::from_micros(100));
    let back = rename(paths[1], paths[0]).is_ok();
    std::thread::sleep(Duration::from_micros(400));
    successes(&[gone, back])
}

fn plant(paths: &[&Path]) -> u64 {
    let Some((trap, names)) = paths.split_last() else { return 0 };
    // Beside the names, where it may make one of its own.
    let own = names[0].with_extension(std::process::id().to_string());
    let at = |name: &Path| {
        let made = create_dir(name).is_ok();
        let _ = remove_dir(name);
        let linked = symlink(trap, name).is_ok();
        let _ = remove_file(name);
        create_dir(&own).unwrap();
        let moved = rename(&own, name).is_ok();
        let taken = rename(name, &own).is_ok();
        let _ = remove_dir(name);
        let _ = remove_dir(&own);
        successes(&[made, linked, moved, taken])
    };
    names.iter().map(|name| at(name)).sum()
}

fn stay_on(processor: usize) {
    let allowed = sched_getaffinity(None).unwrap();
    let there: Vec<usize> = (0..CpuSet::MAX_CPU).filter(|cpu| allowed.is_set(*cpu)).collect();
    let mut one = CpuSet::new();
    one.set(there[processor % there.len()]);
    sched_setaffinity(None, &one).unwrap();
}

//! What confinement costs: for each phase the time that it takes to take it on, and what its filter adds to a system
//! call, as medians of many processes. One line a phase: its name, microseconds, nanoseconds.
//!
//! A process can be confined only once, so the program starts itself for every measurement.

#![forbid(unsafe_code)]

use glexec_rs::confine::confine;
use glexec_rs::confine::landlock::Grant;
use glexec_rs::confine::phase::{self, Phase, filling, removing, renaming};
use glexec_rs::policy::MayLack;
use std::fs::File;
use std::hint::black_box;
use std::os::fd::AsFd;
use std::process::Command;
use std::time::Instant;

/// How many processes are measured for each phase.
const PROCESSES: usize = 101;

/// How many system calls are timed in each, before and after.
const CALLS: u32 = 20_000;

const PHASES: [(&str, &Phase); 8] = [
    ("setup.pilot", &phase::SETUP_PILOT),
    ("setup.target", &phase::SETUP_TARGET),
    ("cleanup.pilot", &phase::CLEANUP_PILOT),
    ("cleanup.target", &phase::CLEANUP_TARGET),
    ("kill.pilot", &phase::KILL_PILOT),
    ("kill.target", &phase::KILL_TARGET),
    ("update_proxy.pilot", &phase::UPDATE_PROXY_PILOT),
    ("update_proxy.target", &phase::UPDATE_PROXY_TARGET),
];

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let Some((_, phase)) = PHASES.iter().find(|(name, _)| arguments.first().is_some_and(|first| first == name)) {
        return once(phase);
    }
    for (name, _) in PHASES {
        let mut found: [Vec<f64>; 2] = Default::default();
        for _ in 0..PROCESSES {
            let output = Command::new(std::env::current_exe().unwrap()).arg(name).output().unwrap();
            assert!(output.status.success(), "{name}: {output:?}");
            let text = String::from_utf8(output.stdout).unwrap();
            for (all, number) in found.iter_mut().zip(text.split_whitespace()) {
                all.push(number.parse().unwrap());
            }
        }
        let [taken, added] = found.map(|mut all| {
            all.sort_by(f64::total_cmp);
            all[all.len() / 2]
        });
        println!("{name} {taken:.1} {added:.1}");
    }
}

fn once(phase: &Phase) {
    let [home, parent] = ["/tmp", "/"].map(|path| File::open(path).unwrap());
    let grants = [
        Grant { object: home.as_fd(), rights: filling() | removing() },
        Grant { object: parent.as_fd(), rights: renaming() },
    ];
    let before = nanoseconds_of_a_call();
    let start = Instant::now();
    let proof = confine(phase, &grants, MayLack::default()).unwrap_or_else(|failure| panic!("{failure}"));
    let taken = start.elapsed();
    black_box(proof);
    let added = nanoseconds_of_a_call() - before;
    println!("{} {added}", taken.as_secs_f64() * 1e6);
}

/// Of the shortest call that every profile allows and that no library answers from memory.
fn nanoseconds_of_a_call() -> f64 {
    let start = Instant::now();
    for _ in 0..CALLS {
        black_box(rustix::thread::gettid());
    }
    start.elapsed().as_secs_f64() * 1e9 / f64::from(CALLS)
}

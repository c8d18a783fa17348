//! Races as loops: an attacker's process swaps names without pause while the built programs work, round after round, and must never win.
//!
//! `GLEXEC_RS_RACE_ROUNDS` sets the number of rounds.

#![deny(unsafe_code)]

mod attacker;
#[path = "../common/mod.rs"]
mod common;

use attacker::{Attack, Attacker};
use common::{Account, Channel, GREG, Kind, MALLORY, PILOT, Sandbox, Site, Snapshot, finish, pem, put_file, put_link};
use std::fs::{create_dir, metadata, read, remove_dir_all, remove_file, symlink_metadata};
use std::io::Write;
use std::os::unix::fs::MetadataExt;
use std::panic::catch_unwind;
use std::path::{Path, PathBuf};

/// Not a test of its own: what the attacker's process does.
#[test]
fn attack() {
    attacker::be();
}

/// What nobody but its owner may know or change.
const SECRET: &[u8] = b"nothing that may come to anybody else";

/// Rounds of one race, with what the attacker did meanwhile.
struct Race<'s> {
    name: &'static str,
    site: &'s Site,
    rounds: u64,
    swaps: u64,
    /// Exits with 0 and with anything else.
    ends: [u64; 2],
    wins: Vec<String>,
}

impl<'s> Race<'s> {
    fn new(name: &'static str, site: &'s Site) -> Self {
        let rounds = std::env::var("GLEXEC_RS_RACE_ROUNDS").map_or(60, |rounds| rounds.parse().unwrap());
        Race { name, site, rounds, swaps: 0, ends: [0; 2], wins: Vec::new() }
    }

    /// Does `work`, a helper's call, while the attackers are at work; counts what they did meanwhile.
    fn against<T>(&mut self, attackers: &[Attacker], work: impl FnOnce() -> T) -> T {
        let count = || attackers.iter().map(Attacker::count).sum::<u64>();
        let before = count();
        let done = work();
        self.swaps += count() - before;
        done
    }

    fn ended(&mut self, code: Option<i32>) {
        self.ends[usize::from(code != Some(0))] += 1;
    }

    /// Notes what must not be.
    fn check(&mut self, holds: bool, win: impl FnOnce() -> String) {
        if !holds {
            self.wins.push(win());
        }
    }

    fn conclude(self) {
        let Race { name, rounds, swaps, ends: [done, refused], wins, .. } = self;
        // Not through a macro: their output is kept back when the test passes.
        let line = format!(
            "{name}: {rounds} rounds ({done} done, {refused} refused), {swaps} swaps meanwhile, {} wins",
            wins.len()
        );
        let _ = writeln!(std::io::stderr(), "{line}");
        assert!(swaps > rounds, "the attacker was not fast enough: {line}");
        assert!(wins.is_empty(), "{line}: {wins:#?}");
    }

    /// A directory of this account with a secret that everybody may read and write: only a helper that is led there touches it.
    fn trap(&self, name: &str, owner: Account, mode: u32) -> PathBuf {
        let trap = self.site.root.join(name);
        create_dir(&trap).unwrap();
        put_file(owner, &trap.join("secret"), SECRET, 0o644);
        finish(owner, &trap, mode);
        trap
    }
}

/// Removes a sandbox wherever it is by now.
fn forget(sandbox: &Sandbox) {
    for path in [&sandbox.path, &sandbox.parked] {
        let _ = remove_file(path);
        let _ = remove_dir_all(path);
    }
}

#[test]
fn s2_another_account_plants_names_around_setup() {
    let Some(site) = Site::new() else { return };
    let mut race = Race::new("S2", &site);
    let trap = race.trap("trap", MALLORY, 0o777);
    let before_trap = Snapshot::of(&trap);
    for round in 0..race.rounds {
        let sandbox = site.sandbox_named(format!("dir_{round}"));
        sandbox.fill();
        let before = sandbox.snapshot();
        let planted = site.execute.join("trap");
        let attacker = [Attacker::start(&site, MALLORY, Attack::Plant, &[&sandbox.parked, &sandbox.path, &trap])];
        let finished = race.against(&attacker, || site.setup(&sandbox).run());
        drop(attacker);
        race.ended(finished.code);
        race.check(!planted.exists(), || "a name of the attacker's in EXECUTE".into());
        if finished.code == Some(0) {
            let differences = sandbox.snapshot().differences(&before.masked(0o755).owned_by(GREG));
            race.check(differences.is_empty(), || differences.join("; "));
        } else {
            let differences = sandbox.snapshot().differences(&before);
            race.check(differences.is_empty(), || differences.join("; "));
        }
        let now = Snapshot::of(&trap).differences(&before_trap);
        race.check(now.is_empty(), || now.join("; "));
        forget(&sandbox);
    }
    race.conclude();
}

/// A handed-over sandbox in which `a` is a directory with a file, and beside which there is a link `b`.
fn with_swappable(site: &Site, target: &Path) -> Sandbox {
    let sandbox = site.handed_over();
    create_dir(sandbox.path.join("a")).unwrap();
    put_file(GREG, &sandbox.path.join("a/secret"), b"the job's own", 0o644);
    finish(GREG, &sandbox.path.join("a"), 0o755);
    put_link(GREG, &sandbox.path.join("b"), target);
    put_file(GREG, &sandbox.path.join("f"), &[9; 40_000], 0o644);
    put_link(GREG, &sandbox.path.join("g"), target.join("secret"));
    finish(GREG, &sandbox.path, 0o755);
    sandbox
}

#[test]
fn c3_c10_the_job_swaps_files_and_directories_with_links_meanwhile() {
    let Some(site) = Site::new() else { return };
    let mut race = Race::new("C3 and C10", &site);
    let private = race.trap("pilot/private", PILOT, 0o700);
    let before_private = Snapshot::of(&private);
    for round in 0..race.rounds {
        let targets = [private.as_path(), Path::new("/etc"), Path::new("..")];
        let sandbox = with_swappable(&site, targets[round as usize % 3]);
        let pilot = Snapshot::of(&sandbox.parked);
        let at = |name: &str| sandbox.path.join(name);
        let attackers = [
            Attacker::start(&site, GREG, Attack::Exchange, &[&at("a"), &at("b")]),
            Attacker::start(&site, GREG, Attack::Exchange, &[&at("f"), &at("g"), &at("a/secret")]),
        ];
        let finished = race.against(&attackers, || site.cleanup(&sandbox).run());
        drop(attackers);
        race.ended(finished.code);
        let is_back = symlink_metadata(&sandbox.path).unwrap().uid() == PILOT.uid();
        race.check(is_back || finished.code == Some(1), || format!("{finished:?}, but it is not back"));
        if is_back {
            let tree = sandbox.snapshot();
            for (path, entry) in &tree.entries {
                let content = match &entry.kind {
                    Kind::File { .. } => read(sandbox.path.join(path)).unwrap(),
                    Kind::Link(target) => {
                        let leads_out =
                            target.is_absolute() || target.starts_with("..") && path.components().count() < 2;
                        race.check(!leads_out, || format!("{} leads to {}", path.display(), target.display()));
                        continue;
                    }
                    _ => continue,
                };
                race.check(content != SECRET && !content.starts_with(b"root:"), || {
                    format!("{} came back", path.display())
                });
            }
            let proxy = tree.entries.get(Path::new(&sandbox.proxy));
            race.check(proxy == pilot.entries.get(Path::new(&sandbox.proxy)), || format!("the proxy: {proxy:?}"));
        }
        let now = Snapshot::of(&private).differences(&before_private);
        race.check(now.is_empty(), || now.join("; "));
        forget(&sandbox);
    }
    race.conclude();
}

#[test]
fn c9_the_job_and_another_account_swap_the_sandbox_meanwhile() {
    let Some(site) = Site::new() else { return };
    let mut race = Race::new("C9", &site);
    let trap = race.trap("trap", MALLORY, 0o777);
    let before_trap = Snapshot::of(&trap);
    for _ in 0..race.rounds {
        let sandbox = site.handed_over();
        let (pilots, pilot) = (metadata(&sandbox.parked).unwrap().ino(), Snapshot::of(&sandbox.parked));
        let decoy = site.execute.join("decoy");
        create_dir(&decoy).unwrap();
        finish(GREG, &decoy, 0o777);
        let link = site.execute.join("link");
        put_link(GREG, &link, &trap);
        let attackers = [
            Attacker::start(&site, GREG, Attack::Exchange, &[&sandbox.path, &decoy, &link]),
            Attacker::start(&site, MALLORY, Attack::Plant, &[&sandbox.path, &sandbox.parked, &trap]),
        ];
        let finished = race.against(&attackers, || site.cleanup(&sandbox).run());
        drop(attackers);
        race.ended(finished.code);
        // Wherever the job has put its own: the pilot's directory is at one of the two names, with its proxy.
        let home = [&sandbox.path, &sandbox.parked]
            .into_iter()
            .find(|path| symlink_metadata(path).is_ok_and(|found| (found.ino(), found.uid()) == (pilots, PILOT.uid())));
        race.check(home.is_some(), || format!("{finished:?}: the pilot's directory is gone"));
        race.check(finished.code != Some(0) || home == Some(&sandbox.path), || {
            format!("{finished:?}: S is not the pilot's")
        });
        if let Some(home) = home {
            let proxy = Snapshot::of(home).entries.remove(Path::new(&sandbox.proxy));
            race.check(proxy.as_ref() == pilot.entries.get(Path::new(&sandbox.proxy)), || {
                format!("the proxy: {proxy:?}")
            });
        }
        let now = Snapshot::of(&trap).differences(&before_trap);
        race.check(now.is_empty(), || now.join("; "));
        for path in [&decoy, &link, &sandbox.path, &sandbox.parked] {
            let _ = remove_file(path);
            let _ = remove_dir_all(path);
        }
    }
    race.conclude();
}

#[test]
fn r4_the_sandbox_is_swapped_for_a_link_while_the_job_is_started() {
    let Some(site) = Site::new() else { return };
    let mut race = Race::new("R4", &site);
    // Where the job could even write; but it is nobody's sandbox.
    let trap = race.trap("trap", MALLORY, 0o777);
    let sandbox = site.handed_over();
    let own = metadata(&sandbox.path).unwrap().ino();
    let link = site.execute.join("link");
    site.expect_left("link");
    put_link(GREG, &link, &trap);
    let attackers = [Attacker::start(&site, GREG, Attack::Exchange, &[&sandbox.path, &link])];
    for _ in 0..race.rounds {
        let (starter, wrapper) = Channel::open();
        let call = site
            .call("condor_glexec_run")
            .arg(site.switcher())
            .arg(&sandbox.proxy)
            .arg(&sandbox.path)
            .arg(site.program("condor_glexec_job_wrapper"))
            .args(["/dev/null", "/dev/null", "/dev/null", "/usr/bin/touch", "ran"])
            .cwd(&sandbox.parked)
            .input(wrapper);
        let finished = race.against(&attackers, || {
            let running = call.start();
            // Without a hello, run has refused.
            let _ = catch_unwind(|| starter.start_job(b"A=1"));
            running.finish()
        });
        race.ended(finished.code);
        race.check(!trap.join("ran").exists(), || "the job ran in the trap".into());
    }
    drop(attackers);
    let home = [&sandbox.path, &link].into_iter().find(|path| symlink_metadata(path).unwrap().ino() == own).unwrap();
    assert!(race.ends[0] == 0 || home.join("ran").exists(), "no job ran where it should");
    race.conclude();
}

#[test]
fn u3_the_job_swaps_its_sandbox_and_its_proxy_while_it_is_renewed() {
    let Some(site) = Site::new() else { return };
    let mut race = Race::new("U3", &site);
    let trap = race.trap("trap", GREG, 0o777);
    let before_trap = Snapshot::of(&trap);
    let sandbox = site.handed_over();
    let [link, directory] = ["link", "directory"].map(|name| site.execute.join(name));
    for name in ["link", "directory"] {
        site.expect_left(name);
    }
    put_link(GREG, &link, &trap);
    create_dir(&directory).unwrap();
    finish(GREG, &directory, 0o755);
    let other = sandbox.path.join("other");
    put_link(GREG, &other, trap.join("secret"));
    let attackers = [
        Attacker::start(&site, GREG, Attack::Exchange, &[&sandbox.path, &link]),
        Attacker::start(&site, GREG, Attack::Exchange, &[&sandbox.proxy_path(), &other, &directory]),
    ];
    for round in 0..race.rounds {
        let seed = 10 + (round % 200) as u8;
        let new = site.private_file("new-proxy", &pem(seed));
        let before = read(sandbox.parked_proxy()).unwrap();
        let finished = race.against(&attackers, || site.update_proxy(&sandbox, &new).run());
        race.ended(finished.code);
        let now = read(sandbox.parked_proxy()).unwrap();
        let expected = if finished.code == Some(0) { pem(seed) } else { before };
        race.check(now == expected, || format!("{finished:?}: the pilot's proxy is something else"));
        let now = Snapshot::of(&trap).differences(&before_trap);
        race.check(now.is_empty(), || now.join("; "));
    }
    drop(attackers);
    race.conclude();
}

/// The loops are worth something: who goes by paths loses to the same attacker.
#[test]
fn a_careless_reader_loses() {
    let Some(site) = Site::new() else { return };
    let private = site.private_file("secret", SECRET);
    let sandbox = with_swappable(&site, private.parent().unwrap());
    let at = |name: &str| sandbox.path.join(name);
    let _attacker = Attacker::start(&site, GREG, Attack::Exchange, &[&at("a"), &at("b")]);
    let script = format!("for n in $(seq 2000); do cat {}/secret; echo; done", at("a").display());
    let finished = common::Call::new("/bin/sh").args(["-c", &script]).cwd("/").run();
    assert!(finished.output.contains(std::str::from_utf8(SECRET).unwrap()), "it was never led astray");
}

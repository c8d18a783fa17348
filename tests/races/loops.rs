//! The races, and that the attackers are worth something.

use crate::attacker::{Attack, Attacker, Way};
use crate::common::{
    Account, Call, Channel, Finished, GREG, Kind, MALLORY, PILOT, Sandbox, Site, Snapshot, finish, pem, put_file,
    put_link,
};
use crate::race::Race;
use crate::trap::{SECRET, Trap};
use crate::{attacker, etc};
use rustix::fs::{CWD, FileType, Mode, mknodat};
use std::fs::{create_dir, metadata, read, read_dir, remove_dir_all, remove_file, symlink_metadata};
use std::os::unix::fs::{MetadataExt, lchown};
use std::panic::catch_unwind;
use std::path::Path;

/// Not a test of its own: what an attacker's process does.
#[test]
#[ignore = "started by the other tests"]
fn acts_as_the_attacker() {
    attacker::be();
}

/// Removes what a round has left in EXECUTE, also what attackers were just making.
fn clear(site: &Site) {
    for left in read_dir(&site.execute).unwrap().map(|entry| entry.unwrap().path()) {
        remove_file(&left).or_else(|_| remove_dir_all(&left)).unwrap();
    }
}

/// The inode of what is there.
fn inode(path: &Path) -> Option<u64> {
    symlink_metadata(path).ok().map(|found| found.ino())
}

#[test]
#[ignore = "needs root"]
fn s2_another_account_plants_names_around_setup() {
    let site = Site::new();
    let mut race = Race::new("S2", &site);
    let trap = Trap::set(site.root.join("trap"), MALLORY, 0o777);
    while let Some(round) = race.next_round() {
        let sandbox = site.sandbox_named(format!("dir_{round}"));
        sandbox.fill();
        let before = sandbox.snapshot();
        let attack = Attack::new(MALLORY, Way::Plant, [&sandbox.parked, &sandbox.path, &trap.path]);
        let finished = race.against(&[attack], || site.setup(&sandbox).run());
        race.ended(&finished);
        let parked = symlink_metadata(&sandbox.parked).map(|found| found.uid()).ok();
        if finished.code == Some(0) {
            race.check_same(&sandbox.snapshot(), &before.clone().masked(0o755).owned_by(GREG));
            race.check(parked == Some(PILOT.uid()), || format!("S.condor belongs to {parked:?}"));
            let proxy = before.clone().below().entries.into_iter().filter(|(path, _)| *path == *sandbox.proxy);
            race.check_same(&Snapshot::of(&sandbox.parked).below(), &Snapshot { entries: proxy.collect() });
        } else {
            race.check_same(&sandbox.snapshot(), &before);
            race.check(parked.is_none_or(|owner| owner == MALLORY.uid()), || {
                format!("{finished:?}, but S.condor is there")
            });
        }
        race.check_untouched(&trap);
        clear(&site);
    }
    race.conclude();
}

/// How many files and directories there are to swap: more are listed by then than the helper has opened.
const SWAPPABLE: usize = 40;

/// A handed-over sandbox with files and directories, links to `target` and its secret, and a FIFO.
fn with_swappable(site: &Site, target: &Path) -> Sandbox {
    let sandbox = site.handed_over();
    for number in 0..SWAPPABLE {
        let directory = sandbox.path.join(format!("directory{number}"));
        create_dir(&directory).unwrap();
        put_file(GREG, &directory.join("secret"), b"the job's own", 0o644);
        finish(GREG, &directory, 0o755);
        // What is small is sent as bytes, what is large as a descriptor.
        let size = if number % 2 == 0 { 9 } else { 40_000 };
        put_file(GREG, &sandbox.path.join(format!("file{number}")), &vec![9; size], 0o644);
    }
    put_link(GREG, &sandbox.path.join("to_directory"), target);
    put_link(GREG, &sandbox.path.join("to_file"), target.join("secret"));
    let fifo = sandbox.path.join("fifo");
    mknodat(CWD, &fifo, FileType::Fifo, Mode::from_raw_mode(0o644), 0).unwrap();
    lchown(&fifo, Some(GREG.uid()), Some(GREG.gid())).unwrap();
    finish(GREG, &sandbox.path, 0o755);
    sandbox
}

/// The job's attack that exchanges `first`, in a sandbox with swappable entries, with all of one kind.
fn swap(sandbox: &Sandbox, first: &str, kind: &str) -> Attack {
    let others = (0..SWAPPABLE).map(|number| format!("{kind}{number}"));
    let names = std::iter::once(first.to_owned()).chain(others);
    Attack::new(GREG, Way::Exchange, names.map(|name| sandbox.path.join(name)))
}

/// Notes what has come back that should not have, and whether the pilot's proxy is what it was in the parked directory
/// `pilot`.
fn check_taken_back(race: &mut Race, sandbox: &Sandbox, finished: &Finished, pilot: &Snapshot) {
    let is_back = symlink_metadata(&sandbox.path).unwrap().uid() == PILOT.uid();
    race.check(is_back || finished.code == Some(1), || format!("{finished:?}, but it is not back"));
    let home = if is_back { &sandbox.path } else { &sandbox.parked };
    let tree = Snapshot::of(home);
    let proxy = tree.entries.get(Path::new(&sandbox.proxy));
    race.check(proxy == pilot.entries.get(Path::new(&sandbox.proxy)), || format!("the proxy: {proxy:?}"));
    for (path, entry) in &tree.entries {
        match &entry.kind {
            Kind::File { .. } => {
                let is_secret = read(home.join(path)).unwrap() == SECRET;
                race.check(!is_secret, || format!("the secret came back as {}", path.display()));
            }
            Kind::Link(target) => {
                let leads_out = target.is_absolute() || target.starts_with("..") && path.components().count() < 2;
                race.check(!leads_out, || format!("{} leads to {}", path.display(), target.display()));
            }
            Kind::Directory => {}
            Kind::Special(kind) => race.check(false, || format!("{} came back: {kind:?}", path.display())),
        }
    }
}

/// The job swaps what `cleanup` has listed for links and a FIFO before it is opened.
fn swap_while_taken_back(name: &'static str, site: &Site, cleanup: impl Fn(&Sandbox) -> Call) {
    let mut race = Race::new(name, site);
    // On the sandbox's own file system, and the job may read it.
    let trap = Trap::set(site.root.join("trap"), MALLORY, 0o755);
    while let Some(round) = race.next_round() {
        let target = if round % 2 == 0 { &trap.path } else { Path::new("../../trap") };
        let sandbox = with_swappable(site, target);
        let pilot = Snapshot::of(&sandbox.parked);
        let attacks = [
            swap(&sandbox, "to_directory", "directory"),
            swap(&sandbox, if round % 3 == 2 { "fifo" } else { "to_file" }, "file"),
        ];
        let finished = race.against(&attacks, || cleanup(&sandbox).run());
        race.ended(&finished);
        check_taken_back(&mut race, &sandbox, &finished, &pilot);
        race.check_untouched(&trap);
        clear(site);
    }
    race.conclude();
}

#[test]
#[ignore = "needs root"]
fn c3_c10_the_job_swaps_files_and_directories_with_links_meanwhile() {
    let site = Site::new();
    swap_while_taken_back("C3, C4 and C10", &site, |sandbox| site.cleanup(sandbox));
}

/// Not Landlock but the walk itself keeps the job's links from being followed: strace answers for the kernel that it
/// has none, and the site's policy lets it be missing.
#[test]
#[ignore = "needs root"]
fn c3_c10_the_walk_alone_follows_no_link_where_the_kernel_has_no_landlock() {
    let site = Site::new();
    let policy = etc::put(&site, "kernel-may-lack = landlock\n");
    let cleanup = |sandbox: &Sandbox| {
        Call::new("/usr/bin/strace")
            .account(Account { name: "root" })
            .args(["-f", "-qq", "-o", "/dev/null", "-u", PILOT.name, "-e", "trace=landlock_create_ruleset"])
            .args(["-e", "inject=landlock_create_ruleset:error=ENOSYS"])
            .arg(site.program("condor_glexec_cleanup"))
            .arg(site.switcher())
            .arg(&sandbox.proxy)
            .arg(&sandbox.path)
            .args(["0", "0"])
            .cwd(&sandbox.parked)
    };
    etc::with(&policy, || swap_while_taken_back("C3, C4 and C10 without Landlock", &site, cleanup));
}

#[test]
#[ignore = "needs root"]
fn c9_the_job_and_another_account_swap_the_sandbox_meanwhile() {
    let site = Site::new();
    let mut race = Race::new("C9", &site);
    let trap = Trap::set(site.root.join("trap"), MALLORY, 0o777);
    let [decoy, link, away] = ["decoy", "link", "away"].map(|name| site.execute.join(name));
    while let Some(round) = race.next_round() {
        let sandbox = site.handed_over();
        let (left, pilot) = (sandbox.snapshot().below(), Snapshot::of(&sandbox.parked));
        let (jobs, pilots) = (inode(&sandbox.path), inode(&sandbox.parked));
        create_dir(&decoy).unwrap();
        finish(GREG, &decoy, 0o777);
        put_link(GREG, &link, &trap.path);
        let attacks = [
            match round % 2 {
                0 => Attack::new(GREG, Way::Exchange, [&sandbox.path, &decoy, &link]),
                _ => Attack::new(GREG, Way::Away, [&sandbox.path, &away]),
            },
            Attack::new(MALLORY, Way::Plant, [&sandbox.path, &sandbox.parked, &trap.path]),
        ];
        let finished = race.against(&attacks, || site.cleanup(&sandbox).run());
        race.ended(&finished);
        // Wherever the job has put its own: the pilot's directory is at one of the two names, with its proxy.
        let home = [&sandbox.path, &sandbox.parked]
            .into_iter()
            .find(|path| inode(path) == pilots && metadata(path).unwrap().uid() == PILOT.uid());
        race.check(finished.code != Some(0) || home == Some(&sandbox.path), || {
            format!("{finished:?}: S is not the pilot's")
        });
        let home = home.map(|home| Snapshot::of(home).below());
        let proxy = home.as_ref().and_then(|home| home.entries.get(Path::new(&sandbox.proxy)));
        race.check(proxy == pilot.entries.get(Path::new(&sandbox.proxy)), || {
            format!("{finished:?}: the proxy: {proxy:?}")
        });
        // And the job's tree is whole, with the pilot or where the job has it.
        let back = left.clone().masked(0o755).owned_by(PILOT).without(&sandbox.proxy);
        let is_back = home.is_some_and(|home| home.without(&sandbox.proxy) == back);
        let places = [&sandbox.path, &sandbox.parked, &decoy, &link, &away];
        let is_there = || places.iter().any(|path| inode(path) == jobs && Snapshot::of(path).below() == left);
        race.check(is_back || is_there(), || format!("{finished:?}: the job's files are gone"));
        race.check_untouched(&trap);
        clear(&site);
    }
    race.conclude();
}

#[test]
#[ignore = "needs root"]
fn r4_the_sandbox_is_swapped_for_a_link_while_the_job_is_started() {
    let site = Site::new();
    let mut race = Race::new("R4", &site);
    // Where the job could write, but no sandbox: one that is not its account's, and one that even is.
    let traps =
        [(MALLORY, "mallorys"), (GREG, "gregs")].map(|(account, name)| Trap::set(site.root.join(name), account, 0o777));
    let sandbox = site.handed_over();
    let own = inode(&sandbox.path);
    let links = ["link0", "link1"].map(|name| site.execute.join(name));
    for (link, trap) in links.iter().zip(&traps) {
        put_link(GREG, link, &trap.path);
    }
    while race.next_round().is_some() {
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
        let attack = Attack::new(GREG, Way::Exchange, [&sandbox.path, &links[0], &links[1]]);
        let finished = race.against(&[attack], || {
            let running = call.start();
            // Without a hello, run has refused.
            let _ = catch_unwind(|| starter.start_job(b"A=1"));
            running.finish()
        });
        race.ended(&finished);
        let places = [&sandbox.path, &links[0], &links[1]];
        let home = places.into_iter().find(|path| inode(path) == own).unwrap();
        let ran = remove_file(home.join("ran")).is_ok();
        race.check(ran == (finished.code == Some(0)), || format!("{finished:?}: ran in its sandbox: {ran}"));
        for trap in &traps {
            race.check_untouched(trap);
        }
    }
    clear(&site);
    race.conclude();
}

#[test]
#[ignore = "needs root"]
fn u3_the_job_swaps_its_sandbox_and_its_proxy_while_it_is_renewed() {
    let site = Site::new();
    let mut race = Race::new("U3", &site);
    let trap = Trap::set(site.root.join("trap"), GREG, 0o777);
    let sandbox = site.handed_over();
    let [link, directory] = ["link", "directory"].map(|name| site.execute.join(name));
    put_link(GREG, &link, &trap.path);
    create_dir(&directory).unwrap();
    finish(GREG, &directory, 0o755);
    let other = sandbox.path.join("other");
    put_link(GREG, &other, trap.path.join("secret"));
    while let Some(round) = race.next_round() {
        let seed = 10 + (round % 200) as u8;
        let new = site.private_file("new-proxy", &pem(seed));
        let before = read(sandbox.parked_proxy()).unwrap();
        let attacks = [
            Attack::new(GREG, Way::Exchange, [&sandbox.path, &link]),
            Attack::new(GREG, Way::Exchange, [&sandbox.proxy_path(), &other, &directory]),
        ];
        let finished = race.against(&attacks, || site.update_proxy(&sandbox, &new).run());
        race.ended(&finished);
        let now = read(sandbox.parked_proxy()).unwrap();
        let expected = if finished.code == Some(0) { pem(seed) } else { before };
        race.check(now == expected, || format!("{finished:?}: the pilot's proxy is something else"));
        race.check_untouched(&trap);
    }
    clear(&site);
    race.conclude();
}

/// The loops are worth something: who goes by paths loses to the same attacker.
#[test]
#[ignore = "needs root"]
fn a_careless_reader_loses() {
    let site = Site::new();
    let private = Trap::set(site.root.join("pilot/private"), PILOT, 0o700);
    let sandbox = with_swappable(&site, &private.path);
    let _attacker = Attacker::start(&site, &swap(&sandbox, "to_directory", "directory"), 0);
    let script = format!("for n in $(seq 2000); do cat {}/directory*/secret; echo; done", sandbox.path.display());
    let finished = Call::new("/bin/sh").args(["-c", &script]).cwd("/").run();
    assert!(finished.output.contains(std::str::from_utf8(SECRET).unwrap()), "it was never led astray");
    assert!(!private.touched().is_empty(), "the trap does not notice who is in it");
}

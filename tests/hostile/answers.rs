//! In the place of the peer: whatever it answers, the pilot's side refuses it or leaves it out.

use crate::common::{
    Finished, GREG, Sandbox, Site, Sleeper, Snapshot, copy_program, finish, pem, put_file, write_program,
};
use crate::fuse::{self, Fuse};
use crate::target;
use crate::target::{ATTACKS, Answer, Attack};
use std::time::{Duration, Instant};

/// Which attack this process is to play, as the peer.
const VARIABLE: &str = "HOSTILE_PEER";

/// Not a test of its own: what the site's switcher starts as the peer.
#[test]
#[ignore = "started by the other tests"]
fn acts_as_the_peer() {
    target::play(&std::env::var(VARIABLE).expect("started by the other tests only"));
}

/// Puts a script in the peer's place that starts this program, which plays one attack, and notes in the file `played`
/// how that ended.
fn take_the_peers_place(site: &Site, name: &str) {
    let own = site.program("hostile");
    if !own.exists() {
        copy_program(&std::env::current_exe().unwrap(), &own, "755");
        std::fs::rename(site.program("condor_glexec_peer"), site.program("honest")).unwrap();
    }
    let played = site.root.join("played");
    put_file(GREG, &played, b"", 0o600);
    let script = format!(
        "#!/bin/sh\n{VARIABLE}='{name}' {} --ignored acts_as_the_peer --nocapture\necho $? >{}\n",
        own.display(),
        played.display()
    );
    let _ = std::fs::remove_file(site.program("condor_glexec_peer"));
    write_program(&site.program("condor_glexec_peer"), script);
}

fn give_the_peer_back(site: &Site) {
    let peer = site.program("condor_glexec_peer");
    if site.program("honest").exists() {
        std::fs::remove_file(&peer).unwrap();
        std::fs::hard_link(site.program("honest"), peer).unwrap();
    }
}

/// A sandbox in which a job has left something.
fn with_output(site: &Site) -> Sandbox {
    let sandbox = site.handed_over();
    put_file(GREG, &sandbox.path.join("output"), &[5; 50_000], 0o644);
    finish(GREG, &sandbox.path, 0o755);
    sandbox
}

/// One printable line at the most for each thing that there is to say, whatever the other side has said.
fn assert_fit_to_be_read(attack: &Attack, finished: &Finished) {
    let said = finished.said();
    assert!(said.lines().count() <= 1 && said.len() <= 1025, "{}: {said:?}", attack.name);
    assert!(!said.trim_end().contains(|c: char| c.is_control() || !c.is_ascii()), "{}: {said:?}", attack.name);
}

/// Whether the kernel keeps descriptors from a socket that wants none: since Linux 6.16.
fn no_descriptor_arrives() -> bool {
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap();
    let mut numbers = release.split(|c: char| !c.is_ascii_digit()).map(|number| number.parse::<u32>().unwrap_or(0));
    (numbers.next(), numbers.next()) >= (Some(6), Some(16))
}

fn attacks_on(helper: &str) -> impl Iterator<Item = &'static Attack> {
    ATTACKS.iter().filter(move |attack| attack.helper == helper)
}

/// All that other tests are sure of: refused, nothing changed, and one report that has these words; and that it was the
/// attack which was refused.
#[track_caller]
fn assert_refused(site: &Site, attack: &Attack, finished: &Finished, code: i32) {
    let words = match attack.answer {
        Answer::Refused(words) => words,
        Answer::NoDescriptor if no_descriptor_arrives() => &[target::PERM],
        Answer::NoDescriptor => &["more descriptors"],
        Answer::LeftOut(_) => panic!("{}: it should be refused", attack.name),
    };
    assert_eq!(finished.code, Some(code), "{}: {finished:?}", attack.name);
    assert_fit_to_be_read(attack, finished);
    for word in words {
        assert!(finished.said().contains(word), "{}: {word:?} is missing: {finished:?}", attack.name);
    }
    // The helper need not wait until the attack has noticed its end.
    let played = || std::fs::read_to_string(site.root.join("played")).unwrap();
    crate::common::await_that("the attack is over", || !played().is_empty());
    let played = played();
    assert_eq!(played.trim(), target::PLAYED.to_string(), "{}: it was not played: {finished:?}", attack.name);
}

#[test]
#[ignore = "needs root"]
fn c11_cleanup_refuses_what_the_protocol_does_not_allow() {
    let site = Site::new();
    let canary = site.private_file("canary", b"the pilot's");
    let sandbox = with_output(&site);
    let (job, pilot) = (sandbox.snapshot(), Snapshot::of(&sandbox.parked));
    for attack in attacks_on("cleanup").filter(|attack| matches!(attack.answer, Answer::Refused(_))) {
        take_the_peers_place(&site, attack.name);
        let finished = site.cleanup(&sandbox).run();
        assert_refused(&site, attack, &finished, 1);
        let left: Vec<_> = ["written", "growing"].iter().map(|name| sandbox.path.join(name)).collect();
        left.iter().for_each(|path| drop(std::fs::remove_file(path)));
        finish(GREG, &sandbox.path, 0o755);
        let now = sandbox.snapshot().with("", |entry| entry.mtime = job.get("").mtime);
        now.assert_same(&job);
        let changed = Snapshot::of(&sandbox.parked).below().differences(&pilot.clone().below());
        assert!(changed.is_empty(), "{}: {changed:?}", attack.name);
        assert_eq!(std::fs::read(&canary).unwrap(), b"the pilot's");
    }
    give_the_peer_back(&site);
    let job = sandbox.snapshot();
    site.cleanup(&sandbox).run().expect_quiet();
    sandbox.assert_taken_back(&job, &pilot);
}

#[test]
#[ignore = "needs root"]
fn c11_cleanup_leaves_out_what_is_no_file_of_the_sandboxs_file_system() {
    let site = Site::new();
    // A server that never answers who reads makes no difference: nobody reads.
    let _mounted = Fuse::mount(&site.root.join("fuse"), fuse::WHEN_READ);
    for attack in attacks_on("cleanup") {
        let Answer::LeftOut(words) = attack.answer else { continue };
        give_the_peer_back(&site);
        let sandbox = with_output(&site);
        let pilot = Snapshot::of(&sandbox.parked);
        take_the_peers_place(&site, attack.name);
        let finished = site.cleanup(&sandbox).run();
        assert_eq!(finished.code, Some(0), "{}: {finished:?}", attack.name);
        assert_fit_to_be_read(attack, &finished);
        assert!(finished.said().contains(words), "{}: {finished:?}", attack.name);
        // The hostile side has said what the sandbox is; it is the pilot's, and has nothing of what was left out.
        sandbox.snapshot().below().assert_same(&pilot.clone().below());
        assert!(!sandbox.parked.exists());
    }
}

#[test]
#[ignore = "needs root"]
fn c11_setup_keeps_the_sandbox_whatever_is_answered() {
    let site = Site::new();
    let sandbox = site.sandbox();
    let before = sandbox.snapshot();
    for attack in attacks_on("setup") {
        take_the_peers_place(&site, attack.name);
        assert_refused(&site, attack, &site.setup(&sandbox).run(), 2);
        sandbox.assert_as_before(&before);
    }
    give_the_peer_back(&site);
    site.setup(&sandbox).run().expect_quiet();
    sandbox.assert_handed_over(&before);
}

/// The most memory of a pilot's side, in KiB, whatever it is sent.
const MEMORY: u64 = 4096;

#[test]
#[ignore = "needs root"]
fn c11_no_stream_fills_the_pilots_memory() {
    let site = Site::new();
    let inputs = site.sandbox();
    let given = inputs.snapshot();
    let left = with_output(&site);
    let (job, pilot) = (left.snapshot(), Snapshot::of(&left.parked));
    for attack in target::STREAMS {
        take_the_peers_place(&site, attack.name);
        let (call, code) = if attack.helper == "setup" { (site.setup(&inputs), 2) } else { (site.cleanup(&left), 1) };
        let mut running = call.start();
        let mut peak = 0;
        while !running.has_ended() {
            peak = peak.max(crate::common::peak_memory(running.pid()));
            std::thread::sleep(Duration::from_millis(1));
        }
        assert_refused(&site, attack, &running.finish(), code);
        eprintln!("{}: {peak} KiB", attack.name);
        assert!((1..MEMORY).contains(&peak), "{}: {peak} KiB", attack.name);
        inputs.assert_as_before(&given);
        left.snapshot().assert_same(&job);
        Snapshot::of(&left.parked).below().assert_same(&pilot.clone().below());
    }
}

/// Helpers keep each other away by a lock on the pilot's proxy. Who could lock the file, too, would keep them all away.
#[test]
#[ignore = "needs root"]
fn c13_no_descriptor_locks_the_pilots_proxy() {
    let site = Site::new();
    let sandbox = site.empty_sandbox();
    // Too long to travel as bytes.
    let long: Vec<u8> = (0..10).flat_map(pem).collect();
    sandbox.add_file(&sandbox.proxy, &long, 0o600);
    sandbox.finish_directory("", 0o755);
    let before = sandbox.snapshot();
    take_the_peers_place(&site, "locks on all that is sent");
    site.setup(&sandbox).run().expect_refusal(2, &["has ended before"]);
    sandbox.assert_as_before(&before);
    give_the_peer_back(&site);
    let started = Instant::now();
    while !site.processes().iter().any(|(_, command)| command.starts_with("sleep")) {
        assert!(started.elapsed() < Duration::from_secs(60), "nothing was sent that can be locked");
        std::thread::sleep(Duration::from_millis(1));
    }
    site.setup(&sandbox).run().expect_quiet();
    sandbox.assert_handed_over(&before);
    let new = site.private_file("new-proxy", &pem(7));
    site.update_proxy(&sandbox, &new).run().expect_quiet();
    site.cleanup(&sandbox).run().expect_quiet();
    site.kill_processes();
}

#[test]
#[ignore = "needs root"]
fn c11_kill_believes_no_answer_that_is_none() {
    let site = Site::new();
    let sandbox = site.handed_over();
    let mut sleeper = Sleeper::start(GREG);
    for attack in attacks_on("kill") {
        take_the_peers_place(&site, attack.name);
        assert_refused(&site, attack, &site.kill(&sandbox, sleeper.pid(), 9).closed(&[]).run(), 2);
        sleeper.assert_alive();
    }
}

#[test]
#[ignore = "needs root"]
fn c11_update_proxy_keeps_the_pilots_proxy_whatever_is_answered() {
    let site = Site::new();
    let sandbox = site.handed_over();
    let (job, pilot) = (sandbox.snapshot(), Snapshot::of(&sandbox.parked));
    for attack in attacks_on("update_proxy") {
        take_the_peers_place(&site, attack.name);
        let new = site.private_file("new-proxy", &pem(7));
        assert_refused(&site, attack, &site.update_proxy(&sandbox, &new).run(), 1);
        sandbox.snapshot().assert_same(&job);
        Snapshot::of(&sandbox.parked).below().assert_same(&pilot.clone().below());
    }
}

#[test]
#[ignore = "needs root"]
fn c11_a_file_system_that_does_not_let_its_descriptors_be_closed() {
    let site = Site::new();
    let mounted = Fuse::mount(&site.root.join("fuse"), fuse::WHEN_CLOSED);
    let attack = ATTACKS.iter().find(|attack| attack.name == "a file of FUSE").unwrap();
    let sandbox = with_output(&site);
    let pilot = Snapshot::of(&sandbox.parked);
    take_the_peers_place(&site, attack.name);
    // Neither closing it nor ending with it ever comes back, not even for SIGKILL. That it ends all the same is what is
    // tested.
    let finished = site.cleanup(&sandbox).run();
    assert!(finished.code == Some(0) && finished.said().contains("on another file system"), "{finished:?}");
    sandbox.snapshot().below().assert_same(&pilot.below());
    // Whoever still has it waits for the server, and ends with it.
    drop(mounted);
    crate::common::await_that("all processes have ended", || site.processes().is_empty());
}

//! Entries that change while they are taken back.

use crate::cleanup::playground::{Lease, assert_no_link_leads_out};
use crate::common::{GREG, PILOT, Site, Snapshot};
use crate::common::{another_round, as_account, before_first_read, finish, put_file, while_attacked};
use std::fs::{self};
use std::os::unix::fs::{FileExt, symlink};
use std::time::Duration;

/// How long the kernel leaves a lease with who does not give it up, in seconds.
struct LeaseBreakTime(String);

impl LeaseBreakTime {
    const PATH: &str = "/proc/sys/fs/lease-break-time";

    fn set(seconds: &str) -> Self {
        let usual = fs::read_to_string(Self::PATH).unwrap();
        fs::write(Self::PATH, seconds).unwrap();
        LeaseBreakTime(usual)
    }
}

impl Drop for LeaseBreakTime {
    fn drop(&mut self) {
        let _ = fs::write(Self::PATH, &self.0);
    }
}

#[test]
#[ignore = "needs root"]
fn c8_the_jobs_own_leased_file_is_waited_for() {
    let site = Site::new();
    for given_up in [true, false] {
        let sandbox = site.sandbox();
        let given = sandbox.snapshot();
        site.setup(&sandbox).run().expect_quiet();
        let output = sandbox.path.join("output");
        put_file(GREG, &output, &[5; 50_000], 0o644);
        finish(GREG, &sandbox.path, 0o755);
        let left = sandbox.snapshot();
        // A process of the job's that outlived it.
        let lease = Lease::take(GREG, &output);
        let _short = (!given_up).then(|| LeaseBreakTime::set("5"));
        let mut running = site.cleanup(&sandbox).start();
        lease.await_reader();
        std::thread::sleep(Duration::from_secs(1));
        assert!(!running.has_ended(), "it did not wait: {:?}", running.finish());
        let _kept = (!given_up).then_some(lease);
        running.finish().expect_quiet();
        sandbox.assert_taken_back(&left, &given);
    }
}

/// However small it is: one read is not one state of a file.
#[test]
#[ignore = "needs root"]
fn c8_a_small_output_that_changes_while_it_is_read() {
    let site = Site::new();
    // One travels as bytes, the other one as a descriptor.
    for size in [10_000, 250_000] {
        let sandbox = site.handed_over();
        let path = sandbox.path.join("changing");
        put_file(GREG, &path, &vec![1; size], 0o644);
        let file = fs::OpenOptions::new().write(true).open(&path).unwrap();
        let change = || file.write_all_at(&vec![2; size], 0).unwrap();
        let finished = before_first_read(&path, change, || site.cleanup(&sandbox).run());
        finished.expect_refusal(1, &["changing", "changed while it was copied"]);
        assert!(sandbox.parked.exists());
    }
}

#[test]
#[ignore = "needs root"]
fn c10_a_job_that_swaps_its_directories_and_links_meanwhile() {
    let site = Site::new();
    let secrets = site.execute.join("secrets");
    fs::create_dir(&secrets).unwrap();
    for index in 0..50 {
        put_file(PILOT, &secrets.join(format!("f{index}")), b"the pilot's secret", 0o600);
    }
    finish(PILOT, &secrets, 0o755);
    site.expect_left("secrets");
    let before = Snapshot::of(&secrets);
    let (mut done, mut failed) = (0, 0);
    let mut rounds = 0..;
    while let Some(round) = rounds.next().filter(|round| another_round(*round, 40, failed > 0)) {
        let sandbox = site.sandbox();
        site.setup(&sandbox).run().expect_quiet();
        let here = |name: &str| sandbox.path.join(name);
        as_account(GREG, || {
            fs::create_dir(here("d")).unwrap();
            for index in 0..50 {
                fs::write(here("d").join(format!("f{index}")), b"the job's").unwrap();
            }
            symlink("../secrets", here("l")).unwrap();
        });
        let attack = || {
            if round % 2 == 0 {
                // A directory becomes a link to the pilot's, and a directory again.
                let _ = fs::rename(here("d"), here("aside"));
                let _ = fs::rename(here("l"), here("d"));
                let _ = fs::rename(here("d"), here("l"));
                let _ = fs::rename(here("aside"), here("d"));
            } else {
                // A directory that is being read moves up and down.
                let _ = fs::rename(here("d"), here("data/d"));
                let _ = fs::rename(here("data/d"), here("d"));
            }
        };
        let finished = while_attacked(GREG, attack, || site.cleanup(&sandbox).run());
        assert!(matches!(finished.code, Some(0 | 1)), "{finished:?}");
        if finished.code == Some(0) {
            done += 1;
            assert_no_link_leads_out(&sandbox);
        } else {
            failed += 1;
        }
        let pilots = if finished.code == Some(0) { &sandbox.path } else { &sandbox.parked };
        if pilots.exists() {
            let found = Snapshot::of(pilots);
            for (path, entry) in found.entries.iter().filter(|(path, _)| path.to_str().unwrap().contains("d/f")) {
                assert_eq!(fs::read(pilots.join(path)).unwrap(), b"the job's", "{entry:?}");
            }
        }
        Snapshot::of(&secrets).assert_same(&before);
    }
    assert!(failed > 0, "the attacker never got between ({done} taken back)");
}

//! What the other tests rely on: that something left behind is noticed, and that the accounts are what they are called.

use crate::common::{GREG, MALLORY, PILOT, Site, Sleeper, Snapshot, as_account, new_directory};
use crate::turn;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::process::CommandExt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::process::Command;
use std::sync::MutexGuard;

/// What one of these tests leaves on purpose where all of the machine is looked at, others would complain about.
fn site() -> (MutexGuard<'static, ()>, Site) {
    (turn(), Site::new())
}

/// What the end of a site complains about.
fn complaint(site: Site) -> Option<String> {
    let ended = catch_unwind(AssertUnwindSafe(|| drop(site)));
    ended.err().map(|panic| *panic.downcast::<String>().expect("a message"))
}

#[test]
#[ignore = "needs root"]
fn a_name_left_in_execute_is_noticed() {
    let (_turn, site) = site();
    fs::write(site.execute.join("left"), b"").unwrap();
    let root = site.root.clone();
    assert!(complaint(site).expect("a complaint").contains("EXECUTE/left"));
    assert!(!root.exists());
}

#[test]
#[ignore = "needs root"]
fn a_process_left_is_noticed_and_ended() {
    let (_turn, site) = site();
    let mut left = Command::new("/bin/sleep").arg("1000").current_dir(&site.execute).spawn().unwrap();
    // The kernel closes what is close-on-exec, which ends the spawn, a moment before it shows the new command line.
    let shown = format!("/proc/{}/cmdline", left.id());
    while fs::read(&shown).unwrap().is_empty() {
        std::thread::yield_now();
    }
    let reaper = std::thread::spawn(move || left.wait().unwrap());
    assert!(complaint(site).expect("a complaint").contains("sleep 1000"));
    assert!(!reaper.join().unwrap().success());
}

#[test]
#[ignore = "needs root"]
fn a_file_left_in_a_public_place_is_noticed() {
    for place in ["/tmp", "/var/tmp", "/dev/shm"] {
        for account in [PILOT, GREG, MALLORY] {
            let (_turn, site) = site();
            let path = Path::new(place).join(format!("left.{}", std::process::id()));
            as_account(account, || fs::write(&path, b"").unwrap());
            let complaint = complaint(site);
            fs::remove_file(&path).unwrap();
            assert!(complaint.expect("a complaint").contains(path.to_str().unwrap()));
        }
    }
}

#[test]
#[ignore = "needs root"]
fn an_ipc_object_left_is_noticed() {
    let kinds = [("--shmem=4096", "shm", "--shmem-id"), ("--semaphore=1", "sem", "--semaphore-id")];
    for (make, kind, remove) in kinds.into_iter().chain([("--queue", "msg", "--queue-id")]) {
        let (_turn, site) = site();
        let made = Command::new("ipcmk").arg(make).uid(GREG.uid()).gid(GREG.gid()).output().unwrap();
        // As in "Shared memory id: 7".
        let said = String::from_utf8(made.stdout).unwrap();
        let id = said.trim().rsplit(' ').next().unwrap();
        let complaint = complaint(site);
        assert!(Command::new("ipcrm").args([remove, id]).status().unwrap().success());
        assert!(complaint.expect("a complaint").contains(&format!("{kind} {id}")));
    }
}

#[test]
#[ignore = "needs root"]
fn a_site_without_anything_left_ends_quietly() {
    let (_turn, site) = site();
    site.sandbox();
    assert_eq!(complaint(site), None);
}

#[test]
fn a_directory_that_an_earlier_run_left_is_passed_over() {
    let parent = new_directory(&std::env::temp_dir(), "glexec-rs-tests.stale.");
    let left: Vec<_> = (0..100).map(|number| parent.join(format!("x{}.{number}", std::process::id()))).collect();
    left.iter().for_each(|path| fs::create_dir(path).unwrap());
    let made = new_directory(&parent, "x");
    assert!(made.is_dir() && !left.contains(&made));
    fs::remove_dir_all(parent).unwrap();
}

#[test]
#[ignore = "needs root"]
fn work_is_done_as_the_account_and_nobody_else() {
    let (_turn, site) = site();
    for account in [PILOT, GREG, MALLORY] {
        let path = site.execute.join(account.name);
        site.expect_left(account.name);
        as_account(account, || {
            fs::write(&path, b"x").unwrap();
            assert!(fs::read("/etc/shadow").is_err());
        });
        assert_eq!(fs::metadata(&path).unwrap().uid(), account.uid());
        let mut process = Sleeper::start(account);
        let status = fs::read_to_string(format!("/proc/{}/status", process.pid())).unwrap();
        assert!(status.contains(&format!("Uid:\t{0}\t{0}\t{0}\t{0}\n", account.uid())), "{status}");
        process.assert_alive();
    }
    assert!(fs::read("/etc/shadow").is_ok(), "the test itself is still root");
}

#[test]
#[ignore = "needs root"]
fn a_snapshot_tells_trees_apart() {
    let (_turn, site) = site();
    let sandbox = site.sandbox();
    let before = Snapshot::of(&sandbox.path);
    let file = sandbox.path.join("data/secret");
    let differs = || catch_unwind(AssertUnwindSafe(|| Snapshot::of(&sandbox.path).assert_same(&before))).is_err();
    assert!(!differs());

    let content = fs::read(&file).unwrap();
    let time = fs::metadata(&file).unwrap().modified().unwrap();
    let restore = || {
        fs::write(&file, &content).unwrap();
        fs::File::open(&file).unwrap().set_modified(time).unwrap();
    };
    fs::write(&file, b"only the owner'z").unwrap();
    fs::File::open(&file).unwrap().set_modified(time).unwrap();
    assert!(differs(), "another content of the same length and time");
    restore();
    assert!(!differs());
    fs::File::open(&file).unwrap().set_modified(time + std::time::Duration::from_nanos(1)).unwrap();
    assert!(differs(), "a nanosecond");
    restore();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o640)).unwrap();
    assert!(differs(), "a mode");
    fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
    assert!(!differs());
    fs::hard_link(&file, sandbox.path.join("data/again")).unwrap();
    assert!(differs(), "a further name");
}

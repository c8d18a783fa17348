//! A power cut right after a sandbox has changed hands: what the disk holds at that moment is all that is left.

use crate::common::{FileSystem, GREG, PILOT, Site, put_file};
use crate::etc;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Command;

/// What of the sandbox must have survived.
const FILES: [(&str, usize); 3] = [("small", 1000), ("large", 3_000_000), ("d/deep", 70_000)];

fn run(command: &mut Command) {
    let done = command.output().unwrap();
    assert!(done.status.success(), "{command:?}: {}", String::from_utf8_lossy(&done.stderr));
}

fn content(size: usize) -> Vec<u8> {
    (0..size).map(|at| (at % 251) as u8 + 1).collect()
}

fn fill(account: crate::common::Account, top: &Path) {
    fs::create_dir(top.join("d")).unwrap();
    for (name, size) in FILES {
        put_file(account, &top.join(name), &content(size), 0o644);
    }
    crate::common::finish(account, &top.join("d"), 0o755);
    crate::common::finish(account, top, 0o755);
}

/// What the disk (the image behind the loop device) holds at this moment, mounted elsewhere.
struct AfterPowerCut(PathBuf);

impl AfterPowerCut {
    fn of(site: &Site) -> Self {
        // Anybody's fsync lets ext4 write its journal down, with the exchange in it, and no data of others.
        let other = fs::File::create(site.execute.join("other")).unwrap();
        other.sync_all().unwrap();
        fs::remove_file(site.execute.join("other")).unwrap();
        let memory = site.root.join("memory");
        run(Command::new("cp").args(["--sparse=always"]).arg(memory.join("image")).arg(memory.join("cut")));
        let at = site.root.join("after");
        fs::create_dir(&at).unwrap();
        run(Command::new("mount").args(["-o", "loop"]).arg(memory.join("cut")).arg(&at));
        AfterPowerCut(at)
    }

    /// Whose S is, and whether all of it is there.
    fn look(&self, sandbox: &Path) -> (u32, bool) {
        let sandbox = self.0.join(sandbox.file_name().unwrap());
        let whole = |(name, size)| fs::read(sandbox.join(name)).is_ok_and(|found| found == content(size));
        (fs::metadata(&sandbox).unwrap().uid(), FILES.into_iter().all(whole))
    }
}

impl Drop for AfterPowerCut {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(&self.0).status();
        let _ = fs::remove_dir(&self.0);
    }
}

/// Sets a sandbox up, or takes it back, under this policy, and pulls the plug.
fn cut(policy: &str, takes_back: bool) -> (u32, bool) {
    let site = Site::on(FileSystem::Ext4(64, 1000));
    let sandbox = site.empty_sandbox();
    if takes_back {
        site.setup(&sandbox).run().expect_quiet();
        fill(GREG, &sandbox.path);
    } else {
        fill(PILOT, &sandbox.path);
    }
    // What there is before has been there for long.
    rustix::fs::syncfs(fs::File::open(&site.execute).unwrap()).unwrap();
    let call = if takes_back { site.cleanup(&sandbox) } else { site.setup(&sandbox) };
    etc::with(&etc::put(&site, policy), || call.run()).expect_quiet();
    AfterPowerCut::of(&site).look(&sandbox.path)
}

#[test]
#[ignore = "needs root"]
fn s14_a_durable_sandbox_survives_a_power_cut_after_it_changed_hands() {
    assert_eq!(cut("durable = yes\n", false), (GREG.uid(), true));
    assert_eq!(cut("durable = yes\n", true), (PILOT.uid(), true));
}

/// What the setting is for, and that the test above can see it: the names have changed hands, the data had no time to.
#[test]
#[ignore = "needs root"]
fn s14_without_that_the_kernel_writes_when_it_likes() {
    assert_eq!(cut("durable = no\n", false), (GREG.uid(), false));
    assert_eq!(cut("", true), (PILOT.uid(), false));
}

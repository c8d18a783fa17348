//! What a helper works on when it comes to grief, and what must be true of it afterwards, whatever happened.

#![forbid(unsafe_code)]

use crate::common::{Call, Finished, GREG, Kind, PILOT, Sandbox, Site, Sleeper, Snapshot};
use crate::common::{await_state, finish, pem, put_file, put_link};
use std::fs::{create_dir, hard_link, symlink_metadata};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::{Duration, Instant};

/// How long what is left of a call may take to end by itself.
const AFTERMATH: Duration = Duration::from_secs(20);

/// The helpers that speak with a target side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Helper {
    Setup,
    Cleanup,
    UpdateProxy,
    Kill,
}

/// A sandbox that a helper can be called on.
pub struct Playground<'s> {
    helper: Helper,
    site: &'s Site,
    sandbox: Sandbox,
    /// S before the call.
    sandbox_before: Snapshot,
    /// What S becomes when setup has handed it over, or what the pilot had parked before the other calls.
    parked_before: Option<Snapshot>,
    /// Of the job: the number of the process that is to be killed, and its parent.
    family: Option<(Sleeper, u32)>,
}

/// Why an invariant does not hold.
pub type Broken = String;

impl<'s> Playground<'s> {
    /// A new one.
    pub fn new(site: &'s Site, helper: Helper) -> Self {
        let sandbox = site.sandbox();
        fill(&sandbox.path, crate::common::PILOT);
        sandbox.finish_directory("", 0o755);
        if helper == Helper::Setup {
            let sandbox_before = sandbox.snapshot();
            return Playground { helper, site, sandbox, sandbox_before, parked_before: None, family: None };
        }
        site.setup(&sandbox).run().expect_quiet();
        put_file(GREG, &sandbox.path.join("output"), b"what the job computed", 0o644);
        put_file(GREG, &sandbox.path.join("input"), b"the job has changed its input", 0o600);
        create_dir(sandbox.path.join("results")).unwrap();
        fill(&sandbox.path.join("results"), GREG);
        finish(GREG, &sandbox.path.join("results"), 0o755);
        finish(GREG, &sandbox.path, 0o755);
        let parked_before = Some(Snapshot::of(&sandbox.parked));
        let family = (helper == Helper::Kill).then(|| Sleeper::start_with_child(GREG));
        Playground { helper, site, sandbox_before: sandbox.snapshot(), sandbox, parked_before, family }
    }

    /// The helper's call.
    pub fn call(&self) -> Call {
        match self.helper {
            Helper::Setup => self.site.setup(&self.sandbox),
            Helper::Cleanup => self.site.cleanup(&self.sandbox),
            Helper::UpdateProxy => {
                let new = self.site.private_file("new-proxy", &pem(7));
                self.site.update_proxy(&self.sandbox, &new)
            }
            Helper::Kill => {
                let pid = self.family.as_ref().map_or(0, |(_, child)| *child);
                // With somewhere to say what went wrong.
                self.site.kill(&self.sandbox, pid, 15).closed(&[])
            }
        }
    }

    /// Looks at what is left, then calls the helper (or, for setup, every other time cleanup) once more and looks at
    /// the end.
    pub fn judge(&self, struck: &Finished, again_by_cleanup: bool) -> Result<(), Broken> {
        self.nobody_left()?;
        match self.helper {
            Helper::Setup => self.judge_setup(struck, again_by_cleanup),
            Helper::Cleanup => self.judge_cleanup(struck),
            Helper::UpdateProxy => self.judge_update_proxy(struck),
            Helper::Kill => self.judge_kill(struck),
        }?;
        self.nobody_left()?;
        self.no_strangers()
    }

    /// Removes everything.
    pub fn clear(self) {
        self.site.kill_processes();
        for path in [&self.sandbox.path, &self.sandbox.parked] {
            let _ = std::fs::remove_dir_all(path);
        }
    }

    fn judge_setup(&self, struck: &Finished, again_by_cleanup: bool) -> Result<(), Broken> {
        let Playground { sandbox, sandbox_before: before, .. } = self;
        let handed_over = before.clone().masked(0o755).owned_by(GREG);
        let is_handed_over = owner(&sandbox.path)? == GREG.uid();
        if is_handed_over {
            same("S, handed over", &sandbox.snapshot().unmarked(), &handed_over)?;
            self.pilots_proxy_is_whole(&sandbox.parked, before)?;
        } else {
            same("S, not handed over", &sandbox.snapshot(), before)?;
        }
        require(struck.code != Some(0) || is_handed_over, "exit 0, but S is not handed over")?;
        require(struck.code.is_none_or(|code| code <= 3), "an exit code that setup has not got")?;
        if again_by_cleanup {
            // Where the Starter sits: in its own directory, by whatever name.
            let seat = if is_handed_over { &sandbox.parked } else { &sandbox.path };
            succeed("cleanup", &self.site.cleanup(sandbox).cwd(seat).run())?;
            if is_handed_over {
                taken_back(sandbox, &handed_over, before)
            } else {
                same("S after cleanup", &sandbox.snapshot(), before)?;
                absent(&sandbox.parked)
            }
        } else {
            succeed("setup once more", &self.site.setup(sandbox).run())?;
            same("S after setup", &sandbox.snapshot().unmarked(), &handed_over)?;
            let parked = Snapshot::of(&sandbox.parked);
            require(parked.names() == [Path::new(&sandbox.proxy)], "S.condor has more than the proxy")?;
            self.pilots_proxy_is_whole(&sandbox.parked, before)
        }
    }

    fn judge_cleanup(&self, struck: &Finished) -> Result<(), Broken> {
        let Playground { sandbox, sandbox_before: job, .. } = self;
        let Some(pilot) = &self.parked_before else { return Err("no snapshot of the pilot's".into()) };
        let is_back = owner(&sandbox.path)? == PILOT.uid();
        let came_back = without_left_out(job, &sandbox.snapshot(), struck);
        if is_back {
            same("S, taken back", &sandbox.snapshot().below(), &expected_back(sandbox, &came_back, pilot))?;
        } else {
            // A directory of the job's may still be opened up.
            same("S, not taken back", &without_modes(sandbox.snapshot()), &without_modes(job.clone()))?;
            self.pilots_proxy_is_whole(&sandbox.parked, pilot)?;
        }
        require(struck.code != Some(0) || is_back, "exit 0, but S was not taken back")?;
        require(struck.code.is_none_or(|code| code <= 1), "an exit code that cleanup has not got")?;
        if struck.code == Some(0) {
            absent(&sandbox.parked)?;
        }
        succeed("cleanup once more", &self.site.cleanup(sandbox).run())?;
        taken_back(sandbox, if is_back { &came_back } else { job }, pilot)
    }

    fn judge_update_proxy(&self, struck: &Finished) -> Result<(), Broken> {
        let Playground { sandbox, sandbox_before: job, .. } = self;
        let Some(pilot) = &self.parked_before else { return Err("no snapshot of the pilot's".into()) };
        let jobs_is_new = self.is_new("the job's", &sandbox.proxy_path(), job, GREG.uid())?;
        let pilots_is_new = self.is_new("the pilot's", &sandbox.parked_proxy(), pilot, PILOT.uid())?;
        require(jobs_is_new || !pilots_is_new, "the pilot's proxy is ahead of the job's")?;
        require(struck.code != Some(0) || pilots_is_new, "exit 0, but the pilot's proxy is the old one")?;
        require(struck.code.is_none_or(|code| code <= 1), "an exit code that update_proxy has not got")?;
        let untouched = !jobs_is_new && !pilots_is_new;
        require(
            untouched || absent(&self.site.root.join("pilot/new-proxy")).is_ok(),
            "NEW is there after it was used",
        )?;
        succeed("update_proxy once more", &self.call().run())?;
        for (tree, before, owner) in [(&sandbox.path, job, GREG.uid()), (&sandbox.parked, pilot, PILOT.uid())] {
            let now = Snapshot::of(tree);
            require(
                now.names() == before.names(),
                &format!("{} has other entries: {:?}", tree.display(), now.names()),
            )?;
            let rest = |snapshot: Snapshot| snapshot.without(&sandbox.proxy).below();
            same("all but the proxy", &rest(now), &rest(before.clone()))?;
            require(self.is_new("renewed", &tree.join(&sandbox.proxy), before, owner)?, "not the new proxy")?;
        }
        Ok(())
    }

    fn judge_kill(&self, struck: &Finished) -> Result<(), Broken> {
        let Playground { sandbox, sandbox_before: job, .. } = self;
        let (Some(pilot), Some((parent, child))) = (&self.parked_before, &self.family) else {
            return Err("nobody to kill".into());
        };
        if struck.code == Some(0) {
            await_state(*child, 'Z');
        }
        require(
            struck.code.is_none_or(|code| [0, 2, 3].contains(&code)),
            "an exit code that this failure has not got",
        )?;
        // One that has ended and is not waited for yet can be signalled again.
        succeed("kill once more", &self.call().run())?;
        await_state(*child, 'Z');
        require(parent.state() == 'S', "another process was signalled")?;
        same("S", &sandbox.snapshot(), job)?;
        same("S.condor", &Snapshot::of(&sandbox.parked), pilot)
    }

    /// Whether a proxy is the new one, whole; it has to be that or what it was.
    fn is_new(&self, whose: &str, path: &Path, before: &Snapshot, owner: u32) -> Result<bool, Broken> {
        let found = symlink_metadata(path).map_err(|why| format!("{whose} proxy: {why}"))?;
        require((found.mode() & 0o7777, found.uid()) == (0o600, owner), &format!("{whose} proxy: {found:?}"))?;
        let content = std::fs::read(path).unwrap();
        if content == pem(7) {
            return Ok(true);
        }
        let Kind::File { size, .. } = before.get(&self.sandbox.proxy).kind else { return Err("no file".into()) };
        require(content == pem(1) && size == content.len() as u64, &format!("{whose} proxy is neither old nor new"))?;
        Ok(false)
    }

    fn pilots_proxy_is_whole(&self, directory: &Path, before: &Snapshot) -> Result<(), Broken> {
        let now = Snapshot::of(directory);
        let proxy = now.entries.get(Path::new(&self.sandbox.proxy));
        require(proxy == before.entries.get(Path::new(&self.sandbox.proxy)), &format!("the pilot's proxy: {proxy:?}"))
    }

    /// No process of the call goes on.
    fn nobody_left(&self) -> Result<(), Broken> {
        let start = Instant::now();
        loop {
            let left = self.site.processes();
            if left.is_empty() {
                return Ok(());
            }
            if start.elapsed() > AFTERMATH {
                return Err(format!("left running: {left:?}"));
            }
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    /// Nothing in EXECUTE but the sandbox's two names.
    fn no_strangers(&self) -> Result<(), Broken> {
        let listed = std::fs::read_dir(&self.site.execute).unwrap().flatten().map(|entry| entry.path());
        let strangers: Vec<_> =
            listed.filter(|path| *path != self.sandbox.path && *path != self.sandbox.parked).collect();
        require(strangers.is_empty(), &format!("in EXECUTE: {strangers:?}"))
    }
}

/// Of everything that is copied in a way of its own.
fn fill(directory: &Path, account: crate::common::Account) {
    put_file(account, &directory.join("by-descriptor"), &[3; 40_000], 0o644);
    put_file(account, &directory.join("twice"), &[4; 20_000], 0o640);
    hard_link(directory.join("twice"), directory.join("thrice")).unwrap();
    let sparse = std::fs::File::create(directory.join("sparse")).unwrap();
    std::os::unix::fs::FileExt::write_all_at(&sparse, b"behind a hole", 1 << 20).unwrap();
    finish(account, &directory.join("sparse"), 0o600);
    create_dir(directory.join("deep")).unwrap();
    create_dir(directory.join("deep/deeper")).unwrap();
    put_file(account, &directory.join("deep/deeper/file"), b"small", 0o444);
    put_link(account, &directory.join("deep/link"), "deeper/file");
    finish(account, &directory.join("deep/deeper"), 0o700);
    finish(account, &directory.join("deep"), 0o755);
}

fn owner(path: &Path) -> Result<u32, Broken> {
    symlink_metadata(path).map(|found| found.uid()).map_err(|why| format!("{}: {why}", path.display()))
}

fn absent(path: &Path) -> Result<(), Broken> {
    require(symlink_metadata(path).is_err(), &format!("{} is there", path.display()))
}

fn require(holds: bool, what: &str) -> Result<(), Broken> {
    if holds { Ok(()) } else { Err(what.into()) }
}

fn same(what: &str, is: &Snapshot, expected: &Snapshot) -> Result<(), Broken> {
    let difference = is.differences(expected);
    require(difference.is_empty(), &format!("{what}: {}", difference.join("; ")))
}

fn succeed(what: &str, finished: &Finished) -> Result<(), Broken> {
    require(finished.code == Some(0), &format!("{what}: {finished:?}"))
}

fn expected_back(sandbox: &Sandbox, job: &Snapshot, pilot: &Snapshot) -> Snapshot {
    let mut expected = job.clone().masked(0o755).owned_by(PILOT).without(&sandbox.proxy).below();
    expected.entries.insert((&sandbox.proxy).into(), pilot.get(&sandbox.proxy).clone());
    expected
}

fn taken_back(sandbox: &Sandbox, job: &Snapshot, pilot: &Snapshot) -> Result<(), Broken> {
    same("S, taken back", &sandbox.snapshot().below(), &expected_back(sandbox, job, pilot))?;
    absent(&sandbox.parked)
}

/// What of a job's tree is to come back: what cannot be read costs itself, and is reported with its errno. A directory
/// can have come without a part of what is in it.
fn without_left_out(job: &Snapshot, back: &Snapshot, struck: &Finished) -> Snapshot {
    let said = struck.said();
    let is_named = |path: &Path| said.contains(&format!("\"{}\" (not readable: ", path.display()));
    let mut rest = job.clone();
    rest.entries.retain(|path, _| back.entries.contains_key(path) || !path.ancestors().any(is_named));
    let left: Vec<_> = rest.entries.keys().cloned().collect();
    for entry in rest.entries.values_mut() {
        if let Kind::File { same_as, .. } = &mut entry.kind {
            same_as.take_if(|first| !left.contains(first));
        }
    }
    rest
}

fn without_modes(mut snapshot: Snapshot) -> Snapshot {
    for entry in snapshot.entries.values_mut() {
        (entry.mode, entry.mtime) = (0, (0, 0));
    }
    snapshot
}

//! The attacks on `condor_glexec_update_proxy`, run by the accounts that would run them against the built programs. The
//! numbers are those of the ledger in `audit/`.

use crate::common::{GREG, MALLORY, PILOT, Sandbox, Site, Snapshot};
use crate::common::{another_round, as_account, finish, pem, put_file, put_link, while_attacked};
use rustix::fs::{CWD, FileType, Mode, mknodat};
use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::{Duration, Instant};

/// Both proxies, whole and closed, and of whom they are to be.
#[track_caller]
fn contents(sandbox: &Sandbox) -> [Vec<u8>; 2] {
    [(GREG, sandbox.proxy_path()), (PILOT, sandbox.parked_proxy())].map(|(owner, path)| {
        let found = fs::symlink_metadata(&path).unwrap();
        assert!(found.is_file());
        assert_eq!((found.uid(), found.mode() & 0o7777), (owner.uid(), 0o600), "{}", path.display());
        fs::read(path).unwrap()
    })
}

#[test]
#[ignore = "needs root"]
fn u1_nothing_is_ever_made_in_tmp() {
    let site = Site::new();
    let sandbox = site.handed_over();
    let new = site.root.with_added_extension("new");
    // What belongs to either side, whatever it is called.
    let theirs = || -> BTreeSet<PathBuf> {
        let places = ["/tmp", "/var/tmp", "/dev/shm"].into_iter().filter_map(|place| fs::read_dir(place).ok());
        let owned = |found: fs::Metadata| [PILOT.uid(), GREG.uid()].contains(&found.uid());
        let entries = places.flatten().flatten().filter(|entry| entry.metadata().is_ok_and(owned));
        entries.map(|entry| entry.path()).collect()
    };
    let before = theirs();
    let seen = Mutex::new(BTreeSet::new());
    let watch = || seen.lock().unwrap().append(&mut theirs());
    let last = while_attacked(MALLORY, watch, || {
        let mut rounds = 0..;
        let noticed = || seen.lock().unwrap().contains(&new);
        while rounds.next().is_some_and(|round| another_round(round, 10, noticed())) {
            put_file(PILOT, &new, &pem(rounds.start as u8), 0o600);
            site.update_proxy(&sandbox, &new).run().expect_quiet();
        }
        pem(rounds.start as u8 - 1)
    });
    let made: Vec<_> = seen.into_inner().unwrap().difference(&before).cloned().collect();
    assert_eq!(made, [new], "NEW itself, which the watcher saw at least once, and nothing else");
    assert_eq!(theirs(), before);
    assert_eq!(contents(&sandbox), [last.clone(), last]);
}

#[test]
#[ignore = "needs root"]
fn u1_names_that_the_original_took_are_planted_beforehand() {
    let site = Site::new();
    let sandbox = site.handed_over();
    let new = site.execute.join("new-proxy");
    for suffix in ["copy", "tmp", "new"] {
        let planted = site.execute.join(format!("new-proxy.{suffix}"));
        as_account(MALLORY, || {
            fs::write(&planted, b"planted").unwrap();
            fs::set_permissions(&planted, Permissions::from_mode(0o666)).unwrap();
        });
        site.expect_left(planted.file_name().unwrap());
    }
    put_file(PILOT, &new, &pem(2), 0o600);
    site.update_proxy(&sandbox, &new).run().expect_quiet();
    assert_eq!(contents(&sandbox), [pem(2), pem(2)]);
    for suffix in ["copy", "tmp", "new"] {
        assert_eq!(fs::read(site.execute.join(format!("new-proxy.{suffix}"))).unwrap(), b"planted");
    }
}

#[test]
#[ignore = "needs root"]
fn u1_the_job_plants_the_staging_name_in_its_sandbox() {
    let site = Site::new();
    let victim = site.execute.join("victim");
    put_file(GREG, &victim, b"victim", 0o644);
    site.expect_left("victim");
    type Plant<'a> = &'a (dyn Fn(&Path) + Sync);
    let plants: [(bool, Plant); 5] = [
        (true, &|at| symlink(&victim, at).unwrap()),
        (true, &|at| fs::write(at, b"planted").unwrap()),
        (true, &|at| mknodat(CWD, at, FileType::Fifo, Mode::from_raw_mode(0o666), 0).unwrap()),
        (true, &|at| fs::hard_link(&victim, at).unwrap()),
        (false, &|at| {
            fs::create_dir(at).unwrap();
            fs::write(at.join("in"), b"x").unwrap();
        }),
    ];
    for (replaced, plant) in plants {
        let sandbox = site.handed_over();
        as_account(GREG, || plant(&sandbox.path.join(".glexec-new-proxy")));
        let new = site.private_file("new", &pem(2));
        let finished = site.update_proxy(&sandbox, &new).run();
        assert!(!new.exists());
        match finished.code {
            Some(0) => assert_eq!(contents(&sandbox), [pem(2), pem(2)]),
            _ => {
                assert!(!replaced, "{finished:?}");
                finished.expect_refusal(1, &[]);
                assert_eq!(contents(&sandbox), [pem(1), pem(1)]);
            }
        }
        assert_eq!(fs::read(&victim).unwrap(), b"victim");
    }
}

#[test]
#[ignore = "needs root"]
fn u2_a_new_proxy_that_is_none() {
    let site = Site::new();
    let sandbox = site.handed_over();
    let before = (sandbox.snapshot(), Snapshot::of(&sandbox.parked).below());
    let calls = site.switcher_calls().len();
    let secret = site.private_file("secret", &pem(9));
    let kept = Snapshot::of(secret.parent().unwrap()).get("secret").clone();
    let new = site.root.join("pilot/new");
    type Make<'a> = &'a dyn Fn(&Path);
    let makes: [(&str, Make); 12] = [
        ("missing", &|_| {}),
        ("empty", &|at| put_file(PILOT, at, b"", 0o600)),
        ("a link", &|at| put_link(PILOT, at, &secret)),
        ("a link to nothing", &|at| put_link(PILOT, at, "nothing")),
        ("a second name of a file", &|at| fs::hard_link(&secret, at).unwrap()),
        ("another's", &|at| put_file(MALLORY, at, &pem(2), 0o600)),
        ("the target's", &|at| put_file(GREG, at, &pem(2), 0o600)),
        ("readable by the group", &|at| put_file(PILOT, at, &pem(2), 0o640)),
        ("readable by others", &|at| put_file(PILOT, at, &pem(2), 0o604)),
        ("writable by others", &|at| put_file(PILOT, at, &pem(2), 0o602)),
        ("too large", &|at| put_file(PILOT, at, &vec![b'\n'; (1 << 20) + 1], 0o600)),
        ("a FIFO", &|at| {
            mknodat(CWD, at, FileType::Fifo, Mode::from_raw_mode(0o600), 0).unwrap();
            finish(PILOT, at, 0o600);
        }),
    ];
    for switcher in [site.switcher().into_os_string(), OsString::from("-")] {
        for (what, make) in &makes {
            let _ = fs::remove_file(&new);
            make(&new);
            let arguments = [switcher.clone(), new.clone().into(), sandbox.proxy.clone(), sandbox.path.clone().into()];
            let started = Instant::now();
            let finished = site.update_proxy(&sandbox, &new).only_args(arguments).run();
            assert_eq!(finished.code, Some(1), "{what}: {finished:?}");
            finished.expect_refusal(1, &[]);
            assert!(started.elapsed() < Duration::from_secs(30), "{what}");
            assert!(fs::symlink_metadata(&new).is_err(), "{what}: NEW is still there");
            sandbox.snapshot().assert_same(&before.0);
            Snapshot::of(&sandbox.parked).below().assert_same(&before.1);
        }
    }
    assert_eq!(site.switcher_calls().len(), calls);
    assert_eq!(*Snapshot::of(secret.parent().unwrap()).get("secret"), kept);
    assert_eq!(fs::metadata(secret).unwrap().nlink(), 1);
}

/// The one NEW that is not removed: it cannot have been the Starter that made it.
#[test]
#[ignore = "needs root"]
fn u2_a_new_proxy_that_is_a_directory() {
    let site = Site::new();
    let sandbox = site.handed_over();
    let calls = site.switcher_calls().len();
    let new = site.root.join("pilot/new");
    fs::create_dir(&new).unwrap();
    put_file(PILOT, &new.join("in"), &pem(2), 0o600);
    finish(PILOT, &new, 0o700);
    let before = Snapshot::of(&new);
    for switcher in [site.switcher().into_os_string(), OsString::from("-")] {
        let arguments = [switcher, new.clone().into(), sandbox.proxy.clone(), sandbox.path.clone().into()];
        site.update_proxy(&sandbox, &new).only_args(arguments).run().expect_refusal(1, &["new"]);
        Snapshot::of(&new).assert_same(&before);
        assert_eq!(contents(&sandbox), [pem(1), pem(1)]);
    }
    assert_eq!(site.switcher_calls().len(), calls);
}

#[test]
#[ignore = "needs root"]
fn u2_a_new_proxy_that_was_cut_off() {
    let site = Site::new();
    let before_setup = site.sandbox();
    let handed_over = site.handed_over();
    let whole = pem(2);
    // At each 97th byte of it, which meets headers, bodies and footers.
    for length in (1..whole.len()).step_by(97).chain([whole.len() - 2]) {
        // Cut behind the key's block, what is left is a whole proxy without its chain, and nothing in the file tells.
        if String::from_utf8_lossy(&whole[..length]).trim_end().ends_with("-----END RSA PRIVATE KEY-----") {
            continue;
        }
        for (sandbox, g) in [(&handed_over, site.switcher().into_os_string()), (&before_setup, OsString::from("-"))] {
            let new = site.private_file("new", &whole[..length]);
            let arguments = [g, new.clone().into(), sandbox.proxy.clone(), sandbox.path.clone().into()];
            site.update_proxy(sandbox, &new).only_args(arguments).run().expect_refusal(1, &["whole"]);
            assert!(!new.exists());
            assert_eq!(fs::read(sandbox.proxy_path()).unwrap(), pem(1));
        }
    }
    assert_eq!(contents(&handed_over), [pem(1), pem(1)]);
    for (sandbox, expected) in [(&handed_over, 2), (&before_setup, 1)] {
        let entries: Vec<_> = [&sandbox.path, &sandbox.parked]
            .into_iter()
            .filter(|path| path.exists())
            .flat_map(|path| fs::read_dir(path).unwrap().flatten())
            .filter(|entry| fs::read(entry.path()).is_ok_and(|content| content.starts_with(b"-----BEGIN")))
            .collect();
        assert_eq!(entries.len(), expected, "{entries:?}");
    }
}

#[test]
#[ignore = "needs root"]
fn u2_a_new_proxy_in_a_directory_where_others_could_swap_it() {
    let site = Site::new();
    let sandbox = site.handed_over();
    for (index, (owner, mode)) in [(MALLORY, 0o755), (PILOT, 0o777)].into_iter().enumerate() {
        let directory = site.root.join(format!("unsafe{index}"));
        fs::create_dir(&directory).unwrap();
        let new = directory.join("new");
        put_file(PILOT, &new, &pem(2), 0o600);
        finish(owner, &directory, mode);
        site.update_proxy(&sandbox, &new).run().expect_refusal(1, &["unsafe"]);
        assert_eq!(contents(&sandbox), [pem(1), pem(1)]);
    }
}

#[test]
#[ignore = "needs root"]
fn u3_the_job_made_something_else_of_its_proxy() {
    let site = Site::new();
    let victim = site.execute.join("victim");
    put_file(GREG, &victim, b"victim", 0o644);
    site.expect_left("victim");
    type Change<'a> = &'a (dyn Fn(&Path) + Sync);
    let changes: [(&str, bool, Change); 7] = [
        ("a link to a file", true, &|at| symlink(&victim, at).unwrap()),
        ("a link to a directory", true, &|at| symlink("data", at).unwrap()),
        ("a link to nothing", true, &|at| symlink("nothing", at).unwrap()),
        ("a FIFO", true, &|at| mknodat(CWD, at, FileType::Fifo, Mode::from_raw_mode(0o666), 0).unwrap()),
        ("a second name of a file", true, &|at| fs::hard_link(&victim, at).unwrap()),
        ("an empty directory", false, &|at| fs::create_dir(at).unwrap()),
        ("a directory", false, &|at| {
            fs::create_dir(at).unwrap();
            fs::write(at.join("in"), b"in").unwrap();
        }),
    ];
    for (what, replaced, change) in changes {
        let sandbox = site.handed_over();
        as_account(GREG, || {
            fs::remove_file(sandbox.proxy_path()).unwrap();
            change(&sandbox.proxy_path());
        });
        let job = sandbox.snapshot().below();
        let new = site.private_file("new", &pem(2));
        let finished = site.update_proxy(&sandbox, &new).run();
        assert!(!new.exists());
        if finished.code == Some(0) {
            assert_eq!(contents(&sandbox), [pem(2), pem(2)], "{what}");
        } else {
            assert!(!replaced, "{what}: {finished:?}");
            finished.expect_refusal(1, &[]);
            sandbox.snapshot().below().assert_same(&job);
            assert_eq!(fs::read(sandbox.parked_proxy()).unwrap(), pem(1), "{what}");
        }
        assert_eq!(fs::read(&victim).unwrap(), b"victim", "{what}");
        assert_eq!(Snapshot::of(&sandbox.parked).names(), [Path::new(&sandbox.proxy)], "{what}");
    }
}

#[test]
#[ignore = "needs root"]
fn u3_the_job_swaps_its_sandbox_for_a_link() {
    let site = Site::new();
    let trap = site.root.join("trap");
    fs::create_dir(&trap).unwrap();
    finish(GREG, &trap, 0o777);
    let sandbox = site.handed_over();
    let away = sandbox.path.with_extension("away");
    site.expect_left(away.file_name().unwrap());
    as_account(GREG, || {
        fs::rename(&sandbox.path, &away).unwrap();
        symlink(&trap, &sandbox.path).unwrap();
    });
    let new = site.private_file("new", &pem(2));
    site.update_proxy(&sandbox, &new).run().expect_refusal(1, &[]);
    assert_eq!(fs::read_dir(&trap).unwrap().count(), 0);
    assert_eq!(fs::read(sandbox.parked_proxy()).unwrap(), pem(1));
    assert_eq!(fs::read(away.join(&sandbox.proxy)).unwrap(), pem(1));
}

#[test]
#[ignore = "needs root"]
fn u3_a_sandbox_of_another_account() {
    let site = Site::new();
    let sandbox = site.handed_over();
    fs::rename(&sandbox.path, site.root.join("aside")).unwrap();
    as_account(MALLORY, || {
        fs::create_dir(&sandbox.path).unwrap();
        fs::set_permissions(&sandbox.path, Permissions::from_mode(0o777)).unwrap();
    });
    let new = site.private_file("new", &pem(2));
    site.update_proxy(&sandbox, &new).run().expect_refusal(1, &["belongs to uid"]);
    assert_eq!(fs::read_dir(&sandbox.path).unwrap().count(), 0);
    assert_eq!(fs::read(sandbox.parked_proxy()).unwrap(), pem(1));
}

#[test]
#[ignore = "needs root"]
fn u4_killed_at_any_moment_a_repeated_call_ends_well() {
    let site = Site::new();
    let sandbox = site.handed_over();
    let mut current = [pem(1), pem(1)];
    let mut interrupted = 0;
    for round in 0..80_u64 {
        let seed = 2 + round as u8;
        let new = site.private_file("new", &pem(seed));
        let mut running = site.update_proxy(&sandbox, &new).start();
        std::thread::sleep(Duration::from_micros(round * 150));
        running.kill();
        let finished = running.finish();
        interrupted += usize::from(finished.signal.is_some());
        // The target side notices a little later that it is alone.
        crate::common::await_that("the target side has ended", || {
            !site.processes().iter().any(|(_, command)| command.contains("condor_glexec_peer"))
        });
        let now = contents(&sandbox);
        for (now, before) in now.iter().zip(&current) {
            assert!(now == before || *now == pem(seed), "neither the old nor the new proxy");
        }
        assert!(now[1] != pem(seed) || now[0] == pem(seed), "the pilot's is never ahead of the job's");
        let again = site.private_file("new", &pem(seed));
        site.update_proxy(&sandbox, &again).run().expect_quiet();
        current = contents(&sandbox);
        assert_eq!(current, [pem(seed), pem(seed)]);
        assert_eq!(Snapshot::of(&sandbox.parked).names(), [Path::new(&sandbox.proxy)], "a staged proxy is left");
        let staged = sandbox.snapshot().names().iter().filter(|name| name.starts_with(".glexec-new-proxy")).count();
        assert_eq!(staged, 0, "a staged proxy is left with the job");
    }
    assert!(interrupted > 0);
}

#[test]
#[ignore = "needs root"]
fn u5_updates_while_cleanup_runs() {
    let site = Site::new();
    for round in 0..20_u64 {
        let sandbox = site.handed_over();
        as_account(GREG, || fs::write(sandbox.path.join("output"), vec![1; 2_000_000])).unwrap();
        let mut cleanup = site.cleanup(&sandbox).cwd("/").start();
        std::thread::sleep(Duration::from_micros(round * 500));
        let mut latest = pem(1);
        for seed in 2.. {
            let new = site.private_file("new", &pem(seed));
            let update = site.update_proxy(&sandbox, &new).cwd("/").run();
            assert!(!new.exists());
            match update.code {
                Some(0) => latest = pem(seed),
                _ => drop(update.expect_refusal(1, &[])),
            }
            if cleanup.has_ended() {
                break;
            }
        }
        let cleanup = cleanup.finish();
        assert!(matches!(cleanup.code, Some(0 | 1)), "{cleanup:?}");
        site.cleanup(&sandbox).cwd("/").run().expect_quiet();
        assert!(fs::read(sandbox.proxy_path()).unwrap() == latest, "not the proxy of the latest call that succeeded");
        assert_eq!(fs::read(sandbox.path.join("output")).unwrap().len(), 2_000_000);
        let staged = sandbox.snapshot().names().iter().filter(|name| name.starts_with(".glexec-new-proxy")).count();
        assert_eq!(staged, 0);
    }
}

#[test]
#[ignore = "needs root"]
fn h2_two_updates_at_once() {
    let site = Site::new();
    let sandbox = site.handed_over();
    let mut refused = 0;
    let mut rounds = 0..;
    while let Some(round) = rounds.next().filter(|round| another_round(*round, 10, refused > 0)) {
        let proxies = [2, 3].map(|side| pem(2 * round as u8 + side));
        let news = ["new1", "new2"].map(|name| site.root.join("pilot").join(name));
        news.iter().zip(&proxies).for_each(|(new, proxy)| put_file(PILOT, new, proxy, 0o600));
        let both =
            news.each_ref().map(|new| site.update_proxy(&sandbox, new).start()).map(crate::common::Running::finish);
        let [job, pilot] = contents(&sandbox);
        assert!(job == pilot && proxies.contains(&job), "{both:?}");
        assert!(both.iter().any(|finished| finished.code == Some(0)), "{both:?}");
        for (finished, proxy) in both.into_iter().zip(&proxies) {
            if finished.code != Some(0) {
                refused += 1;
                finished.expect_refusal(1, &["another helper"]);
                assert_ne!(job, *proxy);
            }
        }
        assert!(news.iter().all(|new| !new.exists()));
    }
    assert!(refused > 0, "they never met");
}

#[test]
#[ignore = "needs root"]
fn h2_updates_while_setup_is_at_work() {
    let site = Site::new();
    let mut refused = 0;
    let mut rounds = 0..;
    while let Some(round) = rounds.next().filter(|round| another_round(*round, 20, refused > 0)) {
        let sandbox = site.sandbox();
        sandbox.add_file("large", &vec![3; 5_000_000], 0o644);
        sandbox.finish_directory("", 0o755);
        let given = sandbox.snapshot();
        let new = site.private_file("new", &pem(2));
        // The Starter may not know yet to whom the sandbox belongs.
        let g = if round % 2 == 0 { site.switcher().into_os_string() } else { OsString::from("-") };
        let setup = site.setup(&sandbox).cwd("/").start();
        std::thread::sleep(Duration::from_micros(round % 20 * 1000));
        let arguments = [g, new.clone().into(), sandbox.proxy.clone(), sandbox.path.clone().into()];
        let update = site.update_proxy(&sandbox, &new).only_args(arguments).cwd("/").run();
        assert!(!new.exists());
        let setup = setup.finish();
        assert!(matches!(setup.code, Some(0 | 2)), "{setup:?}");
        if setup.code == Some(2) {
            setup.expect_refusal(2, &["another helper"]);
            site.setup(&sandbox).cwd("/").run().expect_quiet();
        }
        let expected = if update.code == Some(0) { pem(2) } else { pem(1) };
        if update.code != Some(0) {
            refused += u32::from(update.said().contains("another helper"));
            update.expect_refusal(1, &[]);
        }
        assert_eq!(contents(&sandbox), [expected.clone(), expected]);
        let rest = |snapshot: Snapshot| snapshot.without(&sandbox.proxy).below();
        rest(sandbox.snapshot()).assert_same(&rest(given).masked(0o755).owned_by(GREG));
        assert_eq!(Snapshot::of(&sandbox.parked).names(), [Path::new(&sandbox.proxy)]);
    }
    assert!(refused > 0, "they never met");
}

//! The attacks on `condor_glexec_cleanup`, run by the job (the target account) and another account against the built programs. The
//! numbers are those of the ledger in `audit/`.

#![deny(unsafe_code)]

mod common;

use common::{Channel, GREG, Kind, MALLORY, PILOT, Sandbox, Seat, Site, Snapshot};
use common::{another_round, as_account, before_first_read, finish, pem, put_file, while_attacked};
use rustix::fs::{AtFlags, CWD, FileType, FlockOperation, Mode, XattrFlags, flock, linkat, makedev, mknodat, setxattr};
use rustix::process::Resource;
use std::collections::BTreeSet;
use std::fs::{self, Permissions};
use std::io::{self, ErrorKind::PermissionDenied};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt, symlink};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

fn mode(path: &Path, mode: u32) {
    fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
}

/// What the pilot's proxy is before and after: the same inode, untouched.
fn proxy_of(sandbox: &Sandbox) -> (u64, u32, u32, Vec<u8>) {
    let path = if sandbox.parked.exists() { sandbox.parked_proxy() } else { sandbox.proxy_path() };
    let found = fs::symlink_metadata(&path).unwrap();
    (found.ino(), found.mode(), found.uid(), fs::read(path).unwrap())
}

#[test]
fn c1_whatever_the_job_made_of_its_proxy() {
    let Some(site) = Site::new() else { return };
    let secret = site.private_file("secret", b"secret");
    type Change<'a> = &'a (dyn Fn(&Path) + Sync);
    let changes: [(&str, Change); 9] = [
        ("removed", &|_| {}),
        ("a directory", &|at| {
            fs::create_dir(at).unwrap();
            fs::write(at.join("in"), b"x").unwrap();
            mode(at, 0);
        }),
        ("a link to a file of the pilot's", &|at| symlink(&secret, at).unwrap()),
        ("a link to the machine's accounts", &|at| symlink("/etc/passwd", at).unwrap()),
        ("a link to nothing", &|at| symlink("nothing", at).unwrap()),
        ("a FIFO", &|at| mknodat(CWD, at, FileType::Fifo, Mode::from_raw_mode(0o666), 0).unwrap()),
        ("read-only", &|at| {
            fs::write(at, b"read-only").unwrap();
            mode(at, 0o400);
        }),
        ("open to all", &|at| {
            fs::write(at, b"open").unwrap();
            mode(at, 0o666);
        }),
        ("empty", &|at| fs::write(at, b"").unwrap()),
    ];
    for (what, change) in changes {
        let sandbox = site.sandbox();
        let given = sandbox.snapshot();
        site.setup(&sandbox).run().expect_quiet();
        as_account(GREG, || {
            fs::remove_file(sandbox.proxy_path()).unwrap();
            change(&sandbox.proxy_path());
            fs::write(sandbox.path.join("output"), what).unwrap();
        });
        let (left, proxy) = (sandbox.snapshot(), proxy_of(&sandbox));
        let finished = site.cleanup(&sandbox).run();
        assert_eq!(finished.code, Some(0), "{what}: {finished:?}");
        sandbox.assert_taken_back(&left, &given);
        assert_eq!(proxy_of(&sandbox), proxy, "{what}");
    }
    assert_eq!(fs::read(secret).unwrap(), b"secret");
}

#[test]
fn c1_a_proxy_with_another_mode_gets_its_own_again() {
    let Some(site) = Site::new() else { return };
    for bits in [0o666, 0] {
        let sandbox = site.sandbox();
        let given = sandbox.snapshot();
        site.setup(&sandbox).run().expect_quiet();
        let left = sandbox.snapshot();
        mode(&sandbox.parked_proxy(), bits);
        site.cleanup(&sandbox).run().expect_quiet();
        sandbox.assert_taken_back(&left, &given);
    }
}

#[test]
fn c1_ticket_1760_the_whole_sandbox_is_read_only() {
    let Some(site) = Site::new() else { return };
    let sandbox = site.sandbox();
    let given = sandbox.snapshot();
    site.setup(&sandbox).run().expect_quiet();
    as_account(GREG, || {
        for name in ["input", "empty", "condor_exec.exe", "data/secret"] {
            mode(&sandbox.path.join(name), 0o400);
        }
        mode(&sandbox.path.join("data"), 0o500);
        mode(&sandbox.path, 0o500);
    });
    let left = sandbox.snapshot();
    site.cleanup(&sandbox).run().expect_quiet();
    sandbox.assert_taken_back(&left, &given);
}

#[test]
fn c2_directories_and_files_without_permissions() {
    let Some(site) = Site::new() else { return };
    for top in [0, 0o100, 0o200, 0o300, 0o500, 0o755] {
        let sandbox = site.sandbox();
        let given = sandbox.snapshot();
        site.setup(&sandbox).run().expect_quiet();
        as_account(GREG, || {
            let deep = sandbox.path.join("a/b/c");
            fs::create_dir_all(&deep).unwrap();
            for (index, bits) in [0, 0o100, 0o200, 0o300, 0o400, 0o500].into_iter().enumerate() {
                let file = deep.join(format!("file{index}"));
                fs::write(&file, b"content").unwrap();
                mode(&file, bits);
                let directory = deep.join(format!("directory{index}"));
                fs::create_dir(&directory).unwrap();
                fs::write(directory.join("in"), b"in").unwrap();
                mode(&directory, bits);
            }
            for (name, bits) in [("a/b/c", 0), ("a/b", 0o500), ("a", 0), ("", top)] {
                mode(&sandbox.path.join(name), bits);
            }
        });
        let left = sandbox.snapshot();
        site.cleanup(&sandbox).run().expect_quiet();
        sandbox.assert_taken_back(&left, &given);
    }
}

/// Follows a link as anybody would who opens it; the place where it ends, existing or not. `None` for a loop.
fn follow(path: &Path, links: usize) -> Option<PathBuf> {
    if links > 64 {
        return None;
    }
    let mut here = PathBuf::from("/");
    let mut parts = path.components();
    while let Some(part) = parts.next() {
        match part {
            std::path::Component::ParentDir => {
                here.pop();
            }
            std::path::Component::Normal(name) => {
                here.push(name);
                if let Ok(target) = fs::read_link(&here) {
                    here.pop();
                    return follow(&here.join(target).join(parts.as_path()), links + 1);
                }
            }
            _ => {}
        }
    }
    Some(here)
}

/// No link in S leads out of S or to the proxy, through whatever others; and the names of what is still there.
#[track_caller]
fn assert_no_link_leads_out(sandbox: &Sandbox) -> BTreeSet<PathBuf> {
    let inside = fs::canonicalize(&sandbox.path).unwrap();
    let snapshot = sandbox.snapshot();
    let mut kept = BTreeSet::new();
    for (path, entry) in &snapshot.entries {
        if matches!(entry.kind, Kind::Link(_)) {
            kept.insert(path.clone());
            if let Some(end) = follow(&inside.join(path), 0) {
                assert!(end.starts_with(&inside), "{path:?} {:?} leads to {end:?}", entry.kind);
                assert_ne!(end, inside.join(&sandbox.proxy), "{path:?} {:?}", entry.kind);
            }
        }
    }
    kept
}

#[test]
fn c3_links_that_lead_out_or_to_the_proxy_are_left_out() {
    let Some(site) = Site::new() else { return };
    let secret = site.private_file("secret", b"secret");
    let sandbox = site.handed_over();
    let absolute = sandbox.path.join("input");
    let kept = [
        ("to-file", "input"),
        ("to-directory", "data"),
        ("to-self", "."),
        ("dangling", "nothing/there"),
        ("dots", "./././data//secret"),
        ("loop1", "loop2"),
        ("loop2", "loop1"),
        ("data/up-1", ".."),
        ("data/up-2", "../input"),
        ("data/in/up-3", "../../data/secret"),
        ("x", "."),
    ];
    let left_out = [
        ("absolute", absolute.to_str().unwrap()),
        ("root", "/"),
        ("passwd", "/etc/passwd"),
        ("secret", secret.to_str().unwrap()),
        ("parent", ".."),
        ("beside", "../other/file"),
        ("above", "../../../../../../etc/passwd"),
        ("y", "x/x/../.."),
        ("z", "data/../../out"),
        ("data/two-up", "../.."),
        ("data/in/three-up", "../../../x"),
        ("proxy", "x509up_u1234"),
        ("proxy-dots", "./x509up_u1234"),
        ("data/proxy", "../x509up_u1234"),
        ("proxy-through", "x/x509up_u1234"),
        ("proc", "/proc/self/root"),
    ];
    as_account(GREG, || {
        fs::create_dir(sandbox.path.join("data/in")).unwrap();
        for (name, target) in kept.iter().chain(&left_out) {
            symlink(target, sandbox.path.join(name)).unwrap();
        }
    });
    let arguments = [site.switcher().into(), sandbox.proxy.clone(), sandbox.path.clone().into_os_string()];
    let call = site.cleanup(&sandbox).only_args(["--json"]).args(arguments).args(["0", "0"]).separate_errors();
    let finished = call.run().expect(0);
    assert!(finished.errors.contains(&format!("{} left out", left_out.len())), "{finished:?}");
    let record: serde_json::Value = serde_json::from_str(&finished.output).unwrap();
    let mut named: Vec<&str> =
        record["left_out"].as_array().unwrap().iter().map(|entry| entry["name"].as_str().unwrap()).collect();
    named.sort_unstable();
    let mut expected: Vec<String> = left_out.iter().map(|(name, _)| format!("\"{name}\"")).collect();
    expected.sort_unstable();
    assert_eq!(named, expected);
    let found = assert_no_link_leads_out(&sandbox);
    let mut expected: BTreeSet<PathBuf> = kept.iter().map(|(name, _)| name.into()).collect();
    expected.insert("data/up".into());
    assert_eq!(found, expected);
    for (name, target) in kept {
        assert_eq!(fs::read_link(sandbox.path.join(name)).unwrap(), Path::new(target));
    }
}

/// All targets of up to four components out of a few names, as links at three depths, all at once: whatever leads through whatever.
#[test]
fn c3_no_combination_of_links_leads_out() {
    let Some(site) = Site::new() else { return };
    let parts = [".", "..", "a", "b", "l1", "x509up_u1234"];
    let mut targets = vec![String::new()];
    for _ in 0..4 {
        let longer: Vec<String> = targets
            .iter()
            .flat_map(|target| {
                parts.map(|part| if target.is_empty() { part.into() } else { format!("{target}/{part}") })
            })
            .collect();
        targets.extend(longer);
        targets.sort();
        targets.dedup();
    }
    targets.retain(|target| !target.is_empty());
    let sandbox = site.handed_over();
    as_account(GREG, || {
        fs::create_dir_all(sandbox.path.join("a/b")).unwrap();
        for directory in ["", "a", "a/b"] {
            for (index, target) in targets.iter().enumerate() {
                symlink(target, sandbox.path.join(directory).join(format!("l{index}"))).unwrap();
            }
        }
    });
    site.cleanup(&sandbox).run().expect_refusal(0, &["left out"]);
    let kept = assert_no_link_leads_out(&sandbox);
    assert!(kept.len() > 100, "only {} of {} were kept", kept.len(), 3 * targets.len());
}

#[test]
fn c3_kept_links_stay_harmless_when_the_job_replaces_what_they_lead_through() {
    // What the rule keeps must not depend on the tree at the moment of the copy: a directory that is a link a moment later.
    let Some(site) = Site::new() else { return };
    let sandbox = site.handed_over();
    as_account(GREG, || {
        fs::create_dir_all(sandbox.path.join("d/e")).unwrap();
        symlink("d/e/f", sandbox.path.join("through")).unwrap();
        symlink("../..", sandbox.path.join("d/e/f")).unwrap();
        symlink("through/x", sandbox.path.join("more")).unwrap();
    });
    site.cleanup(&sandbox).run().expect_quiet();
    assert_eq!(assert_no_link_leads_out(&sandbox).len(), 4);
}

#[test]
fn c4_fifos_sockets_and_devices_are_left_out_and_do_not_hang_anybody() {
    let Some(site) = Site::new() else { return };
    let sandbox = site.handed_over();
    // The socket's path may be too long for a bind.
    let made = as_account(GREG, || {
        mknodat(CWD, sandbox.path.join("fifo"), FileType::Fifo, Mode::from_raw_mode(0o666), 0).unwrap();
        UnixListener::bind(sandbox.path.join("socket"))
    });
    let _listener = made.unwrap();
    for (name, kind, device) in
        [("null", FileType::CharacterDevice, makedev(1, 3)), ("disk", FileType::BlockDevice, makedev(7, 0))]
    {
        // What a job could have found on a file system that somebody mounted.
        let at = sandbox.path.join("data").join(name);
        mknodat(CWD, &at, kind, Mode::from_raw_mode(0o666), device).unwrap();
        finish(GREG, &at, 0o666);
    }
    let started = Instant::now();
    site.cleanup(&sandbox).run().expect_refusal(0, &["4 left out", "fifo", "socket", "data/null", "data/disk"]);
    assert!(started.elapsed() < Duration::from_secs(30));
    for entry in sandbox.snapshot().entries.values() {
        assert!(!matches!(entry.kind, Kind::Special(_)));
    }
}

#[test]
fn c4_more_than_can_be_named_are_counted() {
    let Some(site) = Site::new() else { return };
    let sandbox = site.handed_over();
    as_account(GREG, || {
        for index in 0..5000 {
            let name = format!("{index:0200}\x1b%n\n");
            mknodat(CWD, sandbox.path.join(name), FileType::Fifo, Mode::from_raw_mode(0o600), 0).unwrap();
        }
    });
    site.cleanup(&sandbox).run().expect_refusal(0, &["5000 left out"]);
}

#[test]
fn c5_no_mode_above_0755_and_no_extended_attribute_comes_back() {
    let Some(site) = Site::new() else { return };
    let sandbox = site.sandbox();
    let given = sandbox.snapshot();
    site.setup(&sandbox).run().expect_quiet();
    let modes = [0o4755, 0o2755, 0o6777, 0o1777, 0o777, 0o666, 0o022, 0o7777];
    as_account(GREG, || {
        for bits in modes {
            let file = sandbox.path.join(format!("file{bits:o}"));
            fs::copy("/bin/true", &file).unwrap();
            mode(&file, bits);
            let directory = sandbox.path.join(format!("directory{bits:o}"));
            fs::create_dir(&directory).unwrap();
            mode(&directory, bits);
        }
    });
    let file = sandbox.path.join("input");
    let capability = [1, 0, 0, 2, 0x82, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    setxattr(&file, "security.capability", &capability, XattrFlags::empty()).unwrap();
    setxattr(&file, "user.note", b"x", XattrFlags::empty()).unwrap();
    // An ACL that lets mallory write: user::rwx, user:MALLORY:rwx, group::---, mask::rwx, other::---; also as a default.
    let entry = |tag: u16, id: u32| [&tag.to_le_bytes()[..], &7_u16.to_le_bytes(), &id.to_le_bytes()].concat();
    let acl = [
        2_u32.to_le_bytes().to_vec(),
        entry(1, u32::MAX),
        entry(2, MALLORY.uid()),
        entry(4, u32::MAX),
        entry(16, u32::MAX),
        entry(32, u32::MAX),
    ]
    .concat();
    setxattr(&file, "system.posix_acl_access", &acl, XattrFlags::empty()).unwrap();
    for name in ["system.posix_acl_access", "system.posix_acl_default"] {
        setxattr(sandbox.path.join("data"), name, &acl, XattrFlags::empty()).unwrap();
        setxattr(&sandbox.path, name, &acl, XattrFlags::empty()).unwrap();
    }
    let left = sandbox.snapshot();
    site.cleanup(&sandbox).run().expect_quiet();
    sandbox.assert_taken_back(&left, &given);
    for (path, entry) in &sandbox.snapshot().entries {
        assert_eq!(entry.mode & !0o755, 0, "{path:?} has mode {:o}", entry.mode);
        let mut names = [0_u8; 1024];
        let count = rustix::fs::llistxattr(sandbox.path.join(path), &mut names[..]).unwrap();
        assert_eq!(count, 0, "{path:?} has {:?}", String::from_utf8_lossy(&names[..count]));
    }
}

#[test]
fn c6_hard_links_to_what_the_job_may_read_come_back_as_content() {
    let Some(site) = Site::new() else { return };
    let sandbox = site.handed_over();
    // As the job could make them where fs.protected_hardlinks is 0.
    for (owner, name) in [(PILOT, "of-pilot"), (MALLORY, "of-mallory")] {
        let outside = site.execute.join(name);
        put_file(owner, &outside, name.as_bytes(), 0o644);
        site.expect_left(name);
        linkat(CWD, &outside, CWD, sandbox.path.join(name), AtFlags::empty()).unwrap();
        linkat(CWD, &outside, CWD, sandbox.path.join(format!("again-{name}")), AtFlags::empty()).unwrap();
    }
    site.cleanup(&sandbox).run().expect_quiet();
    for (owner, name) in [(PILOT, "of-pilot"), (MALLORY, "of-mallory")] {
        let outside = fs::metadata(site.execute.join(name)).unwrap();
        assert_eq!((outside.uid(), outside.nlink(), outside.mode() & 0o7777), (owner.uid(), 1, 0o644));
        for name in [name.to_owned(), format!("again-{name}")] {
            let back = fs::metadata(sandbox.path.join(&name)).unwrap();
            assert_eq!(back.uid(), PILOT.uid());
            assert_ne!(back.ino(), outside.ino());
        }
        assert_eq!(fs::read(sandbox.path.join(name)).unwrap(), name.as_bytes());
    }
}

#[test]
fn c6_hard_links_to_what_the_job_may_not_read_do_not_come_back_and_do_not_hold_up_the_rest() {
    let Some(site) = Site::new() else { return };
    for owner in [PILOT, MALLORY] {
        let sandbox = site.sandbox();
        let given = sandbox.snapshot();
        site.setup(&sandbox).run().expect_quiet();
        let outside = site.execute.join(format!("private-{}", owner.name));
        put_file(owner, &outside, b"private", 0o600);
        site.expect_left(outside.file_name().unwrap());
        as_account(GREG, || fs::write(sandbox.path.join("output"), b"output")).unwrap();
        linkat(CWD, &outside, CWD, sandbox.path.join("taken"), AtFlags::empty()).unwrap();
        let left = sandbox.snapshot();

        let finished = site.cleanup(&sandbox).run();

        let after = fs::metadata(&outside).unwrap();
        assert_eq!((after.uid(), after.mode() & 0o7777, after.len()), (owner.uid(), 0o600, 7));
        finished.expect_refusal(0, &["1 left out", "taken"]);
        assert_eq!(fs::metadata(&outside).unwrap().nlink(), 1);
        let rest = left.without("taken").with("output", |entry| entry.mode = 0o644);
        sandbox.assert_taken_back(&rest, &given);
    }
}

#[test]
fn c6_another_account_leaves_files_in_a_directory_that_the_job_opened_to_all() {
    let Some(site) = Site::new() else { return };
    for mallory_mode in [0o644, 0o600, 0] {
        let sandbox = site.sandbox();
        let given = sandbox.snapshot();
        site.setup(&sandbox).run().expect_quiet();
        let open = sandbox.path.join("open");
        as_account(GREG, || {
            fs::create_dir(&open).unwrap();
            mode(&open, 0o777);
        });
        as_account(MALLORY, || {
            fs::write(open.join("of-mallory"), b"x").unwrap();
            mode(&open.join("of-mallory"), mallory_mode);
        });
        let left = sandbox.snapshot();
        if mallory_mode == 0o644 {
            site.cleanup(&sandbox).run().expect_quiet();
            sandbox.assert_taken_back(&left, &given);
        } else {
            site.cleanup(&sandbox).run().expect_refusal(0, &["1 left out", "of-mallory"]);
            sandbox.assert_taken_back(&left.without("open/of-mallory"), &given);
        }
    }
}

#[test]
fn c6_another_accounts_directory_that_the_job_can_neither_read_nor_remove() {
    let Some(site) = Site::new() else { return };
    let sandbox = site.sandbox();
    let given = sandbox.snapshot();
    site.setup(&sandbox).run().expect_quiet();
    let open = sandbox.path.join("open");
    as_account(GREG, || {
        fs::create_dir(&open).unwrap();
        mode(&open, 0o777);
        fs::write(sandbox.path.join("output"), b"output").unwrap();
    });
    as_account(MALLORY, || {
        fs::create_dir(open.join("of-mallory")).unwrap();
        fs::write(open.join("of-mallory/in"), b"x").unwrap();
        mode(&open.join("of-mallory"), 0o700);
    });
    let left = sandbox.snapshot().without("open/of-mallory");
    // The job's output comes back; that its old tree cannot be removed is said, and is no reason to keep the output from the Starter.
    let parked = sandbox.parked.file_name().unwrap().to_str().unwrap();
    for _ in 0..2 {
        site.cleanup(&sandbox).cwd("/").run().expect_refusal(1, &["cannot remove", parked, "Permission denied"]);
        let expected = left.clone().masked(0o755).owned_by(PILOT).without(&sandbox.proxy).below();
        sandbox.snapshot().without(&sandbox.proxy).below().assert_same(&expected);
        assert_eq!(fs::read(sandbox.proxy_path()).unwrap(), pem(1));
    }
    drop(given);
}

/// #2189: what a daemon of root's wrote where the job was.
#[test]
fn ticket_2189_files_of_roots_come_back_as_far_as_the_job_can_read_them() {
    let Some(site) = Site::new() else { return };
    let sandbox = site.sandbox();
    let given = sandbox.snapshot();
    site.setup(&sandbox).run().expect_quiet();
    for (name, bits) in [("open", 0o644), ("closed", 0o600)] {
        fs::write(sandbox.path.join(name), b"root's").unwrap();
        mode(&sandbox.path.join(name), bits);
    }
    let left = sandbox.snapshot();
    site.cleanup(&sandbox).run().expect_refusal(0, &["1 left out", "closed"]);
    sandbox.assert_taken_back(&left.without("closed"), &given);
}

/// What a site mounts in every sandbox, a scratch disk perhaps, is neither sent back nor emptied.
#[test]
fn c6_what_is_on_another_file_system_is_left_out_and_left_alone() {
    let Some(site) = Site::new() else { return };
    let sandbox = site.sandbox();
    sandbox.add_directory("scratch", 0o755);
    sandbox.finish_directory("", 0o755);
    let given = sandbox.snapshot();
    site.setup(&sandbox).run().expect_quiet();
    let left = sandbox.snapshot();
    let scratch = |tree: &Path| tree.join("scratch");
    assert!(
        Command::new("mount").args(["-t", "tmpfs", "tmpfs"]).arg(scratch(&sandbox.path)).status().unwrap().success()
    );
    put_file(GREG, &scratch(&sandbox.path).join("output"), b"output", 0o644);
    finish(GREG, &scratch(&sandbox.path), 0o755);
    let finished = site.cleanup(&sandbox).run();
    let output = fs::read(scratch(&sandbox.parked).join("output"));
    assert!(Command::new("umount").arg(scratch(&sandbox.parked)).status().unwrap().success());
    finished.expect_refusal(1, &["cannot remove", "busy"]);
    assert_eq!(output.unwrap(), b"output");
    site.cleanup(&sandbox).cwd("/").run().expect_quiet();
    sandbox.assert_taken_back(&left.without("scratch"), &given);
}

#[test]
fn ticket_2189_a_directory_of_roots_that_nobody_can_remove_is_named_and_keeps_nothing_back() {
    let Some(site) = Site::new() else { return };
    let sandbox = site.sandbox();
    let given = sandbox.snapshot();
    site.setup(&sandbox).run().expect_quiet();
    as_account(GREG, || fs::write(sandbox.path.join("output"), b"output")).unwrap();
    fs::create_dir(sandbox.path.join("roots")).unwrap();
    fs::write(sandbox.path.join("roots/in"), b"in").unwrap();
    let left = sandbox.snapshot();
    let parked = sandbox.parked.file_name().unwrap().to_str().unwrap();
    for _ in 0..2 {
        site.cleanup(&sandbox).cwd("/").run().expect_refusal(1, &["cannot remove", parked, "Permission denied"]);
        // The job's old tree is beside it now, with nothing in it but what is root's.
        assert_eq!(Snapshot::of(&sandbox.parked).names(), [Path::new("roots"), Path::new("roots/in")]);
        let expected = left.clone().masked(0o755).owned_by(PILOT).below();
        sandbox.snapshot().below().without(&sandbox.proxy).assert_same(&expected.without(&sandbox.proxy));
        assert_eq!(fs::read(sandbox.proxy_path()).unwrap(), pem(1));
    }
    // Root removes it, and the third call has nothing to say.
    fs::remove_dir_all(sandbox.parked.join("roots")).unwrap();
    site.cleanup(&sandbox).cwd("/").run().expect_quiet();
    sandbox.assert_taken_back(&left, &given);
}

/// The job cannot look into it, but nobody needs to for removing it.
#[test]
fn c6_another_accounts_empty_directory_is_removed() {
    let Some(site) = Site::new() else { return };
    let sandbox = site.sandbox();
    let given = sandbox.snapshot();
    site.setup(&sandbox).run().expect_quiet();
    let open = sandbox.path.join("open");
    as_account(GREG, || {
        fs::create_dir(&open).unwrap();
        mode(&open, 0o777);
    });
    as_account(MALLORY, || {
        fs::create_dir(open.join("of-mallory")).unwrap();
        mode(&open.join("of-mallory"), 0o700);
    });
    let left = sandbox.snapshot().without("open/of-mallory");
    site.cleanup(&sandbox).run().expect_refusal(0, &["1 left out", "of-mallory"]);
    sandbox.assert_taken_back(&left, &given);
}

/// A lease on a file (fcntl(2)): whoever opens the file waits until it is given up, which dropping it does.
struct Lease(fs::File);

impl Lease {
    /// Takes one on a file of the account's. The signal that asks for it goes to the thread that took it, which is gone by then.
    fn take(account: common::Account, path: &Path) -> Self {
        as_account(account, || {
            let lease = Lease(fs::File::open(path).unwrap());
            assert_eq!(lease.fcntl(libc::F_SETLEASE, libc::F_WRLCK), 0, "{}", std::io::Error::last_os_error());
            lease
        })
    }

    /// Waits until somebody wants to read.
    fn await_reader(&self) {
        let deadline = Instant::now() + Duration::from_secs(60);
        while self.fcntl(libc::F_GETLEASE, 0) == libc::F_WRLCK {
            assert!(Instant::now() < deadline, "nobody wants to read");
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    #[allow(unsafe_code)]
    fn fcntl(&self, command: i32, argument: i32) -> i32 {
        // SAFETY: takes numbers, the first of which is an open descriptor.
        unsafe { libc::fcntl(self.0.as_raw_fd(), command, argument) }
    }
}

#[test]
fn c6_another_accounts_leased_file_does_not_hold_up_the_rest() {
    let Some(site) = Site::new() else { return };
    let sandbox = site.sandbox();
    let given = sandbox.snapshot();
    site.setup(&sandbox).run().expect_quiet();
    let open = sandbox.path.join("open");
    as_account(GREG, || {
        fs::create_dir(&open).unwrap();
        mode(&open, 0o777);
    });
    let leased = open.join("of-mallory");
    put_file(MALLORY, &leased, b"x", 0o644);
    finish(GREG, &open, 0o777);
    let left = sandbox.snapshot().without("open/of-mallory");
    let _lease = Lease::take(MALLORY, &leased);
    site.cleanup(&sandbox).run().expect_refusal(0, &["1 left out", "of-mallory"]);
    sandbox.assert_taken_back(&left, &given);
}

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
fn c8_the_jobs_own_leased_file_is_waited_for() {
    let Some(site) = Site::new() else { return };
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
fn c8_a_small_output_that_changes_while_it_is_read() {
    let Some(site) = Site::new() else { return };
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

/// Puts something at the first path; the other one is that of a directory of the pilot's.
type Plant = fn(&Path, &Path);

/// What the owner of S, or anybody once S is gone, can put in its place that is no directory.
const NO_DIRECTORIES: [(&str, Plant); 3] = [
    ("a link to the pilot's", |at, pilots| symlink(pilots, at).unwrap()),
    ("a FIFO", |at, _| mknodat(CWD, at, FileType::Fifo, Mode::from_raw_mode(0o666), 0).unwrap()),
    ("a file", |at, _| fs::write(at, b"x").unwrap()),
];

/// The job's sandbox goes away.
fn move_away(site: &Site, sandbox: &Sandbox) -> PathBuf {
    let away = sandbox.path.with_extension("away");
    as_account(GREG, || fs::rename(&sandbox.path, &away)).unwrap();
    site.expect_left(away.file_name().unwrap());
    away
}

#[test]
fn c9_what_is_no_directory_does_not_keep_the_starter_from_its_own() {
    let Some(site) = Site::new() else { return };
    let pilots = site.root.join("pilot");
    site.private_file("secret", b"secret");
    let untouched = Snapshot::of(&pilots);
    for account in [GREG, MALLORY] {
        for (what, plant) in NO_DIRECTORIES {
            let sandbox = site.sandbox();
            let seat = Seat::take(&sandbox.path);
            let given = sandbox.snapshot();
            site.setup(&sandbox).run().expect_quiet();
            move_away(&site, &sandbox);
            as_account(account, || plant(&sandbox.path, &pilots));
            let finished = site.cleanup(&sandbox).run();
            assert_eq!(seat.path(), sandbox.path, "{what}: {finished:?}");
            finished.expect_refusal(1, &["removed its sandbox"]);
            assert!(fs::symlink_metadata(&sandbox.parked).is_err(), "{what} is still there");
            assert_eq!(sandbox.snapshot().get(&sandbox.proxy), given.get(&sandbox.proxy));
            Snapshot::of(&pilots).assert_same(&untouched);
        }
    }
}

#[test]
fn c9_what_is_no_directory_comes_while_the_sandbox_is_taken_back() {
    let Some(site) = Site::new() else { return };
    let pilots = site.root.join("pilot");
    site.private_file("secret", b"secret");
    let untouched = Snapshot::of(&pilots);
    for (what, plant) in NO_DIRECTORIES {
        let sandbox = site.handed_over();
        let seat = Seat::take(&sandbox.parked);
        put_file(GREG, &sandbox.path.join("output"), b"output", 0o644);
        let lease = Lease::take(GREG, &sandbox.path.join("output"));
        let running = site.cleanup(&sandbox).start();
        lease.await_reader();
        move_away(&site, &sandbox);
        as_account(GREG, || plant(&sandbox.path, &pilots));
        drop(lease);
        let first = running.finish();
        let second = site.cleanup(&sandbox).run();
        assert_eq!(seat.path(), sandbox.path, "{what}: {first:?} {second:?}");
        Snapshot::of(&pilots).assert_same(&untouched);
    }
}

/// What an interrupted call had brought to its place is not the job's output any more when the job has removed it since.
#[test]
fn c12_what_came_back_before_an_interruption_does_not_come_back_alone() {
    let Some(site) = Site::new() else { return };
    let sandbox = site.sandbox();
    let given = sandbox.snapshot();
    site.setup(&sandbox).run().expect_quiet();
    for name in ["first", "output"] {
        put_file(GREG, &sandbox.path.join(name), name.as_bytes(), 0o644);
    }
    // All has come back when the two directories cannot be exchanged, because there is nothing to exchange.
    let lease = Lease::take(GREG, &sandbox.path.join("output"));
    let running = site.cleanup(&sandbox).start();
    lease.await_reader();
    let away = move_away(&site, &sandbox);
    drop(lease);
    running.finish().expect_refusal(1, &["cannot exchange"]);
    assert!(sandbox.parked.join("first").exists());
    as_account(GREG, || {
        fs::rename(&away, &sandbox.path).unwrap();
        fs::remove_file(sandbox.path.join("first")).unwrap();
    });
    let left = sandbox.snapshot();
    site.cleanup(&sandbox).run().expect_quiet();
    sandbox.assert_taken_back(&left, &given);
}

/// Renames S, plants something in its place, and puts it back: what the owner of S may do even in a sticky directory.
fn swap(sandbox: &Sandbox, plant: impl Fn(&Path)) {
    let away = sandbox.path.with_extension("away");
    if fs::rename(&sandbox.path, &away).is_ok() {
        plant(&sandbox.path);
        let gone = fs::remove_file(&sandbox.path).is_ok() || fs::remove_dir(&sandbox.path).is_ok();
        if gone {
            let _ = fs::rename(&away, &sandbox.path);
        }
    }
}

#[test]
fn c9_the_job_swaps_its_sandbox_while_it_is_taken_back() {
    let Some(site) = Site::new() else { return };
    let trap = site.root.join("trap");
    fs::create_dir(&trap).unwrap();
    put_file(GREG, &trap.join("kept"), b"kept", 0o644);
    finish(GREG, &trap, 0o777);
    let seen = Snapshot::of(&trap);
    let (mut done, mut failed) = (0, 0);
    let mut rounds = 0..;
    while let Some(round) = rounds.next().filter(|round| another_round(*round, 60, failed > 0)) {
        let sandbox = site.sandbox();
        let seat = Seat::take(&sandbox.path);
        let inode = seat.inode();
        site.setup(&sandbox).run().expect_quiet();
        let proxy = proxy_of(&sandbox);
        let rounds = AtomicU64::new(0);
        let attack = || {
            // Pauses of different lengths, so that every moment is met.
            let pause = rounds.fetch_add(1, Ordering::Relaxed) * 37 % 3000;
            std::thread::sleep(Duration::from_micros(pause));
            swap(&sandbox, |at| {
                if round % 2 == 0 {
                    let _ = symlink(&trap, at);
                } else {
                    let _ = fs::create_dir(at);
                }
            });
        };
        let finished = while_attacked(GREG, attack, || site.cleanup(&sandbox).run());
        // Wherever the pilot's directory is, it is the same, and the proxy in it too.
        assert_eq!(seat.inode(), inode);
        assert_eq!(fs::metadata(seat.path().join(&sandbox.proxy)).unwrap().ino(), proxy.0);
        Snapshot::of(&trap).assert_same(&seen);
        match finished.code {
            Some(0) => {
                done += 1;
                assert_eq!(fs::symlink_metadata(&sandbox.path).unwrap().ino(), inode, "{finished:?}");
            }
            Some(1) => {
                failed += 1;
                finished.expect_refusal(1, &[]);
            }
            _ => panic!("{finished:?}"),
        }
        // Whatever the attacker left beside it is not the helper's to remove: it never was at the sandbox's name when asked.
        site.expect_left(sandbox.path.with_extension("away").file_name().unwrap());
    }
    assert!(failed > 0, "the attacker never got between ({done} taken back)");
}

#[test]
fn c9_another_account_plants_names_while_it_is_taken_back() {
    let Some(site) = Site::new() else { return };
    site.expect_left("stolen");
    for _ in 0..30 {
        let sandbox = site.sandbox();
        let seat = Seat::take(&sandbox.path);
        let (inode, given) = (seat.inode(), sandbox.snapshot());
        site.setup(&sandbox).run().expect_quiet();
        let left = sandbox.snapshot();
        let attack = || {
            for name in [&sandbox.path, &sandbox.parked] {
                let _ = fs::create_dir(name);
                let _ = fs::rename(name, site.execute.join("stolen"));
                let _ = fs::remove_dir(name);
                let _ = symlink("/tmp", name);
            }
        };
        let finished = while_attacked(MALLORY, attack, || site.cleanup(&sandbox).run());
        finished.expect_quiet();
        assert_eq!((seat.inode(), seat.path()), (inode, sandbox.path.clone()));
        // The name S.condor is free again, and anybody may have it.
        let _ = fs::remove_file(&sandbox.parked);
        let _ = fs::remove_dir(&sandbox.parked);
        sandbox.assert_taken_back(&left, &given);
    }
}

#[test]
fn c9_files_that_look_like_a_status_mean_nothing() {
    let Some(site) = Site::new() else { return };
    let victim = site.private_file("victim", b"victim");
    let sandbox = site.sandbox();
    let given = sandbox.snapshot();
    site.setup(&sandbox).run().expect_quiet();
    as_account(GREG, || {
        for name in
            ["status", ".status", ".glexec-new-proxy", ".glexec-incoming-x", ".glexec-links-x", "S.condor", "tree"]
        {
            fs::write(sandbox.path.join(name), b"0").unwrap();
            symlink("/nonexistent", sandbox.path.join(format!("{name}.link"))).unwrap();
        }
        fs::create_dir(sandbox.path.join("replaced")).unwrap();
        symlink(&victim, sandbox.path.join("status.victim")).unwrap();
    });
    let left = sandbox.snapshot();
    let links: Vec<PathBuf> = left
        .entries
        .iter()
        .filter(|(_, entry)| matches!(&entry.kind, Kind::Link(to) if to.is_absolute()))
        .map(|(path, _)| path.clone())
        .collect();
    site.cleanup(&sandbox).run().expect_refusal(0, &["8 left out"]);
    let expected = links.iter().fold(left, |left, link| left.without(link));
    sandbox.assert_taken_back(&expected, &given);
    assert_eq!(fs::read(victim).unwrap(), b"victim");
}

#[test]
fn c9_a_parked_directory_that_is_not_the_pilots() {
    let Some(site) = Site::new() else { return };
    for owner in [GREG, MALLORY] {
        let sandbox = site.handed_over();
        fs::rename(&sandbox.parked, site.root.join("aside")).unwrap();
        fs::create_dir(&sandbox.parked).unwrap();
        put_file(PILOT, &sandbox.parked_proxy(), &pem(1), 0o600);
        finish(owner, &sandbox.parked, 0o777);
        let (left, planted) = (sandbox.snapshot(), Snapshot::of(&sandbox.parked));
        site.cleanup(&sandbox).cwd("/").run().expect_refusal(1, &[]);
        sandbox.snapshot().assert_same(&left);
        Snapshot::of(&sandbox.parked).assert_same(&planted);
        // A link to the pilot's own is no better.
        fs::remove_dir_all(&sandbox.parked).unwrap();
        as_account(owner, || symlink(site.root.join("aside"), &sandbox.parked).unwrap());
        site.cleanup(&sandbox).cwd("/").run().expect_refusal(1, &[]);
        sandbox.snapshot().assert_same(&left);
        fs::remove_dir_all(site.root.join("aside")).unwrap();
    }
}

#[test]
fn c10_a_job_that_swaps_its_directories_and_links_meanwhile() {
    let Some(site) = Site::new() else { return };
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

/// When all is over, the name belongs to nobody; HTCondor cleans up once more.
#[test]
fn c9_another_account_takes_the_parked_name_when_all_is_over() {
    let Some(site) = Site::new() else { return };
    type Plant<'a> = &'a (dyn Fn(&Path) + Sync);
    let plants: [Plant; 3] =
        [&|at| fs::create_dir(at).unwrap(), &|at| symlink("/tmp", at).unwrap(), &|at| fs::write(at, b"x").unwrap()];
    for plant in plants {
        let sandbox = site.handed_over();
        site.cleanup(&sandbox).run().expect_quiet();
        let back = sandbox.snapshot();
        as_account(MALLORY, || plant(&sandbox.parked));
        let planted = fs::symlink_metadata(&sandbox.parked).unwrap();
        site.cleanup(&sandbox).cwd(&sandbox.path).run().expect_quiet();
        sandbox.snapshot().assert_same(&back);
        assert_eq!(fs::symlink_metadata(&sandbox.parked).unwrap().ino(), planted.ino());
    }
}

/// The other side has done nothing wrong, and is not blamed.
#[test]
fn h1_a_limit_on_descriptors_that_is_too_small_is_named() {
    let Some(site) = Site::new() else { return };
    let sandbox = site.handed_over();
    for index in 0..40 {
        put_file(GREG, &sandbox.path.join(format!("output{index}")), &[5; 50_000], 0o644);
    }
    let left = sandbox.snapshot();
    site.cleanup(&sandbox).limit(Resource::Nofile, 16).run().expect_refusal(1, &["RLIMIT_NOFILE"]);
    sandbox.snapshot().assert_same(&left);
}

#[test]
fn c13_two_cleanups_at_once() {
    let Some(site) = Site::new() else { return };
    let mut refused = 0;
    let mut rounds = 0..;
    while rounds.next().is_some_and(|round| another_round(round, 10, refused > 0)) {
        let sandbox = site.sandbox();
        let given = sandbox.snapshot();
        site.setup(&sandbox).run().expect_quiet();
        as_account(GREG, || fs::write(sandbox.path.join("output"), vec![1; 5_000_000])).unwrap();
        let left = sandbox.snapshot().with("output", |entry| entry.mode = 0o644);
        let call = || site.cleanup(&sandbox).cwd("/").start();
        let both = [call(), call()].map(common::Running::finish);
        assert!(both.iter().any(|finished| finished.code == Some(0)), "{both:?}");
        for finished in both {
            match finished.code {
                Some(0) => drop(finished.expect_quiet()),
                _ => {
                    refused += 1;
                    finished.expect_refusal(1, &["another helper"]);
                }
            }
        }
        sandbox.assert_taken_back(&left, &given);
    }
    assert!(refused > 0, "they never met");
}

/// Run is still at it when the sandbox is taken back: the job has its own tree, whole or gone, and never what is the pilot's again.
#[test]
fn h2_a_cleanup_while_the_job_is_being_started() {
    let Some(site) = Site::new() else { return };
    let (mut came_back, mut late) = (0, 0);
    let mut rounds = 0..;
    while let Some(round) = rounds.next().filter(|round| another_round(*round, 20, came_back > 0 && late > 0)) {
        let sandbox = site.sandbox();
        let given = sandbox.snapshot();
        site.setup(&sandbox).run().expect_quiet();
        as_account(GREG, || fs::write(sandbox.path.join("output"), vec![1; 1_000_000])).unwrap();
        let left = sandbox.snapshot().with("output", |entry| entry.mode = 0o644);
        let (starter, channel) = Channel::open();
        let run = site.call("condor_glexec_run").arg(site.switcher()).arg(&sandbox.proxy).arg(&sandbox.path);
        let run = run.arg(site.program("condor_glexec_job_wrapper"));
        let run = run.args(["/dev/null", "/dev/null", "/dev/null", "/usr/bin/touch", "made"]);
        let run = run.cwd(&sandbox.parked).input(channel).start();
        let start_job = move || std::thread::spawn(|| starter.start_job(b"NAME=value"));
        let cleanup = || {
            std::thread::sleep(Duration::from_millis(round % 20));
            site.cleanup(&sandbox).cwd("/").run()
        };
        let (started, cleanup) = if round % 2 == 0 {
            let started = start_job();
            (started, cleanup())
        } else {
            let cleanup = cleanup();
            (start_job(), cleanup)
        };
        assert!(matches!(cleanup.code, Some(0 | 1)), "{cleanup:?}");
        let run = run.finish();
        match run.code {
            Some(0) => assert_eq!(started.join().unwrap(), "", "the job did run"),
            // The job could not make its file any more, or there was no sandbox to start it in.
            code => assert_eq!(code, Some(1), "{run:?}"),
        }
        site.cleanup(&sandbox).cwd("/").run().expect_quiet();
        let made = sandbox.path.join("made");
        if let Ok(found) = fs::metadata(&made) {
            came_back += 1;
            assert_eq!(found.uid(), PILOT.uid());
            fs::remove_file(made).unwrap();
        } else {
            late += 1;
        }
        sandbox.assert_taken_back(&left, &given);
    }
    assert!(came_back > 0 && late > 0, "{came_back} outputs came back, {late} jobs were too late");
}

/// The pilot's directory can be listed by everybody, and whoever can open a directory can lock it.
#[test]
fn c13_other_accounts_cannot_lock_the_helpers_out() {
    let Some(site) = Site::new() else { return };
    for account in [GREG, MALLORY] {
        let sandbox = site.sandbox();
        let _held = as_account(account, || {
            let directory = fs::File::open(&sandbox.path).unwrap();
            flock(&directory, FlockOperation::NonBlockingLockExclusive).unwrap();
            directory
        });
        let given = sandbox.snapshot();
        site.setup(&sandbox).run().expect_quiet();
        sandbox.assert_handed_over(&given);
        let new = site.private_file("new", &pem(2));
        site.update_proxy(&sandbox, &new).run().expect_quiet();
        site.cleanup(&sandbox).run().expect_quiet();
        assert!(!sandbox.parked.exists());
        assert_eq!(fs::read(sandbox.proxy_path()).unwrap(), pem(2));
    }
}

#[test]
fn c13_a_sandbox_that_has_gone_is_not_given_up_under_another_helper() {
    let Some(site) = Site::new() else { return };
    let sandbox = site.sandbox();
    site.setup(&sandbox).run().expect_quiet();
    as_account(GREG, || fs::rename(&sandbox.path, sandbox.path.with_extension("moved"))).unwrap();
    let at_work = fs::File::open(sandbox.parked_proxy()).unwrap();
    flock(&at_work, FlockOperation::NonBlockingLockExclusive).unwrap();
    site.cleanup(&sandbox).run().expect_refusal(1, &["another helper"]);
    assert!(sandbox.parked.exists() && !sandbox.path.exists());
    drop(at_work);
    site.cleanup(&sandbox).run().expect_refusal(1, &["removed its sandbox"]);
    assert!(!sandbox.parked.exists() && sandbox.path.exists());
    fs::remove_dir_all(sandbox.path.with_extension("moved")).unwrap();
}

#[test]
fn c12_a_directory_with_the_name_of_a_waiting_proxy_does_not_keep_the_sandbox() {
    let Some(site) = Site::new() else { return };
    let sandbox = site.sandbox();
    let given = sandbox.snapshot();
    site.setup(&sandbox).run().expect_quiet();
    let plant = |account, at: &Path| {
        as_account(account, || {
            fs::create_dir(at).unwrap();
            fs::write(at.join("output"), b"x").unwrap();
        });
    };
    plant(GREG, &sandbox.path.join(".glexec-new-proxy"));
    let left = sandbox.snapshot();
    // What a call leaves that is killed when it has merged this and not yet exchanged the two directories.
    plant(PILOT, &sandbox.parked.join(".glexec-new-proxy"));
    site.cleanup(&sandbox).run().expect_quiet();
    sandbox.assert_taken_back(&left, &given);
}

#[test]
fn c13_while_setup_is_at_work() {
    let Some(site) = Site::new() else { return };
    for round in 0..20 {
        let sandbox = site.sandbox();
        sandbox.add_file("large", &vec![3; 20_000_000], 0o644);
        let given = sandbox.snapshot();
        let setup = site.setup(&sandbox).start();
        std::thread::sleep(Duration::from_millis(round * 3));
        let cleanup = site.cleanup(&sandbox).cwd("/").run();
        let setup = setup.finish();
        assert!(matches!(cleanup.code, Some(0 | 1)), "{cleanup:?}");
        assert!(matches!(setup.code, Some(0 | 2)), "{setup:?}");
        // Whoever has it has all of it, and cleanup ends well.
        site.cleanup(&sandbox).cwd("/").run().expect_quiet();
        sandbox.snapshot().below().assert_same(&given.masked(0o755).below());
        assert!(!sandbox.parked.exists());
    }
}

#[test]
fn r13_the_job_overwrites_a_running_helper() {
    const FILES: usize = 3000;
    let Some(site) = Site::new() else { return };
    let programs = ["condor_glexec_cleanup", "condor_glexec_peer"].map(|name| site.program(name));
    let content = || programs.each_ref().map(|program| fs::read(program).unwrap());
    let before = content();
    let mut refused = [0; 2];
    let mut rounds = 0..;
    while rounds.next().is_some_and(|round| another_round(round, 1, !refused.contains(&0))) {
        let sandbox = site.handed_over();
        as_account(GREG, || (0..FILES).for_each(|n| fs::write(sandbox.path.join(n.to_string()), b"x").unwrap()));
        let mut running = site.cleanup(&sandbox).start();
        // What comes of the target side before its first file counts as the job's: see R13 in the ledger.
        let arrives =
            |staging: fs::DirEntry| fs::read_dir(staging.path().join("tree")).is_ok_and(|tree| tree.count() > 0);
        while !fs::read_dir(&sandbox.parked).into_iter().flatten().flatten().any(arrives) && !running.has_ended() {
            std::thread::yield_now();
        }
        while !running.has_ended() {
            for (pid, _) in site.processes() {
                let process = PathBuf::from(format!("/proc/{pid}"));
                let runs = |program: &PathBuf| fs::read_link(process.join("exe")).is_ok_and(|runs| runs == *program);
                let Some(side) = programs.iter().position(runs) else { continue };
                let tried = as_account(GREG, || {
                    let write = |name: &str| fs::OpenOptions::new().write(true).open(process.join(name)).map(drop);
                    [write("exe"), write("mem"), fs::read_dir(process.join("fd")).map(drop)]
                });
                if runs(&programs[side]) {
                    let denied =
                        |tried: &io::Result<()>| tried.as_ref().is_err_and(|why| why.kind() == PermissionDenied);
                    assert!(tried.iter().all(denied), "{}: {tried:?}", programs[side].display());
                    refused[side] += 1;
                }
            }
        }
        running.finish().expect_quiet();
    }
    assert!(!refused.contains(&0), "not each side was met at its work: {refused:?}");
    assert!(content() == before);
}

/// One side dies at any moment; the next call ends well.
fn killed_at_any_moment(site: &Site, kill: impl Fn(&mut common::Running) -> usize) {
    let mut killed = 0;
    for round in 0..40_u64 {
        let sandbox = site.sandbox();
        let seat = Seat::take(&sandbox.path);
        let given = sandbox.snapshot();
        site.setup(&sandbox).run().expect_quiet();
        as_account(GREG, || fs::write(sandbox.path.join("output"), vec![1; 3_000_000])).unwrap();
        let left = sandbox.snapshot().with("output", |entry| entry.mode = 0o644);
        let mut running = site.cleanup(&sandbox).cwd("/").start();
        std::thread::sleep(Duration::from_micros(round * 700));
        killed += kill(&mut running);
        let finished = running.finish();
        assert!(matches!((finished.code, finished.signal), (Some(0 | 1), _) | (_, Some(9))), "{finished:?}");
        // What is left of the first call's target side may still be at work for a moment.
        let deadline = Instant::now() + Duration::from_secs(60);
        while site.cleanup(&sandbox).cwd("/").run().code != Some(0) {
            assert!(Instant::now() < deadline, "it never comes back");
            std::thread::sleep(Duration::from_millis(20));
        }
        assert_eq!(seat.path(), sandbox.path);
        let deadline = Instant::now() + Duration::from_secs(10);
        while sandbox.parked.exists() && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(5));
        }
        sandbox.assert_taken_back(&left, &given);
    }
    assert!(killed > 0, "nobody was ever there to be killed");
}

#[test]
fn s8_c12_the_pilot_side_is_killed_at_any_moment() {
    let Some(site) = Site::new() else { return };
    killed_at_any_moment(&site, |running| {
        running.kill();
        1
    });
}

#[test]
fn s8_c12_the_target_side_is_killed_at_any_moment() {
    let Some(site) = Site::new() else { return };
    killed_at_any_moment(&site, |_| site.kill_peers());
}

#[test]
fn s8_c12_a_switcher_that_stays_is_killed_at_any_moment() {
    let Some(site) = Site::new() else { return };
    site.configure_switcher("linger = yes");
    killed_at_any_moment(&site, |_| site.kill_switchers());
}

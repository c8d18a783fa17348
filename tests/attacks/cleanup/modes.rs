//! The job's proxy, permissions and attributes.

use crate::cleanup::playground::{mode, proxy_of};
use crate::common::as_account;
use crate::common::{GREG, MALLORY, Site};
use rustix::fs::{CWD, FileType, Mode, XattrFlags, mknodat, setxattr};
use std::fs::{self};
use std::os::unix::fs::symlink;
use std::path::Path;

#[test]
#[ignore = "needs root"]
fn c1_whatever_the_job_made_of_its_proxy() {
    let site = Site::new();
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
#[ignore = "needs root"]
fn c1_a_proxy_with_another_mode_gets_its_own_again() {
    let site = Site::new();
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
#[ignore = "needs root"]
fn c1_ticket_1760_the_whole_sandbox_is_read_only() {
    let site = Site::new();
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
#[ignore = "needs root"]
fn c2_directories_and_files_without_permissions() {
    let site = Site::new();
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

#[test]
#[ignore = "needs root"]
fn c5_no_mode_above_0755_and_no_extended_attribute_comes_back() {
    let site = Site::new();
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
    // An ACL that lets mallory write: user::rwx, user:MALLORY:rwx, group::---, mask::rwx, other::---; also as a
    // default.
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

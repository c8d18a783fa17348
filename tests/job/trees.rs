//! J7: a tree of the caller's comes back as it was, but for what the job did to it; or nothing is done to it.

use crate::playground::{User, directory};
use rustix::fs::{CWD, FileType, Mode, XattrFlags, mknodat, setxattr};
use std::fs::{Permissions, hard_link, set_permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, symlink};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

type Make<'a> = &'a dyn Fn(&User, &Path);

fn sandbox(user: &User) -> PathBuf {
    let sandbox = user.home.join("s");
    for path in [&sandbox, &sandbox.join("sub"), &sandbox.join("sub/empty")] {
        directory(path);
        user.give(path);
    }
    user.file("s/sub/data", "data\n", 0o640);
    sandbox
}

fn shown(sandbox: &Path) -> String {
    let list =
        "find . -mindepth 1 -printf '%p %y %M %u %g %s %T@ %l\\n' | sort; cat sub/data; getfattr -dR -m- . 2>/dev/null";
    let mut shell = std::process::Command::new("/bin/sh");
    let listed = shell.args(["-c", list]).current_dir(sandbox).output().unwrap();
    String::from_utf8(listed.stdout).unwrap()
}

/// An ACL entry for uid 1 and a mask, as the kernel takes it.
fn acl() -> Vec<u8> {
    let mut list = 2_u32.to_le_bytes().to_vec();
    for (tag, permissions, id) in
        [(1_u16, 7_u16, u32::MAX), (2, 5, 1), (4, 5, u32::MAX), (16, 5, u32::MAX), (32, 5, u32::MAX)]
    {
        list.extend_from_slice(&tag.to_le_bytes());
        list.extend_from_slice(&permissions.to_le_bytes());
        list.extend_from_slice(&id.to_le_bytes());
    }
    list
}

fn refuse_all(user: &User, kinds: &[(Make<'_>, &str)]) {
    for (make, words) in kinds {
        let sandbox = sandbox(user);
        let odd = sandbox.join("sub/odd");
        make(user, &odd);
        let before = shown(&sandbox);
        let call = user.job().arg2("--sandbox", &sandbox).script("echo > ran");
        call.run().expect_refusal(&["nothing was touched", "\"sub/odd\"", words]);
        assert_eq!(shown(&sandbox), before, "{words}");
        assert!(!user.home.join("s.condor").exists());
        std::fs::remove_dir_all(&sandbox).unwrap();
    }
}

#[test]
fn j7_what_a_copy_cannot_hold_is_refused_before_anything_is_touched() {
    let user = User::new();
    let file = |user: &User, at: &Path| drop(user.file(at, "odd\n", 0o644));
    let fifo = |_: &User, at: &Path| mknodat(CWD, at, FileType::Fifo, Mode::from_raw_mode(0o644), 0).unwrap();
    let second_name = |user: &User, at: &Path| {
        let _ = std::fs::remove_file(user.home.join("outside"));
        hard_link(user.file("outside", "odd\n", 0o644), at).unwrap();
    };
    let attribute = |user: &User, at: &Path| {
        file(user, at);
        setxattr(at, c"user.comment", b"mine", XattrFlags::empty()).unwrap();
    };
    let access = |user: &User, at: &Path| {
        file(user, at);
        setxattr(at, c"system.posix_acl_access", &acl(), XattrFlags::empty()).unwrap();
    };
    let default = |user: &User, at: &Path| {
        directory(at);
        user.give(at);
        setxattr(at, c"system.posix_acl_default", &acl(), XattrFlags::empty()).unwrap();
    };
    let set_id = |user: &User, at: &Path| {
        file(user, at);
        set_permissions(at, Permissions::from_mode(0o4755)).unwrap();
    };
    let set_group_id = |user: &User, at: &Path| {
        directory(at);
        user.give(at);
        set_permissions(at, Permissions::from_mode(0o2755)).unwrap();
    };
    refuse_all(
        &user,
        &[
            (&|_, at| symlink("/etc/hostname", at).unwrap(), "leads out"),
            (&|_, at| symlink("../../outside", at).unwrap(), "leads out"),
            (&|_, at| symlink("empty/../data", at).unwrap(), "leads out"),
            (&fifo, "FIFO"),
            (&|_, at| drop(UnixListener::bind(at).unwrap()), "socket"),
            (&second_name, "name outside"),
            (&attribute, "user.comment"),
            (&access, "posix_acl_access"),
            (&default, "posix_acl_default"),
            (&set_id, "set-user-id"),
            (&set_group_id, "set-group-id"),
        ],
    );
}

#[test]
#[ignore = "needs root"]
fn j7_what_is_another_accounts_or_mounted_is_refused_before_anything_is_touched() {
    assert!(User::is_root(), "another account and a mount need root");
    let user = User::new();
    let file = |user: &User, at: &Path| drop(user.file(at, "odd\n", 0o644));
    let foreign = |user: &User, at: &Path| {
        file(user, at);
        chown(at, Some(1), None).unwrap();
    };
    let group = |user: &User, at: &Path| {
        file(user, at);
        chown(at, None, Some(1)).unwrap();
    };
    let device = |user: &User, at: &Path| {
        mknodat(CWD, at, FileType::CharacterDevice, Mode::from_raw_mode(0o644), rustix::fs::makedev(1, 3)).unwrap();
        user.give(at);
    };
    refuse_all(&user, &[(&foreign, "belongs to uid 1"), (&group, "belongs to group 1,"), (&device, "is a device")]);
    // The same file system, and so the same device number: what is emptied is somebody's own.
    let sandbox = sandbox(&user);
    let (precious, point) = (user.home.join("precious"), sandbox.join("sub/mounted"));
    for path in [&precious, &point] {
        directory(path);
        user.give(path);
    }
    user.file("precious/file", "precious\n", 0o644);
    rustix::mount::mount_bind(&precious, &point).unwrap();
    let done = user.job().arg2("--sandbox", &sandbox).args(["--", "/bin/true"]).run();
    rustix::mount::unmount(&point, rustix::mount::UnmountFlags::empty()).unwrap();
    done.expect_refusal(&["nothing was touched", "\"sub/mounted\" is a mount point"]);
    assert!(precious.join("file").exists());
}

#[test]
fn j7_everything_else_comes_back_as_it_was() {
    let user = User::new();
    let sandbox = sandbox(&user);
    user.file("s/closed", "closed\n", 0o400);
    user.file("s/sub/\x01 odd\n", "odd\n", 0o755);
    for (target, name) in [("data", "sub/link"), ("../sub", "sub/up"), ("nowhere", "dangling")] {
        symlink(target, sandbox.join(name)).unwrap();
        let owner = sandbox.metadata().unwrap();
        std::os::unix::fs::lchown(sandbox.join(name), Some(owner.uid()), Some(owner.gid())).unwrap();
    }
    hard_link(sandbox.join("sub/data"), sandbox.join("second")).unwrap();
    std::process::Command::new("touch").args(["-d", "2020-01-02"]).arg(sandbox.join("sub")).status().unwrap();
    let before = shown(&sandbox);
    user.job().arg2("--sandbox", &sandbox).args(["--", "/bin/true"]).run().expect(0);
    assert_eq!(shown(&sandbox), before);
    let inode = |name: &str| sandbox.join(name).metadata().unwrap().ino();
    assert_eq!(inode("sub/data"), inode("second"));
}

#[test]
fn j7_permission_bits_that_will_change_are_said_and_many_faults_are_counted() {
    let user = User::new();
    let sandbox = sandbox(&user);
    set_permissions(&sandbox, Permissions::from_mode(0o2755)).unwrap();
    let done = user.job().arg2("--sandbox", &sandbox).args(["--", "/bin/true"]).run();
    done.expect_refusal(&["the sandbox itself is set-user-id or set-group-id"]);
    set_permissions(&sandbox, Permissions::from_mode(0o775)).unwrap();
    user.file("s/shared", "x", 0o664);
    user.file("s/sub/unreadable", "x", 0o200);
    let done = user.job().arg2("--sandbox", &sandbox).args(["--", "/bin/true"]).run().expect(0);
    assert!(done.errors.contains("3 entries") && done.errors.contains("permission bits"), "{}", done.errors);
    for number in 0..10 {
        symlink("/", sandbox.join(format!("link{number}"))).unwrap();
    }
    let done = user.job().arg2("--sandbox", &sandbox).args(["--", "/bin/true"]).run();
    done.expect_refusal(&["leads out", "and 7 more", "cp -RL"]);
}

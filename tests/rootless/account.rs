//! What one account can do to all that is its own, by names and numbers: attributes and groups of files, scheduling of
//! processes. Outside the domain each of these works, but for groups that have a process of somebody else.

use crate::probe::{Aim, HIGH, at_cwd, done, fresh, path, text};
use std::ffi::{CString, c_long};
use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;

/// The name, the call, and the answer inside.
type Attempt = (&'static str, fn(&Aim) -> io::Result<()>, i32);

/// `sched_setaffinity`: to what the process has anyway.
fn set_affinity(of: c_long) -> io::Result<()> {
    let mut mask = [0_u64; 128];
    let at = mask.as_mut_ptr() as c_long;
    done(libc::SYS_sched_getaffinity, [0, size_of_val(&mask) as c_long, at, 0, 0, 0])?;
    done(libc::SYS_sched_setaffinity, [of, size_of_val(&mask) as c_long, at, 0, 0, 0])
}

/// `sched_setscheduler`, `sched_setparam` and `sched_setattr`: to what a process has by default.
fn set_policy(number: c_long, of: c_long) -> io::Result<()> {
    let (parameters, attributes) = ([0_i32; 1], [48_u32, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    let parameters = parameters.as_ptr() as c_long;
    match number {
        libc::SYS_sched_setscheduler => done(number, [of, libc::SCHED_OTHER.into(), parameters, 0, 0, 0]),
        libc::SYS_sched_setparam => done(number, [of, parameters, 0, 0, 0, 0]),
        _ => done(number, [of, attributes.as_ptr() as c_long, 0, 0, 0, 0]),
    }
}

/// The class "best effort" with the priority that is lowest in it.
const BEST_EFFORT: c_long = (2 << 13) | 7;

/// An attribute with a value of one byte.
fn attribute(number: c_long, of: &CString) -> io::Result<()> {
    let name = CString::new("user.probe").unwrap();
    let value = b"x";
    done(number, [text(of), text(&name), value.as_ptr() as c_long, 1, 0, 0])
}

/// Reads, lists or removes attributes.
fn asked(number: c_long, of: &CString, has_name: bool) -> io::Result<()> {
    let name = CString::new("user.probe").unwrap();
    done(number, [text(of), if has_name { text(&name) } else { 0 }, 0, 0, 0, 0])
}

fn secret(aim: &Aim) -> CString {
    path(aim.outside("secret"))
}

/// To the group that it has already.
fn own_group() -> c_long {
    rustix::process::getgid().as_raw().into()
}

fn own_user() -> c_long {
    rustix::process::getuid().as_raw().into()
}

const NOBODY: c_long = u32::MAX as c_long;

const ATTEMPTS: &[Attempt] = &[
    ("setxattr", |aim| attribute(libc::SYS_setxattr, &secret(aim)), libc::EOPNOTSUPP),
    ("getxattr", |aim| asked(libc::SYS_getxattr, &secret(aim), true), libc::EOPNOTSUPP),
    ("listxattr", |aim| asked(libc::SYS_listxattr, &secret(aim), false), libc::EOPNOTSUPP),
    ("removexattr", |aim| asked(libc::SYS_removexattr, &secret(aim), true), libc::EOPNOTSUPP),
    ("lsetxattr", |aim| attribute(libc::SYS_lsetxattr, &secret(aim)), libc::EOPNOTSUPP),
    ("lgetxattr", |aim| asked(libc::SYS_lgetxattr, &secret(aim), true), libc::EOPNOTSUPP),
    ("llistxattr", |aim| asked(libc::SYS_llistxattr, &secret(aim), false), libc::EOPNOTSUPP),
    ("lremovexattr", |aim| asked(libc::SYS_lremovexattr, &secret(aim), true), libc::EOPNOTSUPP),
    (
        "fchownat",
        |aim| done(libc::SYS_fchownat, [at_cwd(), text(&secret(aim)), NOBODY, own_group(), 0, 0]),
        libc::EPERM,
    ),
    (
        "fchownat_of_a_handle",
        |aim| {
            let handle = rustix::fs::open(aim.outside("secret"), rustix::fs::OFlags::PATH, rustix::fs::Mode::empty())?;
            let empty = CString::default();
            let flags = libc::AT_EMPTY_PATH.into();
            done(libc::SYS_fchownat, [handle.as_raw_fd().into(), text(&empty), NOBODY, own_group(), flags, 0])
        },
        libc::EPERM,
    ),
    #[cfg(target_arch = "x86_64")]
    ("chown", |aim| done(libc::SYS_chown, [text(&secret(aim)), NOBODY, own_group(), 0, 0, 0]), libc::EPERM),
    #[cfg(target_arch = "x86_64")]
    ("lchown", |aim| done(libc::SYS_lchown, [text(&secret(aim)), NOBODY, own_group(), 0, 0, 0]), libc::EPERM),
    ("sched_setaffinity", |aim| set_affinity(aim.pid()), libc::EPERM),
    ("sched_setaffinity_high", |aim| set_affinity(aim.pid() | HIGH), libc::EPERM),
    ("sched_setscheduler", |aim| set_policy(libc::SYS_sched_setscheduler, aim.pid()), libc::EPERM),
    ("sched_setparam", |aim| set_policy(libc::SYS_sched_setparam, aim.pid()), libc::EPERM),
    ("sched_setattr", |aim| set_policy(libc::SYS_sched_setattr, aim.pid()), libc::EPERM),
    ("setpriority", |aim| done(libc::SYS_setpriority, [0, aim.pid(), 19, 0, 0, 0]), libc::EPERM),
    ("setpriority_high", |aim| done(libc::SYS_setpriority, [HIGH, aim.pid() | HIGH, 19, 0, 0, 0]), libc::EPERM),
    ("setpriority_of_the_account", |_| done(libc::SYS_setpriority, [2, 0, 0, 0, 0, 0]), libc::EPERM),
    ("setpriority_of_a_group", |_| done(libc::SYS_setpriority, [1, 0, 0, 0, 0, 0]), libc::EPERM),
    ("ioprio_set", |aim| done(libc::SYS_ioprio_set, [1, aim.pid(), BEST_EFFORT, 0, 0, 0]), libc::EPERM),
    ("ioprio_set_of_the_account", |_| done(libc::SYS_ioprio_set, [3, own_user(), BEST_EFFORT, 0, 0, 0]), libc::EPERM),
    ("ioprio_set_of_a_group", |_| done(libc::SYS_ioprio_set, [2, 0, BEST_EFFORT, 0, 0, 0]), libc::EPERM),
    // What a job needs: all of it for itself, and for its open files.
    ("own_affinity", |_| set_affinity(0), 0),
    ("own_policy", |_| set_policy(libc::SYS_sched_setscheduler, 0), 0),
    ("own_parameters", |_| set_policy(libc::SYS_sched_setparam, 0), 0),
    ("own_attributes", |_| set_policy(libc::SYS_sched_setattr, 0), 0),
    ("own_priority", |_| done(libc::SYS_setpriority, [0, 0, 19, 0, 0, 0]), 0),
    ("own_ioprio", |_| done(libc::SYS_ioprio_set, [1, 0, BEST_EFFORT, 0, 0, 0]), 0),
    (
        "open_file",
        |_| {
            let file = File::create(fresh("attributes"))?;
            let name = CString::new("user.probe").unwrap();
            let descriptor = file.as_raw_fd().into();
            done(libc::SYS_fchown, [descriptor, NOBODY, NOBODY, 0, 0, 0])?;
            done(libc::SYS_flistxattr, [descriptor, 0, 0, 0, 0, 0])?;
            done(libc::SYS_fsetxattr, [descriptor, text(&name), b"x".as_ptr() as c_long, 1, 0, 0])
        },
        0,
    ),
];

/// Makes all attempts.
pub fn answers(aim: &Aim) -> impl Iterator<Item = (String, io::Result<()>)> {
    ATTEMPTS.iter().map(|(name, attempt, _)| (format!("account_{name}"), attempt(aim)))
}

/// What each answers, inside and outside.
pub fn expected(inside: bool) -> impl Iterator<Item = (String, i32)> {
    let is_sure =
        move |name: &&Attempt| inside || !name.0.contains("_of_a_group") && !name.0.contains("_of_the_account");
    ATTEMPTS
        .iter()
        .filter(is_sure)
        .map(move |(name, _, answer)| (format!("account_{name}"), if inside { *answer } else { 0 }))
}

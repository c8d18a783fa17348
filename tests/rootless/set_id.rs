//! Set-id files, which another account could execute outside the domain: every call that can make one, with each bit by
//! itself, for each has a rule of its own in the filter.

use crate::probe::{HIGH, at_cwd, done, fresh, opened, path, text};
use std::ffi::c_long;
use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;

/// The call's number, which `libc` lacks for aarch64. It is the same for every architecture.
const FCHMODAT2: c_long = 452;

/// A call that gives a file this mode.
type Call = fn(c_long) -> io::Result<()>;

const CALLS: &[(&str, Call)] = &[
    ("fchmod", |mode| {
        let file = File::create(fresh("setid"))?;
        done(libc::SYS_fchmod, [file.as_raw_fd().into(), mode, 0, 0, 0, 0])
    }),
    ("fchmodat", |mode| {
        File::create("setid")?;
        done(libc::SYS_fchmodat, [at_cwd(), text(&path("setid")), mode, 0, 0, 0])
    }),
    ("fchmodat2", |mode| {
        File::create("setid")?;
        done(FCHMODAT2, [at_cwd(), text(&path("setid")), mode, 0, 0, 0])
    }),
    ("openat", |mode| {
        let flags = libc::O_CREAT | libc::O_WRONLY;
        opened(libc::SYS_openat, [at_cwd(), text(&path(fresh("setid"))), flags.into(), mode, 0, 0]).map(drop)
    }),
    ("tmpfile", |mode| {
        let flags = libc::O_TMPFILE | libc::O_WRONLY;
        opened(libc::SYS_openat, [at_cwd(), text(&path(".")), flags.into(), mode, 0, 0]).map(drop)
    }),
    ("mknodat", |mode| {
        let mode = c_long::from(libc::S_IFREG) | mode;
        done(libc::SYS_mknodat, [at_cwd(), text(&path(fresh("node"))), mode, 0, 0, 0])
    }),
    #[cfg(target_arch = "x86_64")]
    ("chmod", |mode| {
        File::create("setid")?;
        done(libc::SYS_chmod, [text(&path("setid")), mode, 0, 0, 0, 0])
    }),
    #[cfg(target_arch = "x86_64")]
    ("creat", |mode| opened(libc::SYS_creat, [text(&path(fresh("setid"))), mode, 0, 0, 0, 0]).map(drop)),
    #[cfg(target_arch = "x86_64")]
    ("open", |mode| {
        let flags = libc::O_CREAT | libc::O_WRONLY;
        opened(libc::SYS_open, [text(&path(fresh("setid"))), flags.into(), mode, 0, 0, 0]).map(drop)
    }),
    #[cfg(target_arch = "x86_64")]
    ("mknod", |mode| {
        done(libc::SYS_mknod, [text(&path(fresh("node"))), c_long::from(libc::S_IFREG) | mode, 0, 0, 0, 0])
    }),
];

/// The last two have a bit that the kernel drops, too.
const MODES: [(&str, c_long); 4] =
    [("setuid", 0o4755), ("setgid", 0o2755), ("setuid_high", 0o4755 | HIGH), ("setgid_high", 0o2755 | HIGH)];

/// All attempts: a name, the call, and the mode.
pub fn attempts() -> impl Iterator<Item = (String, Call, c_long)> {
    CALLS.iter().flat_map(|(name, call)| MODES.map(|(bit, mode)| (format!("{name}_{bit}"), *call, mode)))
}

//! What of the system a job can read: decided in this list and nowhere else.
//!
//! The paths are the administrator's, so symbolic links in them are followed. What is not there is passed over: a
//! system without `/cvmfs` has nothing to give or to withhold there.

use crate::files::metadata::Metadata;
use crate::ground::outcome::{Failure, Kind, Outcome};
use landlock::{AccessFs, BitFlags};
use rustix::fs::{FileType, Mode, OFlags, open};
use rustix::io::Errno;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;

/// Programs, libraries and the data that come with them.
const PROGRAMS: &[&str] = &["/usr", "/bin", "/sbin", "/lib*", "/opt", "/cvmfs"];

/// Settings that programs and libraries read; every one of them is public on any system. Never `/etc` as a whole:
/// `/etc/condor` and others hold what the pilot's account can read and a job must not. A `*` at the end stands for any
/// rest of the name.
const SETTINGS: &[&str] = &[
    // The dynamic loader.
    "/etc/ld.so*",
    // Names of accounts, hosts and services. `resolv.conf` often leads to a file below /run, which alone is meant.
    "/etc/nsswitch.conf",
    "/etc/passwd",
    "/etc/group",
    "/etc/hosts",
    "/etc/host.conf",
    "/etc/hostname",
    "/etc/resolv.conf",
    "/etc/gai.conf",
    "/etc/services",
    "/etc/protocols",
    "/etc/networks",
    // SSSD's public tables of accounts; its socket is out of reach.
    "/var/lib/sss/mc",
    // Time zone, languages, which system this is.
    "/etc/localtime",
    "/etc/timezone",
    "/etc/locale*",
    "/etc/default/locale",
    "/etc/*-release",
    "/etc/debian_version",
    // Trust in servers, of the web and of the grid. Not /etc/ssl/private, not the host's key beside the grid's
    // certificates.
    "/etc/ssl/certs",
    "/etc/ssl/openssl.cnf",
    "/etc/ca-certificates*",
    "/etc/pki/tls/certs",
    "/etc/pki/tls/cert.pem",
    "/etc/pki/tls/openssl.cnf",
    "/etc/pki/ca-trust",
    "/etc/pki/java",
    "/etc/crypto-policies",
    "/etc/grid-security/certificates",
    "/etc/grid-security/vomsdir",
    "/etc/vomses",
    "/etc/krb5.conf*",
    // The site's policy, which the job wrapper reads in the domain.
    "/etc/glexec-rs/policy",
    // Shells, interpreters and tools. Parts of Debian's Python and Java live there.
    "/etc/profile*",
    "/etc/bash*",
    "/etc/inputrc",
    "/etc/environment",
    "/etc/python*",
    "/etc/perl",
    "/etc/java*",
    "/etc/modulefiles",
    "/etc/environment-modules",
    "/etc/lmod",
    "/etc/terminfo",
    "/etc/fonts",
    "/etc/magic*",
    "/etc/mime.types",
    "/etc/gitconfig",
    "/etc/wgetrc",
    "/etc/gfal2.d",
    "/etc/xrootd/client.conf",
    "/etc/xrootd/client.plugins.d",
];

/// The machine as a whole. Never `/proc` itself: that has the pilot's processes.
const MACHINE: &[&str] = &[
    "/proc/cpuinfo",
    "/proc/meminfo",
    "/proc/stat",
    "/proc/loadavg",
    "/proc/uptime",
    "/proc/version",
    "/proc/filesystems",
    "/proc/cmdline",
    "/proc/devices",
    "/proc/sys",
    // The command's own process. What it starts has a directory of its own there, for which no rule can be made in
    // advance; what `/proc/self/fd/N` leads to counts by itself, so that pipes and process substitution work
    // everywhere.
    "/proc/self",
    "/sys/devices/system",
];

/// Devices without memory of who uses them; reading, writing and asking (`isatty`) are harmless. No terminal is among
/// them.
const DEVICES: &[&str] = &["/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom"];

/// Something of the system that the job can use.
pub(super) struct Allowed {
    /// The open object.
    pub(super) object: OwnedFd,
    /// What the job may do with it, or with everything below if it is a directory.
    pub(super) rights: BitFlags<AccessFs>,
}

/// All that is there.
///
/// # Errors
/// When something is there and cannot be opened for a reason other than permission.
pub(super) fn allowed() -> Outcome<Vec<Allowed>> {
    let read = BitFlags::from(AccessFs::ReadFile);
    let lists = [
        (PROGRAMS, read | AccessFs::Execute),
        (SETTINGS, read),
        (MACHINE, read),
        (DEVICES, read | AccessFs::WriteFile | AccessFs::IoctlDev),
    ];
    let mut allowed = Vec::new();
    for (list, rights) in lists {
        for path in list.iter().flat_map(|pattern| expand(pattern)) {
            allowed.extend(open_one(path, rights)?);
        }
    }
    Ok(allowed)
}

fn open_one(path: Vec<u8>, rights: BitFlags<AccessFs>) -> Outcome<Option<Allowed>> {
    let fail = |errno: Errno| {
        Failure::new(Kind::SiteFault, format_args!("cannot open {}: {errno}", crate::ground::escape::Escaped(&path)))
    };
    let object = match open(path.as_slice(), OFlags::PATH | OFlags::CLOEXEC, Mode::empty()) {
        Ok(object) => object,
        // What the pilot cannot get to, the job cannot either.
        Err(Errno::NOENT | Errno::NOTDIR | Errno::ACCESS) => return Ok(None),
        Err(errno) => return Err(fail(errno)),
    };
    let found = Metadata::of(&object).map_err(fail)?;
    let listing = if found.kind == FileType::Directory { AccessFs::ReadDir.into() } else { BitFlags::EMPTY };
    Ok(Some(Allowed { object, rights: rights | listing }))
}

/// The paths that a pattern stands for: itself, or the entries of its directory that fit its last component with one
/// `*`.
fn expand(pattern: &str) -> Vec<Vec<u8>> {
    let Some((directory, (before, after))) =
        pattern.rsplit_once('/').and_then(|(directory, last)| Some((directory, last.split_once('*')?)))
    else {
        return vec![pattern.as_bytes().to_vec()];
    };
    let fits = |name: &[u8]| name.strip_prefix(before.as_bytes()).is_some_and(|rest| rest.ends_with(after.as_bytes()));
    std::fs::read_dir(format!("{directory}/"))
        .into_iter()
        .flatten()
        .filter_map(|entry| Some(entry.ok()?.file_name()))
        .filter(|name| fits(name.as_bytes()))
        .map(|name| [directory.as_bytes(), b"/", name.as_bytes()].concat())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::{DEVICES, MACHINE, PROGRAMS, SETTINGS, expand};

    #[test]
    fn no_place_that_holds_something_of_the_pilot_is_on_a_list() {
        for path in [PROGRAMS, SETTINGS, MACHINE, DEVICES].concat() {
            for private in ["/etc", "/proc", "/dev", "/sys", "/var", "/run", "/tmp", "/home", "/root"] {
                assert!(!private.starts_with(path), "{path}");
            }
            for private in
                ["/etc/condor", "/etc/ssl/private", "/etc/grid-security/host", "/dev/tty", "/dev/pts", "/dev/shm"]
            {
                assert!(!private.starts_with(path.trim_end_matches('*')), "{path}");
            }
        }
    }

    #[test]
    fn a_star_stands_for_the_rest_of_one_name() {
        assert_eq!(expand("/proc/self"), [b"/proc/self"]);
        assert_eq!(expand("/proc/self/stat*").len(), 3, "stat, statm, status");
        assert_eq!(expand("/proc/self/*gid_map"), [b"/proc/self/gid_map".to_vec()]);
        assert_eq!(expand("/nowhere/x*"), Vec::<Vec<u8>>::new());
    }
}

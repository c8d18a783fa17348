//! The caller's name and home directory, from `/etc/passwd` alone.
//!
//! A static program has no name service to ask. Where the account comes from elsewhere (SSSD, LDAP), its number stands
//! for the name, and the site says where such accounts have their homes.

use super::fault::site_fault;
use crate::files::metadata::Metadata;
use crate::ground::escape::Escaped;
use crate::ground::installation::POLICY;
use crate::ground::limits;
use crate::ground::outcome::{Failure, Kind, Outcome};
use crate::policy;
use rustix::fs::{Mode, OFlags, open};
use rustix::io::Errno;
use rustix::process::geteuid;
use std::fs::File;
use std::io::Read;
use std::os::fd::OwnedFd;

/// An account.
pub(super) struct Account {
    /// The login name, or the user id in decimal.
    pub(super) name: Vec<u8>,
    home: Option<Vec<u8>>,
}

impl Account {
    /// The account with this user id.
    pub(super) fn find(uid: u32) -> Self {
        let mut table = Vec::new();
        let read = File::open("/etc/passwd").and_then(|file| file.take(limits::PASSWD_BYTES).read_to_end(&mut table));
        read.ok()
            .and_then(|_| entry(&table, uid))
            .unwrap_or_else(|| Account { name: uid.to_string().into_bytes(), home: None })
    }

    /// The directories with what is private of this account, as handles: its home, or those in which the site says
    /// that homes are. A home that is not there, or that is another's, holds nothing of it: system accounts have such.
    ///
    /// # Errors
    /// The administrator's: nobody knows where the home is, or it cannot be looked at.
    pub(super) fn homes(&self) -> Outcome<Vec<OwnedFd>> {
        let Some(home) = &self.home else { return self.named_by_the_site() };
        let own = |home: &OwnedFd| Metadata::of(home).is_ok_and(|found| found.owner == geteuid().as_raw());
        match open_directory(home) {
            Err(Errno::NOENT | Errno::NOTDIR | Errno::ACCESS) => Ok(Vec::new()),
            opened => opened.map_err(site_fault(HOME)).map(|home| Some(home).filter(own).into_iter().collect()),
        }
    }

    fn named_by_the_site(&self) -> Outcome<Vec<OwnedFd>> {
        let policy = policy::load().map_err(|failure| Failure::new(Kind::SiteFault, failure))?;
        if policy.rootless_homes.is_empty() {
            let name = Escaped(&self.name);
            return Err(Failure::new(
                Kind::SiteFault,
                format_args!(
                    "the home directory of account {name} is unknown, /etc/passwd has none; name the directory where \
                     homes are in {POLICY} (rootless-home = /home), so that no job gets to read it"
                ),
            ));
        }
        policy.rootless_homes.iter().map(|path| open_directory(path).map_err(site_fault(HOME))).collect()
    }
}

const HOME: &str = "cannot look at the home directory";

fn open_directory(path: &[u8]) -> rustix::io::Result<OwnedFd> {
    open(path, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
}

/// The first whole line of a passwd(5) table that is for `uid`.
fn entry(table: &[u8], uid: u32) -> Option<Account> {
    let uid = uid.to_string().into_bytes();
    table.split_inclusive(|byte| *byte == b'\n').filter_map(|line| line.strip_suffix(b"\n")).find_map(|line| {
        let fields: Vec<&[u8]> = line.split(|byte| *byte == b':').collect();
        match fields.as_slice() {
            [name, _, number, _, _, home, _] if *number == uid && !name.is_empty() => {
                Some(Account { name: name.to_vec(), home: home.starts_with(b"/").then(|| home.to_vec()) })
            }
            _ => None,
        }
    })
}

#[cfg(test)]
mod tests {
    use super::entry;

    #[test]
    fn lines_of_the_right_form_are_found_and_others_passed_over() {
        let table = b"root:x:0:0:root:/root:/bin/sh\n10:x:11:1::/a:/b\n:x:10:1::/a:/b\nshort:x:10\n\
            pilot:x:10:10:,,:/home/pilot:/bin/sh\nlater:x:10:10::/:/\nnohome:x:12:1:::\ncut:x:13:1::/h:/s";
        let found = |uid| entry(table, uid).map(|account| (account.name, account.home));
        assert_eq!(found(10), Some((b"pilot".to_vec(), Some(b"/home/pilot".to_vec()))));
        assert_eq!(found(12), Some((b"nohome".to_vec(), None)));
        assert_eq!(found(13), None);
        assert_eq!(found(99), None);
    }
}

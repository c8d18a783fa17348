//! The caller's name and home directory, from `/etc/passwd` alone.
//!
//! A static program has no name service to ask. Where the account comes from elsewhere (SSSD, LDAP), its number stands
//! for the name, and there is no job, since nobody knows the home.

use super::fault::site_fault;
use crate::files::metadata::Metadata;
use crate::ground::escape::Escaped;
use crate::ground::limits;
use crate::ground::outcome::{Failure, Kind, Outcome};
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

    /// The home directory as a handle. One that is not there, or is another's, holds nothing private of this account:
    /// system accounts have such.
    ///
    /// # Errors
    /// The administrator's: nobody knows where it is, or it cannot be looked at.
    pub(super) fn open_home(&self) -> Outcome<Option<OwnedFd>> {
        let home = self.home.as_deref().ok_or_else(|| {
            let name = Escaped(&self.name);
            let why = format!(
                "/etc/passwd has no home directory of the account {name}, so that nobody can tell whether jobs could \
                 read there; add the account's line (getent passwd {name} >> /etc/passwd)"
            );
            Failure::new(Kind::SiteFault, why)
        })?;
        let own = |home: &OwnedFd| Metadata::of(home).is_ok_and(|found| found.owner == geteuid().as_raw());
        match open(home, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty()) {
            Err(Errno::NOENT | Errno::NOTDIR | Errno::ACCESS) => Ok(None),
            opened => {
                opened.map_err(site_fault("cannot look at the home directory")).map(|home| Some(home).filter(own))
            }
        }
    }
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

//! A look at a tree that the caller has, before it changes hands: whether all of it can come back as it is.
//!
//! The job gets a copy, and what comes back is a copy of that. What such a copy cannot hold would be gone afterwards,
//! even where the job did not touch it. It is the caller's tree and not hostile; what changes between this look and the
//! copy is reported by the helpers, as it is for every sandbox.

use super::directory::Directory;
use crate::copy::link::stays_inside;
use crate::files::component::Component;
use crate::files::metadata::{Identity, Metadata};
use crate::files::walk::{LIST, Walk, open_directory};
use crate::ground::escape::Escaped;
use crate::ground::limits;
use crate::ground::outcome::{Failure, OrFail, Outcome};
use crate::job::streams::Held;
use core::mem::MaybeUninit;
use rustix::fs::{FileType, Mode, RawDir, SeekFrom, fchmod, llistxattr, readlinkat, seek};
use rustix::io::Errno;
use rustix::process::{getegid, geteuid};
use std::collections::HashMap;
use std::os::fd::{AsRawFd, OwnedFd};

/// Room for the directory entries of one read.
const ENTRIES_BYTES: usize = 8 * 1024;

/// Room for the names of all extended attributes of one file: more, Linux does not list (`XATTR_LIST_MAX`).
const ATTRIBUTES_BYTES: usize = 64 * 1024;

const SET_ID: u16 = 0o6000;

const IS_SET_ID: &str = "is set-user-id or set-group-id";

/// The permission bits that come back, if they were there.
const KEPT_BITS: u16 = 0o755;

/// Goes through the whole tree. Gives what is worth a word, if anything is.
///
/// # Errors
/// When something would not come back as it is, or is one of `held`.
pub(super) fn survey(directory: &Directory, proxy: &Component, held: &[Held]) -> Outcome<Option<String>> {
    let failed = || format!("cannot look at the sandbox {}", Escaped(&directory.names.sandbox_path()));
    let home = rustix::io::fcntl_dupfd_cloexec(&directory.home, 3).or_fail(failed)?;
    let top = Metadata::of(&home).or_fail(failed)?;
    let mut survey = Survey {
        walk: Walk::new(home, limits::DEPTH),
        path: Vec::new(),
        top,
        proxy,
        held,
        entries: 0,
        names: HashMap::new(),
        unkept: Vec::new(),
        uncounted: 0,
        changed_modes: 0,
    };
    // The directory itself stays; only its permission bits come from the copy.
    if top.mode & SET_ID != 0 {
        survey.note(format!("the sandbox itself {IS_SET_ID}"));
    }
    survey.count_changed_mode(&top);
    let gone_through = survey.require_not_held(&top, b".").and_then(|()| survey.go_through());
    let closed = survey.close_again();
    gone_through?;
    closed?;
    survey.verdict()
}

/// How far the look has come.
struct Survey<'s> {
    walk: Walk<Note>,
    /// The path of the current directory in the sandbox, with a slash at the end.
    path: Vec<u8>,
    /// The sandbox itself.
    top: Metadata,
    proxy: &'s Component,
    held: &'s [Held],
    entries: u64,
    /// Files of which not all names were seen yet: how many are missing, and one that was seen.
    names: HashMap<Identity, (u32, Vec<u8>)>,
    /// The first entries that would not come back, with the reason, and how many more there are.
    unkept: Vec<String>,
    uncounted: u64,
    changed_modes: u64,
}

/// What is to be known again when a directory has been gone through.
struct Note {
    /// Where to go on listing its parent.
    cookie: u64,
    /// The bits that it had, if it had to be opened up.
    restore: Option<Mode>,
    /// The length of its parent's path.
    path_length: usize,
}

impl Survey<'_> {
    fn go_through(&mut self) -> Outcome {
        let mut cookie = 0;
        loop {
            match self.list(cookie)? {
                Some((child, note)) => {
                    let failed = || "cannot go down in the sandbox";
                    self.walk.enter(child, note).or_fail(failed)?;
                    cookie = 0;
                }
                None if self.walk.depth() == 0 => return Ok(()),
                None => cookie = self.up()?,
            }
        }
    }

    /// Goes on in the current directory until another one is to be entered, or to its end.
    fn list(&mut self, cookie: u64) -> Outcome<Option<(OwnedFd, Note)>> {
        let failed = || "cannot list a directory of the sandbox";
        let listed = rustix::io::fcntl_dupfd_cloexec(self.walk.directory(), 3).or_fail(failed)?;
        seek(&listed, SeekFrom::Start(cookie)).or_fail(failed)?;
        let mut room = [MaybeUninit::uninit(); ENTRIES_BYTES];
        let mut listing = RawDir::new(&listed, &mut room);
        while let Some(entry) = listing.next() {
            let entry = entry.or_fail(failed)?;
            let name = entry.file_name().to_bytes();
            if name == b"." || name == b".." {
                continue;
            }
            self.entries = self.entries.saturating_add(1);
            if self.entries > limits::ENTRIES {
                return Err(Failure::permanent(format_args!("the sandbox has more than {} entries", limits::ENTRIES)));
            }
            let shown = Escaped(&[&self.path[..], name].concat()).to_string();
            let found = self.look(name, &shown)?;
            if found.is_directory() && !self.is_elsewhere(&found) {
                let opened = open_directory(self.walk.directory(), name, LIST)
                    .or_fail(|| format!("cannot open {shown} in the sandbox"))?;
                let path_length = self.path.len();
                self.path.extend_from_slice(name);
                self.path.push(b'/');
                let note = Note { cookie: entry.next_entry_cookie(), restore: opened.restore, path_length };
                return Ok(Some((opened.directory, note)));
            }
        }
        Ok(None)
    }

    fn up(&mut self) -> Outcome<u64> {
        let Some(left) = self.walk.leave().or_fail(|| "cannot go back up in the sandbox")? else { return Ok(0) };
        self.path.truncate(left.note.path_length);
        if let Some(before) = left.note.restore {
            fchmod(&left.directory, before).or_fail(|| "cannot restore the permissions of a directory")?;
        }
        Ok(left.note.cookie)
    }

    /// Leaves everything as closed as it was, also after a failure half-way.
    fn close_again(&mut self) -> Outcome {
        while self.walk.depth() > 0 {
            self.up()?;
        }
        Ok(())
    }

    /// Looks at one entry and notes whether it would come back.
    fn look(&mut self, name: &[u8], shown: &str) -> Outcome<Metadata> {
        let failed = || format!("cannot look at {shown} in the sandbox");
        let found = Metadata::at(self.walk.directory(), name).or_fail(failed)?;
        self.require_not_held(&found, name)?;
        let is_proxy = self.walk.depth() == 0 && name == self.proxy.bytes();
        if !is_proxy && let Some(reason) = self.reason(name, &found).or_fail(failed)? {
            self.note(format!("{shown} {reason}"));
        }
        if !found.is_directory() && found.links > 1 {
            let missing = found.links.saturating_sub(1);
            let path = || [&self.path[..], name].concat();
            let (missing, _) = self
                .names
                .entry(found.identity)
                .and_modify(|(missing, _)| *missing = missing.saturating_sub(1))
                .or_insert_with(|| (missing, path()));
            if *missing == 0 {
                self.names.remove(&found.identity);
            }
        }
        self.count_changed_mode(&found);
        Ok(found)
    }

    fn count_changed_mode(&mut self, found: &Metadata) {
        let least = if found.is_directory() { 0o700 } else { 0o400 };
        if found.kind != FileType::Symlink && found.mode & !SET_ID != (found.mode & KEPT_BITS) | least {
            self.changed_modes = self.changed_modes.saturating_add(1);
        }
    }

    fn require_not_held(&self, found: &Metadata, name: &[u8]) -> Outcome {
        match self.held.iter().find(|held| held.identity == found.identity) {
            None => Ok(()),
            Some(Held { refusal, .. }) => Err(Failure::new(
                refusal.kind,
                format_args!("{} in the sandbox is {refusal}", Escaped(&[&self.path[..], name].concat())),
            )),
        }
    }

    /// Whether it is mounted there, or on a file system or subvolume of its own.
    fn is_elsewhere(&self, found: &Metadata) -> bool {
        found.device() != self.top.device() || !found.shares_mount_with(&self.top)
    }

    /// Why an entry would not come back as it is, if so.
    fn reason(&self, name: &[u8], found: &Metadata) -> Result<Option<String>, Errno> {
        let fixed = |text: &str| Ok(Some(text.to_owned()));
        if self.is_elsewhere(found) {
            return fixed("is a mount point, or on a file system or subvolume of its own");
        }
        match found.kind {
            FileType::RegularFile | FileType::Directory => {}
            FileType::Symlink => {
                let target = readlinkat(self.walk.directory(), name, Vec::new())?;
                if !stays_inside(target.as_bytes(), self.walk.depth(), self.proxy, &[]) {
                    return fixed("is a link that leads out of the sandbox");
                }
            }
            FileType::Fifo => return fixed("is a FIFO"),
            FileType::Socket => return fixed("is a socket"),
            _ => return fixed("is a device"),
        }
        if found.owner != geteuid().as_raw() {
            return Ok(Some(format!("belongs to uid {}", found.owner)));
        }
        if found.group != getegid().as_raw() {
            return Ok(Some(format!("belongs to group {}, which is not this process's", found.group)));
        }
        if found.kind == FileType::Symlink {
            return Ok(None);
        }
        if found.mode & SET_ID != 0 {
            return fixed(IS_SET_ID);
        }
        let attribute = self.attribute(name)?;
        Ok(attribute.map(|attribute| format!("has the extended attribute {}", Escaped(&attribute))))
    }

    /// The first extended attribute that somebody has put there on purpose. Those of security modules and of file
    /// servers are made anew with every file.
    fn attribute(&self, name: &[u8]) -> Result<Option<Vec<u8>>, Errno> {
        let here = self.walk.directory();
        let path = [format!("/proc/self/fd/{}/", here.as_raw_fd()).as_bytes(), name].concat();
        let mut room = vec![0; ATTRIBUTES_BYTES];
        let count = match llistxattr(path, &mut room[..]) {
            Err(Errno::OPNOTSUPP) => 0,
            listed => listed?,
        };
        let on_purpose = |attribute: &&[u8]| {
            attribute.starts_with(b"user.")
                || attribute.starts_with(b"trusted.")
                || attribute.starts_with(b"system.posix_acl_")
                || *attribute == b"security.capability"
        };
        let mut listed = room.get(..count).unwrap_or_default().split(|byte| *byte == 0);
        Ok(listed.find(on_purpose).map(<[u8]>::to_vec))
    }

    fn note(&mut self, unkept: String) {
        if self.unkept.len() < limits::UNKEPT_NAMED {
            self.unkept.push(unkept);
        } else {
            self.uncounted = self.uncounted.saturating_add(1);
        }
    }

    fn verdict(mut self) -> Outcome<Option<String>> {
        for (_, path) in core::mem::take(&mut self.names).into_values() {
            self.note(format!("{} has a name outside the sandbox, too", Escaped(&path)));
        }
        if self.unkept.is_empty() {
            let changed = self.changed_modes;
            return Ok((changed > 0).then(|| {
                format!(
                    "{changed} entries of the sandbox will come back with other permission bits: none to write for \
                     group and others, and the owner's own to read"
                )
            }));
        }
        let more = if self.uncounted == 0 { String::new() } else { format!("; and {} more", self.uncounted) };
        Err(Failure::permanent(format_args!(
            "the sandbox would not come back as it is, and nothing was touched: {}{more}. Take that out, or give a \
             copy of the tree (cp -RL)",
            self.unkept.join("; ")
        )))
    }
}

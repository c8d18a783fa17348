//! The sending half of a copy: walks a tree of this account and passes it on, file by open file.

use crate::confine::Confined;
use crate::copy::progress::Progress;
use crate::copy::report::{LeftOutList, Report};
use crate::files::component::Component;
use crate::files::metadata::Metadata;
use crate::files::name::Name;
use crate::files::walk::{LIST, Opened, Walk, mode_of, open_closed, open_unmounted};
use crate::ground::escape::{Escaped, Said};
use crate::ground::heartbeat::beat;
use crate::ground::limits;
use crate::ground::outcome::{Failure, OrFail, Outcome};
use crate::ground::wait::pause;
use crate::protocol::connection::{Broken, Connection};
use crate::protocol::heard::{self, Malformed};
use crate::protocol::packet::{PACKET_BYTES, Packet};
use crate::protocol::record::{Reason, Record};
use crate::protocol::record_writer::encode;
use crate::protocol::tree::{RECORDS_BEGIN, Totals, Verdict};
use arrayvec::ArrayVec;
use core::mem::MaybeUninit;
use core::time::Duration;
use rustix::fs::{FileType, Mode, OFlags, RawDir, SeekFrom, fchmod, openat, readlinkat_raw, seek};
use rustix::io::{Errno, pread};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use zeroize::Zeroizing;

/// How many files are opened before they are passed on together.
const BATCH: usize = 32;

/// Room for the directory entries of one read.
const ENTRIES_BYTES: usize = 8 * 1024;

/// How long to wait before a file is opened again on which somebody has a lease.
const LEASE_PAUSE: Duration = Duration::from_millis(50);

/// Never through a link, never waiting, never becoming anybody's terminal.
const FILE: OFlags =
    OFlags::RDONLY.union(OFlags::NOFOLLOW).union(OFlags::NONBLOCK).union(OFlags::NOCTTY).union(OFlags::CLOEXEC);

/// What the walk needs to know again when it comes back to a directory.
struct Resume {
    /// Where to go on reading the parent.
    cookie: u64,
    /// The permission bits that the directory had before we opened it up.
    restore: Option<Mode>,
    /// How long the path was before this directory.
    path_length: usize,
}

/// What is to be sent.
#[derive(Clone, Copy)]
pub enum Tree<'a> {
    /// What a job is to have: all of it, or nothing. The proxy with this name at its top travels as this copy, if
    /// there is one.
    Inputs(Option<(&'a Component, BorrowedFd<'a>)>),
    /// What a job left: all but the proxy with this name at its top. What cannot be read is no reason to lose the rest.
    Results(&'a Component),
}

struct Sender<'a> {
    connection: &'a Connection,
    proof: &'a Confined,
    tree: Tree<'a>,
    walk: Walk<Resume>,
    /// The tree's own directory.
    top: Metadata,
    /// Wiped in the end, as is `content`: a proxy may be among the files.
    packet: Zeroizing<Vec<u8>>,
    content: Zeroizing<Vec<u8>>,
    files: ArrayVec<OwnedFd, BATCH>,
    entries: u64,
    report: Report,
    progress: Progress,
    verdict: Packet,
    /// How long leases may still be waited for.
    lease_patience: Duration,
}

/// What one entry asks the walk to do.
enum Next {
    Sibling,
    Child { directory: OwnedFd, restore: Option<Mode>, path_length: usize },
}

/// Sends `tree`, which is all in `root`, a directory that was opened to be listed, and waits until the receiver has
/// it whole.
///
/// Directories and files of this account that deny even their owner are opened up while they are read and closed again.
///
/// # Errors
/// When something cannot be read, a limit is passed, or the receiver refuses, is gone or silent. Nothing has been
/// removed.
pub fn send_tree(
    connection: &Connection,
    root: Opened,
    tree: Tree<'_>,
    progress: Progress,
    proof: &Confined,
) -> Outcome<(Totals, LeftOutList)> {
    let Opened { directory: top, found, restore } = root;
    // With all of its room at once: growing would leave pieces behind.
    let mut packet = Zeroizing::new(Vec::with_capacity(PACKET_BYTES));
    packet.extend_from_slice(RECORDS_BEGIN);
    let mut sender = Sender {
        connection,
        proof,
        tree,
        walk: Walk::new(top, limits::DEPTH),
        top: found,
        packet,
        content: Zeroizing::new(vec![0; limits::INLINE_BYTES + 1]),
        files: ArrayVec::new(),
        entries: 0,
        report: Report::default(),
        progress,
        verdict: Packet::without_descriptors(),
        lease_patience: limits::LEASE_DEADLINE,
    };
    let sent = sender.send_all().and_then(|()| {
        let end = Record::End { entries: sender.entries, mode: found.mode, mtime: found.mtime };
        sender.add(&end, None)?;
        sender.flush()
    });
    let closed = sender.close_again(restore);
    let totals = sent.and_then(|()| sender.await_complete())?;
    closed?;
    let same_count = totals.entries == sender.entries;
    if same_count {
        Ok((totals, sender.report.left_out))
    } else {
        Err(Failure::permanent("the other side acknowledges another tree than was sent"))
    }
}

/// Why one entry was not sent.
enum Trouble {
    /// It answers with this errno whoever wants to read it.
    Entry(Errno),
    /// The copy cannot go on.
    Copy(Failure),
}

impl From<Errno> for Trouble {
    fn from(errno: Errno) -> Self {
        Trouble::Entry(errno)
    }
}

impl From<Failure> for Trouble {
    fn from(failure: Failure) -> Self {
        Trouble::Copy(failure)
    }
}

impl Sender<'_> {
    fn send_all(&mut self) -> Outcome {
        let mut cookie = 0;
        loop {
            match self.list(cookie) {
                Ok(Some((child, resume))) => {
                    self.walk.enter(child, resume).map_err(|errno| match errno {
                        Errno::NAMETOOLONG => {
                            Failure::permanent(format_args!("the tree is deeper than {} directories", limits::DEPTH))
                        }
                        other => Failure::permanent(format_args!("cannot go down: {other}")),
                    })?;
                    cookie = 0;
                }
                Ok(None) if self.walk.depth() == 0 => return Ok(()),
                Ok(None) => cookie = self.leave()?,
                Err(Trouble::Entry(errno)) => cookie = self.leave_unlisted(errno)?,
                Err(Trouble::Copy(failure)) => return Err(failure),
            }
        }
    }

    /// Goes back to the parent from a directory whose listing failed: what is left of it is left out. Gives where to go
    /// on reading the parent.
    fn leave_unlisted(&mut self, errno: Errno) -> Outcome<u64> {
        let unlisted = self.report.directory_name().to_vec();
        let name = Name::new(&unlisted).map_err(|_| errno).or_fail(|| "cannot list the sandbox")?;
        let cookie = self.leave()?;
        self.count()?;
        self.give_up(name, errno)?;
        Ok(cookie)
    }

    /// Goes back to the parent; gives where to go on reading it.
    fn leave(&mut self) -> Outcome<u64> {
        let cookie = self.up()?;
        self.add(&Record::Leave, None)?;
        Ok(cookie)
    }

    /// Reads on in the current directory at `cookie` until a directory is to be entered, or to its end.
    fn list(&mut self, cookie: u64) -> Result<Option<(OwnedFd, Resume)>, Trouble> {
        // The iterator borrows its descriptor, the entries go through `self`: a second descriptor of the same open
        // directory.
        let directory =
            rustix::io::fcntl_dupfd_cloexec(self.walk.directory(), 3).or_fail(|| "cannot list a directory")?;
        if cookie != 0 {
            seek(&directory, SeekFrom::Start(cookie))?;
        }
        let mut room = [MaybeUninit::uninit(); ENTRIES_BYTES];
        let mut listing = RawDir::new(&directory, &mut room);
        while let Some(entry) = listing.next() {
            beat();
            let entry = entry?;
            let listed = entry.file_name().to_bytes();
            if listed == b"." || listed == b".." {
                continue;
            }
            let name = Name::new(listed).or_fail(|| format!("the file system lists {}", Escaped(listed)))?;
            if self.is_proxy(name) {
                continue;
            }
            let cookie = entry.next_entry_cookie();
            if let Next::Child { directory, restore, path_length } = self.entry(name, entry.file_type())? {
                return Ok(Some((directory, Resume { cookie, restore, path_length })));
            }
        }
        Ok(None)
    }

    /// Whether this is the entry that is not to be sent.
    fn is_proxy(&self, name: Name<'_>) -> bool {
        matches!(self.tree, Tree::Results(proxy) if self.walk.depth() == 0 && name == *proxy)
    }

    /// Why `name`, which cannot be read, is left out; `None` where that is no way out: what a job is to have is all or
    /// nothing, and a lease on a file of the job's own is to be waited for.
    fn reason_to_leave_out(&self, name: Name<'_>, errno: Errno) -> Option<Reason> {
        let foreign = || {
            Metadata::at(self.walk.directory(), name.bytes())
                .is_ok_and(|found| found.owner != rustix::process::geteuid().as_raw())
        };
        match self.tree {
            Tree::Results(_) if errno != Errno::AGAIN || foreign() => Reason::of(errno),
            _ => None,
        }
    }

    fn count(&mut self) -> Outcome {
        self.entries = self.entries.saturating_add(1);
        if self.entries > limits::ENTRIES {
            return Err(Failure::permanent(format_args!("the tree has more than {} entries", limits::ENTRIES)));
        }
        Ok(())
    }

    fn entry(&mut self, name: Name<'_>, hint: FileType) -> Outcome<Next> {
        self.count()?;
        match self.of_kind(name, hint) {
            Ok(next) => Ok(next),
            Err(Trouble::Entry(errno)) => self.give_up(name, errno).map(|()| Next::Sibling),
            Err(Trouble::Copy(failure)) => Err(failure),
        }
    }

    fn of_kind(&mut self, name: Name<'_>, hint: FileType) -> Result<Next, Trouble> {
        let kind = match hint {
            FileType::Unknown => Metadata::at(self.walk.directory(), name.bytes())?.kind,
            known => known,
        };
        match kind {
            FileType::Directory => return self.directory(name),
            FileType::RegularFile => self.file(name)?,
            FileType::Symlink => self.symlink(name)?,
            _ => self.leave_out(name, Reason::Special)?,
        }
        Ok(Next::Sibling)
    }

    fn directory(&mut self, name: Name<'_>) -> Result<Next, Trouble> {
        let opened = open_unmounted(self.walk.directory(), name.bytes(), LIST, &self.top)?;
        let Some(Opened { directory: child, found, restore }) = opened else {
            self.leave_out(name, Reason::OtherFileSystem)?;
            return Ok(Next::Sibling);
        };
        let path_length = self.report.enter(name);
        self.add(&Record::Enter { name, mode: found.mode, mtime: found.mtime }, None)?;
        Ok(Next::Child { directory: child, restore, path_length })
    }

    fn file(&mut self, name: Name<'_>) -> Result<(), Trouble> {
        if let Tree::Inputs(Some((proxy, copy))) = self.tree
            && self.walk.depth() == 0
            && name == *proxy
        {
            let copy = rustix::io::fcntl_dupfd_cloexec(copy, 3).or_fail(|| "cannot duplicate a descriptor")?;
            return Ok(self.add(&Record::File { name }, Some(copy))?);
        }
        let file = self.open_file(name)?;
        let found = Metadata::of(&file)?;
        let small = usize::try_from(found.size).ok().filter(|size| *size <= limits::INLINE_BYTES);
        match small {
            Some(size)
                if found.kind == FileType::RegularFile && found.links == 1 && found.shares_mount_with(&self.top) =>
            {
                self.small_file(name, &file, &found, size)
            }
            _ => Ok(self.add(&Record::File { name }, Some(file))?),
        }
    }

    /// Should it have been swapped for something else since it was listed, the receiver sees that.
    fn open_file(&mut self, name: Name<'_>) -> Result<OwnedFd, Trouble> {
        loop {
            let opened = match openat(self.walk.directory(), name.bytes(), FILE, Mode::empty()) {
                Err(Errno::MFILE | Errno::NFILE) if !self.files.is_empty() => {
                    self.flush()?;
                    openat(self.walk.directory(), name.bytes(), FILE, Mode::empty())
                }
                Err(Errno::ACCESS) => self.closed_file(name),
                other => other,
            };
            // Somebody has a lease on it, who is told to give it up.
            match (opened, self.lease_patience.checked_sub(LEASE_PAUSE)) {
                (Err(Errno::AGAIN), Some(left)) if self.reason_to_leave_out(name, Errno::AGAIN).is_none() => {
                    self.lease_patience = left;
                    pause(LEASE_PAUSE);
                }
                (other, _) => return Ok(other?),
            }
        }
    }

    /// Sends a file's content with its name: for a small one cheaper than a descriptor.
    fn small_file(&mut self, name: Name<'_>, file: &OwnedFd, found: &Metadata, size: usize) -> Result<(), Trouble> {
        let mut room = core::mem::take(&mut self.content);
        let sent = self.read_small(name, file, found, room.get_mut(..size.saturating_add(1)).unwrap_or_default());
        let sent = sent.and_then(|content| {
            Ok(self.add(&Record::Small { name, mode: found.mode, mtime: found.mtime, content }, None)?)
        });
        self.content = room;
        sent
    }

    /// Reads a file of one byte less than there is room for: a byte more would show that it grows.
    fn read_small<'c>(
        &self,
        name: Name<'_>,
        file: &OwnedFd,
        found: &Metadata,
        room: &'c mut [u8],
    ) -> Result<&'c [u8], Trouble> {
        let count = loop {
            match pread(file, &mut *room, 0) {
                Err(Errno::INTR) => {}
                other => break other?,
            }
        };
        if count.saturating_add(1) != room.len() || !Metadata::of(file)?.has_content_of(found) {
            return Err(self.report.changed(name).into());
        }
        Ok(room.get(..count).unwrap_or_default())
    }

    fn leave_out(&mut self, name: Name<'_>, reason: Reason) -> Outcome {
        self.report.leave_out(name, reason);
        self.add(&Record::LeftOut { name, reason }, None)
    }

    /// Does without an entry that cannot be read, if that is a way out.
    fn give_up(&mut self, name: Name<'_>, errno: Errno) -> Outcome {
        let shown = match self.reason_to_leave_out(name, errno) {
            Some(reason) => return self.leave_out(name, reason),
            None => self.report.shown(name),
        };
        Err(match errno {
            Errno::AGAIN => {
                Failure::permanent(format_args!("cannot read {shown}: a process keeps a lease on it; end it"))
            }
            other => Failure::permanent(format_args!("cannot read {shown}: {other}")),
        })
    }

    /// Opens a file of ours that denies even its owner, and closes it up again at once.
    fn closed_file(&self, name: Name<'_>) -> Result<OwnedFd, Errno> {
        let (file, before) = open_closed(self.walk.directory(), name.bytes(), OFlags::empty(), FILE)?;
        fchmod(&file, mode_of(before))?;
        Ok(file)
    }

    fn symlink(&mut self, name: Name<'_>) -> Result<(), Trouble> {
        let mut room = [MaybeUninit::uninit(); limits::LINK_BYTES + 1];
        let here = self.walk.directory();
        let (target, _) = readlinkat_raw(here, name.bytes(), &mut room)?;
        let mtime = Metadata::at(here, name.bytes())?.mtime;
        let target: &[u8] = target;
        if target.len() > limits::LINK_BYTES {
            return Err(Errno::NAMETOOLONG.into());
        }
        Ok(self.add(&Record::Symlink { name, target, mtime }, None)?)
    }

    /// Goes back to the parent; gives where to go on reading it.
    fn up(&mut self) -> Outcome<u64> {
        let left = self.walk.leave().map_err(|errno| match errno {
            Errno::STALE => {
                Failure::permanent("a directory was moved while it was copied; stop what still changes the sandbox")
            }
            other => Failure::permanent(format_args!("cannot go back up: {other}")),
        })?;
        let Some(left) = left else { return Ok(0) };
        self.report.leave(left.note.path_length);
        if let Some(before) = left.note.restore {
            fchmod(&left.directory, before).or_fail(|| "cannot restore the permissions of a directory")?;
        }
        Ok(left.note.cookie)
    }

    /// Leaves everything as closed as it was, also after a failure half-way.
    fn close_again(&mut self, root: Option<Mode>) -> Outcome {
        while self.walk.depth() > 0 {
            self.up()?;
        }
        match root {
            Some(before) => {
                fchmod(self.walk.directory(), before).or_fail(|| "cannot restore the sandbox's permissions")
            }
            None => Ok(()),
        }
    }

    fn add(&mut self, record: &Record<'_>, file: Option<OwnedFd>) -> Outcome {
        encode(record, &mut self.packet);
        if let Some(file) = file {
            // There is room: it is flushed as soon as there is none.
            self.files.try_push(file).or_fail(|| "too many files at once")?;
        }
        let full = self.packet.len().saturating_add(Record::BYTES) > PACKET_BYTES || self.files.is_full();
        if full { self.flush() } else { Ok(()) }
    }

    fn flush(&mut self) -> Outcome {
        // The receiver says at once when it cannot go on: its reason is better than a closed socket.
        while self.connection.wait_for_room().or_fail(|| "handing files over")? {
            self.hear()?;
        }
        let sent = {
            let files: ArrayVec<BorrowedFd<'_>, BATCH> = self.files.iter().map(AsFd::as_fd).collect();
            self.connection.send(&self.packet, &files)
        };
        if sent == Err(Broken::Closed) {
            while self.hear()?.is_none() {}
        }
        sent.or_fail(|| "handing files over")?;
        self.files.clear();
        self.packet.truncate(RECORDS_BEGIN.len());
        Ok(())
    }

    /// Takes one packet from the receiver; its totals when they are final.
    fn hear(&mut self) -> Outcome<Option<Totals>> {
        self.connection.receive(&mut self.verdict, self.proof).or_fail(|| "waiting for the acknowledgement")?;
        match heard::tree::verdict(self.verdict.bytes(), self.proof) {
            Ok(Verdict::Progress(totals)) => {
                self.progress.show(&totals);
                Ok(None)
            }
            Ok(Verdict::Complete(totals)) => Ok(Some(totals)),
            Ok(Verdict::Failed(text)) => {
                Err(Failure::permanent(format_args!("the other side reports: {}", Said(text))))
            }
            Err(Malformed(_)) => {
                Err(Failure::permanent("the other side answers with something else than an acknowledgement"))
            }
        }
    }

    fn await_complete(&mut self) -> Outcome<Totals> {
        loop {
            if let Some(totals) = self.hear()? {
                return Ok(totals);
            }
        }
    }
}

//! The sending half of a copy: walks a tree of this account and passes it on, file by open file.

use crate::confine::Confined;
use crate::copy::progress::Progress;
use crate::copy::report::{LeftOutList, Report};
use crate::files::component::Component;
use crate::files::metadata::Metadata;
use crate::files::name::Name;
use crate::files::walk::{LIST, Opened, Walk, mode_of, open_closed, open_directory};
use crate::ground::escape::Escaped;
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
    /// What a job left: all but the proxy with this name at its top. What another account put there so that the job
    /// could not read it is no reason to lose the rest.
    Results(&'a Component),
}

struct Sender<'a> {
    connection: &'a Connection,
    proof: &'a Confined,
    tree: Tree<'a>,
    walk: Walk<Resume>,
    device: u64,
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
        device: found.device(),
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

impl Sender<'_> {
    fn send_all(&mut self) -> Outcome {
        let mut cookie = 0;
        loop {
            match self.list(cookie)? {
                Some((child, resume)) => {
                    self.walk.enter(child, resume).map_err(|errno| match errno {
                        Errno::NAMETOOLONG => {
                            Failure::permanent(format_args!("the tree is deeper than {} directories", limits::DEPTH))
                        }
                        other => Failure::permanent(format_args!("cannot go down: {other}")),
                    })?;
                    cookie = 0;
                }
                None if self.walk.depth() == 0 => return Ok(()),
                None => {
                    cookie = self.up()?;
                    self.add(&Record::Leave, None)?;
                }
            }
        }
    }

    /// Reads on in the current directory at `cookie` until a directory is to be entered, or to its end.
    fn list(&mut self, cookie: u64) -> Outcome<Option<(OwnedFd, Resume)>> {
        // The iterator borrows its descriptor, the entries go through `self`: a second descriptor of the same open
        // directory.
        let directory =
            rustix::io::fcntl_dupfd_cloexec(self.walk.directory(), 3).or_fail(|| "cannot list a directory")?;
        if cookie != 0 {
            seek(&directory, SeekFrom::Start(cookie)).or_fail(|| "cannot go on listing a directory")?;
        }
        let mut room = [MaybeUninit::uninit(); ENTRIES_BYTES];
        let mut listing = RawDir::new(&directory, &mut room);
        while let Some(entry) = listing.next() {
            beat();
            let entry = entry.or_fail(|| "cannot list a directory")?;
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

    /// Whether `name`, which could not be opened, may be left out: its owner denies it, or holds a lease on it.
    fn may_leave_out(&self, name: Name<'_>, errno: Errno) -> bool {
        let foreign = || {
            Metadata::at(self.walk.directory(), name.bytes())
                .is_ok_and(|found| found.owner != rustix::process::geteuid().as_raw())
        };
        matches!(self.tree, Tree::Results(_)) && matches!(errno, Errno::ACCESS | Errno::AGAIN) && foreign()
    }

    fn entry(&mut self, name: Name<'_>, hint: FileType) -> Outcome<Next> {
        self.entries = self.entries.saturating_add(1);
        if self.entries > limits::ENTRIES {
            return Err(Failure::permanent(format_args!("the tree has more than {} entries", limits::ENTRIES)));
        }
        let kind = match hint {
            FileType::Unknown => {
                Metadata::at(self.walk.directory(), name.bytes()).map_err(|errno| self.unreadable(name, errno))?.kind
            }
            known => known,
        };
        match kind {
            FileType::Directory => self.directory(name),
            FileType::RegularFile => self.file(name).map(|()| Next::Sibling),
            FileType::Symlink => self.symlink(name).map(|()| Next::Sibling),
            _ => self.leave_out(name, Reason::Special).map(|()| Next::Sibling),
        }
    }

    fn directory(&mut self, name: Name<'_>) -> Outcome<Next> {
        let Opened { directory: child, found, restore } =
            match open_directory(self.walk.directory(), name.bytes(), LIST) {
                Err(errno) if self.may_leave_out(name, errno) => {
                    return self.leave_out(name, Reason::Unreadable).map(|()| Next::Sibling);
                }
                other => other.map_err(|errno| self.unreadable(name, errno))?,
            };
        if found.device() != self.device {
            return self.leave_out(name, Reason::OtherFileSystem).map(|()| Next::Sibling);
        }
        let path_length = self.report.enter(name);
        self.add(&Record::Enter { name, mode: found.mode, mtime: found.mtime }, None)?;
        Ok(Next::Child { directory: child, restore, path_length })
    }

    fn file(&mut self, name: Name<'_>) -> Outcome {
        if let Tree::Inputs(Some((proxy, copy))) = self.tree
            && self.walk.depth() == 0
            && name == *proxy
        {
            let copy = rustix::io::fcntl_dupfd_cloexec(copy, 3).or_fail(|| "cannot duplicate a descriptor")?;
            return self.add(&Record::File { name }, Some(copy));
        }
        // Should it have been swapped for something else since it was listed, the receiver sees that.
        let file = loop {
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
                (Err(Errno::AGAIN), Some(left)) if !self.may_leave_out(name, Errno::AGAIN) => {
                    self.lease_patience = left;
                    pause(LEASE_PAUSE);
                }
                (other, _) => break other,
            }
        };
        let file = match file {
            Err(errno) if self.may_leave_out(name, errno) => return self.leave_out(name, Reason::Unreadable),
            other => other.map_err(|errno| self.unreadable(name, errno))?,
        };
        let found = Metadata::of(&file).map_err(|errno| self.unreadable(name, errno))?;
        let small = usize::try_from(found.size).ok().filter(|size| *size <= limits::INLINE_BYTES);
        match small {
            Some(size) if found.kind == FileType::RegularFile && found.links == 1 && found.device() == self.device => {
                self.small_file(name, &file, &found, size)
            }
            _ => self.add(&Record::File { name }, Some(file)),
        }
    }

    /// Sends a file's content with its name: for a small one cheaper than a descriptor.
    fn small_file(&mut self, name: Name<'_>, file: &OwnedFd, found: &Metadata, size: usize) -> Outcome {
        let mut room = core::mem::take(&mut self.content);
        let wanted = room.get_mut(..size.saturating_add(1)).unwrap_or_default();
        // A byte more than it had would show that it grows.
        let count = loop {
            match pread(file, &mut *wanted, 0) {
                Err(Errno::INTR) => {}
                other => break other,
            }
        };
        let count = count.map_err(|errno| self.unreadable(name, errno))?;
        let now = Metadata::of(file).map_err(|errno| self.unreadable(name, errno))?;
        if count != size || !now.has_content_of(found) {
            return Err(self.report.changed(name));
        }
        let content = room.get(..count).unwrap_or_default();
        self.add(&Record::Small { name, mode: found.mode, mtime: found.mtime, content }, None)?;
        self.content = room;
        Ok(())
    }

    fn leave_out(&mut self, name: Name<'_>, reason: Reason) -> Outcome {
        self.report.leave_out(name, reason);
        self.add(&Record::LeftOut { name, reason }, None)
    }

    fn unreadable(&self, name: Name<'_>, errno: Errno) -> Failure {
        let shown = self.report.shown(name);
        match errno {
            Errno::AGAIN => {
                Failure::permanent(format_args!("cannot read {shown}: a process keeps a lease on it; end it"))
            }
            other => Failure::permanent(format_args!("cannot read {shown}: {other}")),
        }
    }

    /// Opens a file of ours that denies even its owner, and closes it up again at once.
    fn closed_file(&self, name: Name<'_>) -> Result<OwnedFd, Errno> {
        let (file, before) = open_closed(self.walk.directory(), name.bytes(), OFlags::empty(), FILE)?;
        fchmod(&file, mode_of(before))?;
        Ok(file)
    }

    fn symlink(&mut self, name: Name<'_>) -> Outcome {
        let mut room = [MaybeUninit::uninit(); limits::LINK_BYTES + 1];
        let here = self.walk.directory();
        let (target, _) =
            readlinkat_raw(here, name.bytes(), &mut room).map_err(|errno| self.unreadable(name, errno))?;
        let mtime = Metadata::at(here, name.bytes()).map_err(|errno| self.unreadable(name, errno))?.mtime;
        let target: &[u8] = target;
        if target.len() > limits::LINK_BYTES {
            return Err(self.unreadable(name, Errno::NAMETOOLONG));
        }
        self.add(&Record::Symlink { name, target, mtime }, None)
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
                Err(Failure::permanent(format_args!("the other side reports: {}", Escaped(text))))
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

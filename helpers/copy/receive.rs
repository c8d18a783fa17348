//! The receiving half of a copy: makes files of this account from what the other side passes on, and believes none of it.

#![forbid(unsafe_code)]

use crate::confine::Confined;
use crate::copy::link::stays_inside;
use crate::copy::progress::Progress;
use crate::copy::report::{LeftOut, Report};
use crate::copy::rules::{CleanupRules, Symlinks};
use crate::files::component::Component;
use crate::files::content::{Copier, Uncopied, write_all};
use crate::files::metadata::{Metadata, Time};
use crate::files::remove::remove_directory;
use crate::files::walk::{CHANGE, DIRECTORY, Walk, mode_of};
use crate::ground::heartbeat::{beat, is_worker};
use crate::ground::installation::POLICY;
use crate::ground::limits;
use crate::ground::outcome::{Failure, OrFail, Outcome, Unmade};
use crate::ground::wait;
use crate::protocol::connection::{Connection, Handed, Packet, quoted};
use crate::protocol::wire::{Malformed, Message, Reason, Record, Records, Totals};
use core::time::Duration;
use rustix::fs::{
    AtFlags, FileType, Mode, OFlags, fchmod, futimens, linkat, mkdirat, openat, symlinkat, unlinkat, utimensat,
};
use rustix::io::Errno;
use std::ffi::CString;
use std::os::fd::{AsFd, OwnedFd};
use std::time::Instant;

/// The permission bits that can be kept: never set-id or sticky, never writable by group or others.
pub const KEPT_MODE: u16 = 0o755;

/// How often the sender is told that the receiver is alive.
const NEWS_PAUSE: Duration = Duration::from_secs(1);

/// Whom the tree comes from.
pub enum From<'a> {
    /// The pilot, who may have any link in it.
    Pilot,
    /// The target side: the proxy with this name is not its to send, and the site's rules hold.
    Target(&'a Component, CleanupRules),
}

impl From<'_> {
    /// What every directory of the copy lets its new owner do, whatever its old owner did to it: the pilot has to move, to
    /// read and in the end to remove what a job left. A job gets its directories as the submitter made them.
    const fn added_to_directories(&self) -> u16 {
        match self {
            From::Pilot => 0,
            From::Target(..) => CHANGE,
        }
    }

    /// The bounds; of what comes from the pilot the largest that a site could choose.
    fn rules(&self) -> CleanupRules {
        match self {
            From::Pilot => CleanupRules::default(),
            From::Target(_, rules) => *rules,
        }
    }
}

/// A tree that arrived whole.
pub struct Received {
    /// What was made.
    pub totals: Totals,
    /// The first [`limits::LEFT_OUT_NAMED`] of what was left out.
    pub left_out: Vec<LeftOut>,
    /// The permission bits of the sender's root that can be kept.
    pub mode: Mode,
    /// The modification time of the sender's root.
    pub mtime: Time,
}

/// What is to be done with a directory when it is left.
struct Pending {
    mode: Mode,
    mtime: Time,
    /// How long the path was before this directory.
    path_length: usize,
}

/// What is the same for all files that we make in one tree; learnt from the first.
#[derive(Clone, Copy)]
struct OwnKind {
    /// The file system that they are on. On some, files and directories do not show the same one.
    device: u64,
    /// Whether a file is created with just the mode that was asked for; a default ACL of a directory above could change it.
    exact: bool,
}

struct Receiver<'a> {
    connection: &'a Connection,
    from: From<'a>,
    root: OwnedFd,
    walk: Walk<Pending>,
    report: Report,
    links: Option<(OwnedFd, Component)>,
    copier: Copier,
    own_kind: Option<OwnKind>,
    bounds: Bounds,
    totals: Totals,
    progress: Progress,
    next_news: Instant,
}

/// What the copy must not exceed.
struct Bounds {
    rules: CleanupRules,
    /// When [`CleanupRules::time`] is over.
    until: Option<Instant>,
}

/// Fills `root`, an empty directory of ours, with what comes over `connection`, until it is complete. The sender is not told
/// yet; what the receiver does with the tree before it says [`Message::Complete`] is the caller's.
///
/// A descriptor can be of a file system whose server is the job itself, which may never answer whoever reads or closes it: nothing is asked of a file
/// that is not on the file system of `root`. What else may keep one call waiting is given up by the attendant, or ended by SIGALRM, with the process,
/// after [`limits::STUCK_DEADLINE`], and the next call begins anew.
///
/// # Errors
/// When the sender breaks the protocol, passes a limit, reports that it failed, is gone or silent, or something cannot be made.
/// What was made by then stays for the caller to remove.
pub fn receive_tree(
    connection: &Connection,
    root: &OwnedFd,
    from: From<'_>,
    progress: Progress,
    _proof: &Confined,
) -> Outcome<Received> {
    // Already the first packet can hold such a descriptor.
    end_after(limits::STUCK_DEADLINE);
    let received = receive_all(connection, root, from, progress);
    end_after(Duration::ZERO);
    received
}

fn receive_all(connection: &Connection, root: &OwnedFd, from: From<'_>, progress: Progress) -> Outcome<Received> {
    let duplicate = || rustix::io::fcntl_dupfd_cloexec(root, 3).or_fail(|| "cannot duplicate a descriptor");
    let rules = from.rules();
    let mut receiver = Receiver {
        connection,
        from,
        bounds: Bounds { rules, until: Instant::now().checked_add(rules.time) },
        root: duplicate()?,
        walk: Walk::new(duplicate()?, rules.depth),
        report: Report::default(),
        links: None,
        copier: Copier::new(root.as_fd()),
        own_kind: None,
        totals: Totals::default(),
        progress,
        next_news: Instant::now(),
    };
    // Every mode is given explicitly.
    rustix::process::umask(Mode::empty());
    let mut packet = Packet::default();
    loop {
        connection.receive(&mut packet).or_fail(|| "receiving the sandbox")?;
        receiver.bounds.check_time()?;
        let mut files = std::mem::take(&mut packet.descriptors).into_iter();
        let end = match Message::decode(packet.bytes()) {
            Ok(Message::Records([])) => Err(broken("a packet without records")),
            Ok(Message::Records(records)) => receiver.records(Records::new(records), &mut files),
            Ok(Message::Failed(text)) => {
                Err(Failure::permanent(format_args!("the other side reports: {}", quoted(text))))
            }
            _ => Err(broken("something else than records")),
        };
        let too_many = files.len() > 0;
        files.for_each(Handed::refuse);
        let end = end?;
        if too_many {
            return Err(broken("descriptors without a file record"));
        }
        tell_news(&receiver.totals, connection, &mut receiver.progress, &mut receiver.next_news);
        if let Some((mode, mtime)) = end {
            receiver.drop_links()?;
            return Ok(Received { totals: receiver.totals, left_out: receiver.report.left_out, mode, mtime });
        }
    }
}

fn broken(what: &str) -> Failure {
    Failure::permanent(format_args!("the other side broke the protocol: {what}"))
}

impl Receiver<'_> {
    /// Applies a packet's records; gives the root's mode and time when the last one ends the tree.
    fn records(
        &mut self,
        records: Records<'_>,
        files: &mut impl Iterator<Item = Handed>,
    ) -> Outcome<Option<(Mode, Time)>> {
        let mut end = None;
        for record in records {
            let record = record.map_err(|Malformed(what)| broken(what))?;
            if end.is_some() {
                return Err(broken("records behind the end"));
            }
            if let Record::End { entries, mode, mtime } = record {
                if self.walk.depth() > 0 || entries != self.totals.entries {
                    return Err(broken("the end does not fit what came before"));
                }
                end = Some((mode_of(mode & KEPT_MODE | CHANGE), mtime));
            } else {
                self.apply(record, files)?;
            }
        }
        Ok(end)
    }

    fn apply(&mut self, record: Record<'_>, files: &mut impl Iterator<Item = Handed>) -> Outcome {
        match record {
            Record::Enter { name, mode, mtime } => {
                self.count(&name)?;
                self.enter(&name, mode, mtime)
            }
            Record::Leave => self.leave(),
            Record::File { name } => {
                self.count(&name)?;
                let file = files.next().ok_or_else(|| broken("a file without a descriptor"))?;
                self.file(&name, file)
            }
            Record::Small { name, mode, mtime, content } => {
                self.count(&name)?;
                self.small_file(&name, mode_of(mode & KEPT_MODE), mtime, content)
            }
            Record::Symlink { name, target, mtime } => {
                self.count(&name)?;
                self.symlink(&name, target, mtime)
            }
            Record::LeftOut { name, reason } => {
                self.count(&name)?;
                self.leave_out(&name, reason);
                Ok(())
            }
            // Taken by the caller.
            Record::End { .. } => Ok(()),
        }
    }

    /// What every entry has to pass, whatever it is.
    fn count(&mut self, name: &Component) -> Outcome {
        self.totals.entries = self.totals.entries.saturating_add(1);
        let most = self.bounds.rules.entries;
        if self.totals.entries > most {
            return Err(past(format_args!("has more than {most} entries"), "cleanup-entries"));
        }
        match self.from {
            From::Target(proxy, _) if self.walk.depth() == 0 && name == proxy => Err(broken("it sends the proxy")),
            _ => Ok(()),
        }
    }

    fn failure(&self, what: &str, name: &Component, errno: Errno) -> Failure {
        Failure::permanent(format_args!("cannot {what} {}: {}", self.report.shown(name), Unmade(errno)))
    }

    fn changed(&self, name: &Component) -> Failure {
        let shown = self.report.shown(name);
        Failure::permanent(format_args!(
            "the file {shown} changed while it was copied; stop what still writes to the sandbox"
        ))
    }

    fn leave_out(&mut self, name: &Component, reason: Reason) {
        self.totals.left_out = self.totals.left_out.saturating_add(1);
        self.report.leave_out(name, reason);
    }

    fn enter(&mut self, name: &Component, mode: u16, mtime: Time) -> Outcome {
        let deepest = self.bounds.rules.depth;
        if self.walk.depth() >= deepest {
            return Err(past(format_args!("is deeper than {deepest} directories"), "cleanup-depth"));
        }
        let here = self.walk.directory();
        let child = mkdirat(here, name.c_str(), Mode::RWXU)
            .and_then(|()| openat(here, name.c_str(), DIRECTORY, Mode::empty()))
            .map_err(|errno| self.failure("make the directory", name, errno))?;
        let pending = Pending {
            mode: mode_of(mode & KEPT_MODE | self.from.added_to_directories()),
            mtime,
            path_length: self.report.enter(name),
        };
        self.walk.enter(child, pending).or_fail(|| "cannot go down")?;
        self.totals.directories = self.totals.directories.saturating_add(1);
        Ok(())
    }

    fn leave(&mut self) -> Outcome {
        let left = self.walk.leave().or_fail(|| "cannot go back up")?;
        let left = left.ok_or_else(|| broken("it leaves the sandbox itself"))?;
        self.report.leave(left.note.path_length);
        futimens(&left.directory, &left.note.mtime.into())
            .and_then(|()| fchmod(&left.directory, left.note.mode))
            .or_fail(|| "cannot finish a directory")
    }

    fn symlink(&mut self, name: &Component, target: &[u8], mtime: Time) -> Outcome {
        if let Some(reason) = self.unwanted_link(target) {
            self.leave_out(name, reason);
            return Ok(());
        }
        let here = self.walk.directory();
        symlinkat(target, here, name.c_str())
            .and_then(|()| utimensat(here, name.c_str(), &mtime.into(), AtFlags::SYMLINK_NOFOLLOW))
            .map_err(|errno| self.failure("make the link", name, errno))?;
        self.totals.symlinks = self.totals.symlinks.saturating_add(1);
        Ok(())
    }

    /// Why a link with this target does not come back.
    fn unwanted_link(&self, target: &[u8]) -> Option<Reason> {
        let From::Target(proxy, rules) = self.from else { return None };
        match rules.symlinks {
            Symlinks::All => None,
            Symlinks::None => Some(Reason::AnyLink),
            Symlinks::Inside => (!stays_inside(target, self.walk.depth(), proxy)).then_some(Reason::EscapingLink),
        }
    }

    fn file(&mut self, name: &Component, from: Handed) -> Outcome {
        let source = Metadata::of(&from).map_err(|errno| self.failure("look at the file", name, errno))?;
        if source.kind != FileType::RegularFile {
            from.refuse();
            self.leave_out(name, Reason::Special);
            return Ok(());
        }
        if source.links > 1 && self.is_neighbour(&source) && self.linked(name, &source)? {
            drop(from.accept());
            self.totals.hard_links = self.totals.hard_links.saturating_add(1);
            return Ok(());
        }
        let mode = mode_of(source.mode & KEPT_MODE);
        let own = self.create(name, mode)?;
        if !self.is_neighbour(&source) {
            // Nothing is asked of its file system, not even to be let go.
            from.refuse();
            unlinkat(self.walk.directory(), name.c_str(), AtFlags::empty())
                .map_err(|errno| self.failure("remove the file", name, errno))?;
            self.leave_out(name, Reason::OtherFileSystem);
            return Ok(());
        }
        let from = from.accept();
        self.content(name, &source, &from, &own)?;
        self.finish(name, &own, mode, source.mtime)?;
        if source.links > 1 { self.remember(name, &source) } else { Ok(()) }
    }

    /// Whether a file is on the file system that we make ours on: its server is the kernel, or one that the site trusts.
    fn is_neighbour(&self, source: &Metadata) -> bool {
        self.own_kind.is_some_and(|kind| kind.device == source.device())
    }

    fn small_file(&mut self, name: &Component, mode: Mode, mtime: Time, content: &[u8]) -> Outcome {
        let own = self.create(name, mode)?;
        write_all(own.as_fd(), content, 0).map_err(|errno| self.failure("write the file", name, errno))?;
        self.bounds.add_bytes(&mut self.totals, u64::try_from(content.len()).unwrap_or(u64::MAX))?;
        self.finish(name, &own, mode, mtime)
    }

    fn create(&mut self, name: &Component, mode: Mode) -> Outcome<OwnedFd> {
        let unmade = |receiver: &Self, errno: Errno| receiver.failure("make the file", name, errno);
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        // Nobody else can get at the file before the whole tree is in its place, so it can have its mode from the start. The first one
        // is asked for with every bit that any can have, to see whether one is taken away.
        let first = self.own_kind.is_none();
        let asked = if first { mode_of(KEPT_MODE) } else { mode };
        let own = openat(self.walk.directory(), name.c_str(), flags, asked).map_err(|errno| unmade(self, errno))?;
        if first {
            let made = Metadata::of(&own).map_err(|errno| unmade(self, errno))?;
            self.own_kind = Some(OwnKind { device: made.device(), exact: made.mode == KEPT_MODE });
            fchmod(&own, mode).map_err(|errno| unmade(self, errno))?;
        }
        Ok(own)
    }

    fn finish(&mut self, name: &Component, own: &OwnedFd, mode: Mode, mtime: Time) -> Outcome {
        if self.own_kind.is_none_or(|kind| !kind.exact) {
            fchmod(own, mode).map_err(|errno| self.failure("finish the file", name, errno))?;
        }
        futimens(own, &mtime.into()).map_err(|errno| self.failure("finish the file", name, errno))?;
        self.totals.files = self.totals.files.saturating_add(1);
        Ok(())
    }

    fn content(&mut self, name: &Component, source: &Metadata, from: &OwnedFd, own: &OwnedFd) -> Outcome {
        let Receiver { copier, bounds, totals, connection, progress, next_news, .. } = self;
        let copied = copier.copy(from.as_fd(), own.as_fd(), source, |bytes| {
            bounds.add_bytes(totals, bytes)?;
            bounds.check_time()?;
            tell_news(totals, connection, progress, next_news);
            Ok(())
        });
        copied.map_err(|why| match why {
            Uncopied::Stopped(failure) => failure,
            Uncopied::Changed => self.changed(name),
            Uncopied::System(errno) => self.failure("copy the file", name, errno),
        })
    }

    /// Makes `name` a further name of a file that is here already under the source's inode number; false if there is none.
    ///
    /// The index of such files is a directory of our own with an entry for each inode, so that memory does not grow with it.
    /// The inode number is the kernel's word about the descriptor, not the sender's.
    fn linked(&mut self, name: &Component, source: &Metadata) -> Outcome<bool> {
        let Some((index, _)) = &self.links else { return Ok(false) };
        let key = index_key(source);
        let unlinked = |errno| self.failure("link the file", name, errno);
        match linkat(index, key.as_c_str(), self.walk.directory(), name.c_str(), AtFlags::empty()) {
            Ok(()) => {
                let same = Metadata::at(index, &key).map_err(unlinked)?;
                if same.has_content_of(source) {
                    return Ok(true);
                }
                Err(self.changed(name))
            }
            Err(Errno::NOENT) => Ok(false),
            // The file system holds no more names of one file: begin another one.
            Err(Errno::MLINK) => {
                unlinkat(index, key.as_c_str(), AtFlags::empty()).map_err(unlinked)?;
                Ok(false)
            }
            Err(errno) => Err(unlinked(errno)),
        }
    }

    fn remember(&mut self, name: &Component, source: &Metadata) -> Outcome {
        let context = || "cannot keep track of hard links";
        if self.links.is_none() {
            // No sender can have foreseen the name, so it cannot be one of the tree's.
            let index = Component::unforeseen(".glexec-links-").or_fail(context)?;
            mkdirat(&self.root, index.c_str(), Mode::RWXU).map_err(Unmade).or_fail(context)?;
            let opened = openat(&self.root, index.c_str(), DIRECTORY, Mode::empty()).or_fail(context)?;
            self.links = Some((opened, index));
        }
        let Some((index, _)) = &self.links else { return Ok(()) };
        linkat(self.walk.directory(), name.c_str(), index, index_key(source).as_c_str(), AtFlags::empty())
            .map_err(Unmade)
            .or_fail(context)
    }

    fn drop_links(&mut self) -> Outcome {
        let Some((opened, name)) = self.links.take() else { return Ok(()) };
        drop(opened);
        remove_directory(self.root.as_fd(), name.c_str()).or_fail(|| "cannot remove the index of hard links")
    }
}

impl Bounds {
    fn add_bytes(&self, totals: &mut Totals, bytes: u64) -> Outcome {
        totals.bytes = totals.bytes.saturating_add(bytes);
        let most = self.rules.bytes;
        if totals.bytes > most {
            return Err(past(format_args!("has more than {most} bytes"), "cleanup-bytes"));
        }
        Ok(())
    }

    fn check_time(&self) -> Outcome {
        if self.until.is_none_or(|until| Instant::now() < until) {
            return Ok(());
        }
        Err(past(format_args!("took longer to copy than {} s", self.rules.time.as_secs()), "cleanup-seconds"))
    }
}

/// A bound was passed; the key is what a site can set it with for cleanup.
fn past(what: core::fmt::Arguments<'_>, key: &str) -> Failure {
    Failure::permanent(format_args!("the sandbox {what} (for cleanup: {key} in {POLICY}); it stays as it was"))
}

/// Tells the sender and who watches, but not too often.
fn tell_news(totals: &Totals, connection: &Connection, progress: &mut Progress, next: &mut Instant) {
    let now = Instant::now();
    progress.show(totals);
    beat();
    if now >= *next {
        end_after(limits::STUCK_DEADLINE);
        connection.send_if_room(&Message::Progress(*totals).encode());
        *next = now.checked_add(NEWS_PAUSE).unwrap_or(now);
    }
}

/// Where no attendant does it, the kernel's alarm ends a process that gets stuck.
fn end_after(patience: Duration) {
    if !is_worker() {
        wait::end_after(patience);
    }
}

/// What a file is called in the index of hard links.
fn index_key(source: &Metadata) -> CString {
    CString::new(format!("{:x}", source.identity.1)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::{CleanupRules, From, receive_all};
    use crate::copy::progress::Progress;
    use crate::files::component::Component;
    use crate::files::metadata::Time;
    use crate::ground::outcome::Outcome;
    use crate::protocol::connection::{Connection, pair};
    use crate::protocol::wire::{Message, Record};
    use core::time::Duration;

    /// Receives an empty tree for which there is this much time.
    fn receive_within(time: Duration) -> Outcome {
        let (ours, theirs) = pair().unwrap();
        let mut packet = Message::Records(&[]).encode();
        Record::End { entries: 0, mode: 0o755, mtime: Time { seconds: 0, nanoseconds: 0 } }.encode(&mut packet);
        Connection::new(theirs).send(&packet, &[]).unwrap();
        let proxy = Component::new(b"x509").unwrap();
        let root = std::fs::File::open(env!("CARGO_MANIFEST_DIR")).unwrap().into();
        let rules = CleanupRules { time, ..CleanupRules::default() };
        receive_all(&Connection::new(ours), &root, From::Target(&proxy, rules), Progress::none()).map(|_| ())
    }

    #[test]
    fn a_copy_that_takes_too_long_is_refused_by_the_name_of_its_bound() {
        assert_eq!(receive_within(CleanupRules::default().time), Ok(()));
        let why = receive_within(Duration::ZERO).expect_err("its time is over").to_string();
        assert!(why.contains("took longer to copy than 0 s") && why.contains("cleanup-seconds"), "{why}");
    }
}

//! The receiving half of a copy: makes files of this account from what the other side passes on, and believes none of
//! it.

use crate::confine::Confined;
use crate::copy::bounds::Bounds;
use crate::copy::hard_links::{HardLinks, Linked};
use crate::copy::link::stays_inside;
use crate::copy::origin::{KEPT_MODE, Origin};
use crate::copy::progress::Progress;
use crate::copy::report::{LeftOutList, Report};
use crate::copy::rules::Symlinks;
use crate::files::content::{Copier, Uncopied, write_all};
use crate::files::metadata::{Metadata, Time};
use crate::files::name::Name;
use crate::files::walk::{CHANGE, DIRECTORY, Walk, mode_of};
use crate::ground::escape::Said;
use crate::ground::heartbeat::{beat, is_worker};
use crate::ground::outcome::{Failure, OrFail, Outcome, Unmade};
use crate::ground::{limits, wait};
use crate::protocol::connection::Connection;
use crate::protocol::heard::record::Records;
use crate::protocol::heard::tree::Piece;
use crate::protocol::heard::{self, Malformed};
use crate::protocol::packet::{Handed, Packet};
use crate::protocol::record::{Reason, Record};
use crate::protocol::tree::{Totals, Verdict};
use crate::sys;
use core::time::Duration;
use rustix::fs::{AtFlags, FileType, Mode, OFlags, fchmod, futimens, mkdirat, openat, symlinkat, unlinkat, utimensat};
use rustix::io::Errno;
use std::os::fd::{AsFd, OwnedFd};
use std::time::Instant;

/// How often the sender is told that the receiver is alive.
const NEWS_PAUSE: Duration = Duration::from_secs(1);

/// A tree that arrived whole.
pub struct Received {
    /// What was made.
    pub totals: Totals,
    /// The first of what was left out.
    pub left_out: LeftOutList,
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
    /// The first one, which tells the file system that they are on. On some, directories do not show the same one.
    first: Metadata,
    /// Whether a file is created with just the mode that was asked for; a default ACL of a directory above could
    /// change it.
    exact: bool,
}

struct Receiver<'a> {
    connection: &'a Connection,
    origin: Origin<'a>,
    root: OwnedFd,
    walk: Walk<Pending>,
    report: Report,
    hard_links: HardLinks,
    copier: Copier,
    own_kind: Option<OwnKind>,
    bounds: Bounds,
    totals: Totals,
    progress: Progress,
    next_news: Instant,
}

/// Fills `root`, an empty directory of ours, with what comes over `connection`, until it is complete. The sender is
/// not told yet; what the receiver does with the tree before it says [`Verdict::Complete`] is the caller's.
///
/// A descriptor can be of a file system whose server is the job itself, which may never answer whoever reads or
/// closes it: nothing is asked of a file that is not on the file system of `root`. What else may keep one call
/// waiting is given up by the watchdog, or ended by SIGALRM, with the process, after [`limits::STUCK_DEADLINE`], and
/// the next call begins anew.
///
/// # Errors
/// When the sender breaks the protocol, passes a limit, reports that it failed, is gone or silent, or something
/// cannot be made. What was made by then stays for the caller to remove.
pub fn receive_tree(
    connection: &Connection,
    root: &OwnedFd,
    origin: Origin<'_>,
    progress: Progress,
    proof: &Confined,
) -> Outcome<Received> {
    // Already the first packet can hold such a descriptor.
    end_after(limits::STUCK_DEADLINE);
    let received = receive_all(connection, root, origin, progress, proof);
    end_after(Duration::ZERO);
    received
}

fn receive_all(
    connection: &Connection,
    root: &OwnedFd,
    origin: Origin<'_>,
    progress: Progress,
    proof: &Confined,
) -> Outcome<Received> {
    let duplicate = || rustix::io::fcntl_dupfd_cloexec(root, 3).or_fail(|| "cannot duplicate a descriptor");
    let rules = origin.rules();
    let mut receiver = Receiver {
        connection,
        origin,
        bounds: Bounds::new(rules),
        root: duplicate()?,
        walk: Walk::new(duplicate()?, rules.depth),
        report: Report::default(),
        hard_links: HardLinks::default(),
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
        connection.receive(&mut packet, proof).or_fail(|| "receiving the sandbox")?;
        receiver.bounds.check_time()?;
        let (bytes, descriptors) = packet.parts();
        let mut files = descriptors.drain(..);
        let end = match heard::tree::piece(bytes, proof) {
            Ok(Piece::Records(records)) if records.is_empty() => Err(broken("a packet without records")),
            Ok(Piece::Records(records)) => receiver.records(records, &mut files),
            Ok(Piece::Failed(text)) => Err(Failure::permanent(format_args!("the other side reports: {}", Said(text)))),
            Err(Malformed(_)) => Err(broken("something else than records")),
        };
        let too_many = files.len() > 0;
        files.for_each(Handed::refuse);
        let end = end?;
        if too_many {
            return Err(broken("descriptors without a file record"));
        }
        tell_news(&receiver.totals, connection, &mut receiver.progress, &mut receiver.next_news);
        if let Some((mode, mtime)) = end {
            receiver.hard_links.forget(&receiver.root, proof)?;
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
                self.count(name)?;
                self.enter(name, mode, mtime)
            }
            Record::Leave => self.leave(),
            Record::File { name } => {
                self.count(name)?;
                let file = files.next().ok_or_else(|| broken("a file without a descriptor"))?;
                self.file(name, file)
            }
            Record::Small { name, mode, mtime, content } => {
                self.count(name)?;
                self.small_file(name, self.origin.file_mode(mode), mtime, content)
            }
            Record::Symlink { name, target, mtime } => {
                self.count(name)?;
                self.symlink(name, target, mtime)
            }
            Record::LeftOut { name, reason } => {
                self.count(name)?;
                self.leave_out(name, reason);
                Ok(())
            }
            // Taken by the caller.
            Record::End { .. } => Ok(()),
        }
    }

    /// What every entry has to pass, whatever it is.
    fn count(&mut self, name: Name<'_>) -> Outcome {
        self.bounds.add_entry(&mut self.totals)?;
        match self.origin {
            Origin::Target(proxy, ..) if self.walk.depth() == 0 && name == *proxy => Err(broken("it sends the proxy")),
            _ => Ok(()),
        }
    }

    fn failure(&self, what: &str, name: Name<'_>, errno: Errno) -> Failure {
        Failure::permanent(format_args!("cannot {what} {}: {}", self.report.shown(name), Unmade(errno)))
    }

    fn leave_out(&mut self, name: Name<'_>, reason: Reason) {
        self.totals.left_out = self.totals.left_out.saturating_add(1);
        self.report.leave_out(name, reason);
    }

    fn enter(&mut self, name: Name<'_>, mode: u16, mtime: Time) -> Outcome {
        self.bounds.check_depth(self.walk.depth())?;
        let here = self.walk.directory();
        let child = mkdirat(here, name.bytes(), Mode::RWXU)
            .and_then(|()| openat(here, name.bytes(), DIRECTORY, Mode::empty()))
            .map_err(|errno| self.failure("make the directory", name, errno))?;
        let pending = Pending { mode: self.origin.directory_mode(mode), mtime, path_length: self.report.enter(name) };
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

    fn symlink(&mut self, name: Name<'_>, target: &[u8], mtime: Time) -> Outcome {
        if let Some(reason) = self.unwanted_link(target) {
            self.leave_out(name, reason);
            return Ok(());
        }
        let here = self.walk.directory();
        symlinkat(target, here, name.bytes())
            .and_then(|()| utimensat(here, name.bytes(), &mtime.into(), AtFlags::SYMLINK_NOFOLLOW))
            .map_err(|errno| self.failure("make the link", name, errno))?;
        self.totals.symlinks = self.totals.symlinks.saturating_add(1);
        Ok(())
    }

    /// Why a link with this target does not come back.
    fn unwanted_link(&self, target: &[u8]) -> Option<Reason> {
        let Origin::Target(proxy, places, rules) = self.origin else { return None };
        match rules.symlinks {
            Symlinks::All => None,
            Symlinks::None => Some(Reason::AnyLink),
            Symlinks::Inside => {
                (!stays_inside(target, self.walk.depth(), proxy, places)).then_some(Reason::EscapingLink)
            }
        }
    }

    /// Does without an entry that cannot be read, if that is a way out.
    fn give_up(&mut self, what: &str, name: Name<'_>, errno: Errno) -> Outcome {
        match (self.origin, Reason::of(errno)) {
            (Origin::Target(..), Some(reason)) => {
                self.leave_out(name, reason);
                Ok(())
            }
            _ => Err(self.failure(what, name, errno)),
        }
    }

    fn file(&mut self, name: Name<'_>, from: Handed) -> Outcome {
        let source = match Metadata::of(&from) {
            Ok(source) => source,
            Err(errno) => {
                from.refuse();
                return self.give_up("look at the file", name, errno);
            }
        };
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
        let mode = self.origin.file_mode(source.mode);
        let own = self.create(name, mode)?;
        if !self.is_neighbour(&source) {
            // Nothing is asked of its file system, not even to be let go.
            from.refuse();
            self.unmake(name)?;
            self.leave_out(name, Reason::OtherFileSystem);
            return Ok(());
        }
        let from = from.accept();
        if let Err(errno) = self.content(name, &source, &from, &own)? {
            self.unmake(name)?;
            return self.give_up("read the file", name, errno);
        }
        self.finish(name, own, mode, source.mtime)?;
        if source.links > 1 { self.remember(name, &source) } else { Ok(()) }
    }

    /// Whether a file is on the file system that we make ours on: its server is the kernel, or one that the site
    /// trusts.
    fn is_neighbour(&self, source: &Metadata) -> bool {
        let is_one = |first: &Metadata| first.device() == source.device() || first.shares_mount_with(source);
        self.own_kind.is_some_and(|kind| is_one(&kind.first))
    }

    /// Removes a file that was made for what does not come.
    fn unmake(&self, name: Name<'_>) -> Outcome {
        unlinkat(self.walk.directory(), name.bytes(), AtFlags::empty())
            .map_err(|errno| self.failure("remove the file", name, errno))
    }

    fn small_file(&mut self, name: Name<'_>, mode: Mode, mtime: Time, content: &[u8]) -> Outcome {
        let own = self.create(name, mode)?;
        write_all(own.as_fd(), content, 0).map_err(|errno| self.failure("write the file", name, errno))?;
        self.bounds.add_bytes(&mut self.totals, u64::try_from(content.len()).unwrap_or(u64::MAX))?;
        self.finish(name, own, mode, mtime)
    }

    fn create(&mut self, name: Name<'_>, mode: Mode) -> Outcome<OwnedFd> {
        let unmade = |receiver: &Self, errno: Errno| receiver.failure("make the file", name, errno);
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        // Nobody else can get at the file before the whole tree is in its place, so it can have its mode from the
        // start. The first one is asked for with every bit that any can have, to see whether one is taken away.
        let first = self.own_kind.is_none();
        let asked = if first { mode_of(KEPT_MODE) } else { mode };
        let own = openat(self.walk.directory(), name.bytes(), flags, asked).map_err(|errno| unmade(self, errno))?;
        if first {
            let made = Metadata::of(&own).map_err(|errno| unmade(self, errno))?;
            self.own_kind = Some(OwnKind { first: made, exact: made.mode == KEPT_MODE });
            fchmod(&own, mode).map_err(|errno| unmade(self, errno))?;
        }
        Ok(own)
    }

    fn finish(&mut self, name: Name<'_>, own: OwnedFd, mode: Mode, mtime: Time) -> Outcome {
        let exact = self.own_kind.is_some_and(|kind| kind.exact);
        let finished = if exact { Ok(()) } else { fchmod(&own, mode) }.and_then(|()| futimens(&own, &mtime.into()));
        // Some file systems say only now that there was no room (NFS, FUSE).
        finished
            .and_then(|()| sys::close_written(own))
            .map_err(|errno| self.failure("finish the file", name, errno))?;
        self.totals.files = self.totals.files.saturating_add(1);
        Ok(())
    }

    /// Fills a file. The inner error is the kernel's word when the source was read.
    fn content(
        &mut self,
        name: Name<'_>,
        source: &Metadata,
        from: &OwnedFd,
        own: &OwnedFd,
    ) -> Outcome<Result<(), Errno>> {
        let Receiver { copier, bounds, totals, connection, progress, next_news, .. } = self;
        let copied = copier.copy(from.as_fd(), own.as_fd(), source, |bytes| {
            bounds.add_bytes(totals, bytes)?;
            bounds.check_time()?;
            tell_news(totals, connection, progress, next_news);
            Ok(())
        });
        match copied {
            Ok(()) => Ok(Ok(())),
            Err(Uncopied::Unreadable(errno)) => Ok(Err(errno)),
            Err(Uncopied::Stopped(failure)) => Err(failure),
            Err(Uncopied::Changed) => Err(self.report.changed(name)),
            Err(Uncopied::System(errno)) => Err(self.failure("copy the file", name, errno)),
        }
    }

    /// Makes `name` a further name of a file that is here already under the source's inode number; false if there is
    /// none.
    fn linked(&mut self, name: Name<'_>, source: &Metadata) -> Outcome<bool> {
        match self.hard_links.link(self.walk.directory(), name, source) {
            Ok(Linked::Yes) => Ok(true),
            Ok(Linked::No) => Ok(false),
            Ok(Linked::Changed) => Err(self.report.changed(name)),
            Err(errno) => Err(self.failure("link the file", name, errno)),
        }
    }

    fn remember(&mut self, name: Name<'_>, source: &Metadata) -> Outcome {
        self.hard_links.remember(&self.root, self.walk.directory(), name, source)
    }
}

/// Tells the sender and who watches, but not too often.
fn tell_news(totals: &Totals, connection: &Connection, progress: &mut Progress, next: &mut Instant) {
    let now = Instant::now();
    progress.show(totals);
    beat();
    if now >= *next {
        end_after(limits::STUCK_DEADLINE);
        connection.send_if_room(&Verdict::Progress(*totals).encode());
        *next = now.checked_add(NEWS_PAUSE).unwrap_or(now);
    }
}

/// Where no watchdog does it, the kernel's alarm ends a process that gets stuck.
fn end_after(patience: Duration) {
    if !is_worker() {
        wait::end_after(patience);
    }
}

#[cfg(test)]
mod tests {
    use super::{Origin, receive_all};
    use crate::confine::Confined;
    use crate::copy::progress::Progress;
    use crate::copy::rules::CleanupRules;
    use crate::files::component::Component;
    use crate::files::metadata::Time;
    use crate::ground::outcome::Outcome;
    use crate::protocol::connection::{Connection, pair};
    use crate::protocol::record::Record;
    use crate::protocol::record_writer::encode;
    use crate::protocol::tree::RECORDS_BEGIN;
    use core::time::Duration;

    /// Receives an empty tree for which there is this much time.
    fn receive_within(time: Duration) -> Outcome {
        let (ours, theirs) = pair().unwrap();
        let mut packet = RECORDS_BEGIN.to_vec();
        encode(&Record::End { entries: 0, mode: 0o755, mtime: Time { seconds: 0, nanoseconds: 0 } }, &mut packet);
        Connection::new(theirs).send(&packet, &[]).unwrap();
        let proxy = Component::new(b"x509").unwrap();
        let root = std::fs::File::open(env!("CARGO_MANIFEST_DIR")).unwrap().into();
        let origin = Origin::Target(&proxy, &[], CleanupRules { time, ..CleanupRules::default() });
        receive_all(&Connection::new(ours), &root, origin, Progress::none(), &Confined::assumed()).map(|_| ())
    }

    #[test]
    fn a_copy_that_takes_too_long_is_refused_by_the_name_of_its_bound() {
        assert_eq!(receive_within(CleanupRules::default().time), Ok(()));
        let why = receive_within(Duration::ZERO).expect_err("its time is over").to_string();
        assert!(why.contains("took longer to copy than 0 s") && why.contains("cleanup-seconds"), "{why}");
    }
}

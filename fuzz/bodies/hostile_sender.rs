//! A sender that says anything, by steps, and knows what an honest one's tree must come to.

use super::input::Input;
use super::playground::{Playground, Seen, all, look, null, open, say};
use glexec_rs::copy::rules::CleanupRules;
use glexec_rs::files::metadata::Time;
use glexec_rs::files::name::Name;
use glexec_rs::protocol::answer::Failed;
use glexec_rs::protocol::connection::pair;
use glexec_rs::protocol::packet::{PACKET_BYTES, PACKET_DESCRIPTORS};
use glexec_rs::protocol::record::{Reason, Record};
use glexec_rs::protocol::record_writer::encode;
use glexec_rs::protocol::request::Commit;
use glexec_rs::protocol::tree::{RECORDS_BEGIN, Totals, Verdict};
use rustix::fs::{CWD, FileType, MemfdFlags, Mode, OFlags, memfd_create, mknodat};
use rustix::net::Shutdown;
use std::collections::BTreeMap;
use std::fs::{self, Permissions};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// The proxy's name.
pub const PROXY: &str = "x509";

/// Names that mean something to somebody, and some to run into each other.
pub const NAMES: [&[u8]; 16] = [
    b"a",
    b"b",
    b"c",
    b"d",
    b"old",
    b"x509",
    b".glexec-new-proxy",
    b".glexec-incoming-0",
    b".glexec-links-0",
    b"tree",
    b"..",
    b".",
    b"a/b",
    b"",
    b"n\n\x1b\xff",
    &[b'l'; 255],
];

/// Targets of links, some of which lead out.
pub const TARGETS: [&[u8]; 16] = [
    b"a",
    b"..",
    b".",
    b"../..",
    b"../../beside",
    b"/etc/passwd",
    b"x509",
    b"../x509",
    b"./x509/.",
    b"a/../../beside",
    b"b/b/b",
    b"../b",
    b"a/..",
    b"old",
    b"",
    b"/",
];

/// The steps of a sender by their numbers. The last one is a message of another kind.
pub mod step {
    pub const ENTER: u8 = 0;
    pub const LEAVE: u8 = 1;
    pub const FILE: u8 = 2;
    pub const SMALL: u8 = 3;
    pub const SYMLINK: u8 = 4;
    pub const LEFT_OUT: u8 = 5;
    pub const END: u8 = 6;
    pub const FLUSH: u8 = 7;
    pub const WRONG_END: u8 = 8;
    pub const RAW: u8 = 9;
    pub const EXTRA: u8 = 10;
    pub const ALL: usize = 12;
}

/// What a job can pass as a file.
pub struct Sources {
    pub playground: Playground,
}

impl Sources {
    /// The objects by number; and what they must become, if that is a file.
    pub fn pass(&self, kind: usize) -> (OwnedFd, Kept) {
        let names = ["plain", "plain", "twice", "twice", "set-id", "sparse", "empty", "large", "closed", "write-only"];
        let path = self.playground.path.join(names[kind.min(names.len() - 1)]);
        let content: Vec<u8> = match kind {
            0..=4 => b"content".to_vec(),
            5 => {
                let mut sparse = vec![0; 1 << 20];
                sparse.extend(b"end");
                sparse
            }
            7 => (0..20_000_u32).map(|at| at as u8).collect(),
            _ => Vec::new(),
        };
        if !path.exists() && kind < names.len() {
            let file = fs::File::create_new(&path).expect("a new file");
            match kind {
                5 => file.set_len(content.len() as u64).and_then(|()| file.write_all_at(b"end", 1 << 20)),
                _ => file.write_all_at(&content, 0),
            }
            .expect("room");
            let mode = [0o644, 0o644, 0o600, 0o600, 0o6777, 0o640, 0o400, 0o755, 0, 0o666][kind];
            fs::set_permissions(&path, Permissions::from_mode(mode)).expect("its mode");
            if kind == 2 || kind == 3 {
                fs::hard_link(&path, path.with_extension("name")).expect("a second name");
            }
        }
        match kind {
            0..=7 => (open(&path, OFlags::RDONLY), Kept::As(look(&path))),
            8 => (open(&path, OFlags::PATH), Kept::Fatal),
            9 => (open(&path, OFlags::WRONLY), Kept::Fatal),
            10 => (null(), Kept::LeftOut),
            11 => (open(&self.playground.path, OFlags::RDONLY), Kept::LeftOut),
            12 => {
                let fifo = self.playground.path.join("fifo");
                let _ = mknodat(CWD, &fifo, FileType::Fifo, Mode::RUSR, 0);
                (open(&fifo, OFlags::RDONLY | OFlags::NONBLOCK), Kept::LeftOut)
            }
            13 => (pair().expect("a pair").0, Kept::LeftOut),
            14 => (memfd_create(c"memory", MemfdFlags::CLOEXEC).expect("memory"), Kept::Elsewhere),
            _ => (open(Path::new("/proc/self/status"), OFlags::RDONLY), Kept::Elsewhere),
        }
    }
}

/// How many kinds of objects there are.
pub const KINDS: usize = 16;

/// What becomes of something that is passed.
pub enum Kept {
    As(Seen),
    LeftOut,
    /// A regular file of another file system.
    Elsewhere,
    /// The copy fails.
    Fatal,
}

/// What an entry of the result must be.
#[derive(Debug)]
pub struct Wanted {
    pub kind: FileType,
    pub mode: u16,
    pub mtime: (i64, u32),
    pub content: Vec<u8>,
}

/// A sender, and what an honest one's tree must come to.
pub struct Sender<'g> {
    socket: OwnedFd,
    sources: &'g Sources,
    packet: Vec<u8>,
    files: Vec<OwnedFd>,
    pub from_pilot: bool,
    rules: CleanupRules,
    totals: Totals,
    here: PathBuf,
    depth: usize,
    /// `None` as soon as something was said that must be refused, or might be.
    pub wanted: Option<BTreeMap<PathBuf, Wanted>>,
    pub ended: bool,
}

impl<'g> Sender<'g> {
    pub fn new(socket: OwnedFd, sources: &'g Sources, from_pilot: bool, rules: CleanupRules) -> Self {
        let rules = if from_pilot { CleanupRules::default() } else { rules };
        Sender {
            socket,
            sources,
            packet: RECORDS_BEGIN.to_vec(),
            files: Vec::new(),
            from_pilot,
            rules,
            totals: Totals::default(),
            here: PathBuf::new(),
            depth: 0,
            wanted: Some(BTreeMap::new()),
            ended: false,
        }
    }

    pub fn speak(&mut self, input: &mut Input<'_>) {
        while !input.is_empty() {
            self.step(input);
            if self.packet.len() > PACKET_BYTES - Record::BYTES || self.files.len() >= PACKET_DESCRIPTORS {
                self.flush();
            }
        }
        if self.packet.len() > RECORDS_BEGIN.len() || !self.files.is_empty() {
            self.flush();
        }
        rustix::net::shutdown(&self.socket, Shutdown::Write).expect("a connected socket");
    }

    fn flush(&mut self) {
        let said = say(&self.socket, &self.packet, &all(&self.files));
        if !said || self.packet.len() == RECORDS_BEGIN.len() {
            self.wanted = None;
        }
        self.packet.truncate(RECORDS_BEGIN.len());
        self.files.clear();
    }

    fn step(&mut self, input: &mut Input<'_>) {
        let step = input.byte();
        if self.ended {
            self.wanted = None;
        }
        match (usize::from(step) % step::ALL) as u8 {
            step::ENTER => {
                if let Some((name, mode, mtime)) = self.entry(input) {
                    self.add(&Record::Enter { name, mode, mtime });
                    self.want(name, FileType::Directory, mode & 0o755 | self.added(0o700), mtime, &[]);
                    if self.depth >= self.rules.depth {
                        self.wanted = None;
                    }
                    self.depth += 1;
                    self.here.push(std::ffi::OsStr::from_bytes(name.bytes()));
                }
            }
            step::LEAVE => {
                if self.depth == 0 {
                    self.wanted = None;
                }
                self.depth = self.depth.saturating_sub(1);
                self.here.pop();
                self.add(&Record::Leave);
            }
            step::FILE => {
                if let Some(name) = self.name(input) {
                    let (file, kept) = self.sources.pass(input.choice(KINDS));
                    self.files.push(file);
                    self.add(&Record::File { name });
                    match kept {
                        Kept::As(seen) => {
                            let mtime = Time { seconds: seen.mtime.0, nanoseconds: seen.mtime.1 };
                            self.want(
                                name,
                                FileType::RegularFile,
                                seen.mode & 0o755 | self.added(0o400),
                                mtime,
                                &seen.content,
                            );
                        }
                        Kept::LeftOut => self.count(name),
                        Kept::Elsewhere | Kept::Fatal => self.wanted = None,
                    }
                }
            }
            step::SMALL => {
                if let Some((name, mode, mtime)) = self.entry(input) {
                    let content = input.text();
                    self.add(&Record::Small { name, mode, mtime, content });
                    self.want(name, FileType::RegularFile, mode & 0o755 | self.added(0o400), mtime, content);
                }
            }
            step::SYMLINK => {
                if let Some((name, _, mtime)) = self.entry(input) {
                    let target = input.pick(&TARGETS);
                    self.add(&Record::Symlink { name, target, mtime });
                    if self.from_pilot && !target.is_empty() && !target.contains(&0) {
                        self.want(name, FileType::Symlink, 0, mtime, target);
                    } else {
                        // Whether it stays is the receiver's decision, which is checked by its result.
                        self.count(name);
                        self.wanted = None;
                    }
                }
            }
            step::LEFT_OUT => {
                if let Some(name) = self.name(input) {
                    self.count(name);
                    self.add(&Record::LeftOut { name, reason: Reason::Special });
                }
            }
            step::END => {
                let (mode, mtime) = (mode(input), time(input));
                self.fits(mode, mtime);
                if self.depth > 0 {
                    self.wanted = None;
                }
                self.add(&Record::End { entries: self.totals.entries, mode, mtime });
                self.ended = true;
            }
            step::FLUSH => self.flush(),
            step::WRONG_END => {
                self.wanted = None;
                let mtime = time(input);
                self.add(&Record::End { entries: u64::from_le_bytes(input.number()), mode: mode(input), mtime });
            }
            step::RAW => {
                self.wanted = None;
                self.packet.extend_from_slice(input.text());
            }
            step::EXTRA => {
                self.wanted = None;
                let (file, _) = self.sources.pass(input.choice(KINDS));
                self.files.push(file);
            }
            _ => {
                self.wanted = None;
                let message = match input.choice(4) {
                    0 => Failed(input.text()).encode(),
                    1 => Verdict::Complete(Totals::default()).encode(),
                    2 => Commit.encode(),
                    _ => input.text().to_vec(),
                };
                say(&self.socket, &message, &[]);
            }
        }
    }

    fn add(&mut self, record: &Record<'_>) {
        encode(record, &mut self.packet);
    }

    /// A name; one that is none goes out as it is.
    fn name<'d>(&mut self, input: &mut Input<'d>) -> Option<Name<'d>> {
        let bytes = input.pick(&NAMES);
        let name = Name::new(bytes).ok().filter(|name| self.depth < 8 || name.bytes().len() < 32);
        if name.is_none() {
            self.wanted = None;
            // A file's record with it.
            let length = (bytes.len() as u16).to_le_bytes();
            self.packet.extend_from_slice(&[&[3], &length[..], bytes].concat());
        }
        name
    }

    fn entry<'d>(&mut self, input: &mut Input<'d>) -> Option<(Name<'d>, u16, Time)> {
        let name = self.name(input)?;
        let (mode, mtime) = (mode(input), time(input));
        self.fits(mode, mtime);
        Some((name, mode, mtime))
    }

    fn fits(&mut self, mode: u16, mtime: Time) {
        if mode > 0o7777 || mtime.nanoseconds >= 1_000_000_000 {
            self.wanted = None;
        }
    }

    fn count(&mut self, name: Name<'_>) {
        self.totals.entries += 1;
        let is_proxy = !self.from_pilot && self.depth == 0 && name.bytes() == PROXY.as_bytes();
        if is_proxy || self.totals.entries > self.rules.entries {
            self.wanted = None;
        }
    }

    /// What the pilot is to be able to do with what comes back.
    fn added(&self, bits: u16) -> u16 {
        if self.from_pilot { 0 } else { bits }
    }

    fn want(&mut self, name: Name<'_>, kind: FileType, mode: u16, mtime: Time, content: &[u8]) {
        self.count(name);
        if kind == FileType::RegularFile {
            self.totals.bytes += content.len() as u64;
        }
        // Holes do not count, so a bound that is near may hold or not.
        let may_be_too_much = self.totals.bytes > self.rules.bytes;
        let path = self.here.join(std::ffi::OsStr::from_bytes(name.bytes()));
        let Some(wanted) = &mut self.wanted else { return };
        let mtime = (mtime.seconds, mtime.nanoseconds);
        let there = wanted.insert(path, Wanted { kind, mode, mtime, content: content.to_vec() });
        if there.is_some() || may_be_too_much {
            self.wanted = None;
        }
    }
}

/// Permission bits, or a little more.
fn mode(input: &mut Input<'_>) -> u16 {
    let mode = u16::from_le_bytes(input.number());
    if mode & 0xe000 == 0xe000 { mode } else { mode & 0o7777 }
}

/// A time; from 255 on the whole range, also what is none.
fn time(input: &mut Input<'_>) -> Time {
    match input.byte() {
        255 => Time {
            seconds: i64::from_le_bytes(input.number()),
            nanoseconds: u32::from_le_bytes(input.number()) & 0x3fff_ffff,
        },
        short => Time { seconds: i64::from(short) << 23, nanoseconds: u32::from(short) << 20 },
    }
}

/// A record as the sender's steps, for the making of inputs out of real trees; `None` for one that has no step or
/// does not fit.
pub fn as_step(record: &Record<'_>) -> Option<Vec<u8>> {
    let text = |bytes: &[u8]| Some([&[u8::try_from(bytes.len()).ok()?], bytes].concat());
    let named = |bytes: &[u8], known: &[&[u8]; 16]| match known.iter().position(|known| *known == bytes) {
        Some(at) => Some(vec![u8::try_from(at).ok()?]),
        None => Some([&[u8::try_from(bytes.len() + known.len() - 1).ok()?], bytes].concat()),
    };
    let attributes = |mode: &u16, mtime: &Time| {
        [&mode.to_le_bytes()[..], &[255], &mtime.seconds.to_le_bytes(), &mtime.nanoseconds.to_le_bytes()].concat()
    };
    Some(match record {
        Record::Enter { name, mode, mtime } => {
            [vec![step::ENTER], named(name.bytes(), &NAMES)?, attributes(mode, mtime)].concat()
        }
        Record::Leave => vec![step::LEAVE],
        Record::File { name } => [vec![step::FILE], named(name.bytes(), &NAMES)?, vec![7]].concat(),
        Record::Small { name, mode, mtime, content } => {
            [vec![step::SMALL], named(name.bytes(), &NAMES)?, attributes(mode, mtime), text(content)?].concat()
        }
        Record::Symlink { name, target, mtime } => {
            let name = named(name.bytes(), &NAMES)?;
            [vec![step::SYMLINK], name, attributes(&0o777, mtime), named(target, &TARGETS)?].concat()
        }
        Record::LeftOut { name, .. } => [vec![step::LEFT_OUT], named(name.bytes(), &NAMES)?].concat(),
        Record::End { mode, mtime, .. } => [vec![step::END], attributes(mode, mtime)].concat(),
    })
}

//! What the two sides of a copy say to each other, byte for byte.
//!
//! Every packet begins with one byte that says what it is. Integers are little-endian, texts and names are a `u16` length and
//! that many bytes. A packet of records holds whole records only, one after the other; the descriptors of its files come with it, in
//! the same order. Nothing may be left over behind the last field.

#![forbid(unsafe_code)]

use crate::files::component::Component;
use crate::files::metadata::Time;
use crate::ground::limits;

/// Why something of the tree is not part of the copy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// A device, FIFO or socket.
    Special,
    /// Below another mount point.
    OtherFileSystem,
    /// A symbolic link that could lead out of the sandbox or to the proxy.
    EscapingLink,
    /// Another account's, which the job could not read.
    Unreadable,
    /// A symbolic link of a job, where the site takes none back.
    AnyLink,
}

impl Reason {
    const ALL: [(u8, Reason); 5] = [
        (1, Reason::Special),
        (2, Reason::OtherFileSystem),
        (3, Reason::EscapingLink),
        (4, Reason::Unreadable),
        (5, Reason::AnyLink),
    ];

    /// What a report calls it.
    pub const fn text(self) -> &'static str {
        match self {
            Reason::Special => "a device, FIFO or socket",
            Reason::OtherFileSystem => "on another file system",
            Reason::EscapingLink => "a symbolic link that could lead out of the sandbox or to the proxy",
            Reason::Unreadable => "another account's, not readable for the job",
            Reason::AnyLink => "a symbolic link; this site takes none back",
        }
    }
}

/// One step of a tree, from the sender to the receiver.
#[derive(Debug, PartialEq, Eq)]
pub enum Record<'a> {
    /// Makes a directory in the current one and goes into it.
    Enter {
        /// Its name.
        name: Component,
        /// Its permission bits.
        mode: u16,
        /// Its modification time, set when it is left.
        mtime: Time,
    },
    /// Goes back to the parent directory.
    Leave,
    /// A regular file: the next descriptor of the packet. Everything but the name is read from the descriptor.
    File {
        /// Its name.
        name: Component,
    },
    /// A small regular file with one name.
    Small {
        /// Its name.
        name: Component,
        /// Its permission bits.
        mode: u16,
        /// Its modification time.
        mtime: Time,
        /// All of it, at most [`limits::INLINE_BYTES`].
        content: &'a [u8],
    },
    /// A symbolic link.
    Symlink {
        /// Its name.
        name: Component,
        /// Where it points, 1 to 4095 bytes without NUL.
        target: &'a [u8],
        /// Its modification time.
        mtime: Time,
    },
    /// Something that the sender leaves out.
    LeftOut {
        /// Its name.
        name: Component,
        /// Why.
        reason: Reason,
    },
    /// The tree is complete; the current directory is the sandbox itself again.
    End {
        /// How many of the records above came, all kinds together.
        entries: u64,
        /// The sandbox's own permission bits.
        mode: u16,
        /// The sandbox's own modification time.
        mtime: Time,
    },
}

/// What the receiver has made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Entries of all kinds, those left out included.
    pub entries: u64,
    /// Regular files that were created.
    pub files: u64,
    /// Directories below the sandbox.
    pub directories: u64,
    /// Symbolic links.
    pub symlinks: u64,
    /// Further names of files that were already there.
    pub hard_links: u64,
    /// Bytes of data, holes not counted.
    pub bytes: u64,
    /// Entries that were left out.
    pub left_out: u64,
}

/// What a packet is.
#[derive(Debug, PartialEq, Eq)]
pub enum Message<'a> {
    /// Records of the tree.
    Records(&'a [u8]),
    /// News from the receiver: it is alive, this is done.
    Progress(Totals),
    /// The receiver has all of the tree, whole.
    Complete(Totals),
    /// The sender may (or the receiver has to) make it final; from here on the source may go.
    Commit,
    /// What followed the commit is done.
    Done,
    /// It cannot be done; the text is for people.
    Failed(&'a [u8]),
    /// Hands a sandbox over: where it is to be, and how the pilot sees its parent.
    Place(Place<'a>),
    /// Ready for records.
    Ready,
    /// A signal for the process behind the packet's descriptor.
    Signal(u8),
    /// What became of the signal: 0, or an errno, at most 4095.
    Signalled(u16),
}

/// Where the target side finds its work.
#[derive(Debug, PartialEq, Eq)]
pub struct Place<'a> {
    /// The absolute path of the directory that holds the sandbox.
    pub parent: &'a [u8],
    /// Device number and inode of that directory as the pilot sees it.
    pub identity: (u64, u64),
    /// The directory to make, to send or to remove.
    pub name: Component,
    /// The proxy's name in the sandbox.
    pub proxy: Component,
    /// In cleanup: nothing is to be sent, only what an interrupted cleanup left is to be removed.
    pub remove_only: bool,
}

/// Bytes that are not what the protocol allows; says what.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Malformed(pub &'static str);

mod tag {
    pub const RECORDS: u8 = b'R';
    pub const PROGRESS: u8 = b'P';
    pub const COMPLETE: u8 = b'A';
    pub const COMMIT: u8 = b'C';
    pub const DONE: u8 = b'D';
    pub const FAILED: u8 = b'F';
    pub const PLACE: u8 = b'L';
    pub const READY: u8 = b'Y';
    pub const SIGNAL: u8 = b'S';
    pub const SIGNALLED: u8 = b'G';

    pub const ENTER: u8 = 1;
    pub const LEAVE: u8 = 2;
    pub const FILE: u8 = 3;
    pub const SYMLINK: u8 = 4;
    pub const LEFT_OUT: u8 = 5;
    pub const END: u8 = 6;
    pub const SMALL: u8 = 7;
}

/// The largest errno of Linux.
const ERRNO_MOST: u16 = 4095;

/// The longest text of [`Message::Failed`] that is sent, in bytes.
const FAILED_BYTES: usize = 512;

/// Appends fields to a packet.
struct Writer<'p>(&'p mut Vec<u8>);

impl Writer<'_> {
    fn byte(self, value: u8) -> Self {
        self.0.push(value);
        self
    }

    fn number<const N: usize>(self, bytes: [u8; N]) -> Self {
        self.0.extend_from_slice(&bytes);
        self
    }

    /// At most 65,535 bytes; callers send names, link targets and paths, all of which are shorter.
    fn text(self, text: &[u8]) -> Self {
        let length = u16::try_from(text.len()).unwrap_or(u16::MAX);
        self.0.extend_from_slice(&length.to_le_bytes());
        self.0.extend_from_slice(text.get(..usize::from(length)).unwrap_or_default());
        self
    }

    fn time(self, time: Time) -> Self {
        self.number(time.seconds.to_le_bytes()).number(time.nanoseconds.to_le_bytes())
    }

    fn totals(self, totals: &Totals) -> Self {
        let Totals { entries, files, directories, symlinks, hard_links, bytes, left_out } = *totals;
        [entries, files, directories, symlinks, hard_links, bytes, left_out]
            .iter()
            .fold(self, |writer, number| writer.number(number.to_le_bytes()))
    }
}

impl Record<'_> {
    /// The most bytes that one record takes.
    pub const BYTES: usize = 1 + 2 + limits::NAME_BYTES + 2 + 12 + 2 + limits::INLINE_BYTES;

    /// Appends the record to a packet that began with [`Message::Records`].
    pub fn encode(&self, packet: &mut Vec<u8>) {
        let writer = Writer(packet);
        match self {
            Record::Enter { name, mode, mtime } => {
                writer.byte(tag::ENTER).text(name.bytes()).number(mode.to_le_bytes()).time(*mtime)
            }
            Record::Leave => writer.byte(tag::LEAVE),
            Record::File { name } => writer.byte(tag::FILE).text(name.bytes()),
            Record::Small { name, mode, mtime, content } => {
                writer.byte(tag::SMALL).text(name.bytes()).number(mode.to_le_bytes()).time(*mtime).text(content)
            }
            Record::Symlink { name, target, mtime } => {
                writer.byte(tag::SYMLINK).text(name.bytes()).text(target).time(*mtime)
            }
            Record::LeftOut { name, reason } => {
                let code = Reason::ALL.iter().find(|(_, known)| known == reason).map_or(0, |(code, _)| *code);
                writer.byte(tag::LEFT_OUT).text(name.bytes()).byte(code)
            }
            Record::End { entries, mode, mtime } => {
                writer.byte(tag::END).number(entries.to_le_bytes()).number(mode.to_le_bytes()).time(*mtime)
            }
        };
    }
}

impl<'a> Message<'a> {
    /// The message as a packet. For [`Message::Records`] that is how the packet begins.
    pub fn encode(&self) -> Vec<u8> {
        let mut packet = Vec::new();
        let writer = Writer(&mut packet);
        let _ = match self {
            Message::Records(records) => {
                let writer = writer.byte(tag::RECORDS);
                writer.0.extend_from_slice(records);
                writer
            }
            Message::Progress(totals) => writer.byte(tag::PROGRESS).totals(totals),
            Message::Complete(totals) => writer.byte(tag::COMPLETE).totals(totals),
            Message::Commit => writer.byte(tag::COMMIT),
            Message::Done => writer.byte(tag::DONE),
            Message::Failed(text) => writer.byte(tag::FAILED).text(text.get(..FAILED_BYTES).unwrap_or(text)),
            Message::Place(place) => writer
                .byte(tag::PLACE)
                .text(place.parent)
                .number(place.identity.0.to_le_bytes())
                .number(place.identity.1.to_le_bytes())
                .text(place.name.bytes())
                .text(place.proxy.bytes())
                .byte(u8::from(place.remove_only)),
            Message::Ready => writer.byte(tag::READY),
            Message::Signal(signal) => writer.byte(tag::SIGNAL).byte(*signal),
            Message::Signalled(errno) => writer.byte(tag::SIGNALLED).number(errno.to_le_bytes()),
        };
        packet
    }

    /// Reads a packet. Pure: nothing but the bytes decides.
    ///
    /// # Errors
    /// When the packet is none of the above, is cut short, has anything left over, or a field is out of range.
    pub fn decode(packet: &'a [u8]) -> Result<Self, Malformed> {
        let mut reader = Reader(packet);
        let message = match reader.byte()? {
            tag::RECORDS => return Ok(Message::Records(reader.0)),
            tag::PROGRESS => Message::Progress(reader.totals()?),
            tag::COMPLETE => Message::Complete(reader.totals()?),
            tag::COMMIT => Message::Commit,
            tag::DONE => Message::Done,
            tag::FAILED => Message::Failed(reader.text(FAILED_BYTES)?),
            tag::PLACE => Message::Place(Place {
                parent: reader.text(limits::PATH_BYTES)?,
                identity: (reader.u64()?, reader.u64()?),
                name: reader.name()?,
                proxy: reader.name()?,
                remove_only: match reader.byte()? {
                    0 => false,
                    1 => true,
                    _ => return Err(Malformed("a flag that is neither 0 nor 1")),
                },
            }),
            tag::READY => Message::Ready,
            tag::SIGNAL => Message::Signal(reader.byte()?),
            tag::SIGNALLED => match reader.u16()? {
                errno @ 0..=ERRNO_MOST => Message::Signalled(errno),
                _ => return Err(Malformed("an errno out of range")),
            },
            _ => return Err(Malformed("a packet of an unknown kind")),
        };
        if reader.0.is_empty() { Ok(message) } else { Err(Malformed("bytes behind the last field")) }
    }
}

/// Takes fields from the front of a packet.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, count: usize) -> Result<&'a [u8], Malformed> {
        let (front, rest) = self.0.split_at_checked(count).ok_or(Malformed("a packet that is cut short"))?;
        self.0 = rest;
        Ok(front)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Malformed> {
        self.take(N)?.try_into().map_err(|_| Malformed("a packet that is cut short"))
    }

    fn byte(&mut self) -> Result<u8, Malformed> {
        self.array::<1>().map(|[byte]| byte)
    }

    fn u16(&mut self) -> Result<u16, Malformed> {
        self.array().map(u16::from_le_bytes)
    }

    fn u32(&mut self) -> Result<u32, Malformed> {
        self.array().map(u32::from_le_bytes)
    }

    fn u64(&mut self) -> Result<u64, Malformed> {
        self.array().map(u64::from_le_bytes)
    }

    fn text(&mut self, most: usize) -> Result<&'a [u8], Malformed> {
        let length = usize::from(self.u16()?);
        if length > most {
            return Err(Malformed("a text that is too long"));
        }
        self.take(length)
    }

    fn name(&mut self) -> Result<Component, Malformed> {
        Component::new(self.text(limits::NAME_BYTES)?).map_err(|_| Malformed("a name that is not a single file name"))
    }

    fn mode(&mut self) -> Result<u16, Malformed> {
        let mode = self.u16()?;
        if mode > 0o7777 { Err(Malformed("a mode with more than permission bits")) } else { Ok(mode) }
    }

    fn time(&mut self) -> Result<Time, Malformed> {
        let time = Time { seconds: self.array().map(i64::from_le_bytes)?, nanoseconds: self.u32()? };
        if time.nanoseconds < 1_000_000_000 { Ok(time) } else { Err(Malformed("a time out of range")) }
    }

    fn totals(&mut self) -> Result<Totals, Malformed> {
        Ok(Totals {
            entries: self.u64()?,
            files: self.u64()?,
            directories: self.u64()?,
            symlinks: self.u64()?,
            hard_links: self.u64()?,
            bytes: self.u64()?,
            left_out: self.u64()?,
        })
    }

    fn record(&mut self) -> Result<Record<'a>, Malformed> {
        Ok(match self.byte()? {
            tag::ENTER => Record::Enter { name: self.name()?, mode: self.mode()?, mtime: self.time()? },
            tag::LEAVE => Record::Leave,
            tag::FILE => Record::File { name: self.name()? },
            tag::SMALL => Record::Small {
                name: self.name()?,
                mode: self.mode()?,
                mtime: self.time()?,
                content: self.text(limits::INLINE_BYTES)?,
            },
            tag::SYMLINK => {
                let name = self.name()?;
                let target = self.text(limits::LINK_BYTES)?;
                if target.is_empty() || target.contains(&0) {
                    return Err(Malformed("a link target that is empty or has a NUL"));
                }
                Record::Symlink { name, target, mtime: self.time()? }
            }
            tag::LEFT_OUT => {
                let name = self.name()?;
                let code = self.byte()?;
                let reason = Reason::ALL.iter().find(|(known, _)| *known == code);
                Record::LeftOut { name, reason: reason.ok_or(Malformed("an unknown reason"))?.1 }
            }
            tag::END => Record::End { entries: self.u64()?, mode: self.mode()?, mtime: self.time()? },
            _ => return Err(Malformed("a record of an unknown kind")),
        })
    }
}

/// The records of a packet, one by one. It ends with the packet, or with the first error.
pub struct Records<'a>(Option<Reader<'a>>);

impl<'a> Records<'a> {
    /// Reads what [`Message::Records`] holds.
    pub fn new(bytes: &'a [u8]) -> Self {
        Records(Some(Reader(bytes)))
    }
}

impl<'a> Iterator for Records<'a> {
    type Item = Result<Record<'a>, Malformed>;

    fn next(&mut self) -> Option<Self::Item> {
        let reader = self.0.as_mut().filter(|reader| !reader.0.is_empty())?;
        let record = reader.record();
        if record.is_err() {
            self.0 = None;
        }
        Some(record)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &[u8]) -> Component {
        Component::new(text).unwrap()
    }

    const TIME: Time = Time { seconds: -7, nanoseconds: 999_999_999 };

    fn records() -> Vec<Record<'static>> {
        vec![
            Record::Enter { name: name(b"\xff\n"), mode: 0o7777, mtime: TIME },
            Record::File { name: name(&[b'n'; 255]) },
            Record::Symlink { name: name(b"l"), target: &[b't'; limits::LINK_BYTES], mtime: TIME },
            Record::Small { name: name(&[b's'; 255]), mode: 0o600, mtime: TIME, content: &[0; limits::INLINE_BYTES] },
            Record::Small { name: name(b"e"), mode: 0, mtime: TIME, content: b"" },
            Record::LeftOut { name: name(b"f"), reason: Reason::Special },
            Record::LeftOut { name: name(b"f"), reason: Reason::OtherFileSystem },
            Record::LeftOut { name: name(b"f"), reason: Reason::EscapingLink },
            Record::LeftOut { name: name(b"f"), reason: Reason::Unreadable },
            Record::Leave,
            Record::End { entries: u64::MAX, mode: 0, mtime: TIME },
        ]
    }

    fn messages() -> Vec<Message<'static>> {
        let totals =
            Totals { entries: 1, files: 2, directories: 3, symlinks: 4, hard_links: 5, bytes: u64::MAX, left_out: 7 };
        vec![
            Message::Progress(totals),
            Message::Complete(totals),
            Message::Commit,
            Message::Done,
            Message::Failed(b"no\xff"),
            Message::Place(Place {
                parent: b"/x",
                identity: (u64::MAX, 1),
                name: name(b"dir_1"),
                proxy: name(b"p"),
                remove_only: true,
            }),
            Message::Ready,
            Message::Signal(9),
            Message::Signalled(ERRNO_MOST),
        ]
    }

    #[test]
    fn every_record_survives_the_round_trip_and_fits() {
        let mut packet = Vec::new();
        for record in records() {
            let before = packet.len();
            record.encode(&mut packet);
            assert!(packet.len() - before <= Record::BYTES);
        }
        assert_eq!(Records::new(&packet).collect::<Result<Vec<_>, _>>().unwrap(), records());
    }

    #[test]
    fn every_message_survives_and_every_cut_or_longer_one_is_refused() {
        for message in messages() {
            let packet = message.encode();
            assert_eq!(Message::decode(&packet).unwrap(), message);
            for cut in 0..packet.len() {
                assert!(Message::decode(&packet[..cut]).is_err(), "{message:?} cut at {cut}");
            }
            assert!(Message::decode(&[&packet[..], b"x"].concat()).is_err());
        }
    }

    #[test]
    fn an_errno_past_the_largest_is_refused() {
        let packet = Message::Signalled(ERRNO_MOST + 1).encode();
        assert_eq!(Message::decode(&packet), Err(Malformed("an errno out of range")));
    }

    #[test]
    fn every_cut_record_is_refused() {
        for record in records() {
            let mut packet = Vec::new();
            record.encode(&mut packet);
            for cut in (1..packet.len()).filter(|cut| *cut < 400 || cut % 997 == 0 || cut + 1 == packet.len()) {
                assert!(Records::new(&packet[..cut]).any(|r| r.is_err()), "{record:?} cut at {cut}");
            }
        }
    }

    #[test]
    fn fields_out_of_range_are_refused() {
        let refused = |bytes: &[u8]| Records::new(bytes).next().unwrap().is_err();
        for bad in [&b""[..], b".", b"..", b"a/b", b"a\0", &[b'x'; 256]] {
            let mut packet = vec![3];
            packet.extend_from_slice(&u16::try_from(bad.len()).unwrap().to_le_bytes());
            packet.extend_from_slice(bad);
            assert!(refused(&packet), "{bad:?}");
        }
        let link = |target: &'static [u8]| {
            let mut packet = Vec::new();
            Record::Symlink { name: name(b"l"), target, mtime: TIME }.encode(&mut packet);
            packet
        };
        assert!(!refused(&link(b"t")));
        assert!(refused(&link(b"")) && refused(&link(b"a\0b")) && refused(&link(&[b'x'; limits::LINK_BYTES + 1])));
        let small = |count: usize| {
            let mut packet = Vec::new();
            Record::Small { name: name(b"s"), mode: 0, mtime: TIME, content: &vec![1; count] }.encode(&mut packet);
            packet
        };
        assert!(!refused(&small(limits::INLINE_BYTES)) && refused(&small(limits::INLINE_BYTES + 1)));
        let enter = |mode, nanoseconds| {
            let mut packet = Vec::new();
            Record::Enter { name: name(b"d"), mode, mtime: Time { seconds: 0, nanoseconds } }.encode(&mut packet);
            packet
        };
        assert!(!refused(&enter(0o7777, 999_999_999)));
        assert!(refused(&enter(0o10000, 0)) && refused(&enter(0, 1_000_000_000)));
        assert!(refused(&[0]) && refused(&[8]) && refused(&[5, 1, 0, b'x', 0]) && refused(&[5, 1, 0, b'x', 6]));
    }
}

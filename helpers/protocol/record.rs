//! The steps of a tree on its way from one account to the other.

#![forbid(unsafe_code)]

use super::codec::{Malformed, Reader, Writer};
use crate::confine::Confined;
use crate::files::metadata::Time;
use crate::files::name::Name;
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
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Record<'p> {
    /// Makes a directory in the current one and goes into it.
    Enter {
        /// Its name.
        name: Name<'p>,
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
        name: Name<'p>,
    },
    /// A small regular file with one name.
    Small {
        /// Its name.
        name: Name<'p>,
        /// Its permission bits.
        mode: u16,
        /// Its modification time.
        mtime: Time,
        /// All of it, at most [`limits::INLINE_BYTES`].
        content: &'p [u8],
    },
    /// A symbolic link.
    Symlink {
        /// Its name.
        name: Name<'p>,
        /// Where it points, 1 to 4095 bytes without NUL.
        target: &'p [u8],
        /// Its modification time.
        mtime: Time,
    },
    /// Something that the sender leaves out.
    LeftOut {
        /// Its name.
        name: Name<'p>,
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

mod tag {
    pub(crate) const ENTER: u8 = 1;
    pub(crate) const LEAVE: u8 = 2;
    pub(crate) const FILE: u8 = 3;
    pub(crate) const SYMLINK: u8 = 4;
    pub(crate) const LEFT_OUT: u8 = 5;
    pub(crate) const END: u8 = 6;
    pub(crate) const SMALL: u8 = 7;
}

impl Record<'_> {
    /// The most bytes that one record takes.
    pub const BYTES: usize = 1 + 2 + limits::NAME_BYTES + 2 + 12 + 2 + limits::INLINE_BYTES;

    /// Appends the record to a packet that began with [`super::tree::RECORDS_BEGIN`].
    pub fn encode(&self, packet: &mut Vec<u8>) {
        let writer = Writer::behind(packet);
        match self {
            Record::Enter { name, mode, mtime } => {
                writer.byte(tag::ENTER).name(*name).number(mode.to_le_bytes()).time(*mtime)
            }
            Record::Leave => writer.byte(tag::LEAVE),
            Record::File { name } => writer.byte(tag::FILE).name(*name),
            Record::Small { name, mode, mtime, content } => {
                writer.byte(tag::SMALL).name(*name).number(mode.to_le_bytes()).time(*mtime).text(content)
            }
            Record::Symlink { name, target, mtime } => writer.byte(tag::SYMLINK).name(*name).text(target).time(*mtime),
            Record::LeftOut { name, reason } => {
                let code = Reason::ALL.iter().find(|(_, known)| known == reason).map_or(0, |(code, _)| *code);
                writer.byte(tag::LEFT_OUT).name(*name).byte(code)
            }
            Record::End { entries, mode, mtime } => {
                writer.byte(tag::END).number(entries.to_le_bytes()).number(mode.to_le_bytes()).time(*mtime)
            }
        };
    }
}

impl<'p> Record<'p> {
    fn read(reader: &mut Reader<'p>) -> Result<Self, Malformed> {
        Ok(match reader.byte()? {
            tag::ENTER => Record::Enter { name: reader.name()?, mode: reader.mode()?, mtime: reader.time()? },
            tag::LEAVE => Record::Leave,
            tag::FILE => Record::File { name: reader.name()? },
            tag::SMALL => Record::Small {
                name: reader.name()?,
                mode: reader.mode()?,
                mtime: reader.time()?,
                content: reader.text(limits::INLINE_BYTES)?,
            },
            tag::SYMLINK => {
                let name = reader.name()?;
                let target = reader.text(limits::LINK_BYTES)?;
                if target.is_empty() || target.contains(&0) {
                    return Err(Malformed("a link target that is empty or has a NUL"));
                }
                Record::Symlink { name, target, mtime: reader.time()? }
            }
            tag::LEFT_OUT => {
                let name = reader.name()?;
                let code = reader.byte()?;
                let reason = Reason::ALL.iter().find(|(known, _)| *known == code);
                Record::LeftOut { name, reason: reason.ok_or(Malformed("an unknown reason"))?.1 }
            }
            tag::END => Record::End { entries: reader.u64()?, mode: reader.mode()?, mtime: reader.time()? },
            _ => return Err(Malformed("a record of an unknown kind")),
        })
    }
}

/// The records of a packet, one by one. It ends with the packet, or with the first error.
pub struct Records<'p>(Option<Reader<'p>>);

impl<'p> Records<'p> {
    /// Reads what follows [`super::tree::RECORDS_BEGIN`].
    pub fn new(bytes: &'p [u8], _: &Confined) -> Self {
        Self::read(Reader::of(bytes))
    }

    pub(super) fn read(reader: Reader<'p>) -> Self {
        Records(Some(reader).filter(|reader| !reader.rest().is_empty()))
    }

    /// Whether there are no more of them.
    pub fn is_empty(&self) -> bool {
        self.0.is_none()
    }
}

impl<'p> Iterator for Records<'p> {
    type Item = Result<Record<'p>, Malformed>;

    fn next(&mut self) -> Option<Self::Item> {
        let reader = self.0.as_mut()?;
        let record = Record::read(reader);
        if record.is_err() || reader.rest().is_empty() {
            self.0 = None;
        }
        Some(record)
    }
}

#[cfg(test)]
mod tests {
    use super::{Reason, Record, Records};
    use crate::confine::Confined;
    use crate::files::metadata::Time;
    use crate::files::name::Name;
    use crate::ground::limits;

    fn name(text: &[u8]) -> Name<'_> {
        Name::new(text).unwrap()
    }

    fn read(packet: &[u8]) -> Records<'_> {
        Records::new(packet, &Confined::assumed())
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

    #[test]
    fn every_record_survives_the_round_trip_and_fits() {
        let mut packet = Vec::new();
        for record in records() {
            let before = packet.len();
            record.encode(&mut packet);
            assert!(packet.len() - before <= Record::BYTES);
        }
        assert_eq!(read(&packet).collect::<Result<Vec<_>, _>>().unwrap(), records());
    }

    #[test]
    fn the_bytes_are_those_of_version_1() {
        let mtime = Time { seconds: 3, nanoseconds: 4 };
        let time = b"\x03\0\0\0\0\0\0\0\x04\0\0\0";
        let (name, content) = (name(b"n"), &b"xy"[..]);
        for (record, bytes) in [
            (Record::Enter { name, mode: 0o755, mtime }, [&b"\x01\x01\0n\xed\x01"[..], time].concat()),
            (Record::Leave, b"\x02".to_vec()),
            (Record::File { name }, b"\x03\x01\0n".to_vec()),
            (Record::Symlink { name, target: b"t", mtime }, [&b"\x04\x01\0n\x01\0t"[..], time].concat()),
            (Record::LeftOut { name, reason: Reason::EscapingLink }, b"\x05\x01\0n\x03".to_vec()),
            (Record::End { entries: 1, mode: 0o700, mtime }, [&b"\x06\x01\0\0\0\0\0\0\0\xc0\x01"[..], time].concat()),
            (
                Record::Small { name, mode: 0o600, mtime, content },
                [&b"\x07\x01\0n\x80\x01"[..], time, b"\x02\0xy"].concat(),
            ),
        ] {
            let mut packet = Vec::new();
            record.encode(&mut packet);
            assert_eq!(packet, bytes, "{record:?}");
        }
    }

    #[test]
    fn every_cut_record_is_refused() {
        for record in records() {
            let mut packet = Vec::new();
            record.encode(&mut packet);
            for cut in (1..packet.len()).filter(|cut| *cut < 400 || cut % 997 == 0 || cut + 1 == packet.len()) {
                assert!(read(&packet[..cut]).any(|r| r.is_err()), "{record:?} cut at {cut}");
            }
        }
    }

    #[test]
    fn fields_out_of_range_are_refused() {
        let refused = |bytes: &[u8]| read(bytes).next().unwrap().is_err();
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

//! The records of a tree, as they were heard from its sender.

use super::reader::{Malformed, Reader};
use crate::confine::Confined;
use crate::ground::limits;
use crate::protocol::record::{Reason, Record, tag};

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
        let record = read(reader);
        if record.is_err() || reader.rest().is_empty() {
            self.0 = None;
        }
        Some(record)
    }
}

fn read<'p>(reader: &mut Reader<'p>) -> Result<Record<'p>, Malformed> {
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
            Record::LeftOut { name, reason: reason(reader)? }
        }
        tag::END => Record::End { entries: reader.u64()?, mode: reader.mode()?, mtime: reader.time()? },
        _ => return Err(Malformed("a record of an unknown kind")),
    })
}

fn reason(reader: &mut Reader<'_>) -> Result<Reason, Malformed> {
    let code = reader.byte()?;
    if code != Reason::UNREADABLE {
        let plain = Reason::PLAIN.iter().find(|(known, _)| *known == code);
        return plain.map(|(_, reason)| *reason).ok_or(Malformed("an unknown reason"));
    }
    match reader.u16()? {
        errno @ 1..=limits::ERRNO => Ok(Reason::Unreadable(errno)),
        _ => Err(Malformed("an errno out of range")),
    }
}

#[cfg(test)]
mod tests {
    use super::Records;
    use crate::confine::Confined;
    use crate::files::metadata::Time;
    use crate::files::name::Name;
    use crate::ground::limits;
    use crate::protocol::record::{Reason, Record};
    use crate::protocol::record_writer::encode;

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
            Record::LeftOut { name: name(b"f"), reason: Reason::Unreadable(4095) },
            Record::Leave,
            Record::End { entries: u64::MAX, mode: 0, mtime: TIME },
        ]
    }

    #[test]
    fn every_record_survives_the_round_trip_and_fits() {
        let mut packet = Vec::new();
        for record in records() {
            let before = packet.len();
            encode(&record, &mut packet);
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
            (Record::LeftOut { name, reason: Reason::Unreadable(117) }, b"\x05\x01\0n\x04\x75\0".to_vec()),
            (Record::End { entries: 1, mode: 0o700, mtime }, [&b"\x06\x01\0\0\0\0\0\0\0\xc0\x01"[..], time].concat()),
            (
                Record::Small { name, mode: 0o600, mtime, content },
                [&b"\x07\x01\0n\x80\x01"[..], time, b"\x02\0xy"].concat(),
            ),
        ] {
            let mut packet = Vec::new();
            encode(&record, &mut packet);
            assert_eq!(packet, bytes, "{record:?}");
        }
    }

    #[test]
    fn every_cut_record_is_refused() {
        for record in records() {
            let mut packet = Vec::new();
            encode(&record, &mut packet);
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
            encode(&Record::Symlink { name: name(b"l"), target, mtime: TIME }, &mut packet);
            packet
        };
        assert!(!refused(&link(b"t")));
        assert!(refused(&link(b"")) && refused(&link(b"a\0b")) && refused(&link(&[b'x'; limits::LINK_BYTES + 1])));
        let small = |count: usize| {
            let mut packet = Vec::new();
            encode(&Record::Small { name: name(b"s"), mode: 0, mtime: TIME, content: &vec![1; count] }, &mut packet);
            packet
        };
        assert!(!refused(&small(limits::INLINE_BYTES)) && refused(&small(limits::INLINE_BYTES + 1)));
        let enter = |mode, nanoseconds| {
            let mut packet = Vec::new();
            encode(&Record::Enter { name: name(b"d"), mode, mtime: Time { seconds: 0, nanoseconds } }, &mut packet);
            packet
        };
        assert!(!refused(&enter(0o7777, 999_999_999)));
        assert!(refused(&enter(0o10000, 0)) && refused(&enter(0, 1_000_000_000)));
        assert!(refused(&[0]) && refused(&[8]) && refused(&[5, 1, 0, b'x', 0]) && refused(&[5, 1, 0, b'x', 6]));
        let unreadable = |errno: u16| [&[5, 1, 0, b'x', 4][..], &errno.to_le_bytes()].concat();
        assert!(!refused(&unreadable(1)) && !refused(&unreadable(limits::ERRNO)));
        assert!(refused(&unreadable(0)) && refused(&unreadable(limits::ERRNO + 1)));
    }
}

//! The bytes of every packet between the two sides.

use super::{assert_fit_to_be_shown, input::Input};
use glexec_rs::files::component::Component;
use glexec_rs::files::metadata::Time;
use glexec_rs::ground::limits;
use glexec_rs::protocol::wire::{Message, Place, Reason, Record, Records, Totals};

/// The input is a packet; and a recipe for a message that is written and read back.
pub fn target(data: &[u8]) {
    decode(data);
    decode(&[b"R", data].concat());
    let mut input = Input::new(data);
    match input.choice(12) {
        0 => survives(&Message::Progress(totals(&mut input))),
        1 => survives(&Message::Complete(totals(&mut input))),
        2 => survives(&Message::Failed(input.take(512))),
        3 => survives(&Message::Signal(input.byte())),
        4 => survives(&Message::Signalled(u16::from_le_bytes(input.number()) % 4096)),
        5 => {
            if let (identity, Ok(name), Ok(proxy)) = (
                (u64::from_le_bytes(input.number()), u64::from_le_bytes(input.number())),
                Component::new(input.text()),
                Component::new(input.text()),
            ) {
                let remove_only = input.flag();
                survives(&Message::Place(Place { parent: input.take(4096), identity, name, proxy, remove_only }));
            }
        }
        _ => records(&mut input),
    }
}

/// What can be read says the same again when it is written, and nothing that is read is out of its bounds.
fn decode(packet: &[u8]) {
    let Ok(message) = Message::decode(packet) else { return };
    assert_eq!(message.encode(), packet, "{message:?}");
    let Message::Records(bytes) = message else { return };
    let mut again = Vec::new();
    let mut whole = true;
    for record in Records::new(bytes) {
        let Ok(record) = record else {
            whole = false;
            continue;
        };
        assert_in_bounds(&record);
        let before = again.len();
        record.encode(&mut again);
        assert!(again.len() - before <= Record::BYTES);
    }
    assert!(bytes.starts_with(&again) && (again.len() == bytes.len()) == whole);
}

fn assert_in_bounds(record: &Record<'_>) {
    let in_time = |time: &Time| time.nanoseconds < 1_000_000_000;
    let fits = match record {
        Record::Enter { mode, mtime, .. } | Record::End { mode, mtime, .. } => *mode <= 0o7777 && in_time(mtime),
        Record::Small { mode, mtime, content, .. } => {
            *mode <= 0o7777 && in_time(mtime) && content.len() <= limits::INLINE_BYTES
        }
        Record::Symlink { target, mtime, .. } => {
            !target.is_empty() && !target.contains(&0) && target.len() <= limits::LINK_BYTES && in_time(mtime)
        }
        Record::Leave | Record::File { .. } | Record::LeftOut { .. } => true,
    };
    assert!(fits, "{record:?}");
    if let Record::Enter { name, .. }
    | Record::File { name }
    | Record::Small { name, .. }
    | Record::Symlink { name, .. }
    | Record::LeftOut { name, .. } = record
    {
        let bytes = name.bytes();
        assert!((1..=255).contains(&bytes.len()) && !bytes.iter().any(|byte| matches!(byte, 0 | b'/')));
        assert!(bytes != b"." && bytes != b"..");
        assert_fit_to_be_shown(&name.to_string());
    }
}

fn survives(message: &Message<'_>) {
    let packet = message.encode();
    assert_eq!(Message::decode(&packet).as_ref(), Ok(message));
    assert!(Message::decode(&packet[..packet.len() - 1]).is_err());
}

fn totals(input: &mut Input<'_>) -> Totals {
    let mut number = || u64::from_le_bytes(input.number());
    Totals {
        entries: number(),
        files: number(),
        directories: number(),
        symlinks: number(),
        hard_links: number(),
        bytes: number(),
        left_out: number(),
    }
}

fn records(input: &mut Input<'_>) {
    let mut all = Vec::new();
    while !input.is_empty() {
        let kind = input.choice(7);
        let mode = u16::from_le_bytes(input.number()) & 0o7777;
        let seconds = i64::from_le_bytes(input.number());
        let mtime = Time { seconds, nanoseconds: u32::from_le_bytes(input.number()) % 1_000_000_000 };
        let Ok(name) = Component::new(input.text()) else { continue };
        all.push(match kind {
            0 => Record::Enter { name, mode, mtime },
            1 => Record::Leave,
            2 => Record::File { name },
            3 => Record::Small { name, mode, mtime, content: input.text() },
            4 => match input.text() {
                target if target.is_empty() || target.contains(&0) => continue,
                target => Record::Symlink { name, target, mtime },
            },
            5 => {
                let reasons = [
                    Reason::Special,
                    Reason::OtherFileSystem,
                    Reason::EscapingLink,
                    Reason::Unreadable,
                    Reason::AnyLink,
                ];
                Record::LeftOut { name, reason: reasons[input.choice(reasons.len())] }
            }
            _ => Record::End { entries: u64::from(mode), mode, mtime },
        });
    }
    let mut packet = Vec::new();
    all.iter().for_each(|record| record.encode(&mut packet));
    let read: Result<Vec<_>, _> = Records::new(&packet).collect();
    assert_eq!(read.as_ref(), Ok(&all));
}

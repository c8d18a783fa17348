//! The bytes of every packet between the two sides.

use super::confined::confined;
use super::{assert_fit_to_be_shown, input::Input};
use glexec_rs::confine::Confined;
use glexec_rs::confine::side::CLEANUP_PILOT;
use glexec_rs::files::metadata::Time;
use glexec_rs::files::name::Name;
use glexec_rs::ground::limits;
use glexec_rs::protocol::answer::{Done, Failed, Ready, Signalled};
use glexec_rs::protocol::heard::answer::Answer;
use glexec_rs::protocol::heard::record::Records;
use glexec_rs::protocol::heard::tree::Piece;
use glexec_rs::protocol::heard::{self, Malformed};
use glexec_rs::protocol::record::{Reason, Record};
use glexec_rs::protocol::record_writer::encode;
use glexec_rs::protocol::request::{Commit, Signal, Site};
use glexec_rs::protocol::tree::{RECORDS_BEGIN, Totals, Verdict};

/// The input is a packet; and a recipe for a message that is written and read back.
pub fn target(data: &[u8]) {
    confined(&CLEANUP_PILOT, &[], |proof| {
        decode(data, proof);
        decode(&[b"R", data].concat(), proof);
        recipe(&mut Input::new(data), proof);
    });
}

fn recipe(input: &mut Input<'_>, proof: &Confined) {
    match input.choice(12) {
        0 => verdict(&Verdict::Progress(totals(input)), proof),
        1 => verdict(&Verdict::Complete(totals(input)), proof),
        2 => {
            let text = input.take(512);
            verdict(&Verdict::Failed(text), proof);
            survives(&Failed(text).encode(), &Answer::<Done>::Failed(text), |packet| {
                heard::answer::done(packet, proof)
            });
        }
        3 => {
            let signal = Signal(input.byte());
            survives(&signal.encode(), &signal, |packet| heard::request::signal(packet, proof));
        }
        4 => {
            let signalled = Signalled(u16::from_le_bytes(input.number()) % 4096);
            survives(&signalled.encode(), &Answer::Given(signalled), |packet| heard::answer::signalled(packet, proof));
        }
        5 => {
            if let (identity, Ok(name), Ok(proxy)) = (
                (u64::from_le_bytes(input.number()), u64::from_le_bytes(input.number())),
                Name::new(input.text()),
                Name::new(input.text()),
            ) {
                let remove_only = input.flag();
                let site = Site { parent: input.take(4096), identity, name, proxy, remove_only };
                survives(&site.encode(), &site, |packet| heard::request::site(packet, proof));
            }
        }
        _ => records(input, proof),
    }
}

/// What can be read says the same again when it is written, nothing that is read is out of its bounds, and each
/// packet is but one thing.
fn decode(packet: &[u8], proof: &Confined) {
    let read = [
        heard::request::site(packet, proof).map(|site| site.encode()),
        heard::request::commit(packet, proof).map(Commit::encode),
        heard::request::signal(packet, proof).map(Signal::encode),
        answer(heard::answer::ready(packet, proof), Ready::encode),
        answer(heard::answer::done(packet, proof), Done::encode),
        answer(heard::answer::signalled(packet, proof), Signalled::encode),
        heard::tree::verdict(packet, proof).map(|verdict| verdict.encode()),
        heard::tree::piece(packet, proof).map(|piece| match piece {
            Piece::Records(records) => {
                decode_records(&packet[RECORDS_BEGIN.len()..], records);
                packet.to_vec()
            }
            Piece::Failed(text) => Failed(text).encode(),
        }),
    ];
    let read: Vec<Vec<u8>> = read.into_iter().flatten().collect();
    assert!(read.iter().all(|again| again == packet), "{read:?}");
    // Whoever waits for an answer, or is part of a copy, may hear that it failed.
    let failed = packet.first() == Some(&b'F');
    assert!(read.len() <= if failed { 5 } else { 1 }, "{packet:?}");
}

fn answer<T>(heard: Result<Answer<'_, T>, Malformed>, encode: fn(T) -> Vec<u8>) -> Result<Vec<u8>, Malformed> {
    Ok(match heard? {
        Answer::Given(answer) => encode(answer),
        Answer::Failed(text) => Failed(text).encode(),
    })
}

fn decode_records(bytes: &[u8], records: Records<'_>) {
    let mut again = Vec::new();
    let mut whole = true;
    for record in records {
        let Ok(record) = record else {
            whole = false;
            continue;
        };
        assert_in_bounds(&record);
        let before = again.len();
        encode(&record, &mut again);
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

fn verdict(verdict: &Verdict<'_>, proof: &Confined) {
    survives(&verdict.encode(), verdict, |packet| heard::tree::verdict(packet, proof));
}

fn survives<'p, T: core::fmt::Debug + PartialEq>(
    packet: &'p [u8],
    said: &T,
    decode: impl Fn(&'p [u8]) -> Result<T, Malformed>,
) {
    assert_eq!(decode(packet).as_ref(), Ok(said));
    assert!(decode(&packet[..packet.len() - 1]).is_err());
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

fn records(input: &mut Input<'_>, proof: &Confined) {
    let mut all = Vec::new();
    while !input.is_empty() {
        let kind = input.choice(7);
        let mode = u16::from_le_bytes(input.number()) & 0o7777;
        let seconds = i64::from_le_bytes(input.number());
        let mtime = Time { seconds, nanoseconds: u32::from_le_bytes(input.number()) % 1_000_000_000 };
        let Ok(name) = Name::new(input.text()) else { continue };
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
                    Reason::Unreadable(1 + mode % limits::ERRNO),
                    Reason::AnyLink,
                ];
                Record::LeftOut { name, reason: reasons[input.choice(reasons.len())] }
            }
            _ => Record::End { entries: u64::from(mode), mode, mtime },
        });
    }
    let mut packet = Vec::new();
    all.iter().for_each(|record| encode(record, &mut packet));
    let read: Result<Vec<_>, _> = Records::new(&packet, proof).collect();
    assert_eq!(read.as_ref(), Ok(&all));
}

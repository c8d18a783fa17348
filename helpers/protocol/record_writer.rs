//! How the records of a tree are written.

use super::record::{Reason, Record, tag};
use super::write::Writer;

/// Appends the record to a packet that began with [`super::tree::RECORDS_BEGIN`].
pub fn encode(record: &Record<'_>, packet: &mut Vec<u8>) {
    let writer = Writer::behind(packet);
    match record {
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
            let writer = writer.byte(tag::LEFT_OUT).name(*name);
            match reason {
                Reason::Unreadable(errno) => writer.byte(Reason::UNREADABLE).number(errno.to_le_bytes()),
                plain => {
                    writer.byte(Reason::PLAIN.iter().find(|(_, known)| known == plain).map_or(0, |(code, _)| *code))
                }
            }
        }
        Record::End { entries, mode, mtime } => {
            writer.byte(tag::END).number(entries.to_le_bytes()).number(mode.to_le_bytes()).time(*mtime)
        }
    };
}

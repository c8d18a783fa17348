//! HTCondor's "V2 raw" syntax once more, written from its description alone and in another way than the decoder: one
//! state machine that looks at every byte once and keeps names and values apart.
//!
//! - Entries are separated by blanks, tabs, newlines and carriage returns; nothing else is white space.
//! - A single quote anywhere begins a quoted part, which ends at the next single quote that is not doubled; a doubled
//!   one stands for one. Quoted and plain parts that touch are one entry; `''` alone is an empty one. No other byte is
//!   special.
//! - An entry is split at its first `=`. Without one it is an error, unless it has `$$` in it: then it is kept as it
//!   is. An empty name is an error, and so is an empty entry. An error refuses everything; a quote that is not closed
//!   outweighs the others.
//! - A value of the bytes 1 to 6 means no value.
//! - The buffer ends with its only NUL.

use std::collections::BTreeMap;

/// What is wrong.
#[derive(Debug, PartialEq, Eq)]
pub enum Wrong {
    /// Not exactly one NUL, at the end.
    Nul,
    /// A quote is open at the end; all from it on.
    Open(Vec<u8>),
    /// This entry has no `=`.
    NoEquals(Vec<u8>),
    /// This entry has no name.
    NoName(Vec<u8>),
}

/// A name and its value, if it has one.
pub type Variable = (Vec<u8>, Option<Vec<u8>>);

enum State {
    /// Between two entries.
    Between,
    /// In an entry, outside of quotes.
    Plain,
    /// Inside quotes, the first of which stood here.
    Quoted(usize),
    /// Right behind a quote inside quotes: the end of the part, or the first of two.
    Closing(usize),
}

/// What the buffer says.
pub fn read(raw: &[u8]) -> Result<Vec<Variable>, Wrong> {
    if raw.is_empty() || raw.iter().position(|byte| *byte == 0) != Some(raw.len() - 1) {
        return Err(Wrong::Nul);
    }
    let mut entries: Vec<Vec<u8>> = Vec::new();
    let mut state = State::Between;
    for (at, &byte) in raw.iter().enumerate() {
        // The NUL ends the last entry like any separator.
        let separates = b" \t\r\n\0".contains(&byte);
        let put = |entries: &mut Vec<Vec<u8>>| entries.last_mut().expect("an entry has begun").push(byte);
        state = match state {
            State::Quoted(from) if byte == 0 => return Err(Wrong::Open(raw[from..at].to_vec())),
            State::Quoted(from) if byte == b'\'' => State::Closing(from),
            State::Quoted(from) => {
                put(&mut entries);
                State::Quoted(from)
            }
            State::Closing(from) if byte == b'\'' => {
                put(&mut entries);
                State::Quoted(from)
            }
            _ if separates => State::Between,
            before => {
                if matches!(before, State::Between) {
                    entries.push(Vec::new());
                }
                if byte == b'\'' {
                    State::Quoted(at)
                } else {
                    put(&mut entries);
                    State::Plain
                }
            }
        };
    }
    entries.into_iter().map(split).collect()
}

fn split(entry: Vec<u8>) -> Result<Variable, Wrong> {
    let mut parts = entry.splitn(2, |byte| *byte == b'=');
    let (name, value) = (parts.next().unwrap_or_default(), parts.next());
    let dollars = String::from_utf8_lossy(&entry).contains("$$");
    match (name, value) {
        (b"", _) => Err(Wrong::NoName(entry)),
        (_, None) if !dollars => Err(Wrong::NoEquals(entry)),
        (name, Some([1, 2, 3, 4, 5, 6]) | None) => Ok((name.to_vec(), None)),
        (name, Some(value)) => Ok((name.to_vec(), Some(value.to_vec()))),
    }
}

/// What a job gets: what the switcher left, then what was sent but for the Starter's secrets; the last of a name
/// counts.
pub fn merge(base: &[Vec<u8>], sent: Vec<Variable>) -> BTreeMap<Vec<u8>, Option<Vec<u8>>> {
    let base = base.iter().take_while(|entry| !entry.is_empty()).filter_map(|entry| split(entry.clone()).ok());
    let secret = |name: &[u8]| {
        name == b"CONDOR_INHERIT" || name == b"CONDOR_PRIVATE_INHERIT" || name == b"CONDOR_PRIVATE_SHARED_PORT_COOKIE"
    };
    base.chain(sent.into_iter().filter(|(name, _)| !secret(name))).collect()
}

/// An entry as a process gets it.
pub fn entry((name, value): (&Vec<u8>, &Option<Vec<u8>>)) -> Vec<u8> {
    value.as_ref().map_or_else(|| name.clone(), |value| [name, &b"="[..], value].concat())
}

//! HTCondor's "V2 raw" syntax of an environment, and what the job's environment is made of.
//!
//! Entries are separated by blanks, tabs, newlines and carriage returns; nothing else is white space. A single quote
//! anywhere starts a quoted part, which runs to the next single quote that is not doubled; a doubled one inside
//! stands for one. Quoted and plain parts that touch make one entry. No other byte is special. An entry is split at
//! its first `=`; without one it is an error, unless it contains `$$`: then it is kept as it stands. One error
//! refuses the whole.

use crate::ground::escape::Escaped;
use crate::ground::limits;
use crate::protocol::job_channel::NO_VALUE;
use core::fmt::{self, Display, Formatter};
use std::borrow::Cow;
use std::ffi::{CStr, CString};
use zeroize::Zeroizing;

/// What the Starter's own environment may hold that is not for a job: the Starter puts all of it on the channel.
///
/// The first two hold the addresses, session keys and inherited sockets of daemons, the third lets its bearer connect
/// to daemons behind a shared port. All else reaches the job.
pub(crate) const SECRET_NAMES: [&[u8]; 3] =
    [b"CONDOR_INHERIT", b"CONDOR_PRIVATE_INHERIT", b"CONDOR_PRIVATE_SHARED_PORT_COOKIE"];

/// Why an environment is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Malformed {
    /// It does not end with a NUL.
    Unterminated,
    /// It has a NUL before its end.
    InnerNul,
    /// It is larger than [`limits::ENVIRONMENT_BYTES`].
    TooLong,
    /// It has more than [`limits::ENVIRONMENT_ENTRIES`] variables.
    TooMany,
    /// A quote is not closed; the text from it on.
    OpenQuote(Vec<u8>),
    /// An entry without `=`.
    NoValue(Vec<u8>),
    /// An entry without a name; an empty entry.
    NoName(Vec<u8>),
}

impl Display for Malformed {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str("the job's environment is refused: ")?;
        match self {
            Malformed::Unterminated => f.write_str("it does not end with a NUL"),
            Malformed::InnerNul => f.write_str("it has a NUL inside"),
            Malformed::TooLong => write!(f, "it is larger than {} bytes", limits::ENVIRONMENT_BYTES),
            Malformed::TooMany => write!(f, "it has more than {} variables", limits::ENVIRONMENT_ENTRIES),
            Malformed::OpenQuote(from) => write!(f, "the quote that begins here is not closed: {}", Escaped(from)),
            Malformed::NoValue(entry) => write!(f, "there is no '=' in {}", Escaped(entry)),
            Malformed::NoName(entry) => write!(f, "there is no name before the '=' in {}", Escaped(entry)),
        }
    }
}

/// The variables that came over the channel, each with a final NUL. Their memory is overwritten when they are dropped.
pub struct Variables {
    bytes: Zeroizing<Vec<u8>>,
    ends: Vec<usize>,
}

impl Variables {
    /// The variables in the order in which they came.
    pub fn iter(&self) -> impl Iterator<Item = &CStr> {
        let begins = core::iter::once(0).chain(self.ends.iter().copied());
        begins.zip(&self.ends).filter_map(|(begin, end)| CStr::from_bytes_with_nul(self.bytes.get(begin..*end)?).ok())
    }
}

/// Reads what came over the channel, final NUL included. Pure: nothing but the bytes decides.
///
/// # Errors
/// See [`Malformed`].
pub fn decode(raw: &[u8]) -> Result<Variables, Malformed> {
    if raw.len() > limits::ENVIRONMENT_BYTES {
        return Err(Malformed::TooLong);
    }
    let Some((0, text)) = raw.split_last() else { return Err(Malformed::Unterminated) };
    if text.contains(&0) {
        return Err(Malformed::InnerNul);
    }
    // Never longer than the input, so that it is never moved, which would leave a copy behind.
    let mut variables = Variables { bytes: Zeroizing::new(Vec::with_capacity(raw.len())), ends: Vec::new() };
    // As in the original, a quote that is not closed outweighs what is wrong with an entry before it.
    let mut first_wrong = Ok(());
    let mut rest = text;
    while let Some(start) = rest.iter().position(|byte| !is_separator(*byte)) {
        rest = rest.get(start..).unwrap_or_default();
        if variables.ends.len() >= limits::ENVIRONMENT_ENTRIES {
            return Err(Malformed::TooMany);
        }
        let begin = variables.bytes.len();
        rest = take_entry(rest, &mut variables.bytes)?;
        let entry = variables.bytes.get(begin..).unwrap_or_default();
        first_wrong = first_wrong.and_then(|()| check(entry));
        let kept = bare(entry).len();
        variables.bytes.truncate(begin.saturating_add(kept));
        variables.bytes.push(0);
        variables.ends.push(variables.bytes.len());
    }
    first_wrong.map(|()| variables)
}

const fn is_separator(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\n' | b'\r')
}

/// Appends one entry without its quotes to `entry`; gives what follows it.
fn take_entry<'t>(text: &'t [u8], entry: &mut Vec<u8>) -> Result<&'t [u8], Malformed> {
    let mut rest = text;
    while let Some((first, after)) = rest.split_first().filter(|(first, _)| !is_separator(**first)) {
        if *first == b'\'' {
            rest = take_quoted(rest, after, entry)?;
        } else {
            entry.push(*first);
            rest = after;
        }
    }
    Ok(rest)
}

/// Appends a quoted part, which begins behind the quote; gives what follows it.
fn take_quoted<'t>(from_quote: &[u8], text: &'t [u8], entry: &mut Vec<u8>) -> Result<&'t [u8], Malformed> {
    let mut rest = text;
    loop {
        let quote =
            rest.iter().position(|byte| *byte == b'\'').ok_or_else(|| Malformed::OpenQuote(from_quote.to_vec()))?;
        let (part, behind) = rest.split_at_checked(quote).unwrap_or_default();
        entry.extend_from_slice(part);
        let behind = behind.get(1..).unwrap_or_default();
        match behind.split_first() {
            Some((b'\'', after)) => {
                entry.push(b'\'');
                rest = after;
            }
            _ => return Ok(behind),
        }
    }
}

fn check(entry: &[u8]) -> Result<(), Malformed> {
    match entry.iter().position(|byte| *byte == b'=') {
        Some(0) => Err(Malformed::NoName(entry.to_vec())),
        None if entry.is_empty() => Err(Malformed::NoName(Vec::new())),
        None if !has_dollars(entry) => Err(Malformed::NoValue(entry.to_vec())),
        _ => Ok(()),
    }
}

/// `$$` marks what HTCondor still has to fill in; such an entry needs no value.
fn has_dollars(entry: &[u8]) -> bool {
    entry.windows(2).any(|pair| pair == b"$$")
}

/// The entry as the job gets it.
fn bare(entry: &[u8]) -> &[u8] {
    let name = name(entry);
    let value = entry.get(name.len()..).and_then(|rest| rest.strip_prefix(b"="));
    if value == Some(NO_VALUE) { name } else { entry }
}

/// What comes before the first `=`.
pub fn name(entry: &[u8]) -> &[u8] {
    entry.split(|byte| *byte == b'=').next().unwrap_or_default()
}

/// The job's environment: what the switcher left (`base`), overridden by what the Starter sent, less the
/// [`SECRET_NAMES`] of that.
///
/// Of the base, entries without `=` or without a name are skipped one by one, and an empty one ends it, as in the
/// original. Of several entries with one name the last wins. The result is ordered by name.
pub fn merge<'a>(base: impl Iterator<Item = &'a CStr>, sent: &'a Variables) -> Vec<Cow<'a, CStr>> {
    let kept = base.take_while(|entry| !entry.is_empty()).filter(|entry| check(entry.to_bytes()).is_ok());
    let kept = kept.map(|entry| match bare(entry.to_bytes()) {
        whole if whole.len() == entry.to_bytes().len() => Cow::Borrowed(entry),
        name => CString::new(name).map_or(Cow::Borrowed(entry), Cow::Owned),
    });
    let sent = sent.iter().filter(|entry| !SECRET_NAMES.contains(&name(entry.to_bytes()))).map(Cow::Borrowed);
    let mut all: Vec<Cow<'a, CStr>> = kept.chain(sent).collect();
    // A stable sort: with the last of each name first, what follows it can go. (No hash table that chosen names could
    // slow down.)
    all.reverse();
    all.sort_by(|one, other| name(one.to_bytes()).cmp(name(other.to_bytes())));
    all.dedup_by(|later, first| name(later.to_bytes()) == name(first.to_bytes()));
    all
}

#[cfg(test)]
mod tests {
    use super::{Malformed, decode, merge};
    use crate::ground::escape::Escaped;
    use crate::ground::limits;
    use std::collections::BTreeSet;
    use std::ffi::CString;

    fn golden(name: &str) -> Vec<serde_json::Value> {
        let path = format!("{}/tests/vectors/{name}.json", env!("CARGO_MANIFEST_DIR"));
        let file: serde_json::Value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
        file["cases"].as_array().unwrap().clone()
    }

    fn hex(value: &serde_json::Value) -> Vec<u8> {
        let digits = value.as_str().unwrap().as_bytes();
        digits.chunks(2).map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap()).collect()
    }

    fn all(value: &serde_json::Value) -> Vec<Vec<u8>> {
        value.as_array().unwrap().iter().map(hex).collect()
    }

    #[test]
    fn every_golden_case_of_the_original_gives_the_same_environment() {
        let (mut accepted, mut refused) = (0, 0);
        for case in golden("env_merge") {
            let (id, raw) = (&case["id"], hex(&case["raw"]));
            let base: Vec<CString> = all(&case["base"]).into_iter().map(|e| CString::new(e).unwrap()).collect();
            let decoded = decode(&raw);
            let cut_by_the_original = raw.iter().position(|b| *b == 0) != Some(raw.len().wrapping_sub(1));
            if cut_by_the_original {
                let deliberate = matches!(decoded, Err(Malformed::InnerNul | Malformed::Unterminated));
                assert!(deliberate, "{id}");
                refused += 1;
            } else if case["accepted"] == true {
                let sent = decoded.unwrap_or_else(|why| panic!("{id}: {why}"));
                let ours: BTreeSet<Vec<u8>> =
                    merge(base.iter().map(|e| e.as_c_str()), &sent).iter().map(|e| e.to_bytes().to_vec()).collect();
                assert_eq!(ours, all(&case["env"]).into_iter().collect(), "{id}");
                accepted += 1;
            } else {
                let why = decoded.err().unwrap_or_else(|| panic!("{id} is accepted"));
                assert!(why.to_string().bytes().all(|b| (b' '..=b'~').contains(&b)), "{id}");
                assert!(names_the_same(&why, &hex(&case["error"])), "{id}: {why} for {}", case["error_text"]);
                refused += 1;
            }
        }
        assert_eq!((accepted + refused, accepted > 400, refused > 150), (620, true, true));
    }

    /// Whether our error is about the entry that the original's text quotes.
    fn names_the_same(why: &Malformed, original: &[u8]) -> bool {
        let (kind, entry): (&[u8], &[u8]) = match why {
            Malformed::OpenQuote(from) => (b"Unbalanced quote starting here: ", from),
            Malformed::NoValue(entry) => (b"ERROR: Missing '=' after environment variable '", entry),
            // The original has no text at all for an empty entry.
            Malformed::NoName(entry) if entry.is_empty() => return original.is_empty(),
            Malformed::NoName(entry) => (b"ERROR: missing variable in '", entry),
            _ => return false,
        };
        let quoted = original.strip_prefix(kind).unwrap_or_default();
        quoted.starts_with(entry) && why.to_string().contains(&Escaped(entry).to_string())
    }

    #[test]
    fn what_the_original_encoded_is_decoded_to_the_same_set() {
        let mut checked = 0;
        for case in golden("env_encode") {
            for sent in ["raw", "raw_sent"] {
                let raw = [hex(&case[sent]), vec![0]].concat();
                let decoded = decode(&raw);
                if case["roundtrip_ok"] == true {
                    let decoded = decoded.unwrap_or_else(|why| panic!("{}: {why}", case["id"]));
                    let ours: BTreeSet<Vec<u8>> =
                        merge(std::iter::empty(), &decoded).iter().map(|e| e.to_bytes().to_vec()).collect();
                    assert_eq!(ours, all(&case["roundtrip_env"]).into_iter().collect(), "{}", case["id"]);
                    checked += 1;
                } else {
                    assert!(decoded.is_err(), "{}", case["id"]);
                }
            }
        }
        assert!(checked > 300, "{checked}");
    }

    #[test]
    fn the_bounds_are_exact() {
        let mut raw = vec![b'x'; limits::ENVIRONMENT_BYTES];
        raw[..2].copy_from_slice(b"A=");
        *raw.last_mut().unwrap() = 0;
        assert_eq!(decode(&raw).map(|v| v.iter().count()), Ok(1));
        raw.insert(2, b'x');
        assert_eq!(decode(&raw).err(), Some(Malformed::TooLong));
        let many = |count: usize| [b"A= ".repeat(count), vec![0]].concat();
        assert_eq!(
            decode(&many(limits::ENVIRONMENT_ENTRIES)).map(|v| v.iter().count()),
            Ok(limits::ENVIRONMENT_ENTRIES)
        );
        assert_eq!(decode(&many(limits::ENVIRONMENT_ENTRIES + 1)).err(), Some(Malformed::TooMany));
        assert_eq!(decode(b"").err(), Some(Malformed::Unterminated));
        assert_eq!(decode(b"A=1").err(), Some(Malformed::Unterminated));
        assert_eq!(decode(b"A=1\0\0").err(), Some(Malformed::InnerNul));
        assert_eq!(decode(b"\0").map(|v| v.iter().count()), Ok(0));
    }

    #[test]
    fn secrets_of_the_starter_are_dropped_and_nothing_else() {
        let raw =
            b"CONDOR_INHERIT=1 CONDOR_PRIVATE_INHERIT=2 CONDOR_PRIVATE_SHARED_PORT_COOKIE=3 CONDOR_INHERITX=4 A=5\0";
        let decoded = decode(raw).unwrap();
        let kept: Vec<_> = merge(std::iter::empty(), &decoded);
        assert_eq!(kept.iter().map(|e| e.to_bytes()).collect::<Vec<_>>(), [&b"A=5"[..], b"CONDOR_INHERITX=4"]);
    }
}

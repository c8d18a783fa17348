//! `audit/seen-syscalls.txt`: what the helpers were seen to do, one line each.

use crate::{Outcome, read};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// What one side of one helper was seen to do once it was confined.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Seen {
    /// The system calls.
    pub calls: BTreeSet<String>,
    /// The rights that it granted itself below directories, as the kernel's constants without their prefix.
    pub grants: BTreeSet<String>,
    /// The most allocations from the kernel of one process.
    pub allocations: usize,
}

/// Reads the file: lines `phase call NAME`, `phase grant RIGHTS`, `phase allocations NUMBER`.
pub fn load(path: &Path) -> Outcome<BTreeMap<String, Seen>> {
    let mut all: BTreeMap<String, Seen> = BTreeMap::new();
    for line in read(path)?.lines().filter(|line| !line.starts_with('#')) {
        let wrong = || format!("{}: {line}", path.display());
        let mut words = line.splitn(3, ' ');
        let (Some(phase), Some(kind), Some(what)) = (words.next(), words.next(), words.next()) else {
            return Err(wrong());
        };
        let seen = all.entry(phase.to_owned()).or_default();
        match kind {
            "call" => drop(seen.calls.insert(what.to_owned())),
            "grant" => drop(seen.grants.insert(what.to_owned())),
            "allocations" => seen.allocations = what.parse().map_err(|_| wrong())?,
            _ => return Err(wrong()),
        }
    }
    Ok(all)
}

/// The text of the file.
pub fn text(all: &BTreeMap<String, Seen>) -> String {
    let mut text = "# Written by `glexec-rs-audit trace`.\n".to_owned();
    for (phase, seen) in all {
        seen.grants.iter().for_each(|grant| text += &format!("{phase} grant {grant}\n"));
        seen.calls.iter().for_each(|call| text += &format!("{phase} call {call}\n"));
        text += &format!("{phase} allocations {}\n", seen.allocations);
    }
    text
}

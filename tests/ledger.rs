//! `audit/ledger.md` names tests; this fails when one of them does not exist, or when an attack has no entry.

#![forbid(unsafe_code)]

use std::path::Path;

/// The attacks: a letter for the part, and how many there are.
const NUMBERS: [(char, u32); 7] = [('S', 10), ('R', 13), ('K', 8), ('C', 13), ('U', 5), ('W', 11), ('H', 6)];

/// What is wrong with a ledger, given which tests exist.
fn complaints(ledger: &str, exists: impl Fn(&str, &str) -> bool) -> Vec<String> {
    let mut found = Vec::new();
    let rows: Vec<Vec<&str>> = ledger
        .lines()
        .filter(|line| line.starts_with("| "))
        .map(|line| line.trim_matches('|').split(" | ").map(str::trim).collect())
        .collect();
    for number in NUMBERS.iter().flat_map(|(letter, last)| (1..=*last).map(move |number| format!("{letter}{number}"))) {
        match rows.iter().filter(|row| row[0] == number).collect::<Vec<_>>().as_slice() {
            [row] if row.len() != 4 => found.push(format!("{number} does not have four columns")),
            [row] if !row[3].contains("::") && !row.iter().any(|cell| cell.contains("**open**")) => {
                found.push(format!("{number} has neither a test nor the word open"));
            }
            [_] => {}
            several => found.push(format!("{number} stands there {} times", several.len())),
        }
    }
    let named = ledger.split('`').skip(1).step_by(2).filter_map(|word| word.split_once("::"));
    found
        .extend(named.filter(|(file, test)| !exists(file, test)).map(|(file, test)| format!("no test {file}::{test}")));
    found
}

/// Whether `tests/FILE.rs` or a file of `tests/FILE/` has a test of this name.
fn exists(file: &str, test: &str) -> bool {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests");
    let folder = std::fs::read_dir(tests.join(file)).into_iter().flatten().flatten().map(|entry| entry.path());
    folder.chain([tests.join(format!("{file}.rs"))]).filter_map(|path| std::fs::read_to_string(path).ok()).any(
        |source| {
            source.split("#[test]").skip(1).any(|rest| {
                let name = rest.split_once("fn ").and_then(|(_, rest)| rest.split_once('(')).map(|(name, _)| name);
                name == Some(test)
            })
        },
    )
}

#[test]
fn every_attack_has_an_entry_and_every_named_test_exists() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("audit/ledger.md");
    let ledger = std::fs::read_to_string(path).unwrap();
    assert_eq!(complaints(&ledger, exists), Vec::<String>::new());
}

#[test]
fn a_bad_ledger_is_found_out() {
    let line = |number: &str, rest: &str| format!("| {number} | attack | answer | {rest} |\n");
    let good: String = NUMBERS
        .iter()
        .flat_map(|(letter, last)| (1..=*last).map(move |number| line(&format!("{letter}{number}"), "`a::b`")))
        .collect();
    let known = |file: &str, test: &str| (file, test) == ("a", "b");
    assert_eq!(complaints(&good, known), Vec::<String>::new());
    let s1 = line("S1", "`a::b`");
    for (bad, says) in [
        (good.replace(&s1, ""), "S1 stands there 0 times"),
        (good.replace(&s1, &s1.repeat(2)), "S1 stands there 2 times"),
        (good.replace(&s1, &line("S1", "—")), "S1 has neither"),
        (good.replace(&s1, "| S1 | `a::b` |\n"), "S1 does not have four"),
        (good.replace(&s1, &line("S1", "`a::c`")), "no test a::c"),
    ] {
        assert_eq!(complaints(&bad, known).len(), 1, "{says}");
        assert!(complaints(&bad, known)[0].contains(says));
    }
    assert!(complaints(&good.replace(&s1, &line("S1", "**open**")), known).is_empty());
    assert!(!exists("ledger", "no_such_test") && exists("ledger", "a_bad_ledger_is_found_out"));
}

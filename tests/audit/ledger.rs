//! `audit/ledger.md` keeps its promise: every attack has an entry, and every entry names tests that exist or says why
//! it is open.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// The families of attacks and how many each has, numbered from 1.
const FAMILIES: [(&str, u32); 7] = [("S", 10), ("R", 13), ("K", 8), ("C", 13), ("U", 5), ("W", 11), ("H", 6)];

/// The flaws of other programs that must at least be there; there may be more.
const FLAWS: [&str; 10] = [
    "CVE-2021-4034",
    "CVE-2021-3156",
    "CVE-2019-14287",
    "CVE-2018-15664",
    "CVE-2024-21626",
    "CVE-2021-30465",
    "CVE-2019-5736",
    "CVE-2020-15257",
    "CVE-2016-2568",
    "CVE-2022-4122",
];

fn required() -> BTreeSet<String> {
    let attacks = FAMILIES.iter().flat_map(|(family, most)| (1..=*most).map(move |number| format!("{family}{number}")));
    attacks.chain(FLAWS.map(str::to_owned)).collect()
}

/// Everything that is wrong with a ledger; `exists` says whether a test `file::name` does.
fn problems(ledger: &str, exists: impl Fn(&str, &str) -> bool) -> Vec<String> {
    let mut missing = required();
    let mut seen = BTreeSet::new();
    let mut problems = Vec::new();
    for row in ledger.lines().filter(|line| line.starts_with('|')) {
        let cells: Vec<&str> = row.trim_matches('|').split('|').map(str::trim).collect();
        let [number, attack, answer, shown_by] = cells[..] else {
            problems.push(format!("not four cells: {row}"));
            continue;
        };
        if number == "#" || number.starts_with("---") {
            continue;
        }
        if !seen.insert(number) {
            problems.push(format!("{number} is there twice"));
        }
        if !missing.remove(number) && !number.starts_with("CVE-") {
            problems.push(format!("{number} is no known attack"));
        }
        if attack.is_empty() || answer.is_empty() {
            problems.push(format!("{number} has an empty cell"));
        }
        // Between backquotes stands a test, and only in the last cell.
        let tests: Vec<&str> = shown_by.split('`').skip(1).step_by(2).collect();
        for test in &tests {
            if !test.rsplit_once("::").is_some_and(|(file, name)| exists(file, name)) {
                problems.push(format!("{number}: there is no test {test}"));
            }
        }
        // "**open**: why" or "why … is **open**: why"; a bare word explains nothing.
        let is_explained = |cell: &str| {
            cell.split_once("**open**")
                .is_some_and(|(before, after)| before.len().max(after.len()) >= "for a reason".len())
        };
        if tests.is_empty() && !is_explained(answer) && !is_explained(shown_by) {
            problems.push(format!("{number} has neither a test nor a reason why it is open"));
        }
    }
    problems.extend(missing.into_iter().map(|number| format!("{number} is missing")));
    problems
}

/// The names of the functions that are marked as tests.
fn tests_in(source: &str) -> BTreeSet<&str> {
    let mut names = BTreeSet::new();
    let mut marked = false;
    for line in source.lines().map(str::trim) {
        if line == "#[test]" {
            marked = true;
        } else if marked && !line.starts_with("#[") && !line.starts_with("//") {
            marked = false;
            let name = line.strip_prefix("fn ").and_then(|rest| rest.split_once('('));
            names.extend(name.map(|(name, _)| name));
        }
    }
    names
}

/// The sources that `file` may stand for in the ledger: below `tests`, or from the root for the helpers' own.
fn sources(file: &str) -> [PathBuf; 2] {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let root = if file.starts_with("helpers/") { root.to_owned() } else { root.join("tests") };
    [format!("{file}.rs"), format!("{file}/mod.rs")].map(|path| root.join(path))
}

fn is_a_test(file: &str, name: &str) -> bool {
    sources(file).iter().any(|path| fs::read_to_string(path).is_ok_and(|source| tests_in(&source).contains(name)))
}

#[test]
fn every_attack_has_an_answer_and_every_named_test_exists() {
    let ledger = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("audit/ledger.md")).unwrap();
    let problems = problems(&ledger, is_a_test);
    assert!(problems.is_empty(), "audit/ledger.md:\n{}", problems.join("\n"));
}

#[test]
fn a_bad_ledger_is_found_out() {
    let good: String = required().iter().map(|number| format!("| {number} | a | b | `f::known` |\n")).collect();
    let exists = |file: &str, name: &str| (file, name) == ("f", "known");
    assert_eq!(problems(&good, exists), Vec::<String>::new());

    for (from, to, complaint) in [
        ("| S1 | a | b | `f::known` |\n", "", "S1 is missing"),
        ("| CVE-2021-4034 | a | b | `f::known` |\n", "", "CVE-2021-4034 is missing"),
        ("| S1 | a | b | `f::known` |", "| S1 | a | b | `f::unknown` |", "S1: there is no test f::unknown"),
        ("| S1 | a | b | `f::known` |", "| S1 | a | b | `f::known` `g::known` |", "S1: there is no test g::known"),
        ("| S1 | a | b | `f::known` |", "| S1 | a | b | `known` |", "S1: there is no test known"),
        ("| S1 | a | b | `f::known` |", "| S1 | a | b | |", "S1 has neither a test nor a reason why it is open"),
        (
            "| S1 | a | b | `f::known` |",
            "| S1 | a | b `f::known` | |",
            "S1 has neither a test nor a reason why it is open",
        ),
        ("| S1 | a | b | `f::known` |", "| S1 | a | **open** | |", "S1 has neither a test nor a reason why it is open"),
        ("| S1 | a | b |", "| S1 | | b |", "S1 has an empty cell"),
        ("| S1 | a | b |", "| S1 | a |", "not four cells: | S1 | a | `f::known` |"),
        ("| S1 | a", "| S1 | a | b | `f::known` |\n| S1 | a", "S1 is there twice"),
        ("| S1 | a", "| S11 | a | b | `f::known` |\n| S1 | a", "S11 is no known attack"),
    ] {
        let bad = good.replacen(from, to, 1);
        assert_ne!(bad, good, "{complaint}");
        let found = problems(&bad, exists);
        assert!(found.iter().any(|problem| problem == complaint), "{complaint}: {found:?}");
    }
    let open = good.replacen("| S1 | a | b | `f::known` |", "| S1 | a | **open**: there is no such program | |", 1);
    assert_eq!(problems(&open, exists), Vec::<String>::new());
}

#[test]
fn only_marked_functions_are_tests() {
    let source = "#[test]\nfn one() {}\nfn helper() {}\n    #[test]\n    #[ignore]\n    // why\n    fn two() {}\n#[test]\nmod three {}\nfn three() {}\n// fn four() {}\n";
    assert_eq!(tests_in(source), BTreeSet::from(["one", "two"]));
    assert!(is_a_test("audit/ledger", "only_marked_functions_are_tests"));
    assert!(is_a_test("helpers/escape", "the_limit_is_exact"));
    assert!(is_a_test("helpers/policy/parse", "the_bounds_are_exact"));
    assert!(is_a_test("rootless/contract", "everyday_programs_work"), "one that may be ignored");
    assert!(!is_a_test("audit/ledger", "required"));
    assert!(!is_a_test("nowhere", "the_limit_is_exact"));
}

//! `audit/ledger.md` keeps its promise: every attack has an entry, and every entry names tests that exist or says why
//! it is open.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// The families of attacks, numbered from 1: how many of each must be there, and how many are known.
const FAMILIES: [(&str, u32, u32); 9] = [
    ("S", 15, 15),
    ("R", 15, 15),
    ("K", 9, 9),
    ("C", 18, 18),
    ("U", 6, 6),
    ("J", 12, 12),
    ("W", 14, 14),
    ("H", 8, 8),
    ("P", 0, 9),
];

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
    let numbers = |family: &'static str, most| (1..=most).map(move |number| format!("{family}{number}"));
    let attacks = FAMILIES.iter().flat_map(|(family, least, _)| numbers(family, *least));
    attacks.chain(FLAWS.map(str::to_owned)).collect()
}

/// Whether there is an attack of this number, be it required or not.
fn is_known(number: &str) -> bool {
    let is_of = |family, known| (1..=known).any(|of_family| format!("{family}{of_family}") == number);
    number.starts_with("CVE-") || FAMILIES.iter().any(|(family, _, known)| is_of(family, *known))
}

/// How many words an attack or an answer may take.
const WORDS: usize = 40;

/// One attack's paragraphs: what it is, our answer, and the tests as a list.
#[derive(Default)]
struct Entry {
    number: String,
    attack: String,
    answer: String,
    tests: Vec<String>,
}

/// The entries, and what is wrong with their form. What comes between a heading and the first entry below it is free
/// text.
fn entries(ledger: &str) -> (Vec<Entry>, Vec<String>) {
    let (mut entries, mut problems) = (Vec::<Entry>::new(), Vec::new());
    let mut is_inside = false;
    for paragraph in ledger.split("\n\n").map(str::trim).filter(|paragraph| !paragraph.is_empty()) {
        let begin = paragraph.strip_prefix("**").and_then(|rest| rest.split_once("**"));
        if let Some((number, attack)) = begin {
            entries.push(Entry { number: number.into(), attack: attack.trim().into(), ..Entry::default() });
            is_inside = true;
        } else if paragraph.starts_with('#') {
            is_inside = false;
        } else if let Some(entry) = entries.last_mut().filter(|_| is_inside) {
            if let Some(answer) = paragraph.strip_prefix("Answer:") {
                entry.answer.push_str(answer.trim());
            } else if paragraph.starts_with("- ") {
                let tests = paragraph.lines().map(|line| line.trim_start_matches("- ").trim_matches('`').to_owned());
                entry.tests.extend(tests);
            } else {
                problems.push(format!("{}: neither an answer nor tests: {paragraph}", entry.number));
            }
        }
    }
    (entries, problems)
}

/// Everything that is wrong with a ledger; `exists` says whether a test `file::name` does.
fn problems(ledger: &str, exists: impl Fn(&str, &str) -> bool) -> Vec<String> {
    let mut missing = required();
    let mut seen = BTreeSet::new();
    let (entries, mut problems) = entries(ledger);
    for Entry { number, attack, answer, tests } in entries {
        if !seen.insert(number.clone()) {
            problems.push(format!("{number} is there twice"));
        }
        if !missing.remove(&number) && !is_known(&number) {
            problems.push(format!("{number} is no known attack"));
        }
        for (what, text) in [("attack", &attack), ("answer", &answer)] {
            let words = text.split_whitespace().count();
            if words == 0 {
                problems.push(format!("{number} has no {what}"));
            } else if words > WORDS {
                problems.push(format!("{number}: the {what} has {words} words"));
            }
        }
        for test in &tests {
            if !test.rsplit_once("::").is_some_and(|(file, name)| exists(file, name)) {
                problems.push(format!("{number}: there is no test {test}"));
            }
        }
        // "**open**: why" or "why … is **open**: why"; a bare word explains nothing.
        let is_explained = answer
            .split_once("**open**")
            .is_some_and(|(before, after)| before.len().max(after.len()) >= "for a reason".len());
        if tests.is_empty() && !is_explained {
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
    let entry = |number: &String| format!("**{number}** a\n\nAnswer: b\n\n- `f::known`\n\n");
    let good: String = required().iter().map(entry).collect();
    let exists = |file: &str, name: &str| (file, name) == ("f", "known");
    assert_eq!(problems(&good, exists), Vec::<String>::new());

    let long = "a word ".repeat(21);
    let s1 = "**S1** a\n\nAnswer: b\n\n- `f::known`\n\n";
    for (to, complaint) in [
        ("", "S1 is missing"),
        ("**S1** a\n\nAnswer: b\n\n- `f::unknown`\n\n", "S1: there is no test f::unknown"),
        ("**S1** a\n\nAnswer: b\n\n- `f::known`\n- `g::known`\n\n", "S1: there is no test g::known"),
        ("**S1** a\n\nAnswer: b\n\n- `known`\n\n", "S1: there is no test known"),
        ("**S1** a\n\nAnswer: b\n\n", "S1 has neither a test nor a reason why it is open"),
        ("**S1** a\n\nAnswer: b `f::known`\n\n", "S1 has neither a test nor a reason why it is open"),
        ("**S1** a\n\nAnswer: **open**\n\n", "S1 has neither a test nor a reason why it is open"),
        ("**S1**\n\nAnswer: b\n\n- `f::known`\n\n", "S1 has no attack"),
        ("**S1** a\n\n- `f::known`\n\n", "S1 has no answer"),
        ("**S1** a\n\nb\n\n- `f::known`\n\n", "S1: neither an answer nor tests: b"),
        (&format!("**S1** a\n\nAnswer: {long}\n\n- `f::known`\n\n"), "S1: the answer has 42 words"),
        (&format!("**S1** {long}\n\nAnswer: b\n\n- `f::known`\n\n"), "S1: the attack has 42 words"),
        (&format!("{s1}{s1}"), "S1 is there twice"),
        (&format!("{s1}**S16** a\n\nAnswer: b\n\n- `f::known`\n\n"), "S16 is no known attack"),
    ] {
        let bad = good.replacen(s1, to, 1);
        assert_ne!(bad, good, "{complaint}");
        let found = problems(&bad, exists);
        assert!(found.iter().any(|problem| problem == complaint), "{complaint}: {found:?}");
    }
    let without_flaw = good.replacen(&entry(&"CVE-2021-4034".to_owned()), "", 1);
    assert_eq!(problems(&without_flaw, exists), ["CVE-2021-4034 is missing"]);
    let open = good.replacen(s1, "**S1** a\n\nAnswer: **open**: there is no such program\n\n", 1);
    assert_eq!(problems(&format!("# Title\n\nFree text.\n\n{open}"), exists), Vec::<String>::new());
}

#[test]
fn only_marked_functions_are_tests() {
    let source = "#[test]\nfn one() {}\nfn helper() {}\n    #[test]\n    #[ignore]\n    // why\n    fn two() {}\n#[test]\nmod three {}\nfn three() {}\n// fn four() {}\n";
    assert_eq!(tests_in(source), BTreeSet::from(["one", "two"]));
    assert!(is_a_test("audit/ledger", "only_marked_functions_are_tests"));
    assert!(is_a_test("helpers/ground/escape", "the_limit_is_exact"));
    assert!(is_a_test("helpers/policy/parse", "the_bounds_are_exact"));
    assert!(is_a_test("rootless/contract", "everyday_programs_work"), "one that may be ignored");
    assert!(!is_a_test("audit/ledger", "required"));
    assert!(!is_a_test("nowhere", "the_limit_is_exact"));
}

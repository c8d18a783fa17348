//! The decoder of the environment channel against a model of its syntax that was written from the description alone
//! (`fuzz/bodies/environment_model.rs`). That the model is right is shown by the golden cases of the original code;
//! then both are asked about generated buffers: well-formed ones, nearly well-formed ones, and any bytes.
//!
//! `GLEXEC_RS_CASES` says how many of each are tried, by default 1024.

use crate::bodies::environment::compare;
use crate::bodies::environment_model as model;
use glexec_rs::target::environment::decode;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;
use std::collections::BTreeSet;
use std::path::Path;

fn golden(name: &str) -> Vec<serde_json::Value> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/vectors").join(name);
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

fn merged(base: &[Vec<u8>], sent: Vec<model::Variable>) -> BTreeSet<Vec<u8>> {
    model::merge(base, sent).iter().map(model::entry).collect()
}

#[test]
fn the_model_says_what_the_original_said() {
    let (mut accepted, mut refused) = (0, 0);
    for case in golden("env_merge.json") {
        let (id, raw, base) = (&case["id"], hex(&case["raw"]), all(&case["base"]));
        let said = model::read(&raw);
        if raw.iter().position(|byte| *byte == 0) != Some(raw.len() - 1) {
            // The one deliberate difference.
            assert_eq!(said, Err(model::Wrong::Nul), "{id}");
        } else if case["accepted"] == true {
            assert_eq!(merged(&base, said.unwrap()), all(&case["env"]).into_iter().collect(), "{id}");
            accepted += 1;
        } else {
            let text = match said.expect_err("the original refused it") {
                model::Wrong::Nul => panic!("{id}"),
                model::Wrong::Open(from) => [b"Unbalanced quote starting here: ", &from[..]].concat(),
                model::Wrong::NoEquals(entry) => {
                    [b"ERROR: Missing '=' after environment variable '", &entry[..], b"'."].concat()
                }
                // The original has no text at all for an empty entry.
                model::Wrong::NoName(entry) if entry.is_empty() => Vec::new(),
                model::Wrong::NoName(entry) => [b"ERROR: missing variable in '", &entry[..], b"'."].concat(),
            };
            assert_eq!(text, hex(&case["error"]), "{id}");
            refused += 1;
        }
        compare(&base, &raw);
    }
    assert!(accepted > 400 && refused > 100, "{accepted} {refused}");
}

#[test]
fn the_model_reads_what_the_original_wrote() {
    let mut read = 0;
    for case in golden("env_encode.json") {
        let raw = [hex(&case["raw_sent"]), vec![0]].concat();
        let said = model::read(&raw);
        assert_eq!(said.is_ok(), case["roundtrip_ok"] == true, "{}", case["id"]);
        if let Ok(said) = said {
            assert_eq!(merged(&[], said), all(&case["roundtrip_env"]).into_iter().collect(), "{}", case["id"]);
            read += 1;
        }
        compare(&[], &raw);
    }
    assert!(read > 150, "{read}");
}

/// Bytes that mean something, that nearly do, and that mean nothing.
fn byte() -> impl Strategy<Value = u8> {
    prop_oneof![
        6 => select(b"' \t\n\r=$".to_vec()),
        4 => select(b"AB\x0b\x0c\"\\;#\xa0\xff\x01\x06".to_vec()),
        1 => 1_u8..=255,
    ]
}

/// An entry, and how each of its bytes is to be written: in quotes or, where that can be, plain.
fn entry() -> impl Strategy<Value = (Vec<u8>, Vec<bool>)> {
    let name = vec(byte().prop_filter("no end of the name", |byte| *byte != b'='), 1..6);
    let value = prop_oneof![9 => vec(byte(), 0..8), 1 => Just(vec![1, 2, 3, 4, 5, 6])];
    (name, value).prop_map(|(name, value)| [&name[..], b"=", &value].concat()).prop_flat_map(|entry| {
        let styles = vec(any::<bool>(), entry.len());
        (Just(entry), styles)
    })
}

/// A buffer that must be accepted, and the entries in it.
fn well_formed() -> impl Strategy<Value = (Vec<u8>, Vec<Vec<u8>>)> {
    let separators = vec(select(b" \t\n\r".to_vec()), 1..4);
    vec((entry(), separators), 0..6).prop_map(|entries| {
        let mut raw = Vec::new();
        for ((entry, styles), separators) in &entries {
            raw.extend_from_slice(separators);
            let mut quoted = false;
            for (byte, wish) in entry.iter().zip(styles) {
                let needed = b" \t\n\r'".contains(byte);
                if (*wish || needed) != quoted {
                    raw.push(b'\'');
                    quoted = !quoted;
                }
                raw.push(*byte);
                if *byte == b'\'' {
                    raw.push(*byte);
                }
            }
            if quoted {
                raw.push(b'\'');
            }
        }
        raw.push(0);
        (raw, entries.into_iter().map(|((entry, _), _)| entry).collect())
    })
}

fn base() -> impl Strategy<Value = Vec<Vec<u8>>> {
    vec(prop_oneof![4 => entry().prop_map(|(entry, _)| entry), 1 => vec(byte(), 0..6)], 0..6)
}

fn cases() -> ProptestConfig {
    let cases = std::env::var("GLEXEC_RS_CASES").map_or(1024, |count| count.parse().expect("a number of cases"));
    // What fails is shown whole; nothing is written beside the sources.
    ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() }
}

proptest! {
    #![proptest_config(cases())]

    #[test]
    fn well_formed_buffers_are_read_alike_and_rightly((raw, entries) in well_formed(), base in base()) {
        let sent: Vec<Vec<u8>> =
            decode(&raw).map_err(|why| TestCaseError::fail(why.to_string()))?.iter().map(|e| e.to_bytes().to_vec()).collect();
        let bare = |entry: Vec<u8>| match entry.iter().position(|byte| *byte == b'=') {
            Some(at) if entry[at + 1..] == [1, 2, 3, 4, 5, 6] => entry[..at].to_vec(),
            _ => entry,
        };
        prop_assert_eq!(sent, entries.into_iter().map(bare).collect::<Vec<_>>());
        compare(&base, &raw);
    }

    #[test]
    fn nearly_well_formed_buffers_are_read_alike(
        (mut raw, _) in well_formed(),
        at in any::<proptest::sample::Index>(),
        put in prop_oneof![9 => byte(), 1 => Just(0)],
        how in 0_u8..3,
        base in base(),
    ) {
        let at = at.index(raw.len());
        match how {
            0 => raw.insert(at, put),
            1 => drop(raw.remove(at)),
            _ => raw[at] = put,
        }
        compare(&base, &raw);
    }

    #[test]
    fn any_bytes_are_read_alike(mut raw in vec(prop_oneof![30 => byte(), 1 => Just(0)], 0..64), ended in any::<bool>(), base in base()) {
        if ended {
            raw.push(0);
        }
        compare(&base, &raw);
    }
}

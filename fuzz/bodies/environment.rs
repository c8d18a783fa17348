//! The environment on the channel: the decoder against an independent model, and back from our own encoder.

use super::environment_model as model;
use super::{assert_fit_to_be_shown, input::Input};
use glexec_rs::job::environment::{Variable, encode};
use glexec_rs::target::environment::{Malformed, decode, merge};
use std::ffi::{CStr, CString};

/// The input is a buffer as it is, a buffer without its NUL, and a list of entries, each behind its length.
pub fn target(data: &[u8]) {
    compare(&[], data);
    let base = [&b"A=base"[..], b"CONDOR_INHERIT=base", b"none", b"=x", b"B$$=1", b"", b"Z=behind"];
    compare(&base.map(<[u8]>::to_vec), &[data, &[0]].concat());
    round_trip(&mut Input::new(data));
}

/// Decoder and model say the same about `raw`, over what a switcher left.
pub fn compare(base: &[Vec<u8>], raw: &[u8]) {
    let base_entries: Vec<CString> = base.iter().filter_map(|entry| CString::new(entry.clone()).ok()).collect();
    let ours = decode(raw);
    match model::read(raw) {
        Ok(expected) => {
            let ours = ours.expect("what the model accepts");
            let sent: Vec<Vec<u8>> = expected.iter().map(|(name, value)| model::entry((name, value))).collect();
            assert_eq!(ours.iter().map(|entry| entry.to_bytes().to_vec()).collect::<Vec<_>>(), sent);
            let merged = merge(base_entries.iter().map(CString::as_c_str), &ours);
            let merged: Vec<Vec<u8>> = merged.iter().map(|entry| entry.to_bytes().to_vec()).collect();
            let expected = model::merge(base, expected);
            // Ours in the order of names, as a map's.
            assert_eq!(merged, expected.iter().map(model::entry).collect::<Vec<_>>());
        }
        Err(wrong) => {
            let why = ours.err().expect("what the model refuses");
            assert_fit_to_be_shown(&why.to_string());
            let same = match (&why, &wrong) {
                (Malformed::Unterminated | Malformed::InnerNul, model::Wrong::Nul) => true,
                (Malformed::OpenQuote(ours), model::Wrong::Open(theirs))
                | (Malformed::NoValue(ours), model::Wrong::NoEquals(theirs))
                | (Malformed::NoName(ours), model::Wrong::NoName(theirs)) => ours == theirs,
                _ => false,
            };
            assert!(same, "{why:?} is not {wrong:?}");
        }
    }
}

/// What is encoded is decoded to the same, in the same order.
fn round_trip(input: &mut Input<'_>) {
    let mut variables = Vec::new();
    while !input.is_empty() {
        if let Ok(variable) = Variable::new(input.text().to_vec()) {
            variables.push(variable);
        }
    }
    let decoded = decode(&encode(&variables)).expect("what was encoded");
    let decoded: Vec<&[u8]> = decoded.iter().map(CStr::to_bytes).collect();
    assert_eq!(decoded, variables.iter().map(Variable::entry).collect::<Vec<_>>());
}

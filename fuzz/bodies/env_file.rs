//! `--env-file` of `condor_glexec_job`.

use super::assert_fit_to_be_shown;
use glexec_rs::job::environment::{Variable, layered, parse_file};
use std::collections::BTreeMap;

/// The input is the file.
pub fn target(data: &[u8]) {
    let expected = model(data);
    match parse_file(data) {
        Ok(variables) => {
            let entries: Vec<&[u8]> = variables.iter().map(Variable::entry).collect();
            assert_eq!(Some(entries), expected);
            layers(&variables);
        }
        Err(failure) => {
            assert_eq!(expected, None);
            assert_fit_to_be_shown(&failure.to_string());
        }
    }
}

/// The file's entries, if it is one: as its description says, and as slowly as need be.
fn model(file: &[u8]) -> Option<Vec<&[u8]>> {
    let end = if file.contains(&0) { 0 } else { b'\n' };
    let mut entries: Vec<&[u8]> = file.split_inclusive(|byte| *byte == end).collect();
    let mut names = BTreeMap::new();
    for entry in &mut entries {
        let (last, content) = entry.split_last()?;
        let equals = content.iter().position(|byte| *byte == b'=').filter(|at| *at > 0)?;
        // The value that stands for none on the channel.
        let none = content[equals + 1..] == [1, 2, 3, 4, 5, 6];
        if *last != end || none || names.insert(&content[..equals], ()).is_some() {
            return None;
        }
        *entry = content;
    }
    Some(entries)
}

/// Of three layers the last that has a name gives it its value.
fn layers(variables: &[Variable]) {
    let (first, rest) = variables.split_at(variables.len() / 3);
    let (second, third) = rest.split_at(rest.len() / 2);
    let doubled: Vec<Variable> =
        first.iter().map(|variable| Variable::new([variable.name(), b"=later"].concat()).expect("a name")).collect();
    let together = layered([first, second, &[third, &doubled].concat()]);
    let mut expected: BTreeMap<&[u8], &[u8]> = BTreeMap::new();
    for variable in variables.iter().chain(&doubled) {
        expected.insert(variable.name(), variable.entry());
    }
    assert_eq!(together.len(), expected.len());
    assert!(together.iter().all(|variable| expected.get(variable.name()) == Some(&variable.entry())));
}

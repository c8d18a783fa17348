//! The environment that the job is to have.

use crate::ground::escape::Escaped;
use crate::ground::limits;
use crate::ground::outcome::{Failure, Outcome};
use crate::protocol::job_channel::NO_VALUE;
use std::collections::BTreeSet;

/// One variable: `NAME=VALUE`, with a name of at least one byte and without NUL. The value is not [`NO_VALUE`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Variable {
    entry: Vec<u8>,
    name_length: usize,
}

impl Variable {
    /// Takes `NAME=VALUE`. The value may be empty and may hold `=` and newlines.
    ///
    /// # Errors
    /// Usage, when it is anything else.
    pub fn new(entry: Vec<u8>) -> Outcome<Self> {
        match entry.iter().position(|byte| *byte == b'=') {
            Some(name_length) if name_length > 0 && !entry.contains(&0) => {
                let variable = Variable { entry, name_length };
                if variable.value() == NO_VALUE {
                    return Err(Failure::usage(format_args!(
                        "the environment variable {} has the value that stands for none on the way to the job ({})",
                        Escaped(variable.name()),
                        Escaped(NO_VALUE)
                    )));
                }
                Ok(variable)
            }
            _ => Err(Failure::usage(format_args!(
                "the environment entry {} is not NAME=VALUE with a name and without NUL",
                Escaped(&entry)
            ))),
        }
    }

    /// The variable `name` with `value`.
    ///
    /// # Errors
    /// As [`Variable::new`].
    pub fn of(name: &str, value: &[u8]) -> Outcome<Self> {
        Self::new([name.as_bytes(), b"=", value].concat())
    }

    /// Its name.
    pub fn name(&self) -> &[u8] {
        self.entry.get(..self.name_length).unwrap_or_default()
    }

    fn value(&self) -> &[u8] {
        self.entry.get(self.name_length.saturating_add(1)..).unwrap_or_default()
    }

    /// `NAME=VALUE`.
    pub fn entry(&self) -> &[u8] {
        &self.entry
    }
}

/// Puts `variable` behind the others, which must not have one of that name.
///
/// # Errors
/// Usage.
pub(super) fn add(variables: &mut Vec<Variable>, variable: Variable) -> Outcome {
    if variables.iter().any(|other| other.name() == variable.name()) {
        return Err(twice(&variable));
    }
    variables.push(variable);
    Ok(())
}

fn twice(variable: &Variable) -> Failure {
    Failure::usage(format_args!("the environment variable {} is given twice", Escaped(variable.name())))
}

/// Reads an environment file: one `NAME=VALUE` after the other, each ended by a NUL (as `env -0` writes them and
/// `/proc/<pid>/environ` shows them) if there is a NUL in the file, else by a newline. Nothing is special: no quotes,
/// comments, blank lines or continuations.
///
/// # Errors
/// Usage, when an entry is none, a name comes twice, the last entry is not ended, or there are too many.
pub fn parse_file(text: &[u8]) -> Outcome<Vec<Variable>> {
    let end = if text.contains(&0) { 0 } else { b'\n' };
    let Some(entries) = text.strip_suffix(&[end]) else {
        return if text.is_empty() {
            Ok(Vec::new())
        } else {
            Err(Failure::usage("the environment file does not end with the end of an entry"))
        };
    };
    let mut names = BTreeSet::new();
    let mut variables = Vec::new();
    for entry in entries.split(|byte| *byte == end) {
        let variable = Variable::new(entry.to_vec())?;
        if !names.insert(variable.name().to_vec()) {
            return Err(twice(&variable));
        }
        variables.push(variable);
        if variables.len() > limits::ENVIRONMENT_ENTRIES {
            return Err(Failure::usage(format_args!(
                "the environment file has more than {} entries",
                limits::ENVIRONMENT_ENTRIES
            )));
        }
    }
    Ok(variables)
}

/// All of `layers` in one, where a later layer wins over an earlier one.
pub fn layered(layers: [&[Variable]; 3]) -> Vec<Variable> {
    let mut names = BTreeSet::new();
    let mut layered: Vec<Variable> = Vec::new();
    for variable in layers.into_iter().rev().flatten() {
        if names.insert(variable.name().to_vec()) {
            layered.push(variable.clone());
        }
    }
    layered
}

/// Writes an environment in HTCondor's "V2 raw" syntax, with the final NUL: entries separated by blanks, with single
/// quotes around one that holds white space or a single quote, which is doubled.
pub fn encode(variables: &[Variable]) -> Vec<u8> {
    let mut text = Vec::new();
    for variable in variables {
        if !text.is_empty() {
            text.push(b' ');
        }
        let entry = variable.entry();
        if !entry.iter().any(|byte| b" \t\n\r'".contains(byte)) {
            text.extend_from_slice(entry);
            continue;
        }
        text.push(b'\'');
        for &byte in entry {
            text.push(byte);
            if byte == b'\'' {
                text.push(byte);
            }
        }
        text.push(b'\'');
    }
    text.push(0);
    text
}

#[cfg(test)]
mod tests {
    use super::{Variable, add, encode, layered, parse_file};
    use crate::target::environment::decode;

    fn entries(variables: &[Variable]) -> Vec<&[u8]> {
        variables.iter().map(Variable::entry).collect()
    }

    #[test]
    fn a_file_is_ended_by_newlines_or_by_nuls() {
        assert_eq!(entries(&parse_file(b"A=1\nB= x=y \nC=\n").unwrap()), [&b"A=1"[..], b"B= x=y ", b"C="]);
        assert_eq!(entries(&parse_file(b"A=1\n2\0B=\xff\0").unwrap()), [&b"A=1\n2"[..], b"B=\xff"]);
        assert!(parse_file(b"").unwrap().is_empty());
    }

    #[test]
    fn what_is_not_strictly_an_environment_is_refused() {
        for bad in [
            &b"A=1"[..],
            b"\n",
            b"\0",
            b"A=1\n\nB=2\n",
            b"A\n",
            b"=1\n",
            b"A=1\nA=2\n",
            b"A=1\0B=2\n",
            b"A=1\0B\0",
            b"#x\n",
            b"A=\x01\x02\x03\x04\x05\x06\n",
        ] {
            assert!(parse_file(bad).is_err(), "{:?}", String::from_utf8_lossy(bad));
        }
    }

    #[test]
    fn a_name_is_taken_once() {
        let mut variables = Vec::new();
        add(&mut variables, Variable::new(b"A=1".to_vec()).unwrap()).unwrap();
        assert!(add(&mut variables, Variable::new(b"A=2".to_vec()).unwrap()).is_err());
        assert!(Variable::new(b"A\0=1".to_vec()).is_err());
    }

    #[test]
    fn later_layers_win() {
        let layer = |text: &[u8]| parse_file(text).unwrap();
        let layered = layered([&layer(b"A=1\nB=1\n"), &layer(b"B=2\nC=2\n"), &layer(b"C=3\n")]);
        let mut all = entries(&layered);
        all.sort_unstable();
        assert_eq!(all, [&b"A=1"[..], b"B=2", b"C=3"]);
    }

    #[test]
    fn what_needs_quotes_gets_them() {
        let written = |file: &[u8]| encode(&parse_file(file).unwrap());
        assert_eq!(written(b""), b"\0");
        assert_eq!(written(b"A=1\nB=\n"), b"A=1 B=\0");
        assert_eq!(written(b"A=x y\nB=it's\nC=\"\\$\n"), b"'A=x y' 'B=it''s' C=\"\\$\0");
        assert_eq!(written(b"A=1\n2\0B=\t\0"), b"'A=1\n2' 'B=\t'\0");
    }

    #[test]
    fn the_wrapper_reads_back_what_is_written() {
        let every: Vec<u8> = (1..=255).collect();
        let mut variables: Vec<_> = (0..255)
            .map(|at| Variable::new([format!("V{at}=").as_bytes(), &every[at..], &every[..at]].concat()).unwrap())
            .collect();
        for value in ["", "'", "''", " ", "\n'\n", "' '", "$$", "=", "a'b c'd"] {
            variables.push(Variable::new(format!("N{}'={value}", variables.len()).into_bytes()).unwrap());
        }
        let read = decode(&encode(&variables)).unwrap();
        let written: Vec<_> = variables.iter().map(Variable::entry).collect();
        assert_eq!(read.iter().map(std::ffi::CStr::to_bytes).collect::<Vec<_>>(), written);
    }
}

//! The bytes of a policy file.
//!
//! Lines `key = value`; blanks and tabs around both count for nothing. Empty lines and lines that begin with `#` are
//! passed over. Every line ends with a newline, also the last one: a file that was cut off must not pass for a
//! shorter policy.

use super::settings::{Policy, View};
use crate::confine::landlock::Part;
use crate::copy::rules::Symlinks;
use crate::ground::escape::Escaped;
use crate::ground::limits;
use core::fmt::Display;
use core::time::Duration;
use std::collections::BTreeSet;

/// The first line that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    /// Its number, from 1.
    pub line: usize,
    /// What is wrong and what to do, in printable ASCII. What the file holds comes last: a long value must not cut
    /// off the reason.
    pub why: String,
}

/// What a value's reader answers: the remedy is what it should be.
type Checked<T = ()> = Result<T, String>;

/// Understands the bytes of a policy file. Pure: nothing but the bytes decides.
///
/// # Errors
/// The first line that is wrong, and why.
pub fn parse(text: &[u8]) -> Result<Policy, Refused> {
    let mut policy = Policy::default();
    let mut seen = BTreeSet::new();
    let mut denied_no_new_privs = None;
    if u64::try_from(text.len()).map_or(true, |length| length > limits::POLICY_BYTES) {
        return Err(Refused { line: 1, why: format!("the file is longer than {} bytes", limits::POLICY_BYTES) });
    }
    for (index, whole) in text.split_inclusive(|byte| *byte == b'\n').enumerate() {
        let line = index.saturating_add(1);
        let refuse = |why: String| Refused { line, why };
        let content = whole.strip_suffix(b"\n").ok_or_else(|| {
            refuse("the last line does not end with a newline; the file may have been cut off".to_owned())
        })?;
        if content.contains(&0) {
            return Err(refuse("a NUL is no part of a policy".to_owned()));
        }
        let content = trim(content);
        if content.is_empty() || content.starts_with(b"#") {
            continue;
        }
        if content.iter().any(|byte| byte.is_ascii_control() && *byte != b'\t') {
            return Err(refuse(format!("a control byte has no place in a line: {}", Escaped(content))));
        }
        let equals = content.iter().position(|byte| *byte == b'=');
        let (key, value) = equals
            .and_then(|at| content.split_at_checked(at))
            .map(|(key, value)| (trim(key), trim(value.get(1..).unwrap_or_default())))
            .ok_or_else(|| refuse(format!("a line is \"key = value\", this is {}", Escaped(content))))?;
        let (_, has_list, set) = KEYS
            .iter()
            .find(|(name, ..)| name.as_bytes() == key)
            .ok_or_else(|| refuse(format!("no key is called {} (example.conf has them all)", Escaped(key))))?;
        set(&mut policy, value).map_err(refuse)?;
        // A list has one line for each of its values, everything else has one line.
        if !seen.insert((key, if *has_list { value } else { b"" })) {
            return Err(refuse(format!("this stands there twice; keep one of {}", Escaped(key))));
        }
        if seen.iter().filter(|(name, _)| *name == key).count() > limits::POLICY_LIST {
            return Err(refuse(format!("more than {} lines of {}", limits::POLICY_LIST, Escaped(key))));
        }
        if (key, value) == (NO_NEW_PRIVS, b"no") {
            denied_no_new_privs = Some(line);
        }
    }
    match denied_no_new_privs {
        Some(line) if policy.job.seccomp || policy.job.view.is_some() => Err(Refused {
            line,
            why: "job-seccomp and the job's view of files (job-read, job-execute, job-write) imply job-no-new-privs = yes; remove one of them"
                .to_owned(),
        }),
        _ => Ok(policy),
    }
}

const NO_NEW_PRIVS: &[u8] = b"job-no-new-privs";

/// Takes a value of one key.
type Set = fn(&mut Policy, &[u8]) -> Checked;

/// Every key, whether it can stand there more than once, and what its value does.
const KEYS: [(&str, bool, Set); 14] = [
    ("kernel-may-lack", false, set_may_lack),
    ("job-no-new-privs", false, |policy, value| {
        one_of(value, [("yes", true), ("no", false)]).map(|held| policy.job.no_new_privs = held)
    }),
    ("job-seccomp", false, |policy, value| {
        one_of(value, [("job", true), ("none", false)]).map(|held| policy.job.seccomp = held)
    }),
    ("job-read", true, |policy, value| path(value).map(|path| view(policy).read.push(path))),
    ("job-execute", true, |policy, value| path(value).map(|path| view(policy).execute.push(path))),
    ("job-write", true, |policy, value| path(value).map(|path| view(policy).write.push(path))),
    ("secret-variable", true, |policy, value| variable(value).map(|name| policy.secret_variables.push(name))),
    ("cleanup-bytes", false, |policy, value| {
        number(value, limits::DATA_BYTES).map(|bytes| policy.cleanup.bytes = bytes)
    }),
    ("cleanup-entries", false, |policy, value| {
        number(value, limits::ENTRIES).map(|entries| policy.cleanup.entries = entries)
    }),
    ("cleanup-depth", false, |policy, value| number(value, limits::DEPTH).map(|depth| policy.cleanup.depth = depth)),
    ("cleanup-seconds", false, |policy, value| {
        number(value, limits::COPY_DEADLINE.as_secs()).map(|time| policy.cleanup.time = Duration::from_secs(time))
    }),
    ("cleanup-symlinks", false, |policy, value| {
        let choices = [("none", Symlinks::None), ("inside", Symlinks::Inside), ("all", Symlinks::All)];
        one_of(value, choices).map(|links| policy.cleanup.symlinks = links)
    }),
    ("report-left-out", false, |policy, value| {
        one_of(value, [("file", true), ("none", false)]).map(|file| policy.left_out_file = file)
    }),
    ("durable", false, |policy, value| {
        one_of(value, [("yes", true), ("no", false)]).map(|durable| policy.durable = durable)
    }),
];

fn view(policy: &mut Policy) -> &mut View {
    policy.job.view.get_or_insert_default()
}

fn set_may_lack(policy: &mut Policy, value: &[u8]) -> Checked {
    for name in value.split(|byte| matches!(byte, b' ' | b'\t')).filter(|name| !name.is_empty()) {
        let known = Part::ALL.iter().find(|(_, known, _)| known.as_bytes() == name);
        let (part, ..) = known.ok_or_else(|| {
            let names = Part::ALL.map(|(_, name, _)| name).join(", ");
            format!("it must be of {names}, not {}", Escaped(name))
        })?;
        if !policy.may_lack.permit(*part) {
            return Err(format!("this name stands there twice: {}", Escaped(name)));
        }
    }
    if value.is_empty() {
        Err("the value is missing; remove the line if the kernel may lack nothing".to_owned())
    } else {
        Ok(())
    }
}

fn one_of<T, const N: usize>(value: &[u8], choices: [(&str, T); N]) -> Checked<T> {
    let names = choices.each_ref().map(|(name, _)| *name).join(" or ");
    choices
        .into_iter()
        .find_map(|(name, meaning)| (name.as_bytes() == value).then_some(meaning))
        .ok_or_else(|| format!("it must be {names}, not {}", Escaped(value)))
}

/// A number from 1 to `most`, decimal digits alone.
fn number<T: Copy + Display + TryFrom<u64> + PartialOrd>(value: &[u8], most: T) -> Checked<T> {
    let refused =
        || format!("it must be a whole number from 1 to {most}, without sign or unit, not {}", Escaped(value));
    let is_plain = value.iter().all(u8::is_ascii_digit) && !value.starts_with(b"0");
    let parsed = core::str::from_utf8(value).ok().filter(|_| is_plain).and_then(|digits| digits.parse::<u64>().ok());
    parsed.and_then(|number| T::try_from(number).ok()).filter(|number| *number <= most).ok_or_else(refused)
}

fn path(value: &[u8]) -> Checked<Vec<u8>> {
    if value.starts_with(b"/") && value.len() < limits::PATH_BYTES {
        Ok(value.to_vec())
    } else {
        Err(format!("it must be an absolute path of at most 4095 bytes, not {}", Escaped(value)))
    }
}

fn variable(value: &[u8]) -> Checked<Vec<u8>> {
    if value.is_empty() || value.iter().any(|byte| matches!(byte, b'=' | b' ' | b'\t')) {
        Err(format!("it must be one variable's name, not {}", Escaped(value)))
    } else {
        Ok(value.to_vec())
    }
}

/// Without the blanks and tabs at both ends.
fn trim(text: &[u8]) -> &[u8] {
    let is_blank = |byte: &u8| matches!(byte, b' ' | b'\t');
    let begin = text.iter().position(|byte| !is_blank(byte)).unwrap_or(text.len());
    let end = text.iter().rposition(|byte| !is_blank(byte)).map_or(begin, |last| last.saturating_add(1));
    text.get(begin..end).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::super::settings::Policy;
    use super::{KEYS, parse};
    use crate::confine::landlock::Part;
    use crate::copy::rules::{CleanupRules, Symlinks};
    use crate::ground::limits;
    use core::time::Duration;
    use std::collections::BTreeSet;

    const EXAMPLE: &str = include_str!("example.conf");

    /// The example's settings, which it shows behind `#` at a line's begin; what it explains stands behind `# `.
    fn uncommented() -> String {
        EXAMPLE
            .lines()
            .map(|line| {
                format!(
                    "{}\n",
                    line.strip_prefix('#').filter(|rest| rest.starts_with(char::is_alphabetic)).unwrap_or(line)
                )
            })
            .collect()
    }

    #[track_caller]
    fn refused(text: impl AsRef<[u8]>, line: usize, word: &str) {
        let refused = parse(text.as_ref()).expect_err("it must be refused");
        assert!(refused.line == line && refused.why.contains(word), "{refused:?}");
        assert!(refused.why.bytes().all(|byte| (b' '..=b'~').contains(&byte)), "{refused:?}");
    }

    #[test]
    fn the_example_as_it_stands_is_the_default() {
        assert_eq!(parse(EXAMPLE.as_bytes()), Ok(Policy::default()));
        assert_eq!(parse(b""), Ok(Policy::default()));
    }

    #[test]
    fn the_example_with_every_setting_is_understood() {
        let policy = parse(uncommented().as_bytes()).unwrap();
        assert!(Part::ALL.iter().all(|(part, ..)| policy.may_lack.permits(*part)));
        assert!(policy.job.no_new_privs && policy.job.seccomp);
        let view = policy.job.view.unwrap();
        assert!(!view.read.is_empty() && !view.execute.is_empty() && !view.write.is_empty());
        assert_eq!(policy.secret_variables.len(), 10);
        assert_eq!(policy.secret_variables.last(), Some(&b"SITE_TOKEN".to_vec()));
        let rules = CleanupRules {
            bytes: 100_000_000_000,
            entries: 1_000_000,
            depth: 256,
            time: Duration::from_secs(3600),
            symlinks: Symlinks::None,
        };
        assert_eq!(policy.cleanup, rules);
        assert!(policy.durable && policy.left_out_file);
    }

    #[test]
    fn every_key_is_in_the_example_and_the_example_has_no_other() {
        let shown: BTreeSet<&str> = EXAMPLE
            .lines()
            .filter_map(|line| line.strip_prefix('#').filter(|rest| rest.starts_with(char::is_alphabetic)))
            .filter_map(|setting| Some(setting.split_once(" = ")?.0))
            .collect();
        assert_eq!(shown, KEYS.iter().map(|(name, ..)| *name).collect());
    }

    #[test]
    fn blanks_comments_and_any_byte_of_a_path_are_taken() {
        let policy = parse(b"\n  # x = y\n\tjob-read\t=  /a b#c\xff=d \t\njob-read=/\n").unwrap();
        assert_eq!(policy.job.view.unwrap().read, [b"/a b#c\xff=d".to_vec(), b"/".to_vec()]);
    }

    #[test]
    fn what_is_not_a_policy_is_refused_with_its_line() {
        refused("# a\n\nnonsense\n", 3, "key = value");
        refused("cleanup-byte = 1\n", 1, "no key is called \"cleanup-byte\"");
        refused("Cleanup-bytes = 1\n", 1, "no key");
        refused("= 1\n", 1, "no key");
        refused("cleanup-bytes = 1\n\ncleanup-bytes = 1\n", 3, "twice");
        refused("job-read = /a\njob-read = /a\n", 2, "twice");
        refused("cleanup-bytes = 1", 1, "newline");
        refused("job-read = /a\0b\n", 1, "NUL");
        refused("# \0\n", 1, "NUL");
        refused("job-read = /a\x1b[0m\n", 1, "\\x1b");
        refused("job-seccomp = none\r\n", 1, "control byte");
        refused("\x1b\u{e9} = 1\n", 1, "control byte");
        refused("\u{e9} = 1\n", 1, "\\xc3\\xa9");
        for value in ["", "0", "01", "-1", "+1", "1k", "1 2", "0x1", "18446744073709551616", "\u{0661}"] {
            for key in ["cleanup-bytes", "cleanup-entries", "cleanup-depth", "cleanup-seconds"] {
                refused(format!("{key} = {value}\n"), 1, "a whole number from 1 to");
            }
        }
        refused("cleanup-symlinks = some\n", 1, "none or inside or all");
        refused("job-no-new-privs = true\n", 1, "yes or no");
        refused("job-no-new-privs =\n", 1, "yes or no");
        refused("job-seccomp = yes\n", 1, "job or none");
        refused("job-read = usr\n", 1, "absolute");
        refused("job-write =\n", 1, "absolute");
        refused("secret-variable = A=B\n", 1, "one variable's name");
        refused("secret-variable = A B\n", 1, "one variable's name");
        refused("secret-variable =\n", 1, "one variable's name");
        refused("kernel-may-lack =\n", 1, "missing");
        refused("kernel-may-lack = seccomp\n", 1, "landlock-truncate");
        refused("kernel-may-lack = landlock landlock\n", 1, "twice");
        refused("#\njob-no-new-privs = no\njob-seccomp = job\n", 2, "imply");
        refused("job-read = /usr\njob-no-new-privs = no\n", 2, "imply");
    }

    #[test]
    fn the_bounds_are_exact() {
        let fits = |text: String| parse(text.as_bytes()).unwrap();
        for (key, most) in [
            ("cleanup-bytes", limits::DATA_BYTES),
            ("cleanup-entries", limits::ENTRIES),
            ("cleanup-depth", limits::DEPTH as u64),
            ("cleanup-seconds", limits::COPY_DEADLINE.as_secs()),
        ] {
            assert_eq!(fits(format!("{key} = {most}\n")), Policy::default());
            refused(format!("{key} = {}\n", most + 1), 1, "a whole number from 1 to");
            assert_ne!(fits(format!("{key} = 1\n")), Policy::default());
        }
        let padded = |bytes: u64| format!("#{}\n", "x".repeat(usize::try_from(bytes).unwrap() - 2));
        assert_eq!(fits(padded(limits::POLICY_BYTES)), Policy::default());
        refused(padded(limits::POLICY_BYTES + 1), 1, "longer than");
        let many = |count: usize| (0..count).map(|number| format!("secret-variable = V{number}\n")).collect::<String>();
        assert_eq!(fits(many(limits::POLICY_LIST)).secret_variables.len(), limits::POLICY_LIST);
        refused(many(limits::POLICY_LIST + 1), limits::POLICY_LIST + 1, "more than");
        let path = |bytes: usize| format!("job-read = /{}\n", "x".repeat(bytes - 1));
        fits(path(limits::PATH_BYTES - 1));
        refused(path(limits::PATH_BYTES), 1, "absolute path");
    }
}

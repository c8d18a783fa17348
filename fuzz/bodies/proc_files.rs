//! `/proc/<pid>/stat` and `status` of processes that name themselves as they like.

use super::confined::confined;
use super::{assert_fit_to_be_shown, input::Input};
use glexec_rs::confine::Confined;
use glexec_rs::confine::side::CLEANUP_PILOT;
use glexec_rs::family::{self, Birth, Process};
use glexec_rs::target::status::Status;
use std::collections::BTreeMap;

/// The input is both texts as they are; and a name for a process whose other fields are the kernel's.
pub fn target(data: &[u8]) {
    confined(&CLEANUP_PILOT, &[], |proof| check(data, proof));
}

fn check(data: &[u8], proof: &Confined) {
    stat(data, proof);
    status(data, proof);
    let mut input = Input::new(data);
    let numbers: [u32; 4] = [0; 4].map(|_: i32| u32::from_le_bytes(input.number()));
    let (start, threads) = (u64::from_le_bytes(input.number()), u64::from_le_bytes(input.number()));
    let state = b"RSDTtXZxI"[input.choice(9)];
    let name = input.rest();
    named(numbers, start, threads, state, name, proof);
}

/// Whatever the name is, the other fields are found.
fn named([pid, parent, real, filters]: [u32; 4], start: u64, threads: u64, state: u8, name: &[u8], proof: &Confined) {
    let line = [
        format!("{pid} (").as_bytes(),
        name,
        format!(") {} {parent} 1 1 0 -1 4194304 1 2 3 4 5 6 7 8 20 0 {threads} 0 {start} 9 9 -1\n", char::from(state))
            .as_bytes(),
    ]
    .concat();
    let expected = Process { birth: Birth { pid, start }, parent, state, threads };
    assert_eq!(family::parse(&line, proof), Some(expected));

    // The kernel shows a newline in a name as two bytes, and a backslash, too.
    let shown: Vec<u8> = name
        .iter()
        .flat_map(|byte| match byte {
            b'\n' => b"\\n".to_vec(),
            b'\\' => b"\\\\".to_vec(),
            other => vec![*other],
        })
        .take(1024)
        .collect();
    let text = [
        b"Name:\t",
        &shown[..],
        format!(
            "\nUmask:\t0022\nState:\t{} (of some kind)\nTgid:\t{pid}\nUid:\t{real}\t2\t3\t4\nGid:\t0\t0\t0\t0\n\
             NoNewPrivs:\t{}\nSeccomp:\t2\nSeccomp_filters:\t{filters}\nSpeculation_Store_Bypass:\tvulnerable\n",
            char::from(state),
            filters & 1,
        )
        .as_bytes(),
    ]
    .concat();
    let no_new_privs = filters & 1 == 1;
    let expected = Status { state, no_new_privs, seccomp_filters: filters };
    assert_eq!(Status::parse(&text, proof), Ok(expected));
    assert!(no_new_privs || !expected.is_inside_domain(0));
}

/// A line that is understood says all that was read out of it, in the kernel's form, behind any name at all.
fn stat(line: &[u8], proof: &Confined) {
    let Some(Process { birth: Birth { pid, start }, parent, state, threads }) = family::parse(line, proof) else {
        return;
    };
    let begin = format!("{pid} (");
    assert!(line.starts_with(begin.as_bytes()) && line.ends_with(b"\n"));
    let behind = line.iter().rposition(|byte| *byte == b')').expect("the name's end") + 2;
    let fields: Vec<&[u8]> = line[behind..line.len() - 1].split(|byte| *byte == b' ').collect();
    let number = |at: usize| core::str::from_utf8(fields[at]).expect("digits").parse::<u64>().expect("a number");
    assert_eq!((fields[0], number(1), number(17), number(19)), (&[state][..], parent.into(), threads, start));
}

/// Against a reader that keeps a table of all lines.
fn status(text: &[u8], proof: &Confined) {
    let ours = Status::parse(text, proof);
    if let Err(why) = ours {
        assert_fit_to_be_shown(&why.to_string());
    }
    assert_eq!(ours.ok(), status_model(text));
}

fn status_model(text: &[u8]) -> Option<Status> {
    let (last, lines) = text.split_last()?;
    let mut lines = lines.split(|byte| *byte == b'\n');
    if *last != b'\n' || text.len() > 65_536 || !lines.next()?.starts_with(b"Name:\t") {
        return None;
    }
    let mut table: BTreeMap<&[u8], Vec<&[u8]>> = BTreeMap::new();
    for line in lines {
        if let Some(at) = line.windows(2).position(|pair| pair == b":\t") {
            table.entry(&line[..at]).or_default().push(&line[at + 2..]);
        }
    }
    let field = |name: &str| match table.get(name.as_bytes()).map(Vec::as_slice) {
        Some([value]) => Some(*value),
        _ => None,
    };
    let number = |value: &[u8]| {
        let text = core::str::from_utf8(value).ok()?;
        text.parse::<u32>().ok().filter(|number| number.to_string() == text)
    };
    let state = field("State")?;
    let seccomp_filters = number(field("Seccomp_filters")?)?;
    let no_new_privs = number(field("NoNewPrivs")?).filter(|flag| *flag < 2)? == 1;
    let named = state.len() >= 2 && state[0].is_ascii_alphabetic() && state[1] == b' ';
    named.then(|| Status { state: state[0], no_new_privs, seccomp_filters })
}

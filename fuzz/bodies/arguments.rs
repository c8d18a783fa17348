//! The arguments of every program, against what its description says in so many words.

use super::{assert_fit_to_be_shown, input::Input};
use glexec_rs::ground::argv::Arguments;
use glexec_rs::ground::outcome::{Kind, Outcome};
use glexec_rs::job::environment::Variable;
use glexec_rs::job::options::{self, Options};
use glexec_rs::pilot::arguments::SandboxArguments;
use glexec_rs::pilot::kill::KillArguments;
use glexec_rs::pilot::run::RunArguments;
use glexec_rs::pilot::update_proxy::UpdateArguments;
use glexec_rs::protocol::greeting::Operation;
use glexec_rs::rootless::Asked;
use glexec_rs::target::wrapper::WrapperArguments;
use std::collections::BTreeSet;
use std::ffi::OsString;
use std::ops::RangeInclusive;
use std::os::unix::ffi::OsStringExt;

/// Arguments that mean something to some program.
const WORDS: [&[u8]; 42] = [
    b"--json",
    b"--family",
    b"-",
    b"--",
    b"--input",
    b"--env",
    b"--env-file",
    b"--stdin",
    b"--stdout",
    b"--stderr",
    b"--proxy",
    b"--switcher",
    b"--sandbox",
    b"--execute",
    b"--output",
    b"--time-limit",
    b"--grace",
    b"--retries",
    b"--delay",
    b"--verbose",
    b"/usr/sbin/glexec",
    b"/",
    b"x509",
    b"..",
    b"a/b",
    b"0",
    b"1",
    b"9",
    b"64",
    b"65",
    b"1000",
    b"3601",
    b"4194304",
    b"4194305",
    b"1000000001",
    b"A=1",
    b"/in=name",
    b"setup",
    b"update_proxy",
    b"",
    b"-h",
    b"-v",
];

/// The first byte is the program, then come its arguments: known ones, or bytes of their own.
pub fn target(data: &[u8]) {
    let mut input = Input::new(data);
    let program = input.byte();
    let mut words: Vec<Vec<u8>> = Vec::new();
    while !input.is_empty() && words.len() < 64 {
        let word = WORDS.get(usize::from(input.byte())).copied().unwrap_or_else(|| input.text());
        // An argument holds no NUL. A very long one comes of a doubled byte.
        let mut word: Vec<u8> = word.iter().copied().filter(|byte| *byte != 0).collect();
        if word.starts_with(b"/\xff\xff") {
            word.resize(4000 + word.len(), b'x');
        }
        words.push(word);
    }
    // The one argument of which the file is read at once: not any file of this machine, which may be a terminal.
    for at in 1..words.len() {
        if words[at - 1] == b"--env-file" && words[at].contains(&b'/') {
            words[at] = b"/dev/null".to_vec();
        }
    }
    let argv = || {
        let all = core::iter::once(OsString::from("program")).chain(words.iter().cloned().map(OsString::from_vec));
        Arguments::new(all.collect()).expect("there is a name")
    };
    match program % 8 {
        0 => same(SandboxArguments::parse(argv()), sandbox(&words)),
        1 => same(KillArguments::parse(argv()), kill(&words)),
        2 => same(RunArguments::parse(argv()), run(&words)),
        3 => same(UpdateArguments::parse(argv()), update(&words)),
        4 => same(
            glexec_rs::target::peer::parse(argv()),
            words.len() == 1 && Operation::ALL.iter().any(|o| o.word().as_bytes() == words[0]),
        ),
        5 => job(&words, options::parse(argv())),
        6 => {
            let parsed = WrapperArguments::parse(argv());
            if let Ok(WrapperArguments { names, command }) = &parsed {
                assert!(names == &words[..3] && command == &words[3..]);
            }
            same(parsed, words.len() >= 4);
        }
        _ => rootless(&words),
    }
}

#[track_caller]
fn same<T>(parsed: Outcome<T>, expected: bool) {
    match parsed {
        Ok(_) => assert!(expected, "it should have been refused"),
        Err(failure) => {
            assert!(!expected, "{failure}");
            assert_eq!(failure.kind, Kind::Usage);
            assert_fit_to_be_shown(&failure.to_string());
        }
    }
}

fn is_absolute(word: &[u8]) -> bool {
    word.first() == Some(&b'/') && word.len() <= 4095
}

fn is_name(word: &[u8]) -> bool {
    !word.contains(&b'/') && !matches!(word, b"" | b"." | b"..") && word.len() <= 255
}

fn is_number(word: &[u8], range: RangeInclusive<u64>) -> bool {
    let text = String::from_utf8_lossy(word);
    text.parse::<u64>().is_ok_and(|number| range.contains(&number) && number.to_string() == text)
}

fn ends_well(retries: &[u8], delay: &[u8]) -> bool {
    is_number(retries, 0..=1000) && is_number(delay, 0..=3600)
}

/// `[--json] G P S R D`.
fn sandbox(words: &[Vec<u8>]) -> bool {
    let words = if words.first().is_some_and(|first| first == b"--json") { &words[1..] } else { words };
    matches!(words, [g, p, s, r, d] if is_absolute(g) && is_name(p) && is_absolute(s) && ends_well(r, d))
}

/// `[--family] G PROXY PID SIGNAL R D`.
fn kill(words: &[Vec<u8>]) -> bool {
    let family = words.first().is_some_and(|first| first == b"--family");
    let (pids, signals) = if family { (1, 9..=9) } else { (2, 0..=64) };
    matches!(&words[usize::from(family)..], [g, proxy, pid, signal, r, d]
        if is_absolute(g) && is_absolute(proxy) && is_number(pid, pids..=4_194_304) && is_number(signal, signals) && ends_well(r, d))
}

/// `G P S WRAPPER IN OUT ERR CMD [ARGS...]`.
fn run(words: &[Vec<u8>]) -> bool {
    matches!(words, [g, p, s, wrapper, _, _, _, _, ..]
        if is_absolute(g) && is_name(p) && is_absolute(s) && is_absolute(wrapper))
}

/// `G NEW P S`, where G may be `-`.
fn update(words: &[Vec<u8>]) -> bool {
    matches!(words, [g, new, p, s]
        if (g == b"-" || is_absolute(g)) && is_absolute(new) && is_name(p) && is_absolute(s))
}

/// `COMMAND [ARGS...]`, or `-h` or `-v` alone.
fn rootless(words: &[Vec<u8>]) {
    let expected = match words {
        [only] if only == b"-h" => Some(Asked::Help),
        [only] if only == b"-v" => Some(Asked::Version),
        [command, ..] if is_absolute(command) => Some(Asked::Run(command)),
        _ => None,
    };
    let parsed = glexec_rs::rootless::parse(words);
    assert_eq!(parsed.as_ref().ok(), expected.as_ref());
    same(parsed, expected.is_some());
}

/// What `condor_glexec_job` has understood is what it was told, and nothing that excludes each other.
fn job(words: &[Vec<u8>], parsed: Outcome<Options>) {
    let options = match parsed {
        Ok(options) => options,
        Err(failure) => {
            // The environment file may be missing.
            assert!(matches!(failure.kind, Kind::Usage | Kind::Permanent));
            assert_fit_to_be_shown(&failure.to_string());
            assert!(failure.kind == Kind::Usage || words.iter().any(|word| word == b"--env-file"), "{failure}");
            return;
        }
    };
    let Options { request, verbose, .. } = options;
    let end = words.len() - request.command.len();
    assert_eq!((&words[end - 1][..], &words[end..]), (&b"--"[..], &request.command[..]));
    assert!(!request.command[0].is_empty());
    let told = &words[..end - 1];
    let mentions = |option: &str| told.iter().any(|word| word == option.as_bytes());
    assert!(!verbose || mentions("--verbose"));
    assert!(request.switcher.is_none() || request.proxy.is_some());
    assert!(request.sandbox.is_none() || request.execute.is_none());
    for (option, given) in [
        ("--switcher", request.switcher.is_some()),
        ("--proxy", request.proxy.is_some()),
        ("--sandbox", request.sandbox.is_some()),
        ("--execute", request.execute.is_some()),
        ("--output", request.output.is_some()),
        ("--stdin", request.stdin.is_some()),
        ("--stdout", request.stdout.is_some()),
        ("--stderr", request.stderr.is_some()),
        ("--time-limit", request.time_limit.is_some()),
        ("--input", !request.inputs.is_empty()),
    ] {
        assert!(!given || mentions(option), "{option}");
    }
    let most = u64::from(glexec_rs::ground::limits::JOB_SECONDS);
    assert!(request.time_limit.is_none_or(|limit| (1..=most).contains(&limit.as_secs())));
    assert!(request.grace.as_secs() <= most && request.retries <= 1000 && request.delay <= 3600);
    let names: BTreeSet<&[u8]> = request.environment.iter().map(Variable::name).collect();
    assert_eq!(names.len(), request.environment.len());
    assert!(request.inputs.iter().all(|input| is_name(input.name.bytes())));
}

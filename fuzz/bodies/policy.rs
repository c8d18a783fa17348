//! The site's policy.

use super::{assert_fit_to_be_shown, input::Input};
use glexec_rs::confine::landlock::Part;
use glexec_rs::copy::rules::Symlinks;
use glexec_rs::ground::limits;
use glexec_rs::policy::{Policy, parse};

/// The keys, and one that is none.
const KEYS: [&[u8]; 15] = [
    b"kernel-may-lack",
    b"job-no-new-privs",
    b"job-seccomp",
    b"job-read",
    b"job-execute",
    b"job-write",
    b"secret-variable",
    b"cleanup-bytes",
    b"cleanup-entries",
    b"cleanup-depth",
    b"cleanup-seconds",
    b"cleanup-symlinks",
    b"durable",
    b"report-left-out",
    b"cleanup",
];

/// Values that some key takes, besides the input's own.
const VALUES: [&[u8]; 21] = [
    b"yes",
    b"no",
    b"file",
    b"job",
    b"none",
    b"inside",
    b"all",
    b"landlock",
    b"landlock landlock-scope",
    b"landlock-truncate\tlandlock-network  landlock-ioctl",
    b"/",
    b"/usr",
    b"/a b",
    b"TOKEN",
    b"A=B",
    b"1",
    b"4096",
    b"4097",
    b"17592186044416",
    b"17592186044417",
    b"01",
];

/// The input is a policy; and a recipe for one whose keys are known.
pub fn target(data: &[u8]) {
    check(data);
    let mut input = Input::new(data);
    let mut text = Vec::new();
    while !input.is_empty() && text.len() < 2 * usize::try_from(limits::POLICY_BYTES).expect("small") {
        let blanks: [&[u8]; 4] = [b"", b" ", b"\t ", b"  \t"];
        let around = input.byte();
        let blank = |at: u8| blanks[usize::from(around >> at) % 4];
        let key = KEYS[input.choice(KEYS.len())];
        let value = VALUES.get(usize::from(input.byte())).copied().unwrap_or_else(|| input.text());
        let line = [blank(0), key, blank(2), b"=", blank(4), value, blank(6), b"\n"].concat();
        if !value.contains(&b'\n') {
            assert_eq!(parse(&line).is_ok(), takes(key, value), "{:?}", String::from_utf8_lossy(&line));
        }
        text.extend_from_slice(&line);
    }
    check(&text);
}

/// Whether a key can have this value, as `example.conf` says.
fn takes(key: &[u8], value: &[u8]) -> bool {
    let is_blank = |byte: u8| byte == b' ' || byte == b'\t';
    if value.iter().any(|byte| byte.is_ascii_control() && *byte != b'\t') {
        return false;
    }
    let value: &[u8] = match (value.iter().position(|b| !is_blank(*b)), value.iter().rposition(|b| !is_blank(*b))) {
        (Some(begin), Some(end)) => &value[begin..=end],
        _ => b"",
    };
    let number = |most: u64| {
        let text = String::from_utf8_lossy(value);
        text.parse::<u64>().is_ok_and(|number| (1..=most).contains(&number) && number.to_string() == text)
    };
    match key {
        b"kernel-may-lack" => {
            let known: [&[u8]; 5] =
                [b"landlock", b"landlock-truncate", b"landlock-network", b"landlock-ioctl", b"landlock-scope"];
            let names: Vec<&[u8]> = value.split(|byte| is_blank(*byte)).filter(|name| !name.is_empty()).collect();
            let once = names.iter().all(|name| names.iter().filter(|other| *other == name).count() == 1);
            !names.is_empty() && once && names.iter().all(|name| known.contains(name))
        }
        b"job-no-new-privs" => matches!(value, b"yes" | b"no"),
        b"job-seccomp" => matches!(value, b"job" | b"none"),
        b"job-read" | b"job-execute" | b"job-write" => value.first() == Some(&b'/') && value.len() <= 4095,
        b"secret-variable" => !value.is_empty() && !value.iter().any(|byte| *byte == b'=' || is_blank(*byte)),
        b"cleanup-bytes" => number(16 << 40),
        b"cleanup-entries" => number(10_000_000),
        b"cleanup-depth" => number(4096),
        b"cleanup-seconds" => number(24 * 3600),
        b"cleanup-symlinks" => matches!(value, b"none" | b"inside" | b"all"),
        b"durable" => matches!(value, b"yes" | b"no"),
        b"report-left-out" => matches!(value, b"file" | b"none"),
        _ => false,
    }
}

fn check(text: &[u8]) {
    match parse(text) {
        Ok(policy) => {
            let rules = policy.cleanup;
            assert!((1..=limits::DATA_BYTES).contains(&rules.bytes) && (1..=limits::ENTRIES).contains(&rules.entries));
            assert!((1..=limits::DEPTH).contains(&rules.depth) && rules.time <= limits::COPY_DEADLINE);
            assert!(policy.secret_variables.len() <= limits::POLICY_LIST);
            let view = policy.job.view.clone().unwrap_or_default();
            for path in [view.read, view.execute, view.write].concat() {
                assert!(path.starts_with(b"/") && path.len() < limits::PATH_BYTES);
            }
            let written = write(&policy);
            // Blanks are gone and defaults are there, so it can only have become too long.
            if written.len() <= usize::try_from(limits::POLICY_BYTES).expect("small") {
                assert_eq!(parse(&written).as_ref(), Ok(&policy), "{:?}", String::from_utf8_lossy(&written));
            }
        }
        Err(refused) => {
            assert!((1..=text.split(|byte| *byte == b'\n').count()).contains(&refused.line), "{refused:?}");
            assert_fit_to_be_shown(&refused.why);
        }
    }
}

/// The policy as a file that says just that.
fn write(policy: &Policy) -> Vec<u8> {
    let mut text = Vec::new();
    let mut line = |key: &str, value: &[u8]| text.extend_from_slice(&[key.as_bytes(), b" = ", value, b"\n"].concat());
    let lacking: Vec<&str> =
        Part::ALL.iter().filter_map(|(part, name, _)| policy.may_lack.permits(*part).then_some(*name)).collect();
    if !lacking.is_empty() {
        line("kernel-may-lack", lacking.join(" ").as_bytes());
    }
    if policy.job.no_new_privs {
        line("job-no-new-privs", b"yes");
    }
    line("job-seccomp", if policy.job.seccomp { b"job" } else { b"none" });
    if let Some(view) = &policy.job.view {
        view.read.iter().for_each(|path| line("job-read", path));
        view.execute.iter().for_each(|path| line("job-execute", path));
        view.write.iter().for_each(|path| line("job-write", path));
    }
    policy.secret_variables.iter().for_each(|name| line("secret-variable", name));
    let rules = policy.cleanup;
    for (key, number) in [
        ("cleanup-bytes", rules.bytes),
        ("cleanup-entries", rules.entries),
        ("cleanup-depth", rules.depth as u64),
        ("cleanup-seconds", rules.time.as_secs()),
    ] {
        line(key, number.to_string().as_bytes());
    }
    line(
        "cleanup-symlinks",
        match rules.symlinks {
            Symlinks::None => b"none",
            Symlinks::Inside => b"inside",
            Symlinks::All => b"all",
        },
    );
    line("report-left-out", if policy.left_out_file { b"file" } else { b"none" });
    line("durable", if policy.durable { b"yes" } else { b"no" });
    text
}

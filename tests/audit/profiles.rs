//! The rules that every seccomp profile keeps, tried on profiles that break them. The build refuses what these refuse.

use crate::profile::{ARCHITECTURES, Checked, NEWEST_REVIEWED, Step, check, fragment};
use std::collections::BTreeMap;
use std::fs::read_to_string;
use std::path::Path;

/// A profile named `p` with these elements after the include that each needs.
fn allow_list(elements: &str) -> Result<Checked, String> {
    whole(&format!(
        r#"{{"p": {{"mismatch_action": "kill_process", "match_action": "allow", "filter": [{{"include": "panic"}}{elements}]}}}}"#
    ))
}

fn whole(text: &str) -> Result<Checked, String> {
    let panic = fragment(r#"[{"syscall": "exit_group"}]"#).unwrap();
    check("p", text, &BTreeMap::from([("panic".to_owned(), panic)]))
}

#[track_caller]
fn refused(result: Result<Checked, String>, says: &str) {
    let why = result.expect_err("it must be refused");
    assert!(why.contains(says), "{why:?} does not say {says:?}");
}

#[test]
fn a_profile_that_keeps_the_rules_is_taken() {
    let checked = allow_list(
        r#", {"syscall": "read"}, {"syscall": "prctl", "comment": "c", "args": [{"index": 0, "type": "dword", "op": "eq", "val": 39, "comment": "n"}]},
            {"syscall": "tkill", "only": "aarch64", "comment": "c", "args": [{"index": 1, "type": "dword", "op": "eq", "val": 6, "comment": "n"}]}"#,
    )
    .unwrap();
    let names = |architecture| checked.rules_on(architecture).map(|rule| rule.syscall.clone()).collect::<Vec<_>>();
    assert_eq!(names(ARCHITECTURES[0]), ["exit_group", "read", "prctl"]);
    assert_eq!(names(ARCHITECTURES[1]), ["exit_group", "read", "prctl", "tkill"]);
    // Without what seccompiler does not know.
    let plain: serde_json::Value = serde_json::from_str(&checked.plain(ARCHITECTURES[1])).unwrap();
    let tkill = serde_json::json!({"syscall": "tkill", "args": [{"index": 1, "type": "dword", "op": "eq", "val": 6}]});
    assert_eq!(plain["p"]["filter"][3], tkill);
}

#[test]
fn what_breaks_a_rule_is_refused() {
    refused(allow_list(r#", {"syscall": "socket", "args": []}"#), "socket is dangerous");
    refused(allow_list(r#", {"syscall": "socket", "comment": "why"}"#), "must have conditions");
    refused(allow_list(r#", {"syscall": "clone", "comment": " "}"#), "has no comment");
    let condition = r#"{"index": 0, "type": "dword", "op": "eq", "val": 1}"#;
    refused(allow_list(&format!(r#", {{"syscall": "read", "args": [{condition}]}}"#)), "condition without a comment");
    refused(allow_list(r#", {"syscall": "read"}, {"syscall": "read"}"#), "stands there again");
    let conditional =
        r#"{"syscall": "read", "args": [{"index": 0, "type": "dword", "op": "eq", "val": 1, "comment": "n"}]}"#;
    refused(allow_list(&format!(r#", {{"syscall": "read"}}, {conditional}"#)), "stands there again");
    refused(allow_list(&format!(r#", {conditional}, {{"syscall": "read"}}"#)), "stands there again");
    refused(allow_list(r#", {"syscall": "exit_group"}"#), "stands there again");
    refused(allow_list(r#", {"include": "panic"}"#), "included twice");
    refused(allow_list(r#", {"include": "nowhere"}"#), "no fragment is called nowhere");
    refused(allow_list(r#", {"syscall": "read", "only": "sparc"}"#), "is called sparc");
    refused(allow_list(r#", {"syscall": "read", "unknown": 1}"#), "unknown field");
    refused(allow_list(r#", {"include": "panic", "syscall": "read"}"#), "neither a rule");
    refused(allow_list(","), "");
}

/// An element with conditions: the argument, seccompiler's comparison and the value.
fn rule(syscall: &str, conditions: &[(u8, &str, u64)]) -> String {
    let conditions: Vec<String> = conditions
        .iter()
        .map(|(index, op, val)| {
            format!(r#"{{"index": {index}, "type": "dword", "op": {op}, "val": {val}, "comment": "n"}}"#)
        })
        .collect();
    format!(r#", {{"syscall": "{syscall}", "comment": "c", "args": [{}]}}"#, conditions.join(","))
}

#[test]
fn h7_an_allow_list_masks_set_id_bits_out_of_every_mode() {
    let masked = |mask: u64| format!(r#"{{"masked_eq": {mask}}}"#);
    let (both, one) = (masked(0o6000), masked(0o4000));
    for (call, mode) in [("fchmod", 1), ("mkdirat", 2), ("mknodat", 2), ("mkdir", 1), ("mknod", 1), ("creat", 1)] {
        allow_list(&rule(call, &[(mode, &both, 0)])).unwrap();
        allow_list(&rule(call, &[(mode, r#""eq""#, 0o700)])).unwrap();
        for conditions in [
            &[][..],
            &[(mode, &*one, 0)],
            &[(mode, &*both, 0o4000)],
            &[(mode, r#""eq""#, 0o2700)],
            &[(mode, r#""ne""#, 0)],
            &[(mode + 1, &*both, 0)],
        ] {
            refused(allow_list(&rule(call, conditions)), "set-id bits");
        }
    }
    let (reading, unknown) = (masked(0x60_0040), masked(0x40));
    allow_list(&rule("openat", &[(2, &reading, 0)])).unwrap();
    allow_list(&rule("openat", &[(2, &reading, 0x40), (3, &both, 0)])).unwrap();
    refused(allow_list(&rule("openat", &[(2, &reading, 0x40)])), "set-id bits");
    refused(allow_list(&rule("openat", &[(2, &reading, 0x40_0000), (3, &one, 0)])), "set-id bits");
    refused(allow_list(&rule("openat", &[(2, &unknown, 0), (3, &both, 0)])), "opening_up");
    refused(allow_list(&rule("openat", &[(2, &reading, 0x20_0000)])), "opening_up");
    for call in ["chmod", "fchmodat", "fchmodat2"] {
        let equal = |mode| [(1, r#""eq""#, mode), (2, r#""eq""#, mode)];
        allow_list(&rule(call, &equal(0o700))).unwrap();
        for mode in [0o4700, 0o701, 0o755] {
            refused(allow_list(&rule(call, &equal(mode))), "no other mode than 0700");
        }
        refused(allow_list(&rule(call, &[(1, &both, 0), (2, &both, 0)])), "no other mode than 0700");
    }
    for call in ["openat2", "io_uring_setup", "clone3"] {
        refused(allow_list(&rule(call, &[(0, &both, 0)])), "from memory");
    }
}

#[test]
fn the_frame_of_a_profile_is_fixed() {
    let framed = |name: &str, mismatch: &str, matched: &str, filter: &str| {
        whole(&format!(
            r#"{{"{name}": {{"mismatch_action": {mismatch}, "match_action": {matched}, "filter": [{filter}]}}}}"#
        ))
    };
    let panic = r#"{"include": "panic"}"#;
    framed("p", r#""kill_process""#, r#""allow""#, panic).unwrap();
    framed("p", r#""allow""#, r#"{"errno": 1}"#, r#"{"syscall": "mount", "comment": "c"}"#).unwrap();
    refused(framed("q", r#""kill_process""#, r#""allow""#, panic), "named as the file is");
    refused(framed("p", r#""kill_thread""#, r#""allow""#, panic), "an allow-list kills");
    refused(framed("p", r#""log""#, r#""allow""#, panic), "an allow-list kills");
    refused(framed("p", r#""allow""#, r#""allow""#, panic), "an allow-list kills");
    refused(framed("p", r#"{"errno": 1}"#, r#"{"errno": 1}"#, panic), "an allow-list kills");
    refused(framed("p", r#""kill_process""#, r#""allow""#, r#"{"syscall": "exit_group"}"#), "includes panic");
}

/// What the instructions that a profile begins with do to a call: the errno that they answer with, or nothing.
fn refusal(steps: &[Step], number: u32) -> Option<u32> {
    let mut at = 0;
    while let Some((code, greater, else_, k)) = steps.get(at) {
        let jump = |holds: bool| usize::from(if holds { *greater } else { *else_ });
        at += 1 + match code {
            0x20 => 0,
            0x25 => jump(number > *k),
            0x35 => jump(number >= *k),
            0x06 => return Some(k & 0xffff),
            other => panic!("{other:#x}"),
        };
    }
    assert_eq!(at, steps.len(), "it goes on with the first rule");
    None
}

#[test]
fn w13_to_every_deny_list_unreviewed_calls_do_not_exist() {
    let denying = r#"{"p": {"mismatch_action": "allow", "match_action": {"errno": 1}, "filter": []}}"#;
    let denying = whole(denying).unwrap();
    let (name, newest, kernel) = NEWEST_REVIEWED;
    for (architecture, last_own) in ARCHITECTURES.into_iter().zip([335, 294]) {
        let steps = denying.ceiling(architecture);
        for reviewed in [0, 1, last_own, 424, newest] {
            assert_eq!(refusal(&steps, reviewed), None, "{architecture} {reviewed}");
        }
        for unreviewed in [last_own + 1, 423, newest + 1, 600, 0x4000_0000, 0x4000_0001, u32::MAX] {
            assert_eq!(refusal(&steps, unreviewed), Some(38), "{architecture} {unreviewed}");
        }
        assert!(allow_list("").unwrap().ceiling(architecture).is_empty());
    }
    let documented = read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("audit/kernel-features.md")).unwrap();
    assert!(documented.contains(&format!("`{name}` ({newest}, Linux {kernel})")));
}

#[test]
fn every_phase_has_its_profile_and_no_profile_is_without_a_phase() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("seccomp-profiles");
    let mut names: Vec<String> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter_map(|name| name.strip_suffix(".json").map(str::to_owned))
        .filter(|name| !name.contains("job"))
        .collect();
    names.sort();
    let sides = ["cleanup", "kill", "setup", "update_proxy"]
        .map(|name| ["pilot", "target"].map(|side| format!("{name}.{side}")));
    assert_eq!(names, sides.concat());
}

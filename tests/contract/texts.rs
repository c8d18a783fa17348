//! What stands in a hold reason: one line that a person can read, with what others said in it.

use crate::common::{PILOT, Site, finish, write_program};
use rustix::fs::{XattrFlags, setxattr};

/// A default ACL as it is stored: what the owner, the group and others are to have of what is made in a directory.
fn default_acl([owner, group, others]: [u16; 3]) -> Vec<u8> {
    const NOBODY: [u8; 4] = [0xff; 4];
    let entries = [(1_u16, owner), (4, group), (0x20, others)];
    let entry = |(tag, rights): (u16, u16)| [&tag.to_le_bytes()[..], &rights.to_le_bytes(), &NOBODY].concat();
    [2_u32.to_le_bytes().to_vec(), entries.map(entry).concat()].concat()
}

#[test]
#[ignore = "needs root"]
fn p9_the_switchers_end_is_explained_and_what_it_printed_is_readable() {
    let site = Site::new();
    let sandbox = site.sandbox();
    let before = sandbox.snapshot();
    let switcher = site.root.join("pilot/refuses");
    for (end, code, words) in [
        ("exit 201", 2, "with 201: the proxy is missing"),
        ("exit 202", 3, "with 202: the site's switcher is not set up"),
        ("exit 203", 3, "with 203: not authorised, no mapping, or the mapping service is down; see its log"),
        ("exit 126", 2, "with 126: it could not execute"),
        ("exit 7", 2, "with 7; it said"),
        ("kill -KILL $$", 2, "with signal 9: somebody killed it, or memory ran out"),
        ("kill -SYS $$", 2, "with signal 31: a seccomp filter"),
        ("kill -TERM $$", 2, "with signal 15; it said"),
    ] {
        let script = format!("#!/bin/sh\nprintf 'cannot map \"/CN=x\"\\n\\n\\033[0m see \\\\x\\n' >&2\n{end}\n");
        write_program(&switcher, script);
        finish(PILOT, &switcher, 0o755);
        let arguments = [switcher.clone().into_os_string(), sandbox.proxy.clone(), sandbox.path.clone().into()];
        let finished = site.setup(&sandbox).only_args(arguments).args(["0", "0"]).run();
        finished.expect_refusal(code, &[words, r#"; it said: cannot map "/CN=x"; \x1b[0m see \x"#]);
        sandbox.assert_as_before(&before);
    }
}

#[test]
#[ignore = "needs root"]
fn p9_a_default_acl_that_takes_rights_away_is_named_and_quotes_are_not_escaped_twice() {
    let site = Site::new();
    let sandbox = site.sandbox();
    let before = sandbox.snapshot();
    let execute = sandbox.path.parent().unwrap();
    setxattr(execute, c"system.posix_acl_default", &default_acl([5, 0, 0]), XattrFlags::empty()).unwrap();
    let finished = site.setup(&sandbox).run().expect_refusal(2, &["the target side reports: \"dir_", "default ACL"]);
    assert!(!finished.said().contains('\\'), "{}", finished.said());
    sandbox.assert_as_before(&before);
}

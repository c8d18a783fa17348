//! Where the pilot keeps what is private: no job of a site starts that could read there, by whatever path.

use crate::playground::{Playground, SECRET, text};
use std::fs::{self, create_dir, create_dir_all};
use std::path::Path;
use std::process::{Command, Output};

/// Calls the switcher for `/bin/true` where a shell script of root's has mounted something, in a mount namespace of
/// its own.
fn run_where(playground: &Playground, script: &str, arguments: &[&Path]) -> Output {
    let whole = format!(
        "set -e; mount --make-rprivate /; {script}; shift {}; exec setpriv --reuid {} --clear-groups \"$@\"",
        arguments.len(),
        playground.uid()
    );
    let mut command = Command::new("/usr/bin/unshare");
    command.args(["--mount", "/bin/sh", "-c", &whole, "sh"]).args(arguments).current_dir(&playground.sandbox);
    command.arg(playground.programs.join("glexec_rootless")).arg("/bin/true");
    command.env("GLEXEC_CLIENT_CERT", &playground.proxy).output().unwrap()
}

#[track_caller]
fn assert_refused(output: &Output, says: &[&str]) {
    let (_, stderr) = text(output);
    assert_eq!(output.status.code(), Some(202), "{stderr:?}");
    assert!(says.iter().all(|word| stderr.contains(word)) && stderr.lines().count() == 1, "{stderr:?}: {says:?}");
}

/// A table of accounts in which the pilot has this line.
fn table(playground: &Playground, line: &str) -> std::path::PathBuf {
    let table = playground.base.join("passwd");
    playground.file(&table, line, 0o644);
    table
}

#[test]
#[ignore = "needs root"]
fn w12_an_account_without_a_known_home_is_refused() {
    let playground = Playground::new();
    playground.assert_not_ours();
    let uid = playground.uid();
    let with = |line: &str| {
        let table = table(&playground, line);
        run_where(&playground, "mount --bind \"$1\" /etc/passwd", &[&table])
    };
    let unknown = ["/etc/passwd has no home directory of the account", "getent passwd"];
    assert_refused(&with("root:x:0:0:root:/root:/bin/sh\n"), &unknown);
    for home in ["", "home", " /home"] {
        assert_refused(&with(&format!("pilot:x:{uid}:{uid}::{home}:/bin/sh\n")), &unknown);
    }
    assert_refused(
        &with(&format!("pilot:x:{uid}:{uid}::/{}:/bin/sh\n", "x".repeat(256))),
        &["cannot look at the home"],
    );
    for home in [playground.programs.to_str().unwrap(), "/nonexistent", "/etc/passwd"] {
        let output = with(&format!("pilot:x:{uid}:{uid}::{home}:/bin/sh\n"));
        assert!(output.status.success(), "{home}: {:?}", text(&output));
    }
}

#[test]
#[ignore = "needs root"]
fn w12_a_home_or_execute_that_is_also_mounted_where_jobs_read_is_refused() {
    let playground = Playground::new();
    playground.assert_not_ours();
    let homes = playground.base.join("homes");
    let home = homes.join("pilot");
    create_dir(&homes).unwrap();
    playground.directory(&home);
    create_dir(home.join("keys")).unwrap();
    playground.file(&home.join("key"), SECRET, 0o600);
    let uid = playground.uid();
    let line = format!("pilot:x:{uid}:{uid}::{}:/bin/sh\n", home.display());
    let table = table(&playground, &line);
    let moved = playground.base.join("elsewhere");
    create_dir(&moved).unwrap();
    let target = Playground::below(Path::new("/opt"));
    let at = target.base.join("a point");
    create_dir(&at).unwrap();
    let file = target.base.join("file");
    fs::write(&file, "").unwrap();
    let execute = playground.sandbox.parent().unwrap();
    let ready = "mount --bind \"$1\" /etc/passwd";
    let mounted = |what: &Path, point: &Path, more: &str| {
        let script = format!("{ready}; mount --bind \"$2\" \"$3\"; {more}");
        run_where(&playground, &script, &[&table, what, point])
    };
    let seen = format!("or a part of it, below \"{}\"", at.display());
    let free = mounted(&moved, &at, ":");
    assert!(free.status.success(), "{:?}", text(&free));
    // Itself, what it lies in, and a part of it.
    for what in [&home, &homes, &playground.base, &home.join("keys")] {
        assert_refused(&mounted(what, &at, ":"), &[&seen, "unmount it there"]);
    }
    let one = mounted(&home.join("key"), &file, ":");
    assert_refused(&one, &["home directory, or a part of it", &format!("below \"{}\"", file.display())]);
    // The home's path is a mount of its own, above which nothing tells where the directory lies.
    let again = format!("mount --bind \"{0}\" \"{1}\"; mount --bind \"{1}\" \"{0}\"", home.display(), moved.display());
    assert_refused(&mounted(&homes, &at, &again), &[&seen]);
    // A directory that jobs read is the home's under another name.
    let below = target.base.join("homes/pilot");
    create_dir_all(&below).unwrap();
    std::os::unix::fs::chown(&below, Some(uid), Some(uid)).unwrap();
    let under = mounted(&target.base.join("homes"), &homes, ":");
    assert_refused(&under, &["home directory, or a part of it, below \"/opt\""]);
    // Nor is EXECUTE.
    assert_refused(&mounted(execute, &at, ":"), &["directory of the sandboxes", &seen]);
    assert_refused(&mounted(&playground.parked, &at, ":"), &["directory of the sandboxes", &seen]);
}

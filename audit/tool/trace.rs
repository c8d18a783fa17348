//! Runs the test suite against the release programs under strace, and notes what each side of each helper calls once it
//! is confined.

use crate::seen::{Seen, load, text};
use crate::{Outcome, PHASES, release, write};
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// The test programs whose processes are looked at. Those that trace themselves cannot be traced.
const TESTS: [&str; 2] = ["contract", "attacks"];

/// What is left out of them: too slow under strace to be worth it, where nothing is done that others do not do, or
/// not a helper's; and what is no test but a program that tests start.
const SKIPPED: [&str; 5] = ["acts_as_", "c8_", "wrapper::", "trees::", "setup::s8_"];

/// Traces all tests and writes the file. A test that fails only because it was slow is no reason to fail: what was seen
/// was seen.
pub fn run(root: &Path) -> Outcome {
    let folder = std::env::temp_dir().join(format!("glexec-rs-audit.{}", std::process::id()));
    let mut all: BTreeMap<String, Seen> = BTreeMap::new();
    for (name, program) in executables(root)? {
        eprintln!("tracing {name}");
        std::fs::create_dir_all(&folder).map_err(|error| error.to_string())?;
        let ended = Command::new("strace")
            .args(["-qq", "-ff", "-s", "32", "-o"])
            .arg(folder.join("t"))
            .arg(&program)
            .arg("--include-ignored")
            .args(SKIPPED.iter().flat_map(|name| ["--skip", name]))
            .env("GLEXEC_RS_PROGRAMS", release(root))
            .current_dir(root)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status();
        ended.map_err(|error| format!("strace: {error}"))?;
        let noted = note(&folder, &mut all);
        std::fs::remove_dir_all(&folder).map_err(|error| error.to_string())?;
        noted?;
    }
    if let Some(missing) = PHASES.iter().find(|phase| !all.contains_key(**phase)) {
        return Err(format!("{missing} was never seen; are the tests run as root?"));
    }
    let path = root.join("audit/seen-syscalls.txt");
    write(&path, &text(&all))?;
    load(&path).map(drop)
}

/// The tests' executables, as cargo builds them.
fn executables(root: &Path) -> Outcome<Vec<(String, PathBuf)>> {
    let output = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
        .args(["test", "--no-run", "--message-format", "json"])
        .current_dir(root)
        .stderr(Stdio::inherit())
        .output()
        .map_err(|error| format!("cargo test: {error}"))?;
    let found = String::from_utf8_lossy(&output.stdout)
        .lines()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok())
        .filter_map(|message| {
            let name = message["target"]["name"].as_str()?.to_owned();
            let path = message["executable"].as_str()?.into();
            TESTS.contains(&name.as_str()).then_some((name, path))
        })
        .collect::<Vec<_>>();
    if found.len() == TESTS.len() {
        Ok(found)
    } else {
        Err(format!("cargo test built {} of {} tests", found.len(), TESTS.len()))
    }
}

/// Reads strace's files, one a process or thread.
fn note(folder: &Path, all: &mut BTreeMap<String, Seen>) -> Outcome {
    let mut processes = BTreeMap::new();
    for path in crate::files(folder, "")? {
        let pid = path.extension().unwrap_or_default().to_string_lossy().into_owned();
        // What a test writes may not be text; names of calls are.
        let bytes = std::fs::read(&path).map_err(|error| format!("{}: {error}", path.display()))?;
        processes.insert(pid, String::from_utf8_lossy(&bytes).into_owned());
    }
    for pid in processes.keys() {
        follow(&processes, pid, Inherited::default(), all);
    }
    Ok(())
}

/// What a process or thread has from the one that made it.
#[derive(Clone, Default)]
struct Inherited {
    /// Which side of which helper it is.
    helper: Option<String>,
    /// The same, if it is confined from the start.
    phase: Option<String>,
}

/// Goes through the calls of a process or thread, and of what it makes: a helper's worker, a confined process' thread.
fn follow(processes: &BTreeMap<String, String>, pid: &str, inherited: Inherited, all: &mut BTreeMap<String, Seen>) {
    let Some(lines) = processes.get(pid) else { return };
    let Inherited { mut helper, mut phase } = inherited;
    let mut allocations = 0;
    for line in lines.lines() {
        let Some((call, rest)) = line.split_once('(') else { continue };
        // A process that was killed before strace could ask what it called.
        if call == "???" {
            continue;
        }
        if call == "execve" && line.ends_with("= 0") {
            helper = phase_of(rest);
            phase = None;
        } else if call == "landlock_add_rule" && phase.is_none() {
            if let (Some(helper), Some(rights)) = (&helper, between(rest, "allowed_access=", ",")) {
                // What older versions of strace have no name for.
                let rights = rights.replace("0x4000", "TRUNCATE");
                let seen = all.entry(helper.clone()).or_default();
                seen.grants.insert(rights.replace("LANDLOCK_ACCESS_FS_", "").replace('|', " "));
            }
        } else if call == "seccomp" && rest.starts_with("SECCOMP_SET_MODE_FILTER") && line.ends_with("= 0") {
            phase = helper.clone();
        } else if matches!(call, "clone" | "fork") && helper.is_some() && phase.is_none() {
            if let Some((_, made)) = line.rsplit_once("= ") {
                follow(processes, made, Inherited { helper: helper.clone(), phase: None }, all);
            }
        } else if let Some(phase) = &phase {
            let seen = all.entry(phase.clone()).or_default();
            seen.calls.insert(call.to_owned());
            allocations += usize::from(matches!(call, "mmap" | "brk"));
            seen.allocations = seen.allocations.max(allocations);
            if call == "clone"
                && let Some((_, thread)) = line.rsplit_once("= ")
            {
                follow(processes, thread, Inherited { helper: helper.clone(), phase: Some(phase.clone()) }, all);
            }
        }
    }
}

/// Which side of which helper a program is, from strace's `"path", ["argv0", "argv1"…`.
fn phase_of(rest: &str) -> Option<String> {
    let path = between(rest, "\"", "\"")?;
    let program = path.rsplit('/').next()?.strip_prefix("condor_glexec_")?;
    let name = if program == "peer" {
        let arguments = rest.split_once(", [")?.1;
        format!("{}.target", arguments.split('"').nth(3)?)
    } else {
        format!("{program}.pilot")
    };
    PHASES.contains(&name.as_str()).then_some(name)
}

fn between<'t>(text: &'t str, before: &str, after: &str) -> Option<&'t str> {
    text.split_once(before)?.1.split_once(after).map(|(found, _)| found)
}

#[cfg(test)]
mod tests {
    use super::{Inherited, follow, phase_of};
    use std::collections::BTreeMap;

    #[test]
    fn the_phase_is_told_from_the_command() {
        assert_eq!(
            phase_of("\"/x/condor_glexec_setup\", [\"setup\", \"G\"], 0x7f) = 0").as_deref(),
            Some("setup.pilot")
        );
        assert_eq!(
            phase_of("\"/x/condor_glexec_peer\", [\"/x/peer\", \"kill\"], 0x7f) = 0").as_deref(),
            Some("kill.target")
        );
        assert_eq!(phase_of("\"/x/condor_glexec_run\", [\"run\"], 0x7f) = 0"), None);
        assert_eq!(phase_of("\"/bin/sh\", [\"setup\"], 0x7f) = 0"), None);
    }

    #[test]
    fn what_comes_before_the_filter_does_not_count_and_threads_do() {
        let first = "execve(\"/x/condor_glexec_setup\", [\"s\"], 0x1) = 0\npipe2(1) = 3\nfork() = 21\nwait4(21) = 0\n";
        let main = "socket(1) = 3\nlandlock_add_rule(4, X, {allowed_access=LANDLOCK_ACCESS_FS_READ_DIR|LANDLOCK_ACCESS_FS_READ_FILE, parent_fd=3}, 0) = 0\n\
            seccomp(SECCOMP_SET_MODE_FILTER, 0, 0x1) = 0\nread(3) = 1\nclone(flags) = 22\nmmap(0) = 1\n???( <unfinished ...>\n";
        let processes = [("20", first), ("21", main), ("22", "unlinkat(1) = 0\n")]
            .map(|(pid, calls)| (pid.to_owned(), calls.to_owned()));
        let processes = BTreeMap::from(processes);
        let mut all = BTreeMap::new();
        follow(&processes, "20", Inherited::default(), &mut all);
        let seen = &all["setup.pilot"];
        assert_eq!(seen.calls.iter().map(String::as_str).collect::<Vec<_>>(), ["clone", "mmap", "read", "unlinkat"]);
        assert_eq!(seen.grants.iter().map(String::as_str).collect::<Vec<_>>(), ["READ_DIR READ_FILE"]);
        assert_eq!(seen.allocations, 1);
    }
}

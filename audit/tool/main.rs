//! Generates `audit/report.md` from the release build and the sources, and checks that the committed one is not stale.
//!
//! usage: glexec-rs-audit report | check | goals | reach PROGRAM | trace
//!
//! - `report` writes the report; the release build and `audit/seen-syscalls.txt` must be there.
//! - `check` fails when the sources are against one of their goals (`plan.rs`), or when the committed report differs
//!   from what `report` would write in anything but sizes.
//! - `goals` prints what the sources measure and what is against their goals; nothing has to be built for it.
//! - `reach` prints what there is to read for a review of one program, a file of `helpers/bin`: its modules and their
//!   lines.
//! - `trace` runs the test suite against the release programs under strace, as root, and writes
//!   `audit/seen-syscalls.txt`.

#![forbid(unsafe_code)]

mod closure;
mod dependencies;
mod elf;
mod goals;
mod graph;
mod layers;
mod levels;
mod lexer;
mod modules;
mod names;
mod plan;
#[allow(dead_code)] // compiling is the build script's part
#[path = "../../seccomp-profiles/profile.rs"]
mod profile;
mod profiles;
mod prose;
mod public;
mod seen;
mod sizes;
mod trace;
mod unsafe_code;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// What went wrong, for people.
type Outcome<T = ()> = Result<T, String>;

/// The programs that get installed.
const PROGRAMS: [&str; 9] = [
    "condor_glexec_setup",
    "condor_glexec_run",
    "condor_glexec_job_wrapper",
    "condor_glexec_kill",
    "condor_glexec_cleanup",
    "condor_glexec_update_proxy",
    "condor_glexec_peer",
    "condor_glexec_job",
    "glexec_rootless",
];

/// The sides that confine themselves, by the names of their profiles.
const PHASES: [&str; 8] = [
    "setup.pilot",
    "setup.target",
    "cleanup.pilot",
    "cleanup.target",
    "kill.pilot",
    "kill.target",
    "update_proxy.pilot",
    "update_proxy.target",
];

fn main() -> ExitCode {
    let command = std::env::args().nth(1).unwrap_or_default();
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let done = match command.as_str() {
        "report" => report(&root).and_then(|text| write(&root.join("audit/report.md"), &text)),
        "check" => check(&root),
        "goals" => goals(&root),
        "reach" => {
            goals::reading_list(&root, &std::env::args().nth(2).unwrap_or_default()).map(|list| print!("{list}"))
        }
        "trace" => trace::run(&root),
        _ => Err("usage: glexec-rs-audit report | check | goals | reach PROGRAM | trace".to_owned()),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("glexec-rs-audit: {why}");
            ExitCode::FAILURE
        }
    }
}

fn report(root: &Path) -> Outcome<String> {
    let mut text = "# Audit report\n\nWritten by `cargo run -p glexec-rs-audit -- report`; CI refuses it when it is stale in anything but sizes.\n".to_owned();
    for section in [
        elf::section(&release(root))?,
        profiles::section(root)?,
        goals::measure(root)?.report,
        dependencies::section(root)?,
    ] {
        text.push('\n');
        text.push_str(&section);
    }
    Ok(prose::wrapped(&text))
}

fn goals(root: &Path) -> Outcome {
    let goals = goals::measure(root)?;
    println!("{}", goals.report);
    kept(&goals.problems)
}

/// Fails with everything that is against the goals.
fn kept(problems: &[String]) -> Outcome {
    if problems.is_empty() {
        Ok(())
    } else {
        Err(format!("{} things are against the goals of the sources:\n{}", problems.len(), problems.join("\n")))
    }
}

fn check(root: &Path) -> Outcome {
    kept(&goals::measure(root)?.problems)?;
    let path = root.join("audit/report.md");
    let [committed, current] = [read(&path)?, report(root)?].map(|text| without_sizes(&text));
    let differing = committed.lines().zip(current.lines()).find(|(old, new)| old != new);
    match differing {
        Some((old, new)) => {
            Err(format!("audit/report.md is stale; run `cargo run -p glexec-rs-audit -- report`\n- {old}\n+ {new}"))
        }
        None if committed != current => Err("audit/report.md is stale: it has another length".to_owned()),
        None => Ok(()),
    }
}

/// The report with every figure of bytes taken out: those change with each compiler.
fn without_sizes(text: &str) -> String {
    let line = |line: &str| match line.split_once(" bytes") {
        Some((before, after)) => {
            format!("{} bytes{after}", before.trim_end_matches(|c: char| c.is_ascii_digit() || c == ','))
        }
        None => line.to_owned(),
    };
    text.lines().map(|text| line(text) + "\n").collect()
}

/// The folder of the release build.
fn release(root: &Path) -> PathBuf {
    let target = std::env::var("CARGO_BUILD_TARGET")
        .unwrap_or_else(|_| format!("{}-unknown-linux-musl", std::env::consts::ARCH));
    root.join("target").join(target).join("release")
}

fn read(path: &Path) -> Outcome<String> {
    std::fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))
}

fn write(path: &Path, text: &str) -> Outcome {
    std::fs::write(path, text).map_err(|error| format!("{}: {error}", path.display()))
}

/// The files below a folder whose names end like this, in order.
fn files(folder: &Path, ending: &str) -> Outcome<Vec<PathBuf>> {
    let mut found = Vec::new();
    let listing = std::fs::read_dir(folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    for entry in listing {
        let path = entry.map_err(|error| error.to_string())?.path();
        if path.is_dir() {
            found.extend(files(&path, ending)?);
        } else if path.to_string_lossy().ends_with(ending) {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::without_sizes;

    #[test]
    fn only_sizes_may_differ() {
        assert_eq!(without_sizes("| a | 12,345 bytes | yes |"), without_sizes("| a | 9 bytes | yes |"));
        assert_ne!(without_sizes("| a | 9 bytes | yes |"), without_sizes("| a | 9 bytes | no |"));
        assert_ne!(without_sizes("| a | 9 | yes |"), without_sizes("| a | 8 | yes |"));
    }
}

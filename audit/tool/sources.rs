//! Our own sources: every unsafe block with its reason, and how many lines stand on which side of which boundary.

use crate::lexer::{code_of, count_word};
use crate::{Outcome, files, read};
use std::path::Path;

/// Which sources are at which level of trust: the first entry whose path a file's begins with counts. What is not listed fails.
const LEVELS: [(&str, &[&str]); 6] = [
    ("unsafe code", &["helpers/sys"]),
    ("reads hostile bytes", &["helpers/protocol", "helpers/copy", "helpers/target"]),
    ("confines", &["helpers/confine", "helpers/rootless", "helpers/policy", "seccomp-profiles"]),
    (
        "decides with trusted input",
        &["helpers/pilot", "helpers/files", "helpers/ground", "helpers/lib.rs", "helpers/bin"],
    ),
    ("plays the Starter's part", &["helpers/job"]),
    ("tests and tools, not installed", &["tests", "audit", "fuzz"]),
];

/// Every `unsafe` block, function and implementation of what gets installed. Fails when one has no `SAFETY:` comment or is outside `helpers/sys`.
pub fn unsafe_section(root: &Path) -> Outcome<String> {
    let mut text = "## Unsafe code\n\nAll of it, in `helpers/sys`; every other file forbids it.\n\n| where | why it is sound |\n|---|---|\n".to_owned();
    let mut count = 0;
    for path in files(&root.join("helpers"), ".rs")? {
        let source = read(&path)?;
        let shown = path.strip_prefix(root).unwrap_or(&path).display().to_string();
        let (code, lines) = (code_of(&source), source.lines().collect::<Vec<_>>());
        for (index, line) in code.lines().enumerate().filter(|(_, line)| is_unsafe(line)) {
            if !shown.starts_with("helpers/sys/") {
                return Err(format!("{shown}:{}: unsafe code outside helpers/sys", index + 1));
            }
            if line.contains("unsafe extern") {
                continue;
            }
            let why = safety(&lines[..index]).ok_or_else(|| format!("{shown}:{}: no SAFETY comment", index + 1))?;
            text += &format!("| `{shown}` {} | {} |\n", count_in_file(&code, index), why.replace('|', "\\|"));
            count += 1;
        }
    }
    Ok(text + &format!("\n{count} blocks.\n"))
}

/// A line with the word itself, not with a lint's name.
fn is_unsafe(line: &str) -> bool {
    count_word(line, "unsafe") > 0
}

/// Which of its file's it is: lines move, their order hardly.
fn count_in_file(code: &str, index: usize) -> String {
    let before = code.lines().take(index).filter(|line| is_unsafe(line) && !line.contains("unsafe extern")).count();
    format!("#{}", before + 1)
}

/// The comment right above, from `SAFETY:` on; the start of the statement may stand between.
fn safety(above: &[&str]) -> Option<String> {
    let nearest = above.iter().rev().take(4).position(|line| line.trim_start().starts_with("//"))?;
    let end = above.len() - nearest;
    let start = above[..end].iter().rposition(|line| !line.trim_start().starts_with("//")).map_or(0, |found| found + 1);
    let comment: Vec<&str> =
        above[start..end].iter().map(|line| line.trim_start().trim_start_matches('/').trim()).collect();
    comment.join(" ").split_once("SAFETY: ").map(|(_, why)| why.to_owned())
}

/// How many lines of code there are at each level, without comments, blank lines and unit tests.
pub fn lines_section(root: &Path) -> Outcome<String> {
    let mut counts = [(0_usize, 0_usize); LEVELS.len()];
    for folder in ["helpers", "seccomp-profiles", "tests", "audit", "fuzz"]
        .map(|name| root.join(name))
        .iter()
        .filter(|path| path.is_dir())
    {
        for path in
            files(folder, ".rs")?.into_iter().filter(|path| !path.components().any(|part| part.as_os_str() == "target"))
        {
            let shown = path.strip_prefix(root).unwrap_or(&path).display().to_string();
            let level = LEVELS
                .iter()
                .position(|(_, prefixes)| prefixes.iter().any(|prefix| shown.starts_with(prefix)))
                .ok_or_else(|| format!("{shown} has no level of trust in audit/tool/sources.rs"))?;
            let code = code_of(&read(&path)?);
            let own = code.split_once("#[cfg(test)]").map_or(code.as_str(), |(own, _)| own);
            counts[level].0 += 1;
            counts[level].1 += own.lines().filter(|line| !line.trim().is_empty()).count();
        }
    }
    let mut text = "## Lines of code\n\nWithout comments, blank lines and unit tests.\n\n| level of trust | files | lines | where |\n|---|---|---|---|\n".to_owned();
    for ((level, prefixes), (files, lines)) in LEVELS.iter().zip(counts) {
        text += &format!("| {level} | {files} | {lines} | `{}` |\n", prefixes.join("` `"));
    }
    Ok(text)
}

//! What each profile allows, against what was seen.

use crate::profile::{self, Checked};
use crate::seen::{Seen, load};
use crate::{Outcome, PHASES, files, read};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// The tables of calls, rights and allocations. Fails when a call was seen that is not allowed, or one is allowed that
/// was never seen and whose rule does not say why it is there.
pub fn section(root: &Path) -> Outcome<String> {
    let seen = load(&root.join("audit/seen-syscalls.txt"))?;
    let folder = root.join("seccomp-profiles");
    let mut fragments = BTreeMap::new();
    for path in files(&folder.join("shared"), ".json")? {
        let rules = profile::fragment(&read(&path)?).map_err(|why| format!("{}: {why}", path.display()))?;
        fragments.insert(stem(&path), rules);
    }
    let mut text = "## System calls\n\nWhat each profile allows (x86_64), and what the test suite was seen to call under strace after the profile was taken on \
                    (`audit/seen-syscalls.txt`, refreshed by `glexec-rs-audit trace`). A call is listed as never seen with the reason that its rule gives.\n\n"
        .to_owned();
    for phase in PHASES {
        let path = folder.join(format!("{phase}.json"));
        let checked =
            profile::check(phase, &read(&path)?, &fragments).map_err(|why| format!("{}: {why}", path.display()))?;
        text += &phase_text(phase, &checked, seen.get(phase).ok_or_else(|| format!("{phase} was never traced"))?)?;
    }
    text += "## Confinement\n\nOf every side: all capability sets empty (the bounding set and securebits where `CAP_SETPCAP` was there to change them), \
             no_new_privs, not dumpable, no core file. Landlock handles every right of the file system and TCP; what is granted below directories that are open already \
             is what was seen here. Allocations: the most `mmap` and `brk` calls of one process after it was confined.\n\n| side | rights granted with Landlock | allocations |\n|---|---|---|\n";
    for phase in PHASES {
        let seen = &seen[phase];
        let grants: Vec<String> = seen.grants.iter().map(|grant| format!("`{}`", grant.to_lowercase())).collect();
        text += &format!(
            "| `{phase}` | {} | {} |\n",
            if grants.is_empty() { "none".to_owned() } else { grants.join("; ") },
            seen.allocations
        );
    }
    text += "\nNot confined by these: `condor_glexec_run` and `condor_glexec_job_wrapper`, which become the switcher and the job, and `condor_glexec_job`, which starts switchers (see threat-model.md).\n\n";
    text += "### Profiles of jobs\n\nDeny-lists, installed by `glexec_rootless` and where the site's policy asks for it.\n\n| profile | refuses |\n|---|---|\n";
    for path in files(&folder, ".json")?
        .into_iter()
        .filter(|path| path.parent() == Some(&folder) && !PHASES.contains(&stem(path).as_str()))
    {
        let name = stem(&path);
        let checked =
            profile::check(&name, &read(&path)?, &fragments).map_err(|why| format!("{}: {why}", path.display()))?;
        let calls: BTreeSet<&str> = checked.rules_on("x86_64").map(|rule| rule.syscall.as_str()).collect();
        text += &format!("| `{name}` | {} |\n", calls.into_iter().collect::<Vec<_>>().join(", "));
    }
    Ok(text)
}

fn phase_text(phase: &str, checked: &Checked, seen: &Seen) -> Outcome<String> {
    let mut allowed: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for rule in checked.rules_on("x86_64") {
        allowed.entry(&rule.syscall).or_default().extend(rule.comment.as_deref());
    }
    if let Some(call) = seen.calls.iter().find(|call| !allowed.contains_key(call.as_str())) {
        return Err(format!("{phase}: {call} was seen, but the profile does not allow it"));
    }
    let mut text = format!(
        "### `{phase}`\n\nAllowed and seen: {}.\n\n",
        seen.calls.iter().cloned().collect::<Vec<_>>().join(", ")
    );
    for (call, comments) in allowed.iter().filter(|(call, _)| !seen.calls.contains(**call)) {
        if comments.is_empty() {
            return Err(format!(
                "{phase}: {call} is allowed and was never seen, and its rule does not say why it is there"
            ));
        }
        text += &format!("- never seen: {call} — {}\n", comments.join("; "));
    }
    Ok(text + "\n")
}

fn stem(path: &Path) -> String {
    path.file_stem().unwrap_or_default().to_string_lossy().into_owned()
}

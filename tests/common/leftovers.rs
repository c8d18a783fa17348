//! What must not be left when a test is over: processes, files outside the sandbox, IPC objects.

#![forbid(unsafe_code)]

use super::account::{GREG, MALLORY, PILOT};
use super::site::PREFIX;
use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// Where programs leave things that nobody removes.
const PUBLIC: [&str; 3] = ["/tmp", "/var/tmp", "/dev/shm"];

/// What the test accounts have in public places and in the way of IPC objects.
pub struct Public {
    things: BTreeSet<String>,
}

impl Public {
    /// At this moment.
    pub fn look() -> Self {
        let accounts = [PILOT, GREG, MALLORY].map(super::Account::uid);
        let files = PUBLIC.iter().filter_map(|directory| std::fs::read_dir(directory).ok()).flatten().flatten();
        let files = files
            .filter(|entry| !entry.file_name().as_bytes().starts_with(PREFIX.as_bytes()))
            .filter(|entry| entry.metadata().is_ok_and(|found| accounts.contains(&found.uid())))
            .map(|entry| entry.path().display().to_string());
        Public { things: files.chain(ipc_objects(&accounts)).collect() }
    }

    /// What is there now and was not then.
    pub fn new_since(&self, then: &Public) -> Vec<String> {
        self.things.difference(&then.things).cloned().collect()
    }
}

/// System V IPC objects: `perms cuid uid` are columns that stand at different places in each table.
fn ipc_objects(accounts: &[u32]) -> Vec<String> {
    let mut objects = Vec::new();
    for kind in ["shm", "sem", "msg"] {
        let table = std::fs::read_to_string(format!("/proc/sysvipc/{kind}")).unwrap_or_default();
        let mut lines = table.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
        let Some(column) = lines.next().and_then(|names| names.iter().position(|name| *name == "uid")) else {
            continue;
        };
        objects.extend(
            lines
                .filter(|fields| fields[column].parse().is_ok_and(|uid| accounts.contains(&uid)))
                .map(|fields| format!("{kind} {}", fields[1])),
        );
    }
    objects
}

/// The processes that have to do with `directory`: their program, working directory, or an argument is below it.
pub fn processes(directory: &Path) -> Vec<(u32, String)> {
    let own = std::process::id();
    let listed = std::fs::read_dir("/proc").unwrap().flatten();
    let pids = listed.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).filter(|pid| *pid != own);
    pids.filter_map(|pid: u32| {
        let of = |name: &str| PathBuf::from(format!("/proc/{pid}/{name}"));
        let below = |name| std::fs::read_link(of(name)).is_ok_and(|target| target.starts_with(directory));
        let arguments = std::fs::read(of("cmdline")).unwrap_or_default();
        let named =
            arguments.split(|byte| *byte == 0).any(|word| Path::new(OsStr::from_bytes(word)).starts_with(directory));
        (named || below("exe") || below("cwd")).then(|| (pid, String::from_utf8_lossy(&arguments).replace('\0', " ")))
    })
    .collect()
}

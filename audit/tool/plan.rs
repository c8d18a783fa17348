//! The plan that the sources keep to: the folders, what each is for, whom it believes, and which others it may use; and
//! how large anything may be.

/// How much a source believes of what it reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trust {
    Unsafe,
    Hostile,
    Confines,
    Trusted,
    Starter,
    NotInstalled,
}

/// The levels in the order of the report.
pub const LEVELS: [(Trust, &str); 6] = [
    (Trust::Unsafe, "unsafe code"),
    (Trust::Hostile, "reads hostile bytes"),
    (Trust::Confines, "confines"),
    (Trust::Trusted, "decides with trusted input"),
    (Trust::Starter, "plays the Starter's part"),
    (Trust::NotInstalled, "tests and tools, not installed"),
];

/// A folder, or a file that stands in none.
pub struct Folder {
    pub name: &'static str,
    pub what: &'static str,
    pub trust: Trust,
    /// The folders of `helpers/` from which it may name something.
    pub uses: &'static [&'static str],
}

/// `helpers/`, the lowest first: a folder uses only what stands above it in this table. A source in a folder that is
/// not here fails, and so does a name that no arrow allows.
#[rustfmt::skip]
pub const HELPERS: [Folder; 14] = [
    folder("sys", "the calls that need unsafe code", Trust::Unsafe, &[]),
    folder("ground", "what every program stands on: arguments, limits, failures, output", Trust::Trusted, &["sys"]),
    folder("confine", "gives up what is not needed, once and for all", Trust::Confines, &["sys", "ground"]),
    folder("files", "names, directories and files that others may change meanwhile", Trust::Trusted, &["sys", "ground", "confine"]),
    folder("protocol", "all bytes between the two accounts", Trust::Hostile, &["sys", "ground", "confine", "files"]),
    folder("copy", "a tree of files from one account to the other", Trust::Hostile, &["sys", "ground", "confine", "files", "protocol"]),
    folder("policy", "what the site asks for", Trust::Confines, &["ground", "confine", "files", "copy"]),
    folder("family", "finds and ends a job's processes, whatever they do", Trust::Hostile, &["sys", "ground", "confine"]),
    folder("pilot", "the helpers, on the pilot's side", Trust::Trusted, &["sys", "ground", "confine", "files", "protocol", "copy", "policy", "family"]),
    folder("target", "the helpers and the job wrapper, on the target's side", Trust::Hostile, &["sys", "ground", "confine", "files", "protocol", "copy", "policy", "family"]),
    folder("job", "runs one job with the helpers, as the Starter does", Trust::Starter, &["sys", "ground", "confine", "files", "protocol", "copy", "policy", "family"]),
    folder("rootless", "the switcher for one account", Trust::Confines, &["sys", "ground", "confine", "files", "policy"]),
    folder("bin", "a main of three lines for each program", Trust::Trusted, &["pilot", "target", "job", "rootless"]),
    folder("lib.rs", "the list of the folders", Trust::Trusted, &[]),
];

/// The other folders with sources.
#[rustfmt::skip]
pub const OTHERS: [Folder; 4] = [
    folder("seccomp-profiles", "the rules for system calls, and their compiler", Trust::Confines, &[]),
    folder("tests", "the tests", Trust::NotInstalled, &[]),
    folder("fuzz", "the fuzz targets", Trust::NotInstalled, &[]),
    folder("audit", "this tool", Trust::NotInstalled, &[]),
];

const fn folder(name: &'static str, what: &'static str, trust: Trust, uses: &'static [&'static str]) -> Folder {
    Folder { name, what, trust, uses }
}

/// How many lines of code a program may reach.
pub const MOST_REACHED: usize = 4_000;

/// The programs that every job goes through reach less: one starts the switcher, one is a switcher, one becomes the
/// job. Four reach more, for what a second look at them found: what cannot be brought back is left out and named, what
/// is to be durable is, and a failure says where to look.
pub const MOST_REACHED_BY: [(&str, usize); 7] = [
    ("run", 2_000),
    ("job_wrapper", 2_000),
    ("glexec_rootless", 2_000),
    ("setup", 4_400),
    ("cleanup", 4_400),
    ("peer", 4_400),
    ("job", 4_400),
];

/// How many lines of all kinds a file may have.
pub const MOST_LINES: usize = 500;

/// How many lines of code may stand in `helpers/sys`.
pub const MOST_SYS: usize = 150;

/// How many words the README may have.
pub const MOST_README_WORDS: usize = 1_000;

/// How many words a cell of the ledger may have.
pub const MOST_CELL_WORDS: usize = 40;

/// How many characters a line of prose or with a comment may have; `max_width` of `rustfmt.toml`.
pub const MOST_WIDTH: usize = 120;

#[cfg(test)]
mod tests {
    use super::HELPERS;

    #[test]
    fn no_arrow_leads_upwards_so_that_there_is_no_circle() {
        for (index, folder) in HELPERS.iter().enumerate() {
            for used in folder.uses {
                assert!(HELPERS[..index].iter().any(|lower| lower.name == *used), "{} → {used}", folder.name);
            }
        }
    }
}

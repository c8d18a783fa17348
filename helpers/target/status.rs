//! What `/proc/<pid>/status` says about a process (proc_pid_status(5)), as far as a helper must know before it
//! signals it.
//!
//! Most of it is the kernel's, but the first line is the process's own choice of a name, so it is parsed as hostile:
//! the name ends with its line (the kernel escapes a newline in it), and every other line is known by what it begins
//! with and must come exactly once.

use crate::confine::Confined;
use crate::confine::seccomp::ROOTLESS_FILTERS;
use crate::ground::argv::decimal;
use crate::ground::limits;
use core::fmt::{self, Display, Formatter};

/// The fields that are looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Status {
    /// The letter of the first thread's state: `R` running, `T` stopped, `Z` ended but not reaped, …
    pub state: u8,
    /// Whether nothing that it executes can gain privileges.
    pub no_new_privs: bool,
    /// How many seccomp filters it carries.
    pub seccomp_filters: u32,
}

/// Why a text is not a process's status.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unreadable {
    /// It is longer than [`limits::STATUS_BYTES`], or its last line is not whole.
    NotWhole,
    /// This field is missing, comes twice or has a value that it cannot have.
    Field(&'static str),
}

impl Display for Unreadable {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Unreadable::NotWhole => f.write_str("a /proc/<pid>/status is too long or cut off"),
            Unreadable::Field(name) => {
                write!(f, "a /proc/<pid>/status has no proper field {name} (Linux 5.9 or later is needed)")
            }
        }
    }
}

impl Status {
    /// Reads the whole text of a `/proc/<pid>/status`.
    ///
    /// # Errors
    /// When it has not exactly the form that the kernel gives it.
    pub fn parse(text: &[u8], _: &Confined) -> Result<Self, Unreadable> {
        let lines =
            text.strip_suffix(b"\n").filter(|_| text.len() <= limits::STATUS_BYTES).ok_or(Unreadable::NotWhole)?;
        let mut lines = lines.split(|byte| *byte == b'\n');
        if !lines.next().is_some_and(|first| first.starts_with(b"Name:\t")) {
            return Err(Unreadable::Field("Name"));
        }
        let field = |name: &'static str| {
            let mut values = lines.clone().filter_map(|line| line.strip_prefix(name.as_bytes())?.strip_prefix(b":\t"));
            match (values.next(), values.next()) {
                (Some(value), None) => Ok(value),
                _ => Err(Unreadable::Field(name)),
            }
        };
        let number = |name| decimal(field(name)?).ok_or(Unreadable::Field(name));
        let state = match field("State")? {
            [letter, b' ', ..] if letter.is_ascii_alphabetic() => *letter,
            _ => return Err(Unreadable::Field("State")),
        };
        Ok(Status {
            state,
            no_new_privs: match number("NoNewPrivs")? {
                0 => false,
                1 => true,
                _ => return Err(Unreadable::Field("NoNewPrivs")),
            },
            seccomp_filters: number("Seccomp_filters")?,
        })
    }

    /// Whether the process is inside a domain that `glexec_rootless` made, seen from a process outside that carries
    /// `outside` filters: every process of a domain carries at least [`ROOTLESS_FILTERS`] more, whatever container
    /// both are in, and can't get rid of them.
    ///
    /// The pilot's helpers carry one more. A process of the pilot that was put into more filters of its own would
    /// look the same as a job's; no process of a job ever looks like one of the pilot.
    pub fn is_inside_domain(&self, outside: u32) -> bool {
        let more = u32::try_from(ROOTLESS_FILTERS.len()).unwrap_or(u32::MAX);
        self.no_new_privs && self.seccomp_filters >= outside.saturating_add(more)
    }
}

#[cfg(test)]
mod tests {
    use super::{Status, Unreadable};
    use crate::confine::Confined;
    use crate::ground::limits;

    fn text(name: &str) -> String {
        format!(
            "Name:\t{name}\nUmask:\t0022\nState:\tS (sleeping)\nTgid:\t9\nUid:\t1\t2\t3\t4\nGid:\t0\t0\t0\t0\nGroups:\t4 24 \n\
             NoNewPrivs:\t1\nSeccomp:\t2\nSeccomp_filters:\t7\nSpeculation_Store_Bypass:\tvulnerable\n"
        )
    }

    fn parse(text: &[u8]) -> Result<Status, Unreadable> {
        Status::parse(text, &Confined::assumed())
    }

    const EXPECTED: Status = Status { state: b'S', no_new_privs: true, seccomp_filters: 7 };

    #[test]
    fn the_fields_are_found() {
        assert_eq!(parse(text("x").as_bytes()), Ok(EXPECTED));
    }

    #[test]
    fn the_kernels_own_text_is_understood() {
        let own = parse(&std::fs::read("/proc/self/status").unwrap()).unwrap();
        assert!(matches!(own.state, b'R' | b'S'));
    }

    #[test]
    fn a_name_cannot_pose_as_a_field() {
        for name in
            ["Seccomp_filters:\t0", "", ")", "a\tSeccomp_filters:\t0", "\\nSeccomp_filters:\t0", "Uid:\t0\t0\t0\t0"]
        {
            assert_eq!(parse(text(name).as_bytes()), Ok(EXPECTED), "{name:?}");
        }
        // No kernel lets a newline through; one that did would give the field twice.
        assert_eq!(parse(text("a\nSeccomp_filters:\t0").as_bytes()), Err(Unreadable::Field("Seccomp_filters")));
        assert_eq!(parse(b"Seccomp_filters:\t1\n"), Err(Unreadable::Field("Name")));
    }

    #[test]
    fn other_forms_are_refused() {
        for (from, to, field) in [
            ("Seccomp_filters:\t7\n", "", "Seccomp_filters"),
            ("filters:\t7", "filters:\t", "Seccomp_filters"),
            ("filters:\t7", "filters:\t-1", "Seccomp_filters"),
            ("filters:\t7", "filters:\t07", "Seccomp_filters"),
            ("filters:\t7", "filters:\t4294967296", "Seccomp_filters"),
            ("filters:\t7", "filters: 7", "Seccomp_filters"),
            ("NoNewPrivs:\t1", "NoNewPrivs:\t2", "NoNewPrivs"),
            ("NoNewPrivs:\t1", "NoNewPrivs:\t1\nNoNewPrivs:\t1", "NoNewPrivs"),
            ("S (sleeping)", "", "State"),
            ("S (sleeping)", "sleeping", "State"),
        ] {
            let changed = text("x").replace(from, to);
            assert_ne!(changed, text("x"));
            assert_eq!(parse(changed.as_bytes()), Err(Unreadable::Field(field)), "{to:?}");
        }
    }

    #[test]
    fn the_limit_is_exact_and_a_cut_text_is_refused() {
        let padded = |bytes: usize| text(&"x".repeat(bytes - text("").len()));
        assert_eq!(parse(padded(limits::STATUS_BYTES).as_bytes()), Ok(EXPECTED));
        assert_eq!(parse(padded(limits::STATUS_BYTES + 1).as_bytes()), Err(Unreadable::NotWhole));
        let whole = text("x");
        for cut in 0..whole.len() {
            let parsed = parse(&whole.as_bytes()[..cut]);
            assert!(parsed.is_err() || whole.as_bytes()[..cut].ends_with(b"filters:\t7\n"), "cut at {cut}");
        }
    }

    #[test]
    fn three_more_filters_are_inside() {
        let with = |seccomp_filters, no_new_privs| Status { seccomp_filters, no_new_privs, ..EXPECTED };
        for (outside, found, inside) in [(0, 3, true), (3, 6, true), (0, 2, false), (3, 5, false), (3, 3, false)] {
            assert_eq!(with(found, true).is_inside_domain(outside), inside, "{found} beside {outside}");
        }
        assert!(!with(0, true).is_inside_domain(0));
        assert!(!with(9, false).is_inside_domain(3));
    }
}

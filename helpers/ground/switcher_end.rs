//! What the end of a switcher says when what it was to start has not answered, and where to look (glexec's manual).

use core::fmt::{self, Display, Formatter};

/// "Refused by configuration or a failed system call" and "not authorised": both may pass (a mapping service that is
/// down), and are the only ones that are tried again.
pub(crate) const TRANSIENT: [i32; 2] = [202, 203];

const CODES: [(i32, &str); 4] = [
    (201, "the proxy is missing, expired or unfit, or the switcher may not start a program at that place"),
    (202, "the site's switcher is not set up, or a system call failed; see its log"),
    (203, "not authorised, no mapping, or the mapping service is down; see its log"),
    (126, "it could not execute what it was given; can the target account reach that directory?"),
];

const SIGNALS: [(i32, &str); 4] = [
    (libc::SIGKILL, "somebody killed it, or memory ran out; see the kernel's log"),
    (libc::SIGSEGV, "it crashed; see its log and the kernel's"),
    (libc::SIGSYS, "a seccomp filter around it forbids a call; see the kernel's log"),
    (libc::SIGXCPU, "a limit of processor time is too low"),
];

/// How a switcher ended: its exit code, or the signal that ended it.
pub(crate) struct End {
    pub(crate) code: Option<i32>,
    pub(crate) signal: Option<i32>,
}

impl Display for End {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let (word, number, meanings) = match (self.code, self.signal) {
            (Some(code), _) => ("", code, &CODES),
            (None, signal) => ("signal ", signal.unwrap_or(0), &SIGNALS),
        };
        write!(f, "{word}{number}")?;
        match meanings.iter().find(|(known, _)| *known == number) {
            Some((_, why)) => write!(f, ": {why}"),
            None => Ok(()),
        }
    }
}

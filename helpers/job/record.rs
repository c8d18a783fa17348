//! What happened to one job, for people and for machines.

use crate::ground::outcome::Failure;
use crate::ground::{json, limits};
use core::fmt::Write;
use rustix::process::WaitStatus;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

/// How the job ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// With this exit code.
    Exited(u8),
    /// By this signal.
    Killed(i32),
}

impl Status {
    /// What the kernel says; `None` for a process that has not ended.
    pub(super) fn of(status: WaitStatus) -> Option<Self> {
        match (status.exit_status(), status.terminating_signal()) {
            (Some(code), _) => u8::try_from(code).ok().map(Status::Exited),
            (_, Some(signal)) => Some(Status::Killed(signal)),
            _ => None,
        }
    }
}

/// Who ended the job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EndedBy {
    /// The job itself (or someone outside).
    Itself,
    /// The time limit.
    TimeLimit,
    /// This signal, sent to us.
    Signal(i32),
}

/// One step of a job's life.
#[derive(Clone, Copy, Debug)]
pub struct Phase {
    /// `prepare`, `setup`, `start`, `job`, `kill`, `cleanup` or `output`.
    pub name: &'static str,
    begun: Instant,
    ended: Option<Instant>,
}

/// The record of one job.
#[derive(Debug)]
pub struct Record {
    begun_at: SystemTime,
    begun: Instant,
    /// What was done, in order.
    pub phases: Vec<Phase>,
    /// The sandbox's absolute path, once there is one.
    pub sandbox: Option<Vec<u8>>,
    /// The switcher's absolute path.
    pub switcher: Vec<u8>,
    /// Where the output is, if there is any.
    pub output: Option<Vec<u8>>,
    /// How the job ended, if it ran.
    pub status: Option<Status>,
    /// Who ended it, if it ran.
    pub ended_by: Option<EndedBy>,
    /// What setup has copied: a line of JSON.
    pub setup: Option<String>,
    /// What cleanup has copied: a line of JSON.
    pub cleanup: Option<String>,
    /// The first thing that went wrong.
    pub failure: Option<Failure>,
}

impl Record {
    /// A record in which nothing has happened yet.
    #[allow(clippy::new_without_default)] // it holds the time
    pub fn new() -> Self {
        Record {
            begun_at: SystemTime::now(),
            begun: Instant::now(),
            phases: Vec::new(),
            sandbox: None,
            switcher: Vec::new(),
            output: None,
            status: None,
            ended_by: None,
            setup: None,
            cleanup: None,
            failure: None,
        }
    }

    /// Ends the phase that was and begins another.
    pub(super) fn begin(&mut self, name: &'static str) {
        let now = Instant::now();
        self.end_at(now);
        self.phases.push(Phase { name, begun: now, ended: None });
    }

    pub(super) fn end(&mut self) {
        self.end_at(Instant::now());
    }

    fn end_at(&mut self, now: Instant) {
        if let Some(phase) = self.phases.last_mut() {
            phase.ended.get_or_insert(now);
        }
    }

    /// The record as one line of JSON in printable ASCII.
    ///
    /// `started` is in seconds since 1970, the times of the phases in nanoseconds, counted from there. In paths and
    /// texts a backslash is doubled and every byte that is not printable ASCII is written as `\xNN` (before JSON's own
    /// quoting), so that every byte string has exactly one form. What is not known is `null`.
    pub fn to_json(&self) -> String {
        let null = || "null".to_owned();
        let path = |bytes: &Option<Vec<u8>>| bytes.as_deref().map_or_else(null, text);
        let started = self.begun_at.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        let phases = self.phases.iter().map(|phase| {
            let ended = phase.ended.unwrap_or(phase.begun);
            json::object([
                ("name", json::string(phase.name)),
                ("start_ns", phase.begun.saturating_duration_since(self.begun).as_nanos().to_string()),
                ("duration_ns", ended.saturating_duration_since(phase.begun).as_nanos().to_string()),
            ])
        });
        let status = self.status.map_or_else(null, |status| match status {
            Status::Exited(code) => json::object([("exit_code", code.to_string())]),
            Status::Killed(signal) => json::object([("signal", signal.to_string())]),
        });
        let ended_by = self.ended_by.map_or_else(null, |by| match by {
            EndedBy::Itself => json::string("itself"),
            EndedBy::TimeLimit => json::string("time limit"),
            EndedBy::Signal(signal) => json::string(&format!("signal {signal}")),
        });
        json::object([
            ("version", json::string(env!("CARGO_PKG_VERSION"))),
            ("started", started.to_string()),
            ("sandbox", path(&self.sandbox)),
            ("switcher", text(&self.switcher)),
            ("output", path(&self.output)),
            ("status", status),
            ("ended_by", ended_by),
            ("phases", json::list(phases)),
            ("setup", self.setup.clone().unwrap_or_else(null)),
            ("cleanup", self.cleanup.clone().unwrap_or_else(null)),
            ("failure", self.failure.as_ref().map_or_else(null, |failure| text(failure.to_string().as_bytes()))),
        ])
    }
}

/// A JSON string for any bytes; see [`Record::to_json`].
fn text(bytes: &[u8]) -> String {
    let mut shown = String::with_capacity(bytes.len());
    for &byte in bytes {
        match byte {
            b'\\' => shown.push_str("\\\\"),
            b' '..=b'~' => shown.push(char::from(byte)),
            // Writing to a String cannot fail.
            _ => drop(write!(shown, "\\x{byte:02x}")),
        }
    }
    json::string(&shown)
}

/// The figures of a copy, as a helper printed them: exactly one line of printable ASCII that is a JSON object by its
/// first and last byte. The helper is ours, but it has read what is hostile, so it isn't taken at its word.
pub fn figures(answer: &[u8]) -> Option<String> {
    let line = answer.strip_suffix(b"\n")?;
    let fits = answer.len() <= limits::RECORD_BYTES
        && line.starts_with(b"{")
        && line.ends_with(b"}")
        && line.iter().all(|byte| (b' '..=b'~').contains(byte));
    if fits { core::str::from_utf8(line).ok().map(str::to_owned) } else { None }
}

#[cfg(test)]
mod tests {
    use super::{EndedBy, Record, Status, figures};
    use crate::ground::limits;
    use crate::ground::outcome::Failure;

    #[test]
    fn a_record_is_json_in_printable_ascii_whatever_is_in_it() {
        let mut record = Record::new();
        for (status, by) in [
            (None, None),
            (Some(Status::Exited(7)), Some(EndedBy::Itself)),
            (Some(Status::Killed(15)), Some(EndedBy::Signal(2))),
            (Some(Status::Killed(9)), Some(EndedBy::TimeLimit)),
        ] {
            record.begin("setup");
            (record.status, record.ended_by) = (status, by);
            let line = record.to_json();
            let read: serde_json::Value = serde_json::from_str(&line).unwrap();
            assert_eq!(read["status"].is_null(), status.is_none());
        }
        let every: Vec<u8> = (0..=255).collect();
        record.sandbox = Some(every.clone());
        record.switcher = b"/a\\x41\"".to_vec();
        record.setup = Some("{\"files\":1}".into());
        record.failure = Some(Failure::permanent("a\n\x1b\u{e9}"));
        let line = record.to_json();
        assert!(line.bytes().all(|byte| (b' '..=b'~').contains(&byte)));
        let read: serde_json::Value = serde_json::from_str(&line).unwrap();
        assert_eq!(read["switcher"], "/a\\\\x41\"");
        assert_eq!(read["failure"], "a\\x0a\\x1b\\xc3\\xa9");
        assert_eq!(read["setup"]["files"], 1);
        assert_eq!(read["phases"].as_array().unwrap().len(), 4);
    }

    #[test]
    fn figures_are_one_bounded_line() {
        assert_eq!(figures(b"{\"files\":1}\n").as_deref(), Some("{\"files\":1}"));
        for bad in [&b""[..], b"\n", b"{}", b"{}\n{}\n", b"x{}\n", b"{}x\n", b"{\x1b}\n", b"{\xff}\n", b"{\n}\n"] {
            assert_eq!(figures(bad), None, "{:?}", String::from_utf8_lossy(bad));
        }
        let sized = |length: usize| format!("{{{}}}\n", " ".repeat(length - 3)).into_bytes();
        assert!(figures(&sized(limits::RECORD_BYTES)).is_some());
        assert!(figures(&sized(limits::RECORD_BYTES + 1)).is_none());
    }
}

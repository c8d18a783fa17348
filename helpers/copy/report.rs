//! Where in the tree a copy is, for people; and what it left out.

#![forbid(unsafe_code)]

use crate::files::name::Name;
use crate::ground::escape::Escaped;
use crate::ground::frame;
use crate::ground::json;
use crate::ground::limits;
use crate::ground::program::Program;
use crate::protocol::record::Reason;
use crate::protocol::tree::Totals;
use arrayvec::ArrayVec;

/// Something that is not part of the copy.
#[derive(Debug)]
pub struct LeftOut {
    /// Its path below the sandbox, escaped and shortened.
    pub path: String,
    /// Why.
    pub reason: Reason,
}

/// The first of what was left out; the rest is only counted.
pub type LeftOutList = ArrayVec<LeftOut, { limits::LEFT_OUT_NAMED }>;

/// The path of the current directory below the sandbox, and what was left out so far.
#[derive(Default)]
pub(crate) struct Report {
    path: Vec<u8>,
    /// What was left out.
    pub(crate) left_out: LeftOutList,
}

impl Report {
    /// Goes into `name`; gives what [`Report::leave`] wants to have.
    pub(crate) fn enter(&mut self, name: Name<'_>) -> usize {
        let before = self.path.len();
        self.path.extend_from_slice(name.bytes());
        self.path.push(b'/');
        before
    }

    /// Goes back up.
    pub(crate) fn leave(&mut self, before: usize) {
        self.path.truncate(before);
    }

    /// An entry of the current directory, fit to be shown.
    pub(crate) fn shown(&self, name: Name<'_>) -> String {
        Escaped(&[&self.path[..], name.bytes()].concat()).to_string()
    }

    /// Notes that `name` is left out.
    pub(crate) fn leave_out(&mut self, name: Name<'_>, reason: Reason) {
        if !self.left_out.is_full() {
            let path = self.shown(name);
            let _ = self.left_out.try_push(LeftOut { path, reason });
        }
    }
}

/// Reports a finished copy: what was left out as one line on stderr, and the figures as one line of JSON on stdout if
/// `json` asks for them.
pub(crate) fn finished(program: Program, totals: &Totals, left_out: &[LeftOut], json: bool) {
    if totals.left_out > 0 {
        let named: Vec<String> =
            left_out.iter().map(|entry| format!("{} ({})", entry.path, entry.reason.text())).collect();
        frame::report(program, &format_args!("{} left out: {}", totals.left_out, named.join(", ")));
    }
    if json {
        frame::answer_line(&as_json(totals, left_out));
    }
}

fn as_json(totals: &Totals, left_out: &[LeftOut]) -> String {
    let left_out_list = json::list(left_out.iter().map(|entry| {
        json::object([("name", json::string(&entry.path)), ("reason", json::string(entry.reason.text()))])
    }));
    json::object([
        ("files", totals.files.to_string()),
        ("directories", totals.directories.to_string()),
        ("symlinks", totals.symlinks.to_string()),
        ("hard_links", totals.hard_links.to_string()),
        ("bytes", totals.bytes.to_string()),
        ("left_out", left_out_list),
        ("left_out_total", totals.left_out.to_string()),
    ])
}

//! What a finished setup or cleanup says: to people what was left out, to programs the figures.

use crate::copy::report::LeftOut;
use crate::ground::outcome::{Failure, Outcome};
use crate::ground::program::Program;
use crate::ground::{frame, json};
use crate::protocol::tree::Totals;

/// Reports a copy that is in its place: the figures as one line of JSON on stdout if `json` asks for them, and what was
/// left out as one line on stderr; where the rest of the work has failed, behind the reason for that.
pub(crate) fn finished(program: Program, totals: &Totals, left_out: &[LeftOut], json: bool, rest: Outcome) -> Outcome {
    if json {
        frame::answer_line(&as_json(totals, left_out));
    }
    if totals.left_out == 0 {
        return rest;
    }
    let named: Vec<String> = left_out.iter().map(|entry| format!("{} ({})", entry.path, entry.reason)).collect();
    let text = format!("{} left out: {}", totals.left_out, named.join(", "));
    rest.map_err(|failure| Failure::new(failure.kind, format_args!("{failure}; {text}")))?;
    frame::report(program, &text);
    Ok(())
}

fn as_json(totals: &Totals, left_out: &[LeftOut]) -> String {
    let left_out_list = json::list(left_out.iter().map(|entry| {
        json::object([("name", json::string(&entry.path)), ("reason", json::string(&entry.reason.to_string()))])
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

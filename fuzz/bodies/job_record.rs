//! What `condor_glexec_job` takes over from its helpers, and what it writes about a job.

use super::input::Input;
use glexec_rs::ground::limits;
use glexec_rs::ground::outcome::Failure;
use glexec_rs::job::{EndedBy, Record, Status, figures};

/// The input is a helper's answer; and bytes for every part of a record.
pub fn target(data: &[u8]) {
    if let Some(line) = figures(data) {
        assert_eq!([line.as_bytes(), b"\n"].concat(), data);
        assert!(data.len() <= limits::RECORD_BYTES && line.starts_with('{') && line.ends_with('}'));
        super::assert_fit_to_be_shown(&line);
    }
    let mut input = Input::new(data);
    let mut record = Record::new();
    record.status = match input.choice(3) {
        0 => None,
        1 => Some(Status::Exited(input.byte())),
        _ => Some(Status::Killed(i32::from_le_bytes(input.number()))),
    };
    record.ended_by =
        [None, Some(EndedBy::Itself), Some(EndedBy::TimeLimit), Some(EndedBy::Signal(9))][input.choice(4)];
    let sandbox = input.text().to_vec();
    let switcher = input.text().to_vec();
    record.failure = input.flag().then(|| Failure::permanent(String::from_utf8_lossy(input.rest())));
    (record.sandbox, record.switcher, record.output) = (Some(sandbox.clone()), switcher.clone(), None);
    let json = record.to_json();
    super::assert_fit_to_be_shown(&json);
    let read: serde_json::Value = serde_json::from_str(&json).expect("JSON");
    assert_eq!(unescaped(&read["sandbox"]), sandbox);
    assert_eq!(unescaped(&read["switcher"]), switcher);
    assert!(read["output"].is_null() && read["status"].is_null() == record.status.is_none());
    assert_eq!(read["failure"].is_null(), record.failure.is_none());
    if let Some(failure) = record.failure {
        assert_eq!(unescaped(&read["failure"]), failure.to_string().into_bytes());
    }
}

/// The bytes that a record's text stands for.
fn unescaped(text: &serde_json::Value) -> Vec<u8> {
    let mut rest = text.as_str().expect("a text").as_bytes();
    let mut bytes = Vec::new();
    loop {
        rest = match rest {
            [] => return bytes,
            [b'\\', b'\\', rest @ ..] => {
                bytes.push(b'\\');
                rest
            }
            [b'\\', b'x', high, low, rest @ ..] => {
                let digits = [*high, *low];
                let digits = core::str::from_utf8(&digits).expect("digits");
                bytes.push(u8::from_str_radix(digits, 16).expect("digits"));
                rest
            }
            [plain, rest @ ..] => {
                assert_ne!(*plain, b'\\');
                bytes.push(*plain);
                rest
            }
        };
    }
}

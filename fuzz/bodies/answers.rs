//! What the target side answers where the pilot side waits for one thing.

use super::confined::confined;
use super::playground::{Witness, say};
use super::{assert_fit_to_be_shown, input::Input};
use core::time::Duration;
use glexec_rs::confine::side::SETUP_PILOT;
use glexec_rs::pilot::target_side::{Decode, TargetSide};
use glexec_rs::protocol::connection::{Connection, pair};
use glexec_rs::protocol::heard::answer::{done, ready, signalled};
use std::os::fd::AsFd;

/// The first byte says what is waited for and whether a descriptor comes with the answer; the answer, and what comes
/// after it, follow.
pub fn target(data: &[u8]) {
    let mut input = Input::new(data);
    let how = input.byte();
    let rest = input.text();
    let answer = input.rest();
    let with_descriptor = how & 0x80 != 0;
    match how % 5 {
        0 => wait_for(ready, answer, rest, with_descriptor, answer == b"Y"),
        1 => wait_for(done, answer, rest, with_descriptor, answer == b"D"),
        _ => {
            let fits = matches!(answer, [b'G', low, high] if u16::from_le_bytes([*low, *high]) <= 4095);
            wait_for(signalled, answer, rest, with_descriptor, fits);
        }
    }
}

fn wait_for<T: Send>(decode: Decode<T>, answer: &[u8], rest: &[u8], with_descriptor: bool, fits: bool) {
    let (ours, theirs) = pair().expect("a pair");
    let witness = Witness::new();
    let passed = [witness.end.as_fd()];
    let descriptors = if with_descriptor { &passed[..] } else { &[] };
    say(&theirs, answer, descriptors);
    say(&theirs, rest, descriptors);
    say(&theirs, answer, &[]);
    drop(theirs);
    let heard = confined(&SETUP_PILOT, &[], |proof| {
        let target = TargetSide { connection: Connection::new(ours), proof };
        let heard = target.expect(decode);
        // Whatever else comes, it ends with the other side.
        target.connection.wait_for_end(Duration::from_secs(60));
        heard
    });
    assert_eq!(heard.is_ok(), fits && !with_descriptor);
    if let Err(failure) = heard {
        assert_fit_to_be_shown(&failure.to_string());
    }
    witness.assert_gone();
}

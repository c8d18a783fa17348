//! What the target side answers where the pilot side waits for one thing.

use super::confined::confined;
use super::ground::{Witness, say};
use super::{assert_fit_to_be_shown, input::Input};
use core::time::Duration;
use glexec_rs::confine::phase::SETUP_PILOT;
use glexec_rs::pilot::handover::expect;
use glexec_rs::protocol::connection::{Connection, pair};
use glexec_rs::protocol::wire::{Message, Totals};
use std::os::fd::AsFd;

/// The first byte says what is waited for and whether a descriptor comes with the answer; the answer, and what comes after it, follow.
pub fn target(data: &[u8]) {
    let mut input = Input::new(data);
    let how = input.byte();
    let wanted = match how % 5 {
        0 => Message::Ready,
        1 => Message::Done,
        2 => Message::Commit,
        3 => Message::Signalled(0),
        _ => Message::Complete(Totals::default()),
    };
    let rest = input.text();
    let answer = input.rest();
    let (ours, theirs) = pair().expect("a pair");
    let witness = Witness::new();
    let passed = [witness.end.as_fd()];
    let descriptors = if how & 0x80 == 0 { &[][..] } else { &passed[..] };
    say(&theirs, answer, descriptors);
    say(&theirs, rest, descriptors);
    say(&theirs, answer, &[]);
    drop(theirs);
    let connection = Connection::new(ours);
    let heard = confined(&SETUP_PILOT, &[], |proof| {
        let heard = expect(&connection, &wanted, proof);
        // Whatever else comes, it ends with the other side.
        connection.wait_for_end(Duration::from_secs(60));
        heard
    });
    assert_eq!(heard.is_ok(), descriptors.is_empty() && answer == wanted.encode());
    if let Err(failure) = heard {
        assert_fit_to_be_shown(&failure.to_string());
    }
    drop(connection);
    witness.assert_gone();
}

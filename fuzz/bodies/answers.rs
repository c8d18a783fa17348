//! What the target side answers where the pilot side waits for one thing.

use super::confined::confined;
use super::ground::{Witness, say};
use super::{assert_fit_to_be_shown, input::Input};
use core::time::Duration;
use glexec_rs::confine::side::SETUP_PILOT;
use glexec_rs::pilot::target_side::TargetSide;
use glexec_rs::protocol::connection::{Connection, pair};
use glexec_rs::protocol::wire::Message;
use rustix::net::{Shutdown, shutdown};
use std::os::fd::AsFd;

/// Longer than anything takes here.
const PATIENCE: Duration = Duration::from_secs(60);

/// The first byte says what is waited for and whether a descriptor comes with the answer; the answer, and what comes after it, follow.
pub fn target(data: &[u8]) {
    let mut input = Input::new(data);
    let how = input.byte();
    let rest = input.text();
    let answer = input.rest();
    let (ours, theirs) = pair().expect("a pair");
    let witness = Witness::new();
    let passed = [witness.end.as_fd()];
    let descriptors = if how & 0x80 == 0 { &[][..] } else { &passed[..] };
    say(&theirs, answer, descriptors);
    say(&theirs, rest, descriptors);
    say(&theirs, answer, &[]);
    shutdown(&theirs, Shutdown::Write).expect("a socket");
    let (heard, is_expected) = confined(&SETUP_PILOT, &[], |proof| {
        let mut target = TargetSide { connection: Connection::new(ours), proof };
        let heard = match how % 3 {
            0 => (target.await_ready(), answer == Message::Ready.encode()),
            1 => (target.await_done(PATIENCE), answer == Message::Done.encode()),
            _ => {
                let signalled = target.signal(witness.end.as_fd(), 0);
                let expected = signalled.as_ref().is_ok_and(|result| {
                    let errno = result.err().map_or(0, |errno| errno.raw_os_error());
                    answer == Message::Signalled(errno.try_into().expect("an errno")).encode()
                });
                (signalled.map(drop), expected)
            }
        };
        // Whatever else comes, it ends with the other side.
        target.connection.wait_for_end(PATIENCE);
        heard
    });
    assert_eq!(heard.is_ok(), descriptors.is_empty() && is_expected);
    if let Err(failure) = heard {
        assert_fit_to_be_shown(&failure.to_string());
    }
    drop(theirs);
    witness.assert_gone();
}

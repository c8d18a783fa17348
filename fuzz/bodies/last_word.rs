//! What `condor_glexec_job` keeps of what others say to it: the wrapper on the fresh socket, the helpers and the
//! switcher in a pipe.

use super::input::Input;
use glexec_rs::ground::escape::Escaped;
use glexec_rs::ground::limits::CHANNEL_ERROR_BYTES;
use glexec_rs::ground::pipe::Reader;
use glexec_rs::job::LastWord;

/// The first byte says how much is kept of a pipe; then come the pieces in which it is said.
pub fn target(data: &[u8]) {
    let mut input = Input::new(data);
    let most = usize::from(input.byte()) * 3;
    let mut pieces = Vec::new();
    while !input.is_empty() {
        pieces.push(input.text());
    }
    last_word(&pieces);
    pipe(&pieces, most);
}

/// The beginning, up to a NUL; and it is known when nothing more is wanted.
fn last_word(pieces: &[&[u8]]) {
    let mut word = LastWord::default();
    let taken = pieces.iter().take_while(|piece| word.add(piece)).count();
    let all = pieces.concat();
    let beginning = &all[..all.len().min(CHANNEL_ERROR_BYTES)];
    assert!(taken == pieces.len() || pieces[..taken].concat().len() >= CHANNEL_ERROR_BYTES);
    let expected = &beginning[..beginning.iter().position(|byte| *byte == 0).unwrap_or(beginning.len())];
    let text = word.text();
    assert_eq!(text.as_deref(), (!expected.is_empty()).then_some(expected));
    super::assert_fit_to_be_shown(&Escaped(&text.unwrap_or_default()).to_string());
}

/// The beginning, however it comes, and the end is noticed.
fn pipe(pieces: &[&[u8]], most: usize) {
    let (mut reader, to) = Reader::new(most).expect("a pipe");
    for (number, piece) in pieces.iter().enumerate() {
        assert_eq!(rustix::io::write(&to, piece), Ok(piece.len()));
        if number % 3 == 0 {
            reader.read();
        }
    }
    reader.read();
    assert!(reader.watched().is_some());
    drop(to);
    reader.read();
    assert!(reader.watched().is_none());
    let all = pieces.concat();
    assert_eq!(reader.kept, all[..all.len().min(most)]);
}

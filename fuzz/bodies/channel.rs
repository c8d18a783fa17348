//! The environment channel: a Starter that says anything, with any descriptors, to the job wrapper.

use super::playground::{Witness, null, open, say};
use super::{assert_fit_to_be_shown, environment_model, input::Input};
use glexec_rs::ground::limits;
use glexec_rs::protocol::job_channel::HELLO;
use glexec_rs::target::channel::Channel;
use glexec_rs::target::wrapper::{Start, converse};
use rustix::fs::OFlags;
use rustix::net::{AddressFamily, RecvFlags, Shutdown, SocketFlags, SocketType, recv, shutdown, socketpair};
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

/// The three streams by their kinds of arguments.
const PASSED: [u8; 3] = [0b001, 0b010, 0b100];

/// One message of the Starter.
struct Said<'o> {
    bytes: Vec<u8>,
    passed: Vec<&'o Object>,
}

/// What a Starter can pass, and what can be done with it.
struct Object {
    descriptor: OwnedFd,
    is_readable: bool,
    is_writable: bool,
    is_stream_socket: bool,
}

impl Object {
    fn new(descriptor: impl Into<OwnedFd>, is_readable: bool, is_writable: bool) -> Self {
        let descriptor = descriptor.into();
        let is_stream_socket = rustix::net::sockopt::socket_type(&descriptor) == Ok(SocketType::STREAM);
        Object { descriptor, is_readable, is_writable, is_stream_socket }
    }
}

/// The first byte says which streams are passed; then come the Starter's steps.
pub fn target(data: &[u8]) {
    let mut input = Input::new(data);
    let how = input.byte();
    let names = PASSED.map(|bit| if how & bit == 0 { b"/dev/null".to_vec() } else { b"-".to_vec() });
    let pair = |kind| socketpair(AddressFamily::UNIX, kind, SocketFlags::CLOEXEC, None).expect("a pair");
    let (ours, theirs) = pair(SocketType::STREAM);
    let (fresh, listening) = pair(SocketType::STREAM);
    let witness = Witness::new();
    let objects = [
        Object::new(fresh, true, true),
        Object::new(rustix::io::fcntl_dupfd_cloexec(&witness.end, 3).expect("a copy"), false, true),
        Object::new(null(), true, false),
        Object::new(open(Path::new("/dev/null"), OFlags::WRONLY), false, true),
        Object::new(open(Path::new("/"), OFlags::RDONLY), false, false),
        Object::new(open(Path::new("/dev/null"), OFlags::PATH), false, false),
        Object::new(pair(SocketType::SEQPACKET).0, true, true),
    ];
    let streams = names.iter().filter(|name| **name == b"-").count();
    let mut said = if how & 0x80 == 0 { any(&mut input, &objects) } else { right(&mut input, &objects, streams) };
    let heard = said.iter().take_while(|said| {
        let passed: Vec<_> = said.passed.iter().map(|object| object.descriptor.as_fd()).collect();
        say(&theirs, &said.bytes, &passed)
    });
    let heard = heard.count();
    said.truncate(heard);
    // Nothing more will come; but the wrapper can still speak.
    shutdown(&theirs, Shutdown::Write).expect("a connected socket");
    let started = converse(Channel::new(ours).expect("a stream socket"), &names);
    let mut hello = [0; 4];
    recv(&theirs, &mut hello, RecvFlags::DONTWAIT).expect("the hello comes in any case");
    assert_eq!(u32::from_ne_bytes(hello), HELLO);
    let expected = accepted(&said, &names);
    drop(objects);
    match started {
        Ok(started) => check(started, expected, &listening),
        Err(failure) => {
            assert_fit_to_be_shown(&failure.to_string());
            assert_eq!(expected, None, "{failure}");
            assert_text(&theirs);
        }
    }
    witness.assert_gone();
}

/// The entries of the job's environment if all of this is just what the two have agreed on.
fn accepted(said: &[Said<'_>], names: &[Vec<u8>; 3]) -> Option<Vec<Vec<u8>>> {
    let plain = said.iter().take_while(|said| said.passed.is_empty()).count();
    let (plain, rest) = said.split_at(plain);
    let bytes = plain.iter().map(|said| &said.bytes[..]).collect::<Vec<_>>().concat();
    let (length, raw) = bytes.split_first_chunk::<4>()?;
    if usize::try_from(i32::from_ne_bytes(*length)) != Ok(raw.len()) {
        return None;
    }
    let mut rest: Vec<&Object> = rest
        .iter()
        .map(|said| match said.passed[..] {
            [one] if said.bytes == [0] => Some(one),
            _ => None,
        })
        .collect::<Option<_>>()?;
    let fits = rest.pop()?.is_stream_socket;
    let passed = (0..3).filter(|stream| names[*stream] == b"-");
    let used = passed.clone().zip(&rest).all(
        |(stream, object)| {
            if stream == 0 { object.is_readable } else { object.is_writable }
        },
    );
    let entries = environment_model::read(raw).ok()?;
    let entries = entries.iter().map(|(name, value)| environment_model::entry((name, value))).collect();
    (fits && used && passed.count() == rest.len()).then_some(entries)
}

fn check(started: Start, expected: Option<Vec<Vec<u8>>>, listening: &OwnedFd) {
    match started.received {
        Ok((variables, _streams)) => {
            let entries: Vec<Vec<u8>> = variables.iter().map(|entry| entry.to_bytes().to_vec()).collect();
            assert_eq!(Some(entries), expected);
        }
        Err(failure) => {
            assert_fit_to_be_shown(&failure.to_string());
            assert_eq!(expected, None, "{failure}");
            started.fresh.explain(&failure.to_string()).expect("somebody listens");
            assert_text(listening);
        }
    }
}

/// One text of printable ASCII that ends with the only NUL, no longer than the Starter reads.
fn assert_text(socket: &OwnedFd) {
    let mut text = [0; 1024];
    let (count, _) = recv(socket, &mut text, RecvFlags::DONTWAIT).expect("a text");
    assert!((2..=limits::CHANNEL_ERROR_BYTES + 1).contains(&count), "{count}");
    assert_eq!(text[count - 1], 0);
    assert_fit_to_be_shown(core::str::from_utf8(&text[..count - 1]).expect("ASCII"));
}

/// Any messages at all.
fn any<'o>(input: &mut Input<'_>, objects: &'o [Object]) -> Vec<Said<'o>> {
    let mut all = Vec::new();
    while !input.is_empty() && all.len() < 64 {
        let mut plain = |bytes: &[u8]| all.push(Said { bytes: bytes.to_vec(), passed: Vec::new() });
        match input.choice(5) {
            0 => plain(&input.number::<4>()),
            1 => {
                let text = input.text();
                let wrong = i32::from(input.byte().cast_signed() / 64);
                plain(&i32::try_from(text.len()).expect("short").wrapping_add(wrong).to_ne_bytes());
                plain(text);
            }
            2 => plain(input.text()),
            3 => all.push(Said { bytes: vec![0], passed: vec![&objects[input.choice(objects.len())]] }),
            _ => {
                let text = input.text();
                let bytes = if text.is_empty() { vec![0] } else { text.to_vec() };
                let passed = (0..input.choice(12)).map(|_| &objects[input.choice(objects.len())]).collect();
                all.push(Said { bytes, passed });
            }
        }
    }
    // A stream knows no empty message.
    all.retain(|said| !said.bytes.is_empty());
    all
}

/// What a Starter says, with all that is left as the environment, in pieces. A byte for each message with descriptors
/// can make it another one: zero is what belongs there, for a socket is fit for every stream.
fn right<'o>(input: &mut Input<'_>, objects: &'o [Object], streams: usize) -> Vec<Said<'o>> {
    let piece = usize::from(input.byte()) + 1;
    let passing: Vec<Said<'o>> = (0..=streams)
        .map(|_| {
            let which = usize::from(input.byte());
            let (bytes, count) = match which / 8 % 8 {
                0..=3 => (vec![0], 1),
                4 => (vec![0], 2),
                5 => (vec![0], 0),
                6 => (vec![1], 1),
                _ => (vec![0, 0], 1),
            };
            Said { bytes, passed: vec![&objects[which % objects.len()]; count] }
        })
        .collect();
    let raw = [input.rest(), &[0]].concat();
    let length = i32::try_from(raw.len()).expect("short").to_ne_bytes();
    let plain = length.chunks(piece).chain(raw.chunks(piece));
    plain.map(|part| Said { bytes: part.to_vec(), passed: Vec::new() }).chain(passing).collect()
}

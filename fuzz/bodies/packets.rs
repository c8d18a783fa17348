//! Packets with descriptors on the one socket between the two sides: sizes and numbers around and past every bound.

use super::confined::confined;
use super::input::Input;
use super::playground::{Witness, say};
use glexec_rs::confine::Confined;
use glexec_rs::confine::side::CLEANUP_PILOT;
use glexec_rs::protocol::connection::{Broken, Connection, pair};
use glexec_rs::protocol::packet::{PACKET_BYTES, PACKET_DESCRIPTORS, Packet};
use rustix::io::FdFlags;
use rustix::net::sockopt::set_socket_send_buffer_size;
use std::os::fd::AsFd;

/// What one packet must come to.
enum Expected {
    Whole { content: Vec<u8>, descriptors: usize },
    Refused,
    End,
}

/// The first byte says whether descriptors are asked for; then come packets: a size, a number of descriptors, a
/// content.
pub fn target(data: &[u8]) {
    let mut input = Input::new(data);
    let without = input.flag();
    let (ours, theirs) = pair().expect("a pair");
    set_socket_send_buffer_size(&theirs, 1 << 20).expect("room");
    let witness = Witness::new();
    let mut expected = Vec::new();
    while !input.is_empty() && expected.len() < 16 {
        // Sizes in the middle are for the few bytes of the input themselves.
        let size = match input.choice(6) {
            0 => PACKET_BYTES,
            1 => PACKET_BYTES + 1,
            2 => PACKET_BYTES - input.choice(256),
            3 => PACKET_BYTES + usize::from(input.byte()) * 300,
            _ => input.choice(64),
        };
        let descriptors = match input.choice(4) {
            0 => 0,
            1 => PACKET_DESCRIPTORS - 1 + input.choice(3),
            2 => 1 + input.choice(253),
            _ => input.choice(4),
        };
        let mut content = input.text().to_vec();
        content.resize(size, 7);
        if !say(&theirs, &content, &vec![witness.end.as_fd(); descriptors]) {
            break;
        }
        let most = if without { 0 } else { PACKET_DESCRIPTORS };
        expected.push(match size {
            _ if descriptors > most || size > PACKET_BYTES => Expected::Refused,
            0 => Expected::End,
            _ => Expected::Whole { content, descriptors },
        });
    }
    drop(theirs);
    confined(&CLEANUP_PILOT, &[], |proof| receive(Connection::new(ours), without, expected, proof));
    witness.assert_gone();
}

fn receive(connection: Connection, without: bool, expected: Vec<Expected>, proof: &Confined) {
    let mut packet = if without { Packet::without_descriptors() } else { Packet::default() };
    for expected in expected.into_iter().chain([Expected::End]) {
        let received = connection.receive(&mut packet, proof);
        match expected {
            Expected::Whole { content, descriptors } => {
                assert_eq!(received, Ok(()));
                assert_eq!((packet.bytes(), packet.descriptors().len()), (&content[..], descriptors));
                let inherited = |fd| !rustix::io::fcntl_getfd(fd).expect("it is open").contains(FdFlags::CLOEXEC);
                assert!(!packet.descriptors().iter().any(inherited));
            }
            Expected::Refused => {
                assert!(matches!(received, Err(Broken::Breach(_))), "{received:?}");
                assert!(packet.bytes().is_empty() && packet.descriptors().is_empty());
            }
            Expected::End => {
                assert_eq!(received, Err(Broken::Closed));
                assert!(packet.bytes().is_empty() && packet.descriptors().is_empty());
            }
        }
    }
}

//! The bytes of the protocol, made without the code that is under test, and a socket that sends whatever it is given.

#![forbid(unsafe_code)]

use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage, SendFlags,
    recvmsg, sendmsg,
};
use std::io::{IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// What the peer says first.
pub const GREETING: &[u8] = b"glexec-rs peer 1\n";

/// The target side is ready for a tree.
pub const READY: &[u8] = b"Y";

/// The pilot side has put everything in its place.
pub const COMMIT: &[u8] = b"C";

/// The most descriptors that the kernel lets one message have.
pub const MOST_DESCRIPTORS: usize = 253;

/// One end of the conversation.
pub struct Raw(pub OwnedFd);

impl Raw {
    /// Sends a packet. That nobody takes it is the other side's right.
    pub fn send(&self, bytes: &[u8]) {
        self.send_with(bytes, &[]);
    }

    /// Sends a packet with descriptors.
    pub fn send_with(&self, bytes: &[u8], descriptors: &[BorrowedFd<'_>]) {
        let _ = self.try_send_with(bytes, descriptors);
    }

    /// Sends a packet with descriptors, if the kernel takes it.
    pub fn try_send_with(&self, bytes: &[u8], descriptors: &[BorrowedFd<'_>]) -> rustix::io::Result<()> {
        let mut room = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MOST_DESCRIPTORS))];
        let mut control = SendAncillaryBuffer::new(&mut room);
        assert!(descriptors.is_empty() || control.push(SendAncillaryMessage::ScmRights(descriptors)));
        sendmsg(&self.0, &[IoSlice::new(bytes)], &mut control, SendFlags::NOSIGNAL).map(drop)
    }

    /// Takes a packet; `None` at the end.
    pub fn receive(&self) -> Option<Vec<u8>> {
        self.receive_with().map(|(bytes, _)| bytes)
    }

    /// Takes a packet with its descriptors; `None` at the end.
    pub fn receive_with(&self) -> Option<(Vec<u8>, Vec<OwnedFd>)> {
        let mut bytes = vec![0; 1 << 20];
        let mut room = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MOST_DESCRIPTORS))];
        let mut control = RecvAncillaryBuffer::new(&mut room);
        let flags = RecvFlags::CMSG_CLOEXEC;
        let received = recvmsg(self.0.as_fd(), &mut [IoSliceMut::new(&mut bytes)], &mut control, flags).ok()?;
        bytes.truncate(received.bytes);
        let descriptors = control.drain().filter_map(|message| match message {
            RecvAncillaryMessage::ScmRights(descriptors) => Some(descriptors),
            _ => None,
        });
        let descriptors = descriptors.flatten().collect();
        (!bytes.is_empty()).then_some((bytes, descriptors))
    }
}

/// A text or name: its length and its bytes.
pub fn text(bytes: &[u8]) -> Vec<u8> {
    [&(bytes.len() as u16).to_le_bytes(), bytes].concat()
}

/// A time.
pub fn time(seconds: i64, nanoseconds: u32) -> Vec<u8> {
    [&seconds.to_le_bytes()[..], &nanoseconds.to_le_bytes()].concat()
}

fn now() -> Vec<u8> {
    time(1_700_000_000, 0)
}

/// A directory.
pub fn enter(name: &[u8]) -> Vec<u8> {
    enter_with(name, 0o755, &now())
}

/// A directory with this mode and time.
pub fn enter_with(name: &[u8], mode: u16, time: &[u8]) -> Vec<u8> {
    [&[1], &text(name)[..], &mode.to_le_bytes(), time].concat()
}

/// Its end.
pub const LEAVE: &[u8] = &[2];

/// A file by descriptor.
pub fn file(name: &[u8]) -> Vec<u8> {
    [&[3], &text(name)[..]].concat()
}

/// A small file.
pub fn small(name: &[u8], mode: u16, content: &[u8]) -> Vec<u8> {
    [&[7], &text(name)[..], &mode.to_le_bytes(), &now(), &text(content)].concat()
}

/// A link.
pub fn symlink(name: &[u8], target: &[u8]) -> Vec<u8> {
    [&[4], &text(name)[..], &text(target), &now()].concat()
}

/// Something left out, with this reason.
pub fn left_out(name: &[u8], reason: u8) -> Vec<u8> {
    [&[5], &text(name)[..], &[reason]].concat()
}

/// The end of the tree after so many entries.
pub fn end(entries: u64) -> Vec<u8> {
    [&[6], &entries.to_le_bytes()[..], &0o755_u16.to_le_bytes(), &now()].concat()
}

/// A packet of records.
pub fn records(records: &[&[u8]]) -> Vec<u8> {
    [b"R", &records.concat()[..]].concat()
}

/// A packet with totals: `P` for progress, `A` for complete.
pub fn totals(kind: u8, entries: u64) -> Vec<u8> {
    let numbers = [entries, 0, 0, 0, 0, 0, 0].map(u64::to_le_bytes).concat();
    [&[kind], &numbers[..]].concat()
}

/// The count in the tree's end: that is the last record, 23 bytes: the kind, the count, the mode, the time.
pub fn entries_at_end(packet: &[u8]) -> Option<u64> {
    let end = packet.last_chunk::<23>()?;
    (end[0] == 6).then(|| u64::from_le_bytes(end[1..9].try_into().unwrap()))
}

/// Where to work, as the pilot says it.
pub struct Place {
    /// The parent's path, its device and inode.
    pub parent: Vec<u8>,
    /// Device and inode of the parent.
    pub identity: (u64, u64),
    /// The directory's name.
    pub name: Vec<u8>,
    /// The proxy's name.
    pub proxy: Vec<u8>,
    /// The last byte.
    pub flag: u8,
}

impl Place {
    /// As a packet.
    pub fn encode(&self) -> Vec<u8> {
        let (device, inode) = self.identity;
        [
            b"L",
            &text(&self.parent)[..],
            &device.to_le_bytes(),
            &inode.to_le_bytes(),
            &text(&self.name),
            &text(&self.proxy),
            &[self.flag],
        ]
        .concat()
    }

    /// From a packet of a pilot that is to be believed.
    pub fn decode(packet: &[u8]) -> Self {
        fn take<'a>(rest: &mut &'a [u8], count: usize) -> &'a [u8] {
            let (front, behind) = rest.split_at(count);
            *rest = behind;
            front
        }
        fn text(rest: &mut &[u8]) -> Vec<u8> {
            let length = u16::from_le_bytes(take(rest, 2).try_into().unwrap());
            take(rest, length.into()).to_vec()
        }
        let mut rest = packet.strip_prefix(b"L").expect("a place");
        let parent = text(&mut rest);
        let number = |rest: &mut &[u8]| u64::from_le_bytes(take(rest, 8).try_into().unwrap());
        let identity = (number(&mut rest), number(&mut rest));
        let (name, proxy) = (text(&mut rest), text(&mut rest));
        Place { parent, identity, name, proxy, flag: rest[0] }
    }
}

//! A UNIX socket over which bytes and descriptors come from somebody who is not trusted: never waiting unasked, every
//! descriptor close-on-exec, and nothing that was cut off by the kernel taken for whole.

use super::packet::PACKET_DESCRIPTORS;
use crate::ground::wait::wait_for;
use core::fmt::{self, Display, Formatter};
use core::mem::MaybeUninit;
use core::time::Duration;
use rustix::event::PollFlags;
use rustix::io::Errno;
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SendAncillaryBuffer, SendAncillaryMessage,
    SendFlags, recvmsg, sendmsg,
};
use std::io::{IoSlice, IoSliceMut};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// Room for the most descriptors that any message may have.
const CONTROL_BYTES: usize = control_bytes(PACKET_DESCRIPTORS);

/// Room for so many descriptors; it is rounded up, so that one more may fit as well.
const fn control_bytes(descriptors: usize) -> usize {
    if descriptors == 0 { 0 } else { rustix::cmsg_space!(ScmRights(descriptors)) }
}

/// What ended a conversation. Who is at the other end, and what was being done, is added by whoever reports it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Broken {
    /// The other side has closed its end.
    Closed,
    /// The other side was silent for too long, or the whole took too long.
    Late,
    /// The other side sent what the protocol does not allow; says what.
    Breach(&'static str),
    /// The kernel refused.
    System(Errno),
}

impl Display for Broken {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Broken::Closed => f.write_str("the other side has ended before its work was done"),
            Broken::Late => f.write_str("the other side did not answer in time"),
            Broken::Breach(what) => write!(f, "the other side broke the protocol: {what}"),
            Broken::System(Errno::TOOMANYREFS) => {
                f.write_str("too many descriptors of this account are under way between its processes (RLIMIT_NOFILE)")
            }
            Broken::System(Errno::MFILE) => f.write_str("this process may not open as many files (RLIMIT_NOFILE)"),
            Broken::System(errno) => write!(f, "the socket failed: {errno}"),
        }
    }
}

impl From<Errno> for Broken {
    fn from(errno: Errno) -> Self {
        match errno {
            Errno::PIPE | Errno::CONNRESET => Broken::Closed,
            other => Broken::System(other),
        }
    }
}

/// What came at once.
pub(crate) struct Arrived {
    /// How many bytes.
    pub(crate) bytes: usize,
    /// There were more of them than had room, and they are gone.
    pub(crate) cut: bool,
    /// There were more descriptors than had room, or than this process may open. Those of them that did not come the
    /// kernel has closed.
    pub(crate) descriptors_lost: bool,
}

/// Sends as much of `bytes` as there is room for, with all of `descriptors`, at most [`PACKET_DESCRIPTORS`]; gives
/// how much that was.
///
/// # Errors
/// The kernel's; `EAGAIN` where it would have to wait.
pub(crate) fn offer(socket: impl AsFd, bytes: &[u8], descriptors: &[BorrowedFd<'_>]) -> Result<usize, Errno> {
    let mut space = [MaybeUninit::uninit(); CONTROL_BYTES];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !descriptors.is_empty() && !control.push(SendAncillaryMessage::ScmRights(descriptors)) {
        return Err(Errno::NOBUFS);
    }
    sendmsg(socket, &[IoSlice::new(bytes)], &mut control, SendFlags::NOSIGNAL | SendFlags::DONTWAIT)
}

/// Receives what is there into `room`, and `keep`s its descriptors, for which there is room for `most`. With none at
/// all the kernel closes them before they arrive.
///
/// # Errors
/// The kernel's; `EAGAIN` where it would have to wait.
pub(crate) fn take(
    socket: impl AsFd,
    room: &mut [u8],
    most: usize,
    keep: impl FnMut(OwnedFd),
) -> Result<Arrived, Errno> {
    let mut space = [MaybeUninit::uninit(); CONTROL_BYTES];
    let mut control = RecvAncillaryBuffer::new(space.get_mut(..control_bytes(most)).unwrap_or_default());
    let flags = RecvFlags::CMSG_CLOEXEC | RecvFlags::DONTWAIT;
    let received = recvmsg(socket, &mut [IoSliceMut::new(room)], &mut control, flags)?;
    control
        .drain()
        .filter_map(|message| match message {
            RecvAncillaryMessage::ScmRights(descriptors) => Some(descriptors),
            _ => None,
        })
        .flatten()
        .for_each(keep);
    Ok(Arrived {
        bytes: received.bytes,
        cut: received.flags.contains(ReturnFlags::TRUNC),
        descriptors_lost: received.flags.contains(ReturnFlags::CTRUNC),
    })
}

/// Waits until one of `events` holds, or the other side has closed.
///
/// # Errors
/// [`Broken::Late`] when `patience` is used up.
pub(crate) fn wait(socket: impl AsFd, events: PollFlags, patience: Duration) -> Result<(), Broken> {
    if wait_for(socket.as_fd(), events, patience)? { Ok(()) } else { Err(Broken::Late) }
}

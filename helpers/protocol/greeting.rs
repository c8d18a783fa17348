//! How the two sides meet: the word on the peer's command line, and the first thing that it says.

use super::connection::Connection;
use super::packet::Packet;
use super::socket::Broken;

/// The first thing that the peer says, and all that is looked at before this side is confined.
pub const GREETING: &[u8] = b"glexec-rs peer 1\n";

/// What the peer is to do, as the one word of its command line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// Receive a sandbox.
    Setup,
    /// Send it back.
    Cleanup,
    /// Signal processes.
    Kill,
    /// Install a new proxy.
    UpdateProxy,
}

impl Operation {
    /// All of them.
    pub const ALL: [Operation; 4] = [Operation::Setup, Operation::Cleanup, Operation::Kill, Operation::UpdateProxy];

    /// The word on the peer's command line.
    pub const fn word(self) -> &'static str {
        match self {
            Operation::Setup => "setup",
            Operation::Cleanup => "cleanup",
            Operation::Kill => "kill",
            Operation::UpdateProxy => "update_proxy",
        }
    }
}

/// Takes one packet in a process that is **not confined** yet, and tells whether it is the greeting.
///
/// One of the two exceptions to the rule that only confined processes read what the other side says. The pilot cannot
/// do without: the switcher could not be started by a confined process, and one without the greeting is tried again.
/// The bytes are compared with the greeting's and then forgotten, and no descriptor can come with them.
///
/// # Errors
/// When the other side is gone or silent, or sends what no packet may be.
pub(crate) fn receive_unconfined(connection: &Connection) -> Result<bool, Broken> {
    let mut packet = Packet::without_descriptors();
    connection.receive_unproven(&mut packet)?;
    Ok(packet.bytes() == GREETING)
}

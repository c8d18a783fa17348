//! What the pilot side says to the target side.

use super::tag;
use super::write::packet;
use crate::files::metadata::Identity;
use crate::files::name::Name;

/// Where the target side finds its work.
#[derive(Debug, PartialEq, Eq)]
pub struct Site<'p> {
    /// The absolute path of the directory that holds the sandbox.
    pub parent: &'p [u8],
    /// Device number and inode of that directory as the pilot sees it.
    pub identity: Identity,
    /// The directory to make, to send or to remove.
    pub name: Name<'p>,
    /// The proxy's name in the sandbox.
    pub proxy: Name<'p>,
    /// In cleanup: nothing is to be sent, only what an interrupted cleanup left is to be removed.
    pub remove_only: bool,
}

impl<'p> Site<'p> {
    /// The site as a packet.
    pub fn encode(&self) -> Vec<u8> {
        packet(tag::SITE, |writer| {
            writer
                .text(self.parent)
                .number(self.identity.0.to_le_bytes())
                .number(self.identity.1.to_le_bytes())
                .name(self.name)
                .name(self.proxy)
                .byte(u8::from(self.remove_only))
        })
    }
}

/// What was sent may be made final: from here on its source goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Commit;

impl Commit {
    /// The commit as a packet.
    pub fn encode(self) -> Vec<u8> {
        packet(tag::COMMIT, |writer| writer)
    }
}

/// A signal for the process behind the packet's descriptor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Signal(pub u8);

impl Signal {
    /// The signal as a packet.
    pub fn encode(self) -> Vec<u8> {
        packet(tag::SIGNAL, |writer| writer.byte(self.0))
    }
}

//! How the two sides meet: the word on the peer's command line, and the first thing that it says.

#![forbid(unsafe_code)]

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

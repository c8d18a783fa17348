//! The pilot side in the eyes of a confined target side: what is answered to it, and what it says next.

use crate::confine::landlock::{Grant, MayLack};
use crate::confine::side::Side;
use crate::confine::{Confined, confine};
use crate::ground::outcome::{Failure, OrFail, Outcome};
use crate::protocol::answer::{Done, Ready, Signalled};
use crate::protocol::connection::{Broken, Connection};
use crate::protocol::heard;
use crate::protocol::packet::{Handed, Packet};
use crate::protocol::request::{Commit, Signal};
use crate::protocol::tree::{Totals, Verdict};
use std::os::fd::OwnedFd;

/// What is being done when a commit does not come.
pub(crate) const COMMIT: &str = "waiting for the commit";

/// The helper that had this peer started, and the proof that whoever listens to it is confined.
pub(crate) struct PilotSide<'c> {
    /// The way to it.
    pub connection: &'c Connection,
    /// For those who read what it says.
    pub proof: Confined,
}

impl<'c> PilotSide<'c> {
    /// Takes on the confinement of `side` with these grants.
    ///
    /// # Errors
    /// As [`confine`].
    pub(crate) fn confined(
        connection: &'c Connection,
        side: &Side,
        grants: &[Grant<'_>],
        may_lack: MayLack,
    ) -> Outcome<PilotSide<'c>> {
        Ok(PilotSide { connection, proof: confine(side, grants, may_lack)? })
    }

    fn say(&self, answer: &[u8]) -> Outcome {
        self.connection.send(answer, &[]).or_fail(|| "cannot answer the pilot side")
    }

    /// Ready for a tree.
    ///
    /// # Errors
    /// When it is gone.
    pub(crate) fn say_ready(&self) -> Outcome {
        self.say(&Ready.encode())
    }

    /// The last part is done.
    ///
    /// # Errors
    /// When it is gone.
    pub(crate) fn say_done(&self) -> Outcome {
        self.say(&Done.encode())
    }

    /// What became of a signal: 0, or an errno.
    ///
    /// # Errors
    /// When it is gone.
    pub(crate) fn say_signalled(&self, errno: u16) -> Outcome {
        self.say(&Signalled(errno).encode())
    }

    /// The tree has come, whole.
    ///
    /// # Errors
    /// When it is gone.
    pub(crate) fn acknowledge(&self, totals: Totals) -> Outcome {
        self.connection.send(&Verdict::Complete(totals).encode(), &[]).or_fail(|| "cannot acknowledge the sandbox")
    }

    /// Waits until the pilot side has put everything in its place.
    ///
    /// # Errors
    /// [`Broken::Closed`] when it has gone before that.
    pub(crate) fn await_commit(&self) -> Result<(), Broken> {
        let mut packet = Packet::without_descriptors();
        self.connection.receive(&mut packet, &self.proof)?;
        match heard::request::commit(packet.bytes(), &self.proof) {
            Ok(Commit) => Ok(()),
            Err(_) => Err(Broken::Breach("something else than a commit")),
        }
    }

    /// The next signal and the process that it is for; `None` when there are no more.
    ///
    /// # Errors
    /// When it says something else.
    pub(crate) fn next_signal(&self, packet: &mut Packet) -> Outcome<Option<(u8, OwnedFd)>> {
        match self.connection.receive(packet, &self.proof) {
            Ok(()) => {}
            Err(Broken::Closed) => return Ok(None),
            Err(other) => return Err(Failure::permanent(other)),
        }
        let (said, descriptors) = packet.parts();
        let Ok(Signal(signal)) = heard::request::signal(said, &self.proof) else {
            return Err(Failure::permanent("the pilot side sent something else than a signal"));
        };
        let Some(process) = descriptors.pop().map(Handed::accept) else {
            return Err(Failure::permanent("the pilot side sent a signal without a process"));
        };
        Ok(Some((signal, process)))
    }
}

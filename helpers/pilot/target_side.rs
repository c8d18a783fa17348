//! The target side in the eyes of a confined pilot side: what it is asked for, and what it answers.

use crate::confine::Confined;
use crate::files::component::Component;
use crate::files::metadata::Metadata;
use crate::files::sandbox::Names;
use crate::ground::escape::Said;
use crate::ground::outcome::{Failure, OrFail, Outcome};
use crate::protocol::answer::Signalled;
use crate::protocol::connection::Connection;
use crate::protocol::heard::answer::Answer;
use crate::protocol::heard::{self, Malformed};
use crate::protocol::packet::Packet;
use crate::protocol::request::{Commit, Signal, Site};
use crate::protocol::tree::{Totals, Verdict};
use core::time::Duration;
use rustix::io::Errno;
use std::os::fd::BorrowedFd;

/// How the one answer that is waited for is read.
pub type Decode<T> = for<'p> fn(&'p [u8], &Confined) -> Result<Answer<'p, T>, Malformed>;

/// The peer behind a switch, and the proof that whoever listens to it is confined.
pub struct TargetSide<'p> {
    /// The way to it.
    pub connection: Connection,
    /// For those who read what it says.
    pub proof: &'p Confined,
}

impl TargetSide<'_> {
    /// Tells it where to work: in the directory `name` beside the sandbox, with the proxy of this name. `content`
    /// goes with it.
    ///
    /// # Errors
    /// When it is gone.
    pub fn send_to(
        &self,
        names: &Names,
        name: &Component,
        proxy: &Component,
        remove_only: bool,
        content: &[BorrowedFd<'_>],
    ) -> Outcome {
        let parent = Metadata::of(&names.parent).or_fail(|| "cannot look at the sandbox's parent")?;
        let site = Site {
            parent: &names.parent_path,
            identity: parent.identity,
            name: name.into(),
            proxy: proxy.into(),
            remove_only,
        };
        self.connection.send(&site.encode(), content).or_fail(|| ASKING)
    }

    /// Waits until it is ready for a tree.
    ///
    /// # Errors
    /// With its own reason, if it gives one.
    pub(crate) fn await_ready(&self) -> Outcome {
        self.expect(heard::answer::ready).map(drop)
    }

    /// Waits until it has done its last part, for `patience` at the most.
    ///
    /// # Errors
    /// With its own reason, if it gives one.
    pub(crate) fn await_done(&mut self, patience: Duration) -> Outcome {
        self.connection.allow_silence(patience);
        self.expect(heard::answer::done).map(drop)
    }

    /// Waits for the answer that `decode` reads, and nothing else.
    ///
    /// # Errors
    /// With its own reason, if it gives one.
    pub fn expect<T>(&self, decode: Decode<T>) -> Outcome<T> {
        let mut packet = Packet::without_descriptors();
        self.connection.receive(&mut packet, self.proof).or_fail(|| "waiting for the target side")?;
        match decode(packet.bytes(), self.proof) {
            Ok(Answer::Given(answer)) => Ok(answer),
            Ok(Answer::Failed(text)) => {
                Err(Failure::permanent(format_args!("the target side reports: {}", Said(text))))
            }
            Err(_) => Err(Failure::permanent("the target side answered with something else than it was asked for")),
        }
    }

    /// Acknowledges a tree that has come whole and lets it remove its own.
    ///
    /// # Errors
    /// When it is gone.
    pub fn acknowledge(&self, totals: Totals) -> Outcome {
        self.connection
            .send(&Verdict::Complete(totals).encode(), &[])
            .and_then(|()| self.connection.send(&Commit.encode(), &[]))
            .or_fail(|| "the sandbox is back, but the target side cannot be told to remove its copy")
    }

    /// Tells it that the sandbox is in its place. It looks at the names if it hears nothing, so it may be gone.
    pub fn commit(&self) {
        let _ = self.connection.send(&Commit.encode(), &[]);
    }

    /// Lets it send `signal` to the process behind a pidfd. The inner error is what the kernel answered.
    ///
    /// # Errors
    /// When it is gone or answers with something else.
    pub fn signal(&self, process: BorrowedFd<'_>, signal: u8) -> Outcome<Result<(), Errno>> {
        self.connection.send(&Signal(signal).encode(), &[process]).or_fail(|| ASKING)?;
        Ok(match self.expect(heard::answer::signalled)? {
            Signalled(0) => Ok(()),
            Signalled(errno) => Err(Errno::from_raw_os_error(errno.into())),
        })
    }
}

const ASKING: &str = "asking the target side";

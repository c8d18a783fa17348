//! Signals processes of this account. The target side of kill.

use crate::confine::landlock::{Grant, MayLack};
use crate::confine::side::{KILL_TARGET, reading};
use crate::ground::outcome::{OrFail, Outcome};
use crate::protocol::connection::Connection;
use crate::protocol::packet::Packet;
use crate::sys;
use crate::target::job_mark::{JobMark, open_proc};
use crate::target::pilot_side::PilotSide;
use rustix::process::geteuid;
use std::os::fd::AsFd;

/// Signals whom the pilot side names by a pidfd, until it has no more.
pub(crate) fn signal_all(connection: &Connection, may_lack: MayLack) -> Outcome {
    // The kernel lets SIGCONT pass between accounts within one session, and we are in the pilot's. It fails for a
    // process group's leader, which a switcher hardly starts us as; then nothing worse could happen than that.
    let _ = rustix::process::setsid();
    let pilot_account = connection.maker().or_fail(|| "cannot tell who the pilot is")?;
    let proc = if pilot_account == geteuid() { Some(open_proc()?) } else { None };
    let grants = proc.as_ref().map(|proc| Grant { object: proc.as_fd(), rights: reading() });
    let pilot = PilotSide::confined(connection, &KILL_TARGET, grants.as_slice(), may_lack)?;
    let mark = proc.as_ref().map(|proc| JobMark::new(proc.as_fd(), &pilot.proof)).transpose()?;
    let mut packet = Packet::default();
    while let Some((signal, process)) = pilot.next_signal(&mut packet)? {
        let allowed = mark.as_ref().map_or(Ok(()), |mark| mark.require(process.as_fd()));
        let signalled = allowed.and_then(|()| sys::pidfd_signal(process.as_fd(), signal));
        let errno = signalled.err().map_or(0, |errno| u16::try_from(errno.raw_os_error()).unwrap_or(u16::MAX));
        pilot.say_signalled(errno)?;
    }
    Ok(())
}

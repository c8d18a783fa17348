//! Makes the job's sandbox from what the pilot hands over. The target side of setup.

use crate::confine::landlock::{Grant, MayLack};
use crate::confine::side::{SETUP_TARGET, filling};
use crate::copy::durable::write_down;
use crate::copy::origin::Origin;
use crate::copy::progress::Progress;
use crate::copy::receive::receive_tree;
use crate::files::metadata::Metadata;
use crate::files::remove::{remove_directory, remove_unconfined};
use crate::files::sandbox::UNFINISHED;
use crate::files::walk::{DIRECTORY, mode_of};
use crate::ground::outcome::{Failure, OrFail, Outcome, Unmade};
use crate::protocol::connection::{Broken, Connection};
use crate::target::pilot_side::{COMMIT, PilotSide};
use crate::target::site::Site;
use landlock::AccessFs;
use rustix::fs::{AtFlags, Mode, fchmod, futimens, mkdirat, openat, unlinkat};
use rustix::io::Errno;
use rustix::process::geteuid;
use std::os::fd::{AsFd, OwnedFd};

/// The permission bits of a sandbox that is not whole yet.
const UNFINISHED_MODE: u16 = UNFINISHED | 0o700;

/// Makes the directory that is to become the sandbox and fills it; takes it away again if the pilot does not want it.
pub fn receive(connection: &Connection, may_lack: MayLack, durable: bool) -> Outcome {
    let site = Site::receive(connection)?;
    let sandbox = make_unfinished(&site)?;
    let made = Metadata::of(&sandbox).or_fail(|| format!("cannot look at {}", site.name))?;
    let grants = [
        Grant { object: sandbox.as_fd(), rights: filling() },
        Grant { object: site.parent.as_fd(), rights: AccessFs::RemoveDir.into() },
    ];
    let pilot = PilotSide::confined(connection, &SETUP_TARGET, &grants, may_lack).inspect_err(|_| {
        // Nothing is in it yet.
        let _ = unlinkat(&site.parent, site.name.c_str(), AtFlags::REMOVEDIR);
    })?;
    let (finished, may_undo) = match fill(&pilot, &sandbox, durable) {
        Err(failure) => (Err(failure), true),
        Ok(mode) => match pilot.await_commit() {
            Ok(()) => (fchmod(&sandbox, mode).or_fail(|| "cannot take the mark off the sandbox"), false),
            // What was acknowledged the pilot can put in the sandbox's place at any moment, as long as it is there.
            Err(broken) => (Err(Failure::permanent(format_args!("{COMMIT}: {broken}"))), broken == Broken::Closed),
        },
    };
    // Once the pilot has put it in the sandbox's place it is the job's, whoever was killed in between.
    let handed_over = || site.look().is_ok_and(|now| now.identity != made.identity);
    if may_undo && !handed_over() {
        let _ = remove_directory(site.parent.as_fd(), site.name.c_str(), &pilot.proof);
    }
    finished
}

/// Creates the directory, in the place of what an interrupted setup of this account may have left.
fn make_unfinished(site: &Site) -> Outcome<OwnedFd> {
    let Site { parent, name, .. } = site;
    let mode = mode_of(UNFINISHED_MODE);
    let mut made = mkdirat(parent, name.c_str(), mode);
    if made == Err(Errno::EXIST) {
        let there = site.look().or_fail(|| format!("cannot look at {name}"))?;
        if there.is_directory() && there.owner == geteuid().as_raw() && there.mode & UNFINISHED != 0 {
            remove_unconfined(parent.as_fd(), name.c_str())
                .or_fail(|| format!("cannot remove {name}, which an interrupted setup left"))?;
            made = mkdirat(parent, name.c_str(), mode);
        }
    }
    made.map_err(|errno| {
        let hint = match errno {
            Errno::ACCESS | Errno::EXIST => {
                "; the directory must be writable for the target account, mode 1777, and have no such name"
            }
            _ => "",
        };
        Failure::permanent(format_args!("cannot make {name} beside the sandbox: {}{hint}", Unmade(errno)))
    })?;
    let opened = openat(parent, name.c_str(), DIRECTORY, Mode::empty()).or_fail(|| format!("cannot open {name}"))?;
    let found = Metadata::of(&opened).or_fail(|| format!("cannot look at {name}"))?;
    if found.owner == geteuid().as_raw() && found.mode & 0o777 == UNFINISHED_MODE & 0o777 {
        return Ok(opened);
    }
    if found.owner != geteuid().as_raw() {
        return Err(Failure::permanent(format_args!("{name} was replaced by something else while it was made")));
    }
    let _ = unlinkat(parent, name.c_str(), AtFlags::REMOVEDIR);
    Err(Failure::permanent(format_args!(
        "{name} was made with mode {:04o}: the directory around it has a default ACL that takes rights away (setfacl -k)",
        found.mode & 0o777
    )))
}

/// Fills the sandbox and says so; it keeps its mark. Gives the mode that it is to have in the end.
fn fill(pilot: &PilotSide<'_>, sandbox: &OwnedFd, durable: bool) -> Outcome<Mode> {
    pilot.say_ready()?;
    let received = receive_tree(pilot.connection, sandbox, Origin::Pilot, Progress::none(), &pilot.proof)?;
    futimens(sandbox, &received.mtime.into())
        .and_then(|()| fchmod(sandbox, received.mode | mode_of(UNFINISHED)))
        .or_fail(|| "cannot finish the sandbox's directory")?;
    if durable {
        write_down(pilot.connection, sandbox.as_fd(), &received.totals)?;
    }
    pilot.acknowledge(received.totals)?;
    Ok(received.mode)
}

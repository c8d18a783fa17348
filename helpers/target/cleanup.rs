//! Gives the job's sandbox back and removes it. The target side of cleanup.

use crate::confine::landlock::{Grant, MayLack};
use crate::confine::side::{CLEANUP_TARGET, removing};
use crate::copy::progress::Progress;
use crate::copy::send::{Tree, send_tree};
use crate::files::component::Component;
use crate::files::metadata::Metadata;
use crate::files::remove::remove_directory;
use crate::files::sandbox::PARKED_SUFFIX;
use crate::files::walk::{CHANGE, LIST, Opened};
use crate::ground::outcome::{Failure, OrFail, Outcome};
use crate::protocol::connection::Connection;
use crate::target::pilot_side::{COMMIT, PilotSide};
use crate::target::site::Site;
use landlock::AccessFs;
use rustix::process::geteuid;
use std::os::fd::AsFd;

/// Sends the sandbox, and removes it when the pilot has all of it; or only removes what an interrupted call left.
pub(crate) fn give_back(connection: &Connection, may_lack: MayLack) -> Outcome {
    let site = Site::receive(connection)?;
    let needed = match site.look() {
        _ if !site.remove_only => LIST,
        Ok(found) if found.owner == geteuid().as_raw() => CHANGE,
        // Removed already; anybody may have the name since.
        _ => return PilotSide::confined(connection, &CLEANUP_TARGET, &[], may_lack)?.say_done(),
    };
    let tree = site.open_own(needed)?;
    let grants = [
        Grant { object: tree.directory.as_fd(), rights: removing() },
        Grant { object: site.parent.as_fd(), rights: AccessFs::RemoveDir.into() },
    ];
    let pilot = PilotSide::confined(connection, &CLEANUP_TARGET, &grants, may_lack)?;
    let leftover = if site.remove_only { site.name.clone() } else { send(&pilot, &site, tree)? };
    remove_directory(site.parent.as_fd(), leftover.c_str(), &pilot.proof)
        .or_fail(|| format!("cannot remove the job's own copy {leftover}"))?;
    pilot.say_done()
}

/// Sends the tree; gives the name that it has when the pilot has put its own directory in the sandbox's place.
fn send(pilot: &PilotSide<'_>, site: &Site, tree: Opened) -> Outcome<Component> {
    let own = tree.found.identity;
    send_tree(pilot.connection, tree, Tree::Results(&site.proxy), Progress::none(), &pilot.proof)?;
    pilot.await_commit().or_fail(|| COMMIT)?;
    let parked = site.name.with_suffix(PARKED_SUFFIX).or_fail(|| "the sandbox's name")?;
    // What is removed is what was sent, and nothing else that may have got that name.
    if Metadata::at(&site.parent, parked.c_str()).is_ok_and(|there| there.identity == own) {
        Ok(parked)
    } else {
        Err(Failure::permanent("the job's sandbox was moved elsewhere; it was not removed"))
    }
}

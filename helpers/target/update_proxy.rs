//! Puts a new proxy in the place of the job's. The target side of update_proxy.

use crate::confine::landlock::{Grant, MayLack};
use crate::confine::side::{UPDATE_PROXY_TARGET, filling};
use crate::files::staged_proxy::Staged;
use crate::files::walk::CHANGE;
use crate::ground::outcome::{Failure, Outcome};
use crate::protocol::connection::Connection;
use crate::target::pilot_side::PilotSide;
use crate::target::site::Site;
use rustix::fs::fchmod;
use std::os::fd::AsFd;

/// Installs what came with the site.
pub fn install(connection: &Connection, may_lack: MayLack) -> Outcome {
    let site = Site::receive(connection)?;
    let sandbox = site.open_own(CHANGE)?;
    let directory = sandbox.directory.as_fd();
    let content = site.content.ok_or_else(|| Failure::permanent("the pilot side sent no proxy"))?;
    let grants = [Grant { object: directory, rights: filling() }];
    let pilot = PilotSide::confined(connection, &UPDATE_PROXY_TARGET, &grants, may_lack)?;
    let installed = Staged::copy(directory, &content).and_then(|staged| staged.install(&site.proxy));
    if let Some(before) = sandbox.restore {
        let _ = fchmod(directory, before);
    }
    installed?;
    pilot.say_done()
}

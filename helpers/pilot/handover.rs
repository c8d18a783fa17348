//! How the pilot side of setup, cleanup and update_proxy asks the target side for its part and hears that it was done.

#![forbid(unsafe_code)]

use crate::confine::Confined;
use crate::files::component::Component;
use crate::files::metadata::Metadata;
use crate::files::sandbox::Names;
use crate::ground::outcome::{Failure, OrFail, Outcome};
use crate::protocol::connection::{Connection, Packet, quoted};
use crate::protocol::wire::{self, Message};
use std::os::fd::BorrowedFd;

/// Tells the target side which directory beside the sandbox is meant.
///
/// # Errors
/// When it is gone.
pub fn ask(
    connection: &Connection,
    place: &Names,
    name: &Component,
    proxy: &Component,
    remove_only: bool,
    content: &[BorrowedFd<'_>],
) -> Outcome {
    let parent = Metadata::of(&place.parent).or_fail(|| "cannot look at the sandbox's parent")?;
    let request = Message::Place(wire::Place {
        parent: &place.parent_path,
        identity: parent.identity,
        name: name.clone(),
        proxy: proxy.clone(),
        remove_only,
    });
    connection.send(&request.encode(), content).or_fail(|| "asking the target side")
}

/// Waits for exactly this answer from the target side.
///
/// # Errors
/// With the target side's own reason, if it gives one.
pub fn expect(connection: &Connection, wanted: &Message<'_>, _proof: &Confined) -> Outcome {
    let mut packet = Packet::without_descriptors();
    connection.receive(&mut packet).or_fail(|| "waiting for the target side")?;
    match Message::decode(packet.bytes()) {
        Ok(answer) if answer == *wanted => Ok(()),
        Ok(Message::Failed(text)) => Err(Failure::permanent(format_args!("the target side reports: {}", quoted(text)))),
        _ => Err(Failure::permanent("the target side answered with something else than it was asked for")),
    }
}

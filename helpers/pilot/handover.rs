//! How the pilot side of setup, cleanup and update_proxy asks the target side for its part and hears that it was done.

#![forbid(unsafe_code)]

use crate::confine::Confined;
use crate::files::component::Component;
use crate::files::metadata::Metadata;
use crate::files::sandbox::Names;
use crate::ground::outcome::{Failure, OrFail, Outcome};
use crate::protocol::answer::{Answer, Awaited};
use crate::protocol::connection::{Connection, quoted};
use crate::protocol::packet::Packet;
use crate::protocol::request::Site;
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
    let site = Site {
        parent: &place.parent_path,
        identity: parent.identity,
        name: name.into(),
        proxy: proxy.into(),
        remove_only,
    };
    connection.send(&site.encode(), content).or_fail(|| "asking the target side")
}

/// Waits for this kind of answer from the target side, and nothing else.
///
/// # Errors
/// With the target side's own reason, if it gives one.
pub fn expect<T: Awaited>(connection: &Connection, proof: &Confined) -> Outcome<T> {
    let mut packet = Packet::without_descriptors();
    connection.receive(&mut packet, proof).or_fail(|| "waiting for the target side")?;
    match Answer::decode(packet.bytes(), proof) {
        Ok(Answer::Given(answer)) => Ok(answer),
        Ok(Answer::Failed(text)) => Err(Failure::permanent(format_args!("the target side reports: {}", quoted(text)))),
        Err(_) => Err(Failure::permanent("the target side answered with something else than it was asked for")),
    }
}

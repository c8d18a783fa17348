//! Where the pilot side wants its target side to work.

use crate::files::component::Component;
use crate::files::metadata::Metadata;
use crate::files::name::Name;
use crate::files::path::trusted_directory;
use crate::files::walk::{Opened, open_directory};
use crate::ground::outcome::{Failure, OrFail, Outcome};
use crate::protocol::connection::Connection;
use crate::protocol::heard::request::receive_site_unconfined;
use crate::protocol::packet::{Handed, Packet};
use crate::protocol::request;
use rustix::process::geteuid;
use std::os::fd::{AsFd, OwnedFd};

/// The parent directory as we get to it ourselves, which must be the one that the pilot means, and names in it.
pub struct Site {
    /// The parent (HTCondor's EXECUTE), as a handle for names only.
    pub parent: OwnedFd,
    /// The directory to make, to send or to remove.
    pub name: Component,
    /// The proxy's name in the sandbox.
    pub proxy: Component,
    /// In cleanup: nothing is to be sent, only what an interrupted one left is to be removed.
    pub remove_only: bool,
    /// What came with it: a new proxy.
    pub content: Option<OwnedFd>,
}

impl Site {
    /// Takes the pilot's first packet. This process is not confined yet: only the site says to what.
    ///
    /// # Errors
    /// When the packet is anything else; when this account gets to another directory than the pilot, or somebody else
    /// could swap a directory on the way.
    pub fn receive(connection: &Connection) -> Outcome<Self> {
        let mut packet = Packet::default();
        let (said, content) = receive_site_unconfined(connection, &mut packet)?;
        let request::Site { parent: path, identity, name, proxy, remove_only } = said;
        let content = content.map(Handed::accept);
        // The pilot's word is taken for this account's own, as it may run anything as this account.
        let trusted = |name: Name<'_>| Component::new(name.bytes()).or_fail(|| "the sandbox's name");
        let (name, proxy) = (trusted(name)?, trusted(proxy)?);
        let pilot = connection.maker().or_fail(|| "cannot tell who the pilot is")?;
        let parent = trusted_directory(path, &[geteuid().as_raw(), pilot.as_raw()]).map_err(|failure| {
            Failure::permanent(format_args!(
                "the target account cannot get to the sandbox: {failure}; every directory above it needs mode 0711 or more"
            ))
        })?;
        let seen = Metadata::of(&parent).or_fail(|| "cannot look at the sandbox's parent")?.identity;
        if seen != identity {
            return Err(Failure::permanent("the path of the sandbox leads the target account to another directory"));
        }
        Ok(Site { parent, name, proxy, remove_only, content })
    }

    /// What has the site's name at this moment.
    ///
    /// # Errors
    /// The kernel's.
    pub fn look(&self) -> rustix::io::Result<Metadata> {
        Metadata::at(&self.parent, self.name.c_str())
    }

    /// Opens the directory of that name, if it is this account's, for what `needed` allows.
    ///
    /// # Errors
    /// When it is anything else.
    pub(crate) fn open_own(&self, needed: u16) -> Outcome<Opened> {
        let Site { parent, name, .. } = self;
        let opened = open_directory(parent.as_fd(), name.c_str(), needed).or_fail(|| format!("cannot open {name}"))?;
        if opened.found.owner == geteuid().as_raw() {
            Ok(opened)
        } else {
            Err(Failure::permanent(format_args!(
                "{name} belongs to uid {}, not to the account that the proxy maps to",
                opened.found.owner
            )))
        }
    }
}

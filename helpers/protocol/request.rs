//! What the pilot side says to the target side.

#![forbid(unsafe_code)]

use super::codec::{Malformed, Reader, packet};
use super::connection::Connection;
use super::packet::{Handed, Packet};
use super::tag;
use crate::confine::Confined;
use crate::files::metadata::Identity;
use crate::files::name::Name;
use crate::ground::limits;
use crate::ground::outcome::{Failure, OrFail, Outcome};

/// Where the target side finds its work.
#[derive(Debug, PartialEq, Eq)]
pub struct Site<'p> {
    /// The absolute path of the directory that holds the sandbox.
    pub parent: &'p [u8],
    /// Device number and inode of that directory as the pilot sees it.
    pub identity: Identity,
    /// The directory to make, to send or to remove.
    pub name: Name<'p>,
    /// The proxy's name in the sandbox.
    pub proxy: Name<'p>,
    /// In cleanup: nothing is to be sent, only what an interrupted cleanup left is to be removed.
    pub remove_only: bool,
}

impl<'p> Site<'p> {
    /// The site as a packet.
    pub fn encode(&self) -> Vec<u8> {
        packet(tag::SITE, |writer| {
            writer
                .text(self.parent)
                .number(self.identity.0.to_le_bytes())
                .number(self.identity.1.to_le_bytes())
                .name(self.name)
                .name(self.proxy)
                .byte(u8::from(self.remove_only))
        })
    }

    /// Reads a packet that may be a site and nothing else.
    ///
    /// # Errors
    /// When it is anything else.
    pub fn decode(packet: &'p [u8], _: &Confined) -> Result<Self, Malformed> {
        Self::read(packet)
    }

    fn read(packet: &'p [u8]) -> Result<Self, Malformed> {
        let mut reader = Reader::of(packet);
        reader.expect(tag::SITE)?;
        let site = Site {
            parent: reader.text(limits::PATH_BYTES)?,
            identity: (reader.u64()?, reader.u64()?),
            name: reader.name()?,
            proxy: reader.name()?,
            remove_only: match reader.byte()? {
                0 => false,
                1 => true,
                _ => return Err(Malformed("a flag that is neither 0 nor 1")),
            },
        };
        reader.end(site)
    }
}

/// Takes the one site that is said, and the first descriptor that comes with it, in a process that is **not
/// confined** yet.
///
/// One of the two exceptions to the rule that only confined processes read what the other side says. The peer cannot
/// do without: the site says what its domain has to reach. It is the pilot's own word, and the pilot may run anything
/// as this account anyway.
///
/// # Errors
/// When it does not come, or something else does.
pub(crate) fn receive_site_unconfined<'p>(
    connection: &Connection,
    packet: &'p mut Packet,
) -> Outcome<(Site<'p>, Option<Handed>)> {
    connection.receive_unproven(packet).or_fail(|| "waiting for the work")?;
    let (bytes, descriptors) = packet.parts();
    let site = Site::read(bytes).map_err(|_| Failure::permanent("the pilot side sent something else than a place"))?;
    Ok((site, descriptors.pop()))
}

/// What was sent may be made final: from here on its source goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Commit;

impl Commit {
    /// The commit as a packet.
    pub fn encode(self) -> Vec<u8> {
        packet(tag::COMMIT, |writer| writer)
    }

    /// Reads a packet that may be a commit and nothing else.
    ///
    /// # Errors
    /// When it is anything else.
    pub fn decode(packet: &[u8], _: &Confined) -> Result<Self, Malformed> {
        let mut reader = Reader::of(packet);
        reader.expect(tag::COMMIT)?;
        reader.end(Commit)
    }
}

/// A signal for the process behind the packet's descriptor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Signal(pub u8);

impl Signal {
    /// The signal as a packet.
    pub fn encode(self) -> Vec<u8> {
        packet(tag::SIGNAL, |writer| writer.byte(self.0))
    }

    /// Reads a packet that may be a signal and nothing else.
    ///
    /// # Errors
    /// When it is anything else.
    pub fn decode(packet: &[u8], _: &Confined) -> Result<Self, Malformed> {
        let mut reader = Reader::of(packet);
        reader.expect(tag::SIGNAL)?;
        let signal = Signal(reader.byte()?);
        reader.end(signal)
    }
}

#[cfg(test)]
mod tests {
    use super::{Commit, Signal, Site};
    use crate::confine::Confined;
    use crate::files::name::Name;
    use crate::protocol::codec::tests::refuses_every_cut_and_longer_one;

    #[test]
    fn every_request_survives_and_every_cut_or_longer_one_is_refused() {
        let proof = Confined::assumed();
        let site = |remove_only| Site {
            parent: b"/x",
            identity: (u64::MAX, 1),
            name: Name::new(b"dir_1").unwrap(),
            proxy: Name::new(b"p").unwrap(),
            remove_only,
        };
        for site in [site(true), site(false)] {
            let packet = site.encode();
            assert_eq!(Site::decode(&packet, &proof), Ok(site));
            refuses_every_cut_and_longer_one(&packet, |packet| Site::decode(packet, &proof).is_err());
        }
        assert_eq!(Commit::decode(&Commit.encode(), &proof), Ok(Commit));
        refuses_every_cut_and_longer_one(&Commit.encode(), |packet| Commit::decode(packet, &proof).is_err());
        assert_eq!(Signal::decode(&Signal(9).encode(), &proof), Ok(Signal(9)));
        refuses_every_cut_and_longer_one(&Signal(9).encode(), |packet| Signal::decode(packet, &proof).is_err());
    }

    #[test]
    fn a_flag_past_one_is_refused() {
        let proof = Confined::assumed();
        let name = Name::new(b"n").unwrap();
        let mut packet = Site { parent: b"/", identity: (0, 0), name, proxy: name, remove_only: true }.encode();
        *packet.last_mut().unwrap() = 2;
        assert!(Site::decode(&packet, &proof).is_err());
    }

    #[test]
    fn the_bytes_are_those_of_version_1() {
        assert_eq!((Commit.encode(), Signal(9).encode()), (b"C".to_vec(), b"S\x09".to_vec()));
        let (name, proxy) = (Name::new(b"d").unwrap(), Name::new(b"p").unwrap());
        let site = Site { parent: b"/x", identity: (1, 2), name, proxy, remove_only: false }.encode();
        assert_eq!(site, b"L\x02\0/x\x01\0\0\0\0\0\0\0\x02\0\0\0\0\0\0\0\x01\0d\x01\0p\0");
    }
}

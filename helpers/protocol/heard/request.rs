//! What the pilot side was heard to say.

use super::reader::{Malformed, Reader};
use crate::confine::Confined;
use crate::ground::limits;
use crate::ground::outcome::{Failure, OrFail, Outcome};
use crate::protocol::connection::Connection;
use crate::protocol::packet::{Handed, Packet};
use crate::protocol::request::{Commit, Signal, Site};
use crate::protocol::tag;

/// Reads a packet that may be a site and nothing else.
///
/// # Errors
/// When it is anything else.
pub fn site<'p>(packet: &'p [u8], _: &Confined) -> Result<Site<'p>, Malformed> {
    read_site(packet)
}

fn read_site(packet: &[u8]) -> Result<Site<'_>, Malformed> {
    let mut reader = Reader::behind(tag::SITE, packet)?;
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

/// Takes the one site that is said, and the last descriptor that comes with it, in a process that is **not
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
    let site = read_site(bytes).map_err(|_| Failure::permanent("the pilot side sent something else than a place"))?;
    Ok((site, descriptors.pop()))
}

/// Reads a packet that may be a commit and nothing else.
///
/// # Errors
/// When it is anything else.
pub fn commit(packet: &[u8], _: &Confined) -> Result<Commit, Malformed> {
    Reader::behind(tag::COMMIT, packet)?.end(Commit)
}

/// Reads a packet that may be a signal and nothing else.
///
/// # Errors
/// When it is anything else.
pub fn signal(packet: &[u8], _: &Confined) -> Result<Signal, Malformed> {
    let mut reader = Reader::behind(tag::SIGNAL, packet)?;
    let signal = Signal(reader.byte()?);
    reader.end(signal)
}

#[cfg(test)]
mod tests {
    use super::{commit, signal, site};
    use crate::confine::Confined;
    use crate::files::name::Name;
    use crate::protocol::heard::reader::tests::refuses_every_cut_and_longer_one;
    use crate::protocol::request::{Commit, Signal, Site};

    #[test]
    fn every_request_survives_and_every_cut_or_longer_one_is_refused() {
        let proof = Confined::assumed();
        let made = |remove_only| Site {
            parent: b"/x",
            identity: (u64::MAX, 1),
            name: Name::new(b"dir_1").unwrap(),
            proxy: Name::new(b"p").unwrap(),
            remove_only,
        };
        for said in [made(true), made(false)] {
            let packet = said.encode();
            assert_eq!(site(&packet, &proof), Ok(said));
            refuses_every_cut_and_longer_one(&packet, |packet| site(packet, &proof).is_err());
        }
        assert_eq!(commit(&Commit.encode(), &proof), Ok(Commit));
        refuses_every_cut_and_longer_one(&Commit.encode(), |packet| commit(packet, &proof).is_err());
        assert_eq!(signal(&Signal(9).encode(), &proof), Ok(Signal(9)));
        refuses_every_cut_and_longer_one(&Signal(9).encode(), |packet| signal(packet, &proof).is_err());
    }

    #[test]
    fn a_flag_past_one_is_refused() {
        let proof = Confined::assumed();
        let name = Name::new(b"n").unwrap();
        let mut packet = Site { parent: b"/", identity: (0, 0), name, proxy: name, remove_only: true }.encode();
        *packet.last_mut().unwrap() = 2;
        assert!(site(&packet, &proof).is_err());
    }

    #[test]
    fn the_bytes_are_those_of_version_1() {
        assert_eq!((Commit.encode(), Signal(9).encode()), (b"C".to_vec(), b"S\x09".to_vec()));
        let (name, proxy) = (Name::new(b"d").unwrap(), Name::new(b"p").unwrap());
        let said = Site { parent: b"/x", identity: (1, 2), name, proxy, remove_only: false }.encode();
        assert_eq!(said, b"L\x02\0/x\x01\0\0\0\0\0\0\0\x02\0\0\0\0\0\0\0\x01\0d\x01\0p\0");
    }
}

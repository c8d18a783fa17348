//! Giving up capabilities: a process of an ordinary account has none, one that root or a container started may.

use crate::ground::outcome::{Failure, OrFail, Outcome};
use rustix::io::Errno;
use rustix::thread::{
    CapabilitiesSecureBits, CapabilitySet, CapabilitySets, capabilities, capability_is_in_bounding_set,
    clear_ambient_capability_set, remove_capability_from_bounding_set, set_capabilities, set_capabilities_secure_bits,
};

/// Root's id means nothing any more, no `set*id` call and no execution brings anything back, and none of that can be
/// undone.
const LOCKED: CapabilitiesSecureBits = CapabilitiesSecureBits::NO_ROOT
    .union(CapabilitiesSecureBits::NO_ROOT_LOCKED)
    .union(CapabilitiesSecureBits::NO_SETUID_FIXUP)
    .union(CapabilitiesSecureBits::NO_SETUID_FIXUP_LOCKED)
    .union(CapabilitiesSecureBits::KEEP_CAPS_LOCKED)
    .union(CapabilitiesSecureBits::NO_CAP_AMBIENT_RAISE)
    .union(CapabilitiesSecureBits::NO_CAP_AMBIENT_RAISE_LOCKED);

const NONE: CapabilitySets = CapabilitySets {
    effective: CapabilitySet::empty(),
    permitted: CapabilitySet::empty(),
    inheritable: CapabilitySet::empty(),
};

/// Empties all sets and reads them back.
///
/// Only a process with `CAP_SETPCAP` may change its bounding set and securebits. Every other one keeps a bounding set
/// that means nothing: with no capability and no_new_privs, which are taken on in any case, nothing can be had out of
/// it.
///
/// # Errors
/// When the kernel refuses one of them, or one is not empty afterwards.
pub(crate) fn give_up() -> Outcome {
    let context = || "cannot give the capabilities up";
    let before = capabilities(None).or_fail(context)?;
    clear_ambient_capability_set().or_fail(context)?;
    let all = before.effective.contains(CapabilitySet::SETPCAP);
    if all {
        empty_bounding_set().or_fail(context)?;
        set_capabilities_secure_bits(LOCKED).or_fail(context)?;
    }
    if before != NONE {
        set_capabilities(None, NONE).or_fail(context)?;
    }
    let after = capabilities(None).or_fail(context)?;
    if after == NONE { Ok(()) } else { Err(Failure::permanent(format_args!("{}: some are still there", context()))) }
}

/// Takes every capability that the kernel knows out of the bounding set, from 0 to the first that it does not know.
fn empty_bounding_set() -> Result<(), Errno> {
    for number in 0..u64::BITS {
        let Some(capability) = 1_u64.checked_shl(number).map(CapabilitySet::from_bits_retain) else { break };
        match capability_is_in_bounding_set(capability) {
            Ok(true) => remove_capability_from_bounding_set(capability)?,
            Ok(false) => {}
            Err(Errno::INVAL) => break,
            Err(errno) => return Err(errno),
        }
    }
    Ok(())
}

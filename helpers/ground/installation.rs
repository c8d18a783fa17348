//! Where the programs and the site's policy are.

use crate::ground::outcome::{OrFail, Outcome};
use crate::ground::program::Program;

/// The policy file. Fixed: whoever starts a helper must not be able to choose another one.
pub(crate) const POLICY: &str = "/etc/glexec-rs/policy";

/// The absolute path of the program that was installed beside this one.
///
/// # Errors
/// When this program does not know where it is.
pub(crate) fn beside_self(program: Program) -> Outcome<Vec<u8>> {
    let own =
        rustix::fs::readlink(c"/proc/self/exe", Vec::new()).or_fail(|| "cannot read /proc/self/exe")?.into_bytes();
    let directory = own.iter().rposition(|byte| *byte == b'/').and_then(|slash| own.get(..=slash)).unwrap_or_default();
    Ok([directory, program.name().as_bytes()].concat())
}

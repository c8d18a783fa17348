//! What setup and cleanup are called with.

use crate::files::component::Component;
use crate::ground::argv::{Arguments, absolute};
use crate::ground::outcome::Outcome;
use crate::pilot::switch::Switcher;

/// `[--json] G P S R D`.
pub struct SandboxArguments {
    /// Whether a record of the copy is wanted on stdout.
    pub json: bool,
    /// G, R and D.
    pub switcher: Switcher,
    /// P, the proxy's name in the sandbox.
    pub proxy: Component,
    /// S, the sandbox's absolute path.
    pub sandbox: Vec<u8>,
}

impl SandboxArguments {
    /// Reads all of them.
    ///
    /// # Errors
    /// Usage.
    pub fn parse(mut arguments: Arguments) -> Outcome<Self> {
        let first = arguments.take("G (the switcher)")?;
        let json = first == b"--json";
        let path = if json { arguments.take("G (the switcher)")? } else { first };
        let path = absolute("G (the switcher)", path)?;
        let proxy = Component::take(&mut arguments, "P (the proxy's name)")?;
        let sandbox = arguments.take_absolute("S (the sandbox)")?;
        let (retries, delay) = (arguments.take_retries()?, arguments.take_delay()?);
        arguments.end()?;
        Ok(SandboxArguments { json, switcher: Switcher { path, retries, delay }, proxy, sandbox })
    }
}

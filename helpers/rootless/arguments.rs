//! The command line of `glexec_rootless`, which is that of every switcher: a command and its arguments.

use crate::ground::escape::Escaped;
use crate::ground::limits;
use crate::ground::outcome::{Failure, Outcome};

/// What the arguments ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asked<'a> {
    /// `-h`, alone.
    Help,
    /// `-v`, alone.
    Version,
    /// The command at this absolute path, with all of the arguments.
    Run(&'a [u8]),
}

/// Reads the arguments.
///
/// # Errors
/// Usage, when there is no command or its path is not absolute.
pub fn parse(argv: &[Vec<u8>]) -> Outcome<Asked<'_>> {
    match argv {
        [] => Err(Failure::usage("the argument COMMAND is missing")),
        [option] if option == b"-h" => Ok(Asked::Help),
        [option] if option == b"-v" => Ok(Asked::Version),
        [path, ..] if path.starts_with(b"/") && path.len() < limits::PATH_BYTES => Ok(Asked::Run(path)),
        [path, ..] => Err(Failure::usage(format_args!(
            "COMMAND is {}; it must be an absolute path of at most 4095 bytes",
            Escaped(path)
        ))),
    }
}

//! Where in the tree a copy is, for people; and what it left out.

use crate::files::name::Name;
use crate::ground::escape::Escaped;
use crate::ground::limits;
use crate::ground::outcome::Failure;
use crate::protocol::record::Reason;
use arrayvec::ArrayVec;

/// Something that is not part of the copy.
#[derive(Debug)]
pub struct LeftOut {
    /// Its path below the sandbox, escaped and shortened.
    pub path: String,
    /// Why.
    pub reason: Reason,
}

/// The first of what was left out; the rest is only counted.
pub(crate) type LeftOutList = ArrayVec<LeftOut, { limits::LEFT_OUT_NAMED }>;

/// The path of the current directory below the sandbox, and what was left out so far.
#[derive(Default)]
pub(crate) struct Report {
    path: Vec<u8>,
    /// What was left out.
    pub left_out: LeftOutList,
}

impl Report {
    /// Goes into `name`; gives what [`Report::leave`] wants to have.
    pub(crate) fn enter(&mut self, name: Name<'_>) -> usize {
        let before = self.path.len();
        self.path.extend_from_slice(name.bytes());
        self.path.push(b'/');
        before
    }

    /// Goes back up.
    pub(crate) fn leave(&mut self, before: usize) {
        self.path.truncate(before);
    }

    /// What the current directory is called.
    pub(crate) fn directory_name(&self) -> &[u8] {
        let path = self.path.strip_suffix(b"/").unwrap_or_default();
        path.rsplit(|byte| *byte == b'/').next().unwrap_or_default()
    }

    /// An entry of the current directory, fit to be shown.
    pub(crate) fn shown(&self, name: Name<'_>) -> String {
        Escaped(&[&self.path[..], name.bytes()].concat()).to_string()
    }

    /// Why a file that is not what it was is not copied.
    pub(crate) fn changed(&self, name: Name<'_>) -> Failure {
        let shown = self.shown(name);
        Failure::permanent(format_args!(
            "the file {shown} changed while it was copied; stop what still writes to the sandbox"
        ))
    }

    /// Notes that `name` is left out.
    pub(crate) fn leave_out(&mut self, name: Name<'_>, reason: Reason) {
        if !self.left_out.is_full() {
            let path = self.shown(name);
            let _ = self.left_out.try_push(LeftOut { path, reason });
        }
    }
}

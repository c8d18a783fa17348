//! A word to whoever looks for what is missing in a sandbox, where it would be.

use crate::copy::report::LeftOut;
use crate::files::component::Component;
use crate::files::content::write_all;
use crate::ground::outcome::{OrFail, Outcome};
use crate::protocol::tree::Totals;
use crate::sys::close_written;
use rustix::fs::{AtFlags, Mode, OFlags, openat, unlinkat};
use std::ffi::CStr;
use std::os::fd::{AsFd, BorrowedFd};

/// The file in a sandbox that says what is missing there, and what it is for.
const LEFT_OUT_NAME: &[u8] = b".glexec-left-out";
const LEFT_OUT: &str = "cannot write down what was left out";

/// Writes what was left out into a file of its own at the top of `tree`, which the job has no way to by now, one line
/// for each entry that has a name in the report.
///
/// # Errors
/// The kernel's; nothing is left of it then.
pub(crate) fn leave_word(tree: BorrowedFd<'_>, totals: &Totals, left_out: &[LeftOut]) -> Outcome {
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let create = |name: &CStr| openat(tree, name, flags, Mode::RUSR | Mode::WUSR | Mode::RGRP | Mode::ROTH);
    let mut name = Component::new(LEFT_OUT_NAME).or_fail(|| LEFT_OUT)?;
    let mut made = create(name.c_str());
    if made.is_err() {
        // The job has something of this name, and keeps it.
        name = Component::unforeseen(".glexec-left-out-").or_fail(|| LEFT_OUT)?;
        made = create(name.c_str());
    }
    let file = made.or_fail(|| LEFT_OUT)?;
    let mut text: String = left_out.iter().map(|entry| format!("{}: {}\n", entry.path, entry.reason)).collect();
    text.push_str(&format!("{} left out\n", totals.left_out));
    let written = write_all(file.as_fd(), text.as_bytes(), 0).and_then(|()| close_written(file));
    if written.is_err() {
        let _ = unlinkat(tree, name.c_str(), AtFlags::empty());
    }
    written.or_fail(|| LEFT_OUT)
}

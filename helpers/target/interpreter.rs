//! Why the kernel finds no program where there is one: what it names as its interpreter is not there.

use crate::ground::escape::Escaped;
use rustix::fs::{CWD, Mode, OFlags, openat};
use std::ffi::CStr;

/// What the kernel looks at for an interpreter's name.
const FIRST_BYTES: usize = 256;

/// To be said behind "no such file"; nothing if the program itself is not there, or cannot be read.
///
/// It is the job's, and the process is about to become it: nothing is decided by what it holds.
pub(super) fn missing_interpreter(program: &CStr) -> String {
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let mut first = [0_u8; FIRST_BYTES];
    let opened = openat(CWD, program, flags, Mode::empty());
    let Ok(length) = opened.and_then(|file| rustix::io::read(file, &mut first)) else { return String::new() };
    let Some(line) = first.get(..length).and_then(|first| first.strip_prefix(b"#!")) else {
        return ": it is there, but the loader that it names is not".to_owned();
    };
    let line = line.split(|byte| *byte == b'\n').next().unwrap_or_default();
    let name = line.trim_ascii_start().split(|byte| b" \t".contains(byte)).next().unwrap_or_default();
    // First, because the end may be cut off.
    let ends = if name.ends_with(b"\r") { ", its line ends in CR LF" } else { "" };
    format!(": the script is there, its interpreter is not{ends}: {}", Escaped(name))
}

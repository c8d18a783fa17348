//! What a directory lies below.

use crate::files::metadata::{Identity, Metadata};
use rustix::fs::{Mode, OFlags, openat};
use std::os::fd::AsFd;

/// A directory and all above it, up to the root.
pub(super) fn ancestors(directory: impl AsFd) -> rustix::io::Result<Vec<Identity>> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let mut here = openat(directory, c".", flags, Mode::empty())?;
    let mut seen = vec![Metadata::of(&here)?.identity];
    loop {
        here = openat(&here, c"..", flags, Mode::empty())?;
        let above = Metadata::of(&here)?.identity;
        if seen.last() == Some(&above) {
            return Ok(seen);
        }
        seen.push(above);
    }
}

#[cfg(test)]
mod tests {
    use super::ancestors;
    use crate::files::metadata::Metadata;

    #[test]
    fn ancestors_end_at_the_root() {
        let open = |path: &str| std::fs::File::open(path).unwrap();
        let seen = ancestors(open("/proc/self")).unwrap();
        let expected: Vec<_> =
            ["/proc/self", "/proc", "/"].iter().map(|path| Metadata::of(open(path)).unwrap().identity).collect();
        assert_eq!(seen, expected);
        assert_eq!(ancestors(open("/")).unwrap().len(), 1);
    }
}

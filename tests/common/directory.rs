//! Directories of a test's own, under names that nothing else has.

#![forbid(unsafe_code)]

use std::fs::Permissions;
use std::io::ErrorKind;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::id;
use std::sync::atomic::{AtomicU32, Ordering};

/// Makes a directory below `parent`, mode 0755, whose name begins with `prefix`.
///
/// Process ids come again: the name may be that of a directory which a test program left that was killed, so the next
/// number is taken.
pub fn new_directory(parent: &Path, prefix: &str) -> PathBuf {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    loop {
        let path = parent.join(format!("{prefix}{}.{}", id(), COUNT.fetch_add(1, Ordering::Relaxed)));
        match std::fs::create_dir(&path) {
            Ok(()) => {
                std::fs::set_permissions(&path, Permissions::from_mode(0o755)).unwrap();
                return path;
            }
            Err(why) if why.kind() == ErrorKind::AlreadyExists => {}
            Err(why) => panic!("{}: {why}", path.display()),
        }
    }
}

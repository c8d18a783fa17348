//! An `/etc/glexec-rs` of a test's own: in a mount namespace that only one thread and what it starts are in. The
//! machine's own is never touched.

#![allow(unsafe_code)] // unshare(2)

use crate::common::Site;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Where a site's policy is to be put together; it stands for `/etc` with `glexec-rs` in it, root's, mode 0755.
pub fn prepare(site: &Site) -> PathBuf {
    let etc = site.root.join("etc");
    let _ = std::fs::remove_dir_all(&etc);
    for directory in [etc.clone(), etc.join("glexec-rs")] {
        std::fs::create_dir(&directory).unwrap();
        std::fs::set_permissions(&directory, PermissionsExt::from_mode(0o755)).unwrap();
    }
    etc
}

/// Puts this policy there, as it should be: root's, mode 0644.
pub fn put(site: &Site, text: impl AsRef<[u8]>) -> PathBuf {
    let etc = prepare(site);
    let policy = etc.join("glexec-rs/policy");
    std::fs::write(&policy, text).unwrap();
    std::fs::set_permissions(&policy, PermissionsExt::from_mode(0o644)).unwrap();
    etc
}

/// Does `work` in a thread that sees `etc` over the machine's `/etc`; so do the processes that it starts.
pub fn with<T: Send>(etc: &Path, work: impl FnOnce() -> T + Send) -> T {
    let thread = || {
        // SAFETY: a number; a new mount namespace for this thread alone, which no other code of this process runs in.
        assert_eq!(unsafe { libc::unshare(libc::CLONE_NEWNS) }, 0, "{}", std::io::Error::last_os_error());
        mount(&["--make-rprivate", "/"]);
        mount(&["-t", "overlay", "overlay", "-o", &format!("lowerdir={}:/etc", etc.display()), "/etc"]);
        work()
    };
    std::thread::scope(|scope| scope.spawn(thread).join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
}

fn mount(arguments: &[&str]) {
    let done = Command::new("mount").args(arguments).output().unwrap();
    assert!(done.status.success(), "mount {arguments:?}: {}", String::from_utf8_lossy(&done.stderr));
}

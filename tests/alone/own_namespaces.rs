//! IPC objects and sockets with abstract names belong to a namespace. In one of its own, a test sees all that is left,
//! and nothing of what others have on the machine.

#![allow(unsafe_code)] // unshare(2)

use crate::common::Site;
use std::process::Command;

/// Does `work` in a thread with namespaces of its own, which the threads and processes that it starts share; then looks
/// at what is left there.
pub fn with(site: &Site, work: impl FnOnce() + Send) {
    let thread = || {
        let namespaces = libc::CLONE_NEWIPC | libc::CLONE_NEWNET | libc::CLONE_NEWNS;
        // SAFETY: a number; new namespaces for this thread alone, which no other code of this process runs in.
        assert_eq!(unsafe { libc::unshare(namespaces) }, 0, "{}", std::io::Error::last_os_error());
        mount(&["--make-rprivate", "/"]);
        let queues = site.root.join("queues");
        std::fs::create_dir(&queues).unwrap();
        mount(&["-t", "mqueue", "mqueue", queues.to_str().unwrap()]);
        work();
        assert_eq!(site.processes(), []);
        let queues = std::fs::read_dir(queues).unwrap();
        let queues = queues.map(|entry| format!("message queue {}", entry.unwrap().path().display()));
        assert_eq!(queues.chain(tables()).collect::<Vec<_>>(), [] as [String; 0]);
    };
    std::thread::scope(|scope| scope.spawn(thread).join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)));
}

/// The System V objects and the sockets with names of this thread's namespaces; each table begins with a line of
/// titles.
fn tables() -> impl Iterator<Item = String> {
    let files = ["sysvipc/shm", "sysvipc/sem", "sysvipc/msg", "thread-self/net/unix"];
    let lines = files.into_iter().flat_map(|file| {
        let table = std::fs::read_to_string(format!("/proc/{file}")).unwrap();
        table.lines().skip(1).map(|line| format!("{file}: {line}")).collect::<Vec<_>>()
    });
    // The test's own threads have pairs without names while they start programs.
    lines.filter(|line| !line.contains("unix") || line.split_whitespace().count() > 8)
}

fn mount(arguments: &[&str]) {
    let done = Command::new("mount").args(arguments).output().unwrap();
    assert!(done.status.success(), "mount {arguments:?}: {}", String::from_utf8_lossy(&done.stderr));
}

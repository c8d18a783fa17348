//! Attempts of the probe, inside and outside.

use crate::playground::{Playground, text};
use crate::probe;
use libc::{EACCES, EBADF, EFAULT, EINVAL, EISCONN, ENOSYS, ENOTTY, EOPNOTSUPP, EPERM, EUSERS, EXDEV};
use std::collections::BTreeMap;
use std::fs;
use std::os::fd::OwnedFd;
use std::process::{Command, Output};

/// An unconnected UNIX socket.
pub fn unconnected() -> OwnedFd {
    use rustix::net::{AddressFamily, SocketFlags, SocketType, socket_with};
    socket_with(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None).unwrap()
}

pub fn attempts(
    mut command: Command,
    pid: u32,
    playground: &Playground,
    chosen: &str,
) -> (BTreeMap<String, i32>, Output) {
    let aim = format!("{pid} {}{chosen}", playground.base.display());
    let output = command.env("GLEXEC_ENV", aim).stdin(unconnected()).output().unwrap();
    (probe::results(&text(&output).0), output)
}

/// What the kernel answers outside a domain: the attempt is real and reaches its aim, or gets as far as one of these.
pub const WORKS: &[i32] = &[0];

/// Depends on the machine.
pub const ANY: &[i32] = &[];

/// Landlock's two answers to moving a name across the border.
pub const BORDER: &[i32] = &[EACCES, EXDEV];

/// Attempt, answers outside, answers inside.
pub const ATTACKS: &[(&str, &[i32], &[i32])] = &[
    ("read_proxy", WORKS, &[EACCES]),
    ("read_proxy_absolute", WORKS, &[EACCES]),
    ("list_parked", WORKS, &[EACCES]),
    ("read_outside", WORKS, &[EACCES]),
    ("list_execute", WORKS, &[EACCES]),
    ("list_tmp", WORKS, &[EACCES]),
    ("follow_link_out", WORKS, &[EACCES]),
    ("link_in", WORKS, BORDER),
    ("rename_in", WORKS, BORDER),
    ("exchange", WORKS, BORDER),
    ("chdir_and_read", WORKS, &[EACCES]),
    ("o_path_and_reopen", WORKS, &[EACCES]),
    ("execute_outside", WORKS, &[EACCES]),
    ("write_outside", WORKS, &[EACCES]),
    ("append_outside", WORKS, &[EACCES]),
    ("truncate_outside", WORKS, &[EACCES]),
    ("create_outside", WORKS, &[EACCES]),
    ("mkdir_outside", WORKS, &[EACCES]),
    ("symlink_outside", WORKS, &[EACCES]),
    ("fifo_outside", WORKS, &[EACCES]),
    ("unlink_outside", WORKS, &[EACCES]),
    ("rmdir_outside", WORKS, &[EACCES]),
    ("rename_out", WORKS, BORDER),
    ("link_out", WORKS, BORDER),
    ("proc_list", WORKS, &[EACCES]),
    ("proc_environ", WORKS, &[EACCES]),
    ("proc_mem", WORKS, &[EACCES]),
    ("proc_maps", WORKS, &[EACCES]),
    ("proc_status", WORKS, &[EACCES]),
    ("proc_cmdline", WORKS, &[EACCES]),
    ("proc_fd", WORKS, &[EACCES]),
    ("proc_exe", WORKS, &[EACCES]),
    ("proc_cwd", WORKS, &[EACCES]),
    ("proc_root", WORKS, &[EACCES]),
    ("kill_0", WORKS, &[EPERM]),
    ("kill_cont", WORKS, &[EPERM]),
    ("tgkill_cont", WORKS, &[EPERM]),
    ("queue_cont", WORKS, &[EPERM]),
    ("pidfd_cont", WORKS, &[EPERM]),
    ("ptrace", WORKS, &[EPERM]),
    ("read_memory", &[EFAULT], &[EPERM]),
    ("take_descriptor", WORKS, &[EPERM]),
    ("prlimit", WORKS, &[EPERM]),
    ("prlimit_high", WORKS, &[EPERM]),
    ("abstract_by_inherited_socket", WORKS, &[EPERM]),
    ("abstract_connect", WORKS, &[EPERM]),
    ("path_connect", WORKS, &[EPERM]),
    ("datagram_pair_send", WORKS, &[EPERM]),
    ("datagram_pair_connect", WORKS, &[EPERM]),
    ("raw_pair", WORKS, &[EPERM]),
    ("raw_pair_high", WORKS, &[EPERM]),
    // Why pairs with a connection need not be denied.
    ("stream_pair_connect", &[EISCONN], &[EISCONN]),
    ("packet_pair_connect", &[EISCONN], &[EISCONN]),
    ("socket_high", WORKS, &[EPERM]),
    ("tiocsti", &[ENOTTY], &[EPERM]),
    ("tiocsti_high", &[ENOTTY], &[EPERM]),
    ("tioclinux", &[ENOTTY], &[EPERM]),
    ("open_pty", WORKS, &[EACCES]),
    ("x32_socket", &[ENOSYS, 0], &[ENOSYS]),
    ("x32_tiocsti", &[ENOSYS, ENOTTY], &[ENOSYS]),
    ("x32_tiocsti_by_other_number", &[ENOSYS, ENOTTY], &[ENOSYS]),
    ("x32_prlimit", &[ENOSYS, 0], &[ENOSYS]),
    ("x32_keyctl", &[ENOSYS, EOPNOTSUPP], &[ENOSYS]),
    ("shared_memory", WORKS, &[EPERM]),
    ("semaphore", WORKS, &[EPERM]),
    ("message_queue", WORKS, &[EPERM]),
    ("attach_memory", &[EINVAL], &[EPERM]),
    ("keyctl", ANY, &[EPERM]),
    ("add_key", ANY, &[EPERM]),
    ("request_key", ANY, &[EPERM]),
    ("bpf", ANY, &[EPERM]),
    ("perf_event_open", ANY, &[EPERM]),
    ("userfaultfd", ANY, &[EPERM]),
    ("inotify_outside", WORKS, &[ENOSYS]),
    ("inotify_add_watch", &[EBADF], &[ENOSYS]),
    ("inotify_init", WORKS, &[ENOSYS]),
    ("fanotify_init", &[0, EPERM, ENOSYS], &[EPERM]),
    ("fanotify_mark", &[EBADF, ENOSYS], &[EPERM]),
    ("kexec_load", ANY, &[EPERM]),
    ("kexec_file_load", ANY, &[EPERM]),
    ("init_module", ANY, &[EPERM]),
    ("finit_module", ANY, &[EPERM]),
    ("delete_module", ANY, &[EPERM]),
    ("io_uring", ANY, &[ENOSYS]),
    ("openat2", WORKS, &[ENOSYS]),
    ("namespace_mount", &[0, EUSERS], &[EPERM, EUSERS]),
    ("namespace_open", &[0, EUSERS], &[EACCES, EUSERS]),
    ("namespace_kill", &[0, EUSERS], &[EPERM, EUSERS]),
    ("namespace_socket", &[0, EUSERS], &[EPERM, EUSERS]),
];

/// What the mark of a job is told by, read without the code that is under test.
#[derive(Debug)]
pub struct Status {
    pub no_new_privs: bool,
    pub seccomp_filters: u32,
}

impl Status {
    /// Whether it carries the three filters of a job more than somebody outside.
    pub fn is_inside_domain(&self, outside: u32) -> bool {
        self.no_new_privs && self.seccomp_filters >= outside + 3
    }
}

pub fn status(pid: u32) -> Status {
    let text = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let field = |name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(":\t"));
        line.unwrap_or_else(|| panic!("no {name} in {text}")).parse::<u32>().unwrap()
    };
    Status { no_new_privs: field("NoNewPrivs") == 1, seccomp_filters: field("Seccomp_filters") }
}

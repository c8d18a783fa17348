//! System calls that a job might try, and what the kernel answers. The probe is this test program itself, put into the
//! sandbox.

#![allow(unsafe_code)] // raw system calls

use crate::call_numbers::{KEXEC_FILE_LOAD, UNREVIEWED};
use libc::{SYS_clone, SYS_clone3, SYS_ioctl, SYS_unshare, c_long, syscall};
use std::collections::BTreeMap;

/// How the test program is told to be the probe.
pub const ARGUMENTS: [&str; 3] = ["--ignored", "acts_as_the_probe", "--nocapture"];

/// Marks an answer among the test harness's own lines.
const MARK: &str = "answer ";

/// Bits of a register that the kernel drops when the argument is an `int`.
const HIGH: c_long = 1 << 32;

const TIOCSTI: c_long = 0x5412;
const TIOCLINUX: c_long = 0x541c;
const NEW_USER: c_long = libc::CLONE_NEWUSER as c_long;

type Attempt = (&'static str, i32, Option<i32>, fn() -> c_long);

/// The name, the answer under the job's filter, the answer without one if that is always the same, the attempt. All
/// arguments are such that the call could do nothing even if it were allowed.
// SAFETY (all): numbers and null pointers only, with lengths of 0 where there are any, so that the kernel touches no
// memory of ours.
const ATTEMPTS: &[Attempt] = &[
    ("process_vm_readv", libc::EPERM, Some(libc::EINVAL), || unsafe {
        syscall(libc::SYS_process_vm_readv, libc::getpid(), 0, 0, 0, 0, -1_i64)
    }),
    ("process_vm_writev", libc::EPERM, Some(libc::EINVAL), || unsafe {
        syscall(libc::SYS_process_vm_writev, libc::getpid(), 0, 0, 0, 0, -1_i64)
    }),
    ("pidfd_getfd", libc::EPERM, Some(libc::EBADF), || unsafe { syscall(libc::SYS_pidfd_getfd, -1, 0, 0) }),
    ("kcmp", libc::EPERM, None, || unsafe { syscall(libc::SYS_kcmp, libc::getpid(), libc::getpid(), 99, 0, 0) }),
    ("kexec_load", libc::EPERM, None, || unsafe { syscall(libc::SYS_kexec_load, 0, 0, 0, 0) }),
    ("kexec_file_load", libc::EPERM, None, || unsafe { syscall(KEXEC_FILE_LOAD, -1, -1, 0, 0, 0) }),
    ("bpf", libc::EPERM, None, || unsafe { syscall(libc::SYS_bpf, -1, 0, 0) }),
    ("keyctl", libc::EPERM, None, || unsafe { syscall(libc::SYS_keyctl, -1, 0, 0, 0, 0) }),
    ("add_key", libc::EPERM, None, || unsafe { syscall(libc::SYS_add_key, 0, 0, 0, 0, 0) }),
    ("request_key", libc::EPERM, None, || unsafe { syscall(libc::SYS_request_key, 0, 0, 0, 0) }),
    ("userfaultfd", libc::EPERM, None, || unsafe { syscall(libc::SYS_userfaultfd, -1) }),
    ("mount", libc::EPERM, None, || unsafe { syscall(libc::SYS_mount, 0, 0, 0, 0, 0) }),
    ("umount2", libc::EPERM, None, || unsafe { syscall(libc::SYS_umount2, 0, -1) }),
    ("move_mount", libc::EPERM, None, || unsafe { syscall(libc::SYS_move_mount, -1, 0, -1, 0, 0) }),
    ("fsopen", libc::EPERM, None, || unsafe { syscall(libc::SYS_fsopen, 0, 0) }),
    ("fsconfig", libc::EPERM, None, || unsafe { syscall(libc::SYS_fsconfig, -1, 0, 0, 0, 0) }),
    ("fsmount", libc::EPERM, None, || unsafe { syscall(libc::SYS_fsmount, -1, 0, 0) }),
    ("fspick", libc::EPERM, None, || unsafe { syscall(libc::SYS_fspick, -1, 0, 0) }),
    ("open_tree", libc::EPERM, Some(libc::EFAULT), || unsafe { syscall(libc::SYS_open_tree, -1, 0, 0) }),
    ("mount_setattr", libc::EPERM, Some(libc::EINVAL), || unsafe { syscall(libc::SYS_mount_setattr, -1, 0, 0, 0, 0) }),
    ("pivot_root", libc::EPERM, None, || unsafe { syscall(libc::SYS_pivot_root, 0, 0) }),
    ("init_module", libc::EPERM, None, || unsafe { syscall(libc::SYS_init_module, 0, 0, 0) }),
    ("finit_module", libc::EPERM, None, || unsafe { syscall(libc::SYS_finit_module, -1, 0, 0) }),
    ("delete_module", libc::EPERM, None, || unsafe { syscall(libc::SYS_delete_module, 0, 0) }),
    ("perf_event_open", libc::EPERM, None, || unsafe { syscall(libc::SYS_perf_event_open, 0, 0, -1, -1, 0) }),
    ("tiocsti", libc::EPERM, Some(libc::ENOTTY), || unsafe { syscall(SYS_ioctl, 0, TIOCSTI, 0) }),
    ("tiocsti_high", libc::EPERM, Some(libc::ENOTTY), || unsafe { syscall(SYS_ioctl, 0, TIOCSTI | HIGH, 0) }),
    ("tioclinux", libc::EPERM, Some(libc::ENOTTY), || unsafe { syscall(SYS_ioctl, 0, TIOCLINUX, 0) }),
    // A process with several threads cannot; the filter answers first.
    ("unshare_user", libc::EPERM, Some(libc::EINVAL), || unsafe { syscall(SYS_unshare, NEW_USER) }),
    ("unshare_user_and_more", libc::EPERM, Some(libc::EINVAL), || unsafe {
        syscall(SYS_unshare, NEW_USER | c_long::from(libc::CLONE_NEWNS))
    }),
    ("unshare_files", 0, Some(0), || unsafe { syscall(SYS_unshare, libc::CLONE_FILES) }),
    // New user namespaces do not share a file system context: refused without making anything.
    ("clone_user", libc::EPERM, Some(libc::EINVAL), || unsafe {
        syscall(SYS_clone, NEW_USER | c_long::from(libc::CLONE_FS), 0, 0, 0, 0)
    }),
    ("clone3", libc::ENOSYS, Some(libc::EINVAL), || unsafe { syscall(SYS_clone3, 0, 0) }),
    ("io_uring_setup", libc::ENOSYS, None, || unsafe { syscall(libc::SYS_io_uring_setup, 0, 0) }),
    // The newest one that was reviewed: nothing is sealed.
    ("mseal", 0, Some(0), || unsafe { syscall(462, 0, 0, 0) }),
    ("ptrace", libc::EPERM, Some(libc::ESRCH), || unsafe { syscall(libc::SYS_ptrace, libc::PTRACE_PEEKDATA, 0, 0, 0) }),
];

/// Tries everything and prints the answers.
pub fn main() {
    println!();
    for (name, number) in UNREVIEWED {
        // SAFETY: as above.
        let errno = if unsafe { syscall(number, -1, 0, 0, 0, 0, 0) } < 0 {
            std::io::Error::last_os_error().raw_os_error().unwrap()
        } else {
            0
        };
        println!("{MARK}{name} {errno}");
    }
    for (name, _, _, attempt) in ATTEMPTS {
        let errno = if attempt() < 0 { std::io::Error::last_os_error().raw_os_error().unwrap() } else { 0 };
        println!("{MARK}{name} {errno}");
    }
}

/// What the probe's answers are, where they are not as the filter demands (`filtered`) or as without one.
pub fn wrong(output: &str, filtered: bool) -> Vec<String> {
    let answers: BTreeMap<&str, i32> = output
        .lines()
        .filter_map(|line| line.strip_prefix(MARK)?.split_once(' '))
        .map(|(name, errno)| (name, errno.parse().unwrap()))
        .collect();
    let expected = |held, free| if filtered { Some(held) } else { free };
    let unreviewed = UNREVIEWED.map(|(name, _)| (name, libc::ENOSYS, None));
    ATTEMPTS
        .iter()
        .map(|(name, held, free, _)| (*name, *held, *free))
        .chain(unreviewed)
        .filter_map(|(name, held, free)| {
            let found = answers.get(name);
            let fits = found.is_some_and(|found| expected(held, free).is_none_or(|expected| expected == *found));
            (!fits).then(|| format!("{name}: {found:?} instead of {:?}", expected(held, free)))
        })
        .collect()
}

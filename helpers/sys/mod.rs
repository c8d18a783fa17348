//! The only module with `unsafe`: what rustix does not offer safely.

#![allow(unsafe_code)]

pub mod supervisor;
mod terminal;

pub use terminal::{drop_terminal, leave_terminal};

use core::time::Duration;
use rustix::process::{Pid, Resource, Rlimit};
use std::ffi::{CStr, CString, c_char, c_int, c_long};
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, RawFd};

/// The largest signal number of Linux.
const SIGNAL_LAST: i32 = 64;

/// The kernel's `struct sigaction`, large enough for every architecture, all zero: `SIG_DFL`, no flags, empty mask.
const DEFAULT_ACTION: [u64; 4] = [0; 4];

/// The kernel's `SIG_IGN` in the first word (the handler).
const IGNORE_ACTION: [u64; 4] = [1, 0, 0, 0];

/// The size of the kernel's signal set in bytes.
const KERNEL_SIGSET_BYTES: usize = 8;

fn set_action(signal: i32, action: &[u64; 4]) {
    // SAFETY: the kernel reads one `struct sigaction` (at most 32 bytes) from `action`, which lives through the call, and
    // writes nothing because the third argument is null. No handler is installed, only SIG_DFL or SIG_IGN, so no code of
    // ours can be entered asynchronously. It fails for SIGKILL and SIGSTOP only, which cannot be changed anyway. The raw
    // call is used because libc hides the real-time signals that it uses itself, and those are inherited too.
    unsafe {
        libc::syscall(
            libc::SYS_rt_sigaction,
            c_long::from(signal),
            action.as_ptr(),
            core::ptr::null::<u64>(),
            KERNEL_SIGSET_BYTES,
        );
    }
}

/// Gives every signal its default disposition and unblocks all.
///
/// Rust's start-up ignores SIGPIPE and callers leave what they like; neither is for the programs that we execute.
pub fn reset_signals() {
    for signal in 1..=SIGNAL_LAST {
        set_action(signal, &DEFAULT_ACTION);
    }
    let empty = 0_u64;
    // SAFETY: the kernel reads eight bytes from `empty` and writes nothing because the old set is null.
    unsafe {
        libc::syscall(
            libc::SYS_rt_sigprocmask,
            c_long::from(libc::SIG_SETMASK),
            &raw const empty,
            core::ptr::null::<u64>(),
            KERNEL_SIGSET_BYTES,
        );
    }
}

/// Switches off the timers that the caller has set for itself: an exec passes them on, and their signals would end what comes after it.
pub fn cancel_timers() {
    for timer in [libc::ITIMER_REAL, libc::ITIMER_VIRTUAL, libc::ITIMER_PROF] {
        let off = [0_u64; 4];
        // SAFETY: the kernel reads one `struct itimerval` (at most 32 bytes, all zero: off) from `off`, which lives through the call, and writes
        // nothing because the third argument is null.
        unsafe { libc::syscall(libc::SYS_setitimer, c_long::from(timer), off.as_ptr(), core::ptr::null::<u64>()) };
    }
}

/// Leaves the session keyring of the caller for a new, empty one: whoever possesses a keyring reads the keys in it, whatever account
/// it becomes later. Where the kernel has no keyrings or a filter refuses them, there is none to be used later, either.
///
/// # Errors
/// When the account may have no more keyrings.
pub fn leave_session_keyring() -> io::Result<()> {
    const JOIN_SESSION_KEYRING: c_long = 1;
    // SAFETY: takes a number and a null pointer: a keyring without a name.
    let joined = unsafe { libc::syscall(libc::SYS_keyctl, JOIN_SESSION_KEYRING, core::ptr::null::<c_char>()) };
    match io::Error::last_os_error() {
        error if joined < 0 && error.raw_os_error() == Some(libc::EDQUOT) => Err(error),
        _ => Ok(()),
    }
}

/// Lets no descriptor arrive at a UNIX socket: whoever sends one gets EPERM. Already dropping one can wait for ever, for the server of a file
/// that is in the queue of a socket that is in a message. Before Linux 6.16 there is no such option, and nothing happens.
pub fn refuse_descriptors(socket: BorrowedFd<'_>) {
    const SO_PASSRIGHTS: c_int = 83;
    let no: c_int = 0;
    // SAFETY: the kernel reads one int, which lives through the call.
    unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            SO_PASSRIGHTS,
            (&raw const no).cast(),
            size_of::<c_int>() as u32,
        )
    };
}

/// The limit on a resource. (rustix takes for granted that no filter refuses to tell, and uses what is in memory then.)
///
/// # Errors
/// The kernel's.
pub fn limit(resource: Resource) -> io::Result<Rlimit> {
    let mut found = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: the kernel writes one structure, which lives through the call.
    if unsafe { libc::getrlimit(resource as _, &mut found) } != 0 {
        return Err(io::Error::last_os_error());
    }
    let bound = |value| (value != libc::RLIM_INFINITY).then_some(value);
    Ok(Rlimit { current: bound(found.rlim_cur), maximum: bound(found.rlim_max) })
}

/// No core file for this process and what it starts, unless that raises the limit again.
///
/// # Errors
/// The kernel's.
pub fn switch_core_off() -> io::Result<()> {
    let maximum = limit(Resource::Core)?.maximum;
    Ok(rustix::process::setrlimit(Resource::Core, Rlimit { current: Some(0), maximum })?)
}

/// Ignores SIGPIPE and SIGXFSZ, so that a closed socket or a file size limit is an error that is reported.
pub fn ignore_write_signals() {
    set_action(libc::SIGPIPE, &IGNORE_ACTION);
    set_action(libc::SIGXFSZ, &IGNORE_ACTION);
}

/// The kernel's signal set with these members; numbers out of range are left out.
fn signal_set(signals: &[i32]) -> u64 {
    signals
        .iter()
        .filter_map(|signal| u32::try_from(*signal).ok()?.checked_sub(1))
        .filter_map(|bit| 1_u64.checked_shl(bit))
        .fold(0, |set, bit| set | bit)
}

/// Closes every descriptor from `first` on.
///
/// # Errors
/// The kernel's; a kernel or filter without `close_range` is asked through `/proc/self/fd` instead.
pub fn close_from(first: RawFd) -> io::Result<()> {
    let Ok(start) = u32::try_from(first) else { return Err(io::ErrorKind::InvalidInput.into()) };
    // SAFETY: called before this process has opened anything of its own (or right before it executes another program), so
    // no descriptor that is closed here has an owner that would use or close it later.
    let result =
        unsafe { libc::syscall(libc::SYS_close_range, c_long::from(start), c_long::from(u32::MAX), 0 as c_long) };
    if result == 0 {
        return Ok(());
    }
    let open: Vec<RawFd> = std::fs::read_dir("/proc/self/fd")?
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .filter(|fd| *fd >= first)
        .collect();
    for fd in open {
        // SAFETY: as above; the directory's own descriptor is in the list but already closed, which the kernel answers with EBADF.
        unsafe { libc::close(fd) };
    }
    Ok(())
}

/// Lets the kernel end this process by SIGALRM (whose disposition is the default) in `patience`, in whole seconds, unless it is called
/// again before; with zero no more.
pub fn end_after(patience: Duration) {
    let seconds = u32::try_from(patience.as_secs()).unwrap_or(u32::MAX);
    // SAFETY: the call takes a number and touches no memory of ours; no handler of ours is involved.
    unsafe { libc::alarm(seconds) };
}

/// Makes a second process that goes on from here, too: `None` in that one, its number in this one. This process must have one thread only.
///
/// # Errors
/// The kernel's: no process or memory left.
pub fn fork() -> io::Result<Option<Pid>> {
    // SAFETY: with one thread there is nobody who could have left a lock or a structure half-way for the new process.
    match unsafe { libc::fork() } {
        0 => Ok(None),
        process if process > 0 => Ok(Pid::from_raw(process)),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Sends `signal` to the process behind a pidfd; 0 only asks whether that would be allowed.
///
/// # Errors
/// The kernel's: `ESRCH` when the process is gone, `EPERM` when it is another account's.
pub fn pidfd_signal(process: BorrowedFd<'_>, signal: u8) -> rustix::io::Result<()> {
    // SAFETY: the descriptor is borrowed for the call; the third argument is null, so the kernel reads and writes no memory of ours.
    let result = unsafe {
        libc::syscall(
            libc::SYS_pidfd_send_signal,
            c_long::from(process.as_raw_fd()),
            c_long::from(signal),
            core::ptr::null::<u8>(),
            0 as c_long,
        )
    };
    if result == 0 {
        return Ok(());
    }
    let errno = io::Error::last_os_error().raw_os_error().unwrap_or(libc::EINVAL);
    Err(rustix::io::Errno::from_raw_os_error(errno))
}

/// Every entry of this process' environment as it came, also what is not `NAME=VALUE` (which std leaves out).
pub fn environment_entries() -> Vec<CString> {
    unsafe extern "C" {
        static environ: *const *const c_char;
    }
    let mut entries = Vec::new();
    // SAFETY: `environ` is what the kernel gave this process: null, or an array of pointers to NUL-terminated strings that
    // ends with a null pointer. Nothing in this crate changes the environment, and the process has one thread here.
    unsafe {
        let mut entry = environ;
        while !entry.is_null() && !(*entry).is_null() {
            entries.push(CStr::from_ptr(*entry).to_owned());
            entry = entry.add(1);
        }
    }
    entries
}

/// Replaces this process by `program`, with exactly these arguments and this environment. There is no search along PATH and no
/// shell for a file without an interpreter line. Returns only when that failed, with the reason.
///
/// Both lists are of NUL-terminated strings; what the caller must not pass on has to be closed or marked before.
pub fn exec<'a>(
    program: &CStr,
    arguments: impl Iterator<Item = &'a CStr>,
    environment: impl Iterator<Item = &'a CStr>,
) -> io::Error {
    let null_terminated = |list: &mut dyn Iterator<Item = &'a CStr>| -> Vec<*const c_char> {
        list.map(CStr::as_ptr).chain(core::iter::once(core::ptr::null())).collect()
    };
    let (mut arguments, mut environment) = (arguments, environment);
    let argv = null_terminated(&mut arguments);
    let envp = null_terminated(&mut environment);
    // SAFETY: `program` and every element of both arrays are NUL-terminated strings that outlive the call ('a), and both
    // arrays end with a null pointer.
    unsafe { libc::execve(program.as_ptr(), argv.as_ptr(), envp.as_ptr()) };
    io::Error::last_os_error()
}

//! The only module with `unsafe`: the calls that rustix does not offer safely, one to a function, and nothing around
//! them. What is made of them stands in `ground`.

#![allow(unsafe_code)]

pub(crate) mod exec;

use rustix::io::Errno;
use rustix::process::Pid;
use std::ffi::{c_int, c_long};
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, IntoRawFd, OwnedFd, RawFd};

/// The size of the kernel's signal set in bytes.
const SIGNAL_SET_BYTES: c_long = 8;

/// One system call. Linux takes every argument as a word, and looks at as many as the call has.
///
/// # Safety
/// What the kernel reads and writes through the arguments has to live through the call, and nobody else may rely on
/// what it changes in this process.
unsafe fn call(number: c_long, [first, second, third, fourth]: [c_long; 4]) -> Result<c_long, Errno> {
    // SAFETY: each caller says why its arguments are sound.
    match unsafe { libc::syscall(number, first, second, third, fourth) } {
        -1 => Err(Errno::from_io_error(&io::Error::last_os_error()).unwrap_or(Errno::INVAL)),
        answer => Ok(answer),
    }
}

/// What a signal does. There are no handlers, so that no code of ours can be entered by surprise.
#[derive(Clone, Copy)]
#[repr(u64)]
pub(crate) enum Disposition {
    /// `SIG_DFL`
    Default = 0,
    /// `SIG_IGN`
    Ignore = 1,
}

/// Sets the disposition of a signal. The raw call is used because libc hides the real-time signals that it uses itself,
/// and those are inherited, too.
///
/// # Errors
/// When there is no such signal, or it cannot be changed.
pub(crate) fn set_disposition(signal: c_int, disposition: Disposition) -> Result<(), Errno> {
    // The kernel's `struct sigaction`, large enough for every architecture: the handler, no flags, an empty mask.
    let action = [disposition as u64, 0, 0, 0];
    let action = action.as_ptr();
    // SAFETY: the kernel reads one `struct sigaction` (at most 32 bytes) from `action`, which lives through the call,
    // and writes nothing because the third argument is null. No handler is installed, only SIG_DFL or SIG_IGN.
    unsafe { call(libc::SYS_rt_sigaction, [signal.into(), action as c_long, 0, SIGNAL_SET_BYTES]) }.map(drop)
}

/// Changes this thread's signal mask and gives the one before. `how` is `SIG_BLOCK`, `SIG_UNBLOCK` or `SIG_SETMASK`.
///
/// # Errors
/// The kernel's.
pub(crate) fn change_mask(how: c_int, set: u64) -> Result<u64, Errno> {
    let mut before = 0_u64;
    let (new, old) = (&raw const set as c_long, &raw mut before as c_long);
    // SAFETY: the kernel reads eight bytes from `set` and writes eight to `before`; both live through the call.
    unsafe { call(libc::SYS_rt_sigprocmask, [how.into(), new, old, SIGNAL_SET_BYTES]) }?;
    Ok(before)
}

/// A descriptor from which the signals of the set can be read, without waiting. It does not survive an exec.
///
/// # Errors
/// The kernel's.
pub(crate) fn signal_descriptor(set: u64) -> Result<OwnedFd, Errno> {
    let flags = libc::SFD_CLOEXEC | libc::SFD_NONBLOCK;
    // SAFETY: the kernel reads eight bytes from `set`, which lives through the call.
    let made = unsafe { call(libc::SYS_signalfd4, [-1, &raw const set as c_long, SIGNAL_SET_BYTES, flags.into()]) }?;
    let made = RawFd::try_from(made).map_err(|_| Errno::BADF)?;
    // SAFETY: the kernel has just made this descriptor for us and nobody else knows it.
    Ok(unsafe { OwnedFd::from_raw_fd(made) })
}

/// Switches one of the process's interval timers off.
///
/// # Errors
/// When there is no such timer.
pub(crate) fn switch_timer_off(timer: c_int) -> Result<(), Errno> {
    let off = [0_u64; 4];
    let off = off.as_ptr();
    // SAFETY: the kernel reads one `struct itimerval` (at most 32 bytes, all zero: off) from `off`, which lives through
    // the call, and writes nothing because the third argument is null.
    unsafe { call(libc::SYS_setitimer, [timer.into(), off as c_long, 0, 0]) }.map(drop)
}

/// Lets the kernel send SIGALRM in so many seconds, or never for zero; what was set before counts no more.
pub(crate) fn alarm(seconds: u32) {
    // SAFETY: the call takes a number and touches no memory of ours; no handler of ours is involved.
    unsafe { libc::alarm(seconds) };
}

/// Gives this process a new, empty session keyring without a name.
///
/// # Errors
/// The kernel's.
pub(crate) fn new_session_keyring() -> Result<(), Errno> {
    const JOIN_SESSION_KEYRING: c_long = 1;
    // SAFETY: takes a number and a null pointer: a keyring without a name.
    unsafe { call(libc::SYS_keyctl, [JOIN_SESSION_KEYRING, 0, 0, 0]) }.map(drop)
}

/// Lets no descriptor arrive at a UNIX socket: whoever sends one gets EPERM. Already dropping one can wait for ever,
/// for the server of a file that is in the queue of a socket that is in a message. Before Linux 6.16 there is no such
/// option, and nothing happens.
pub(crate) fn refuse_descriptors(socket: BorrowedFd<'_>) {
    const SO_PASSRIGHTS: c_int = 83;
    let no: c_int = 0;
    let (value, length) = ((&raw const no).cast(), size_of::<c_int>() as libc::socklen_t);
    // SAFETY: the kernel reads one int, which lives through the call.
    unsafe { libc::setsockopt(socket.as_raw_fd(), libc::SOL_SOCKET, SO_PASSRIGHTS, value, length) };
}

/// The soft and the hard limit on a resource. (rustix takes for granted that no filter refuses to tell, and uses what
/// is in memory then.)
///
/// # Errors
/// The kernel's.
pub(crate) fn limits(resource: rustix::process::Resource) -> io::Result<libc::rlimit> {
    let mut found = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: the kernel writes one structure, which lives through the call.
    if unsafe { libc::getrlimit(resource as _, &mut found) } == 0 { Ok(found) } else { Err(io::Error::last_os_error()) }
}

/// Closes every descriptor from `first` on.
///
/// # Errors
/// The kernel's, which may not have the call, or a filter's.
pub(crate) fn close_range(first: u32) -> Result<(), Errno> {
    // SAFETY: called before this process has opened anything of its own (or right before it executes another program),
    // so no descriptor that is closed here has an owner that would use or close it later.
    unsafe { call(libc::SYS_close_range, [first.into(), u32::MAX.into(), 0, 0]) }.map(drop)
}

/// Closes one descriptor, if it is open.
pub(crate) fn close(descriptor: RawFd) {
    // SAFETY: only called in place of `close_range`, for which the same holds.
    unsafe { libc::close(descriptor) };
}

/// Closes what was written to, and gives the file system's last word on it, which a mere drop does not listen to.
///
/// # Errors
/// Of writing: a quota, a server that is gone. The descriptor is closed all the same.
pub(crate) fn close_written(written: OwnedFd) -> Result<(), Errno> {
    // SAFETY: takes a number, of a descriptor that was nobody's but ours and is nobody's from here on.
    unsafe { call(libc::SYS_close, [written.into_raw_fd().into(), 0, 0, 0]) }.map(drop)
}

/// Gives up the controlling terminal that `terminal` is.
///
/// # Errors
/// When it is not.
pub(crate) fn disown_terminal(terminal: BorrowedFd<'_>) -> Result<(), Errno> {
    // SAFETY: this request takes no argument; the descriptor is open through the call.
    unsafe { call(libc::SYS_ioctl, [terminal.as_raw_fd().into(), libc::TIOCNOTTY as c_long, 0, 0]) }.map(drop)
}

/// Sends `signal` to the process behind a pidfd; 0 only asks whether that would be allowed. (rustix has no way to name
/// 0 or a real-time signal.)
///
/// # Errors
/// The kernel's: `ESRCH` when the process is gone, `EPERM` when it is another account's.
pub(crate) fn pidfd_signal(process: BorrowedFd<'_>, signal: u8) -> Result<(), Errno> {
    // SAFETY: the descriptor is borrowed for the call; the third argument is null, so the kernel reads and writes no
    // memory of ours.
    unsafe { call(libc::SYS_pidfd_send_signal, [process.as_raw_fd().into(), signal.into(), 0, 0]) }.map(drop)
}

/// Makes a second process that goes on from here, too: `None` in that one, its number in this one. This process must
/// have one thread only.
///
/// # Errors
/// The kernel's: no process or memory left.
pub(crate) fn fork() -> io::Result<Option<Pid>> {
    // SAFETY: with one thread there is nobody who could have left a lock or a structure half-way for the new process.
    match unsafe { libc::fork() } {
        0 => Ok(None),
        process if process > 0 => Ok(Pid::from_raw(process)),
        _ => Err(io::Error::last_os_error()),
    }
}

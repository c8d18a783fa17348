//! Changing who this process is: the system calls, each checked.

use crate::account::Account;
use std::io::Error;

/// Who called.
pub fn real_user() -> u32 {
    // SAFETY: getuid has no arguments and cannot fail.
    unsafe { libc::getuid() }
}

/// Does `work` with the caller's effective user id, and is root again.
pub fn as_caller(caller: u32, work: impl Fn(u32) -> Result<(), String>) -> Result<(), String> {
    // SAFETY: seteuid takes a number.
    let lowered = unsafe { libc::seteuid(caller) };
    checked("seteuid", lowered)?;
    let result = work(caller);
    // SAFETY: as above.
    let raised = unsafe { libc::seteuid(0) };
    checked("seteuid", raised)?;
    result
}

/// Becomes the account for good: groups, group, user, real, effective and saved; and makes sure of it.
pub fn become_account(account: &Account) -> Result<(), String> {
    let Account { uid, gid, groups, .. } = account;
    // SAFETY: the pointer and the length are those of a slice that lives until the call returns.
    checked("setgroups", unsafe { libc::setgroups(groups.len(), groups.as_ptr()) })?;
    // SAFETY: numbers only.
    checked("setresgid", unsafe { libc::setresgid(*gid, *gid, *gid) })?;
    // SAFETY: numbers only.
    checked("setresuid", unsafe { libc::setresuid(*uid, *uid, *uid) })?;

    let (mut real, mut effective, mut saved) = (0, 0, 0);
    // SAFETY: three pointers to live integers.
    checked("getresuid", unsafe { libc::getresuid(&raw mut real, &raw mut effective, &raw mut saved) })?;
    let users = [real, effective, saved];
    // SAFETY: as above.
    checked("getresgid", unsafe { libc::getresgid(&raw mut real, &raw mut effective, &raw mut saved) })?;
    let all_groups = [real, effective, saved];
    // SAFETY: a number; regaining root must fail.
    let regained = unsafe { libc::setuid(0) };
    if users != [*uid; 3] || all_groups != [*gid; 3] || regained == 0 {
        return Err("the identity was not changed for good".into());
    }
    Ok(())
}

/// How large a file may become by this process's hands; more is answered with a signal.
pub fn file_limit() -> u64 {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: a pointer to a live structure, which the kernel fills; this call cannot fail.
    unsafe { libc::getrlimit(libc::RLIMIT_FSIZE, &raw mut limit) };
    limit.rlim_cur
}

/// Splits the process; `None` in the child.
pub fn fork() -> Result<Option<libc::pid_t>, String> {
    // SAFETY: the process has one thread, so the child may do anything.
    match unsafe { libc::fork() } {
        -1 => Err(format!("fork: {}", Error::last_os_error())),
        0 => Ok(None),
        child => Ok(Some(child)),
    }
}

/// Waits for the child to end; its wait status.
pub fn wait(child: libc::pid_t) -> Result<i32, String> {
    let mut status = 0;
    loop {
        // SAFETY: a pointer to a live integer.
        if unsafe { libc::waitpid(child, &raw mut status, 0) } == child {
            return Ok(status);
        }
        let why = Error::last_os_error();
        if why.raw_os_error() != Some(libc::EINTR) {
            return Err(format!("waitpid: {why}"));
        }
    }
}

fn checked(call: &str, result: libc::c_int) -> Result<(), String> {
    if result == 0 { Ok(()) } else { Err(format!("{call}: {}", Error::last_os_error())) }
}

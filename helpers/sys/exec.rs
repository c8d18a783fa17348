//! What leads to another program: the setting of a child, this process's environment as it came, and the exec itself.

use rustix::process::{Resource, Rlimit, fchdir, setpgid, setrlimit, setsid, umask};
use std::ffi::{CStr, CString, c_char};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt;
use std::process::Command;

/// What a child is to have when its program begins.
pub(crate) struct Setting {
    /// Its working directory.
    pub(crate) directory: OwnedFd,
    /// Whether it leads a session of its own, or only a process group.
    pub(crate) leads_session: bool,
    /// The permission bits that it gives to nothing that it makes.
    pub(crate) umask: rustix::fs::Mode,
    /// Limits that are set for it.
    pub(crate) limits: [Option<(Resource, Rlimit)>; 2],
}

/// Lets `command` start its program in this setting.
pub(crate) fn set_child_up(command: &mut Command, setting: Setting) {
    let in_child = move || {
        fchdir(&setting.directory)?;
        if setting.leads_session {
            setsid().map(drop)?
        } else {
            setpgid(None, None)?
        }
        umask(setting.umask);
        setting.limits.iter().flatten().try_for_each(|(resource, limit)| setrlimit(*resource, *limit))?;
        Ok(())
    };
    // SAFETY: between fork and exec the closure makes five system calls and does nothing else: it allocates nothing
    // and takes no lock, which another thread may have held at the fork; what it uses belongs to it.
    unsafe { command.pre_exec(in_child) };
}

unsafe extern "C" {
    static environ: *const *const c_char;
}

/// The entries of this process's environment from some point on, as they came.
pub(crate) struct Environment(*const *const c_char);

impl Environment {
    /// All of them.
    pub(crate) fn of_process() -> Self {
        // SAFETY: libc has set this pointer before `main`, and nothing in this crate changes the environment.
        Environment(unsafe { environ })
    }
}

impl Iterator for Environment {
    type Item = CString;

    fn next(&mut self) -> Option<CString> {
        // SAFETY: `environ` is what the kernel gave this process: null, or an array of pointers to NUL-terminated
        // strings that ends with a null pointer, behind which this never steps. Nothing in this crate changes the
        // environment.
        unsafe {
            let entry = self.0.as_ref().filter(|entry| !entry.is_null())?;
            self.0 = self.0.add(1);
            Some(CStr::from_ptr(*entry).to_owned())
        }
    }
}

/// Replaces this process by `program`, with exactly these arguments and this environment. There is no search along PATH
/// and no shell for a file without an interpreter line. Returns only when that failed, with the reason.
///
/// What the caller must not pass on has to be closed or marked before.
pub(crate) fn exec<'a>(
    program: &CStr,
    arguments: impl Iterator<Item = &'a CStr>,
    environment: impl Iterator<Item = &'a CStr>,
) -> io::Error {
    // The arrays are made here and nowhere else: that they end with null is half of the proof.
    let argv: Vec<_> = arguments.map(CStr::as_ptr).chain([core::ptr::null()]).collect();
    let envp: Vec<_> = environment.map(CStr::as_ptr).chain([core::ptr::null()]).collect();
    // SAFETY: `program` and every element of both arrays are NUL-terminated strings that outlive the call ('a), and
    // both arrays end with a null pointer.
    unsafe { libc::execve(program.as_ptr(), argv.as_ptr(), envp.as_ptr()) };
    io::Error::last_os_error()
}

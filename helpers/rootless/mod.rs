//! A switcher for sites without one: runs the command as the caller's own account, in a domain that reaches the job's sandbox
//! and the system's programs, and nothing of the pilot.
//!
//! # The boundary
//!
//! The kernel draws it with three means that any process may take on, that all descendants inherit and that nothing takes off:
//!
//! * no capabilities, where the caller has any (a container's may), since neither of the others holds them all;
//! * a Landlock domain ([`domain`]): which files can be opened, made, renamed or removed; no signal to, no tracing of and no
//!   abstract UNIX socket to anything outside;
//! * a seccomp filter ([`filter`]) for what Landlock does not know: sockets with a path, input put into a terminal, set-id
//!   files, news of what happens to files (inotify, fanotify), System V IPC, keyrings and other things that belong to the
//!   account as a whole.
//!
//! # What it does not protect from
//!
//! The job has the pilot's user id. Landlock does not know about metadata, so the job can see that a file of the pilot exists and how
//! large it is, can read where a symbolic link leads, and can change permission bits, access control lists and times of what
//! the pilot owns, if it knows the path (not the content, and not the set-id bits): `EXECUTE`, `S.condor` and the sandboxes of
//! other jobs are among that, so that it can disturb those jobs and the helpers. It can lower the priority of the
//! pilot's processes, and uses up the account's limits (processes, descriptors under way, quota). The network is open to it. What the
//! pilot keeps below the directories of programs is readable to it.

#![forbid(unsafe_code)]

mod account;
mod command;
mod domain;
mod filter;
mod system;

use self::account::Account;
use self::command::Command;
use crate::confine::capabilities;
use crate::files::component::Component;
use crate::files::metadata::{Identity, Metadata};
use crate::files::path::split;
use crate::files::proxy;
use crate::files::sandbox::{Names, PARKED_SUFFIX};
use crate::ground::argv::Arguments;
use crate::ground::escape::Escaped;
use crate::ground::frame;
use crate::ground::limits;
use crate::ground::outcome::{Failure, Kind, OrFail, Outcome};
use crate::ground::program::Program;
use crate::ground::terminal::leave_terminal;
use crate::sys;
use core::fmt::Display;
use rustix::fs::{Mode, OFlags, openat};
use std::ffi::CString;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::process::ExitCode;

const HELP: &str = "\
usage: glexec_rootless COMMAND [ARGS...]
       glexec_rootless -h | -v

A switcher with glexec's contract that needs no privilege and no second account: COMMAND runs as the caller's own
account, in a domain of the kernel (Landlock, seccomp) in which it can use the job's sandbox and read the system, and can
neither reach the caller's other files nor signal or trace the caller's processes. Linux 6.12 or later.

  COMMAND  absolute path of an executable file, not a symbolic link; it and ARGS are passed on byte for byte

Environment:
  GLEXEC_CLIENT_CERT   absolute path of the job's proxy: this account's, mode 0600, not empty. Its directory is the
                       sandbox S, or S.condor, then the sandbox is S beside it. COMMAND can use S and not S.condor
  GLEXEC_TARGET_PROXY  /dev/null or not set; no copy of the proxy is ever made
  GLEXEC_ENV, GLEXEC_ID  passed on to COMMAND
  Everything else is ignored. COMMAND gets HOME=S, TMPDIR=S, USER, LOGNAME, PATH, and X509_USER_PROXY if S holds the proxy.

COMMAND can read and execute /usr, /bin, /sbin, /lib*, /opt and /cvmfs, with what this account keeps there, and read parts
of /etc, /proc and /sys. This account's home directory must not lie there (202). COMMAND has no
/tmp, no /dev/shm, no terminal, no UNIX sockets but pairs, no System V IPC, and is told of no changes to files (inotify,
fanotify). The working directory, umask, resource limits and descriptors 0 to 2 go on to it as they are.

condor_glexec_peer beside this program is started without a domain: it is the helpers' own other half and confines itself.

Exit codes: COMMAND's; 126 when it could not be executed; 201 when the caller has to change something (proxy, command,
arguments); 202 when the administrator has to (kernel, configuration).
";

/// Where the programs of COMMAND are looked for by whoever looks along PATH.
const SEARCH_PATH: &[u8] = b"/usr/local/bin:/usr/bin:/bin";

/// The program.
pub fn main() -> ExitCode {
    frame::run(Program::Rootless, HELP, work)
}

fn work(arguments: Arguments) -> Outcome<ExitCode> {
    let argv = arguments.rest();
    match parse(&argv)? {
        Asked::Help => frame::answer_line(HELP.trim_end()),
        Asked::Version => frame::answer_line(concat!("glexec_rootless ", env!("CARGO_PKG_VERSION"))),
        Asked::Run(path) => return Err(switch(path, &argv)?),
    }
    Ok(ExitCode::SUCCESS)
}

/// What the arguments ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asked<'a> {
    /// `-h`, alone.
    Help,
    /// `-v`, alone.
    Version,
    /// The command at this absolute path, with all of the arguments.
    Run(&'a [u8]),
}

/// Reads the arguments.
///
/// # Errors
/// Usage, when there is no command or its path is not absolute.
pub fn parse(argv: &[Vec<u8>]) -> Outcome<Asked<'_>> {
    match argv {
        [] => Err(Failure::usage("the argument COMMAND is missing")),
        [option] if option == b"-h" => Ok(Asked::Help),
        [option] if option == b"-v" => Ok(Asked::Version),
        [path, ..] if path.starts_with(b"/") && path.len() < limits::PATH_BYTES => Ok(Asked::Run(path)),
        [path, ..] => Err(Failure::usage(format_args!(
            "COMMAND is {}; it must be an absolute path of at most 4095 bytes",
            Escaped(path)
        ))),
    }
}

/// Becomes the command. Comes back only with the reason why it did not.
fn switch(path: &[u8], argv: &[Vec<u8>]) -> Outcome<Failure> {
    let command = Command::open(path)?;
    let credential = Credential::from_environment()?;
    let account = Account::find(rustix::process::geteuid().as_raw());
    leave_terminal().map_err(site_fault("cannot leave the caller's terminal"))?;

    // The exception. The peer is not the job's program but ours: it must create a sandbox beside the pilot's directory, and must signal
    // processes inside the domain of a job, which is what the domain forbids to all that are not in that very domain; it
    // takes on a domain of its own, tighter than this one, before it reads what the job can have made. Nobody gains by
    // it: the pilot could start the peer without us, and in a process that is in a domain already, everything that
    // it executes stays there. It is this exact file that counts, not a name, and whoever could replace it could replace
    // this program, too.
    let peer = command::own_peer().map_err(|failure| Failure::new(Kind::SiteFault, failure))?;
    let (program, proxy) = if command.is(&peer) {
        (peer, None)
    } else {
        let (sandbox, proxy) = credential.sandbox(&account)?;
        confine(&command, &sandbox, &credential.place, &account)?;
        (command.path, proxy)
    };
    let environment = environment(&account, &credential.place.sandbox_path(), proxy);
    Ok(execute(&program, argv, &environment))
}

/// The proxy that the caller named, and the sandbox that this makes the command's.
struct Credential {
    place: Names,
    name: Component,
}

impl Credential {
    fn from_environment() -> Outcome<Self> {
        let proxy_path = std::env::var_os("GLEXEC_CLIENT_CERT")
            .ok_or_else(|| Failure::permanent("GLEXEC_CLIENT_CERT is not set; it must name the job's proxy"))?
            .into_vec();
        if !proxy_path.starts_with(b"/") || proxy_path.len() >= limits::PATH_BYTES {
            return Err(Failure::permanent(format_args!(
                "GLEXEC_CLIENT_CERT is {}; it must be an absolute path of at most 4095 bytes",
                Escaped(&proxy_path)
            )));
        }
        if std::env::var_os("GLEXEC_TARGET_PROXY").is_some_and(|target| target != "/dev/null") {
            return Err(Failure::permanent(
                "GLEXEC_TARGET_PROXY is not /dev/null; this switcher makes no copy of the proxy anywhere",
            ));
        }
        let (directory, name) = split(&proxy_path)?;
        let is_parked = directory.ends_with(PARKED_SUFFIX);
        let place = Names::find(directory.strip_suffix(PARKED_SUFFIX).unwrap_or(&directory))?;
        let home = open_own(&place, if is_parked { &place.parked } else { &place.name })?;
        proxy::open(home.as_fd(), &name)?;
        Ok(Credential { place, name })
    }

    /// The sandbox, and the path of the job's copy of the proxy if there is one.
    fn sandbox(&self, account: &Account) -> Outcome<(OwnedFd, Option<Vec<u8>>)> {
        let sandbox = open_own(&self.place, &self.place.name)?;
        let found = Metadata::of(&sandbox).or_fail(|| "cannot look at the sandbox")?;
        if account.open_home().is_some_and(|home| ancestors(home).is_ok_and(|above| above.contains(&found.identity))) {
            return Err(Failure::permanent(format_args!(
                "the sandbox {} is or holds this account's home directory; the proxy must be in a directory of the job's own",
                Escaped(&self.place.sandbox_path())
            )));
        }
        let copy =
            Metadata::at(&sandbox, self.name.c_str()).is_ok().then(|| self.place.path_of(&self.place.name, &self.name));
        Ok((sandbox, copy))
    }
}

/// A directory of this account in a place, as a handle.
fn open_own(place: &Names, name: &Component) -> Outcome<OwnedFd> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let directory =
        openat(&place.parent, name.c_str(), flags, Mode::empty()).or_fail(|| format!("cannot open {name}"))?;
    let found = Metadata::of(&directory).or_fail(|| format!("cannot look at {name}"))?;
    if found.owner == rustix::process::geteuid().as_raw() {
        Ok(directory)
    } else {
        Err(Failure::permanent(format_args!("{name} belongs to uid {}, not to this account", found.owner)))
    }
}

fn confine(command: &Command, sandbox: &OwnedFd, place: &Names, account: &Account) -> Outcome {
    let system = system::grants()?;
    if let Some(covering) = covering(&system, place.parent.as_fd())? {
        return Err(Failure::new(
            Kind::SiteFault,
            format_args!(
                "the directory of the sandboxes {} lies below {}, which every job can read; use another one for EXECUTE",
                Escaped(&place.parent_path),
                Escaped(&covering.path)
            ),
        ));
    }
    // A home that is another's holds nothing private of this account: system accounts have such.
    let own = |home: &OwnedFd| Metadata::of(home).is_ok_and(|found| found.owner == rustix::process::geteuid().as_raw());
    if let Some(home) = account.open_home().filter(own)
        && let Some(covering) = covering(&system, home.as_fd())?
    {
        return Err(Failure::new(
            Kind::SiteFault,
            format_args!(
                "this account's home directory lies below {}, which every job can read; give the account another one",
                Escaped(&covering.path)
            ),
        ));
    }
    capabilities::give_up().map_err(|failure| Failure::new(Kind::SiteFault, failure))?;
    domain::enter(sandbox.as_fd(), command.file.as_fd(), &system)?;
    filter::install()
}

/// The grant that a directory lies below, or is, if there is one.
fn covering<'g>(grants: &'g [system::Grant], directory: BorrowedFd<'_>) -> Outcome<Option<&'g system::Grant>> {
    let above = ancestors(directory).map_err(site_fault("cannot look at the directories above what is the pilot's"))?;
    Ok(grants.iter().find(|grant| above.contains(&grant.identity)))
}

/// A directory and all above it, up to the root.
fn ancestors(directory: impl AsFd) -> rustix::io::Result<Vec<Identity>> {
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

/// The command's environment, built from nothing.
fn environment(account: &Account, sandbox: &[u8], proxy: Option<Vec<u8>>) -> Vec<Vec<u8>> {
    let set = |name: &str, value: &[u8]| [name.as_bytes(), b"=", value].concat();
    let passed_on = ["GLEXEC_ENV", "GLEXEC_ID"]
        .into_iter()
        .filter_map(|name| Some(set(name, std::env::var_os(name)?.as_os_str().as_bytes())));
    let own = [
        set("HOME", sandbox),
        // There is no /tmp in the domain.
        set("TMPDIR", sandbox),
        set("USER", &account.name),
        set("LOGNAME", &account.name),
        set("PATH", SEARCH_PATH),
    ];
    own.into_iter().chain(proxy.map(|path| set("X509_USER_PROXY", &path))).chain(passed_on).collect()
}

fn execute(program: &CString, argv: &[Vec<u8>], environment: &[Vec<u8>]) -> Failure {
    let terminated = |list: &[Vec<u8>]| list.iter().cloned().map(CString::new).collect::<Result<Vec<_>, _>>();
    let (argv, environment) = match (terminated(argv), terminated(environment)) {
        (Ok(argv), Ok(environment)) => (argv, environment),
        _ => return Failure::permanent("an argument or a variable holds a NUL"),
    };
    let error = sys::exec(program, argv.iter().map(CString::as_c_str), environment.iter().map(CString::as_c_str));
    Failure::new(Kind::ExecFailed, format_args!("cannot execute {}: {error}", Escaped(program.to_bytes())))
}

/// Turns an error into one that the administrator has to remedy.
fn site_fault<E: Display>(context: &str) -> impl FnOnce(E) -> Failure {
    move |error| Failure::new(Kind::SiteFault, format_args!("{context}: {error}"))
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

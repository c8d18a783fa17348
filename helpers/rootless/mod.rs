//! A switcher for sites without one: runs the command as the caller's own account, in a domain that reaches the job's
//! sandbox and the system's programs, and nothing of the pilot.
//!
//! # The boundary
//!
//! The kernel draws it with three means that any process may take on, that all descendants inherit and that nothing
//! takes off:
//!
//! * no capabilities, where the caller has any (a container's may), since neither of the others holds them all;
//! * a Landlock domain ([`boundary`]): which files can be opened, made, renamed or removed; no signal to, no tracing of
//!   and no abstract UNIX socket to anything outside;
//! * seccomp filters ([`filter`]) for what Landlock does not know: sockets with a path, input put into a terminal,
//!   set-id files, owners and attributes of files by name, scheduling of other processes, news of what happens to files
//!   (inotify, fanotify), System V IPC, keyrings and other things that belong to the account as a whole.
//!
//! # What it does not protect from
//!
//! The job has the pilot's user id. Landlock does not know about metadata, so the job can see that a file of the pilot
//! exists and how large it is, can read where a symbolic link leads, and can change permission bits and times of what
//! the pilot owns, if it knows the path (not the content, and not the set-id bits): `EXECUTE`, `S.condor` and the
//! sandboxes of other jobs are among that, so that it can disturb those jobs and the helpers. It uses up the account's
//! limits (processes, descriptors under way, quota). The network is open to it. What the pilot keeps below the
//! directories of programs is readable to it.

#![forbid(unsafe_code)]

mod account;
mod ancestors;
mod arguments;
mod boundary;
mod command;
mod credential;
mod fault;
mod filter;
mod mounts;
mod system;

use self::account::Account;
pub use self::arguments::{Asked, parse};
use self::command::Command;
use self::credential::Credential;
use self::fault::site_fault;
use crate::ground::argv::Arguments;
use crate::ground::escape::Escaped;
use crate::ground::frame;
use crate::ground::outcome::{Failure, Kind, Outcome};
use crate::ground::program::Program;
use crate::ground::terminal::leave_terminal;
use crate::sys;
use std::ffi::CString;
use std::os::unix::ffi::OsStrExt;
use std::process::ExitCode;

const HELP: &str = include_str!("help.txt");

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

/// Becomes the command. Comes back only with the reason why it did not.
fn switch(path: &[u8], argv: &[Vec<u8>]) -> Outcome<Failure> {
    let command = Command::open(path)?;
    let credential = Credential::from_environment()?;
    let account = Account::find(rustix::process::geteuid().as_raw());
    leave_terminal().map_err(site_fault("cannot leave the caller's terminal"))?;

    // The exception. The peer is not the job's program but ours: it must create a sandbox beside the pilot's directory,
    // and must signal processes inside the domain of a job, which is what the domain forbids to all that are not in
    // that very domain; it takes on a domain of its own, tighter than this one, before it reads what the job can have
    // made. Nobody gains by it: the pilot could start the peer without us, and in a process that is in a domain
    // already, everything that it executes stays there. It is this exact file that counts, not a name, and whoever
    // could replace it could replace this program, too.
    let peer = command::own_peer().map_err(|failure| Failure::new(Kind::SiteFault, failure))?;
    let (program, proxy) = if command.is(&peer) {
        // Tells the peer that it was not a switcher which has gained privileges and should have changed the account.
        rustix::thread::set_no_new_privs(true).map_err(site_fault("cannot give privileges up"))?;
        (peer, None)
    } else {
        let home = account.open_home()?;
        let (sandbox, proxy) = credential.sandbox(home.as_ref())?;
        boundary::confine(&command, &sandbox, &credential.names, home.as_ref())?;
        (command.path, proxy)
    };
    let environment = environment(&account, &credential.names.sandbox_path(), proxy);
    Ok(execute(&program, argv, &environment))
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
    let error = sys::exec::exec(program, argv.iter().map(CString::as_c_str), environment.iter().map(CString::as_c_str));
    Failure::new(Kind::ExecFailed, format_args!("cannot execute {}: {error}", Escaped(program.to_bytes())))
}

//! A switcher with glexec's contract, for tests: it maps every credential to one local account. Setuid root, and so it
//! honours nothing of its caller's but what the contract names; what a test wants of it stands in files beside it,
//! which are root's:
//!
//! - `switcher.conf`: lines `key = value`, see [`Settings`]; missing means the defaults
//! - `switcher.log`: one line per call, see [`record`]
//! - `switcher.failures`: how often it has failed so far

mod account;
mod identity;
mod settings;

use account::Account;
use settings::{Failing, Settings};
use std::ffi::OsString;
use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, exit};
use std::time::Duration;

/// The caller has to change something.
const CALLER: i32 = 201;
/// The administrator has to.
const SITE: i32 = 202;

fn main() {
    let caller = identity::real_user();
    let own = std::fs::read_link("/proc/self/exe").unwrap_or_else(|why| fail(SITE, &format!("/proc/self/exe: {why}")));
    let beside = own.parent().map(Path::to_path_buf).unwrap_or_default();
    let settings = Settings::read(&beside.join("switcher.conf")).unwrap_or_else(|why| fail(SITE, &why));
    record(&beside).unwrap_or_else(|why| fail(SITE, &format!("switcher.log: {why}")));

    let mut errors = std::io::stderr();
    for piece in vec![b'x'; settings.print].chunks(4096) {
        let _ = errors.write_all(piece);
    }
    if settings.hang {
        loop {
            std::thread::sleep(Duration::from_secs(3600));
        }
    }
    if let Some(code) = failure_due(&beside, settings.fail) {
        fail(code, "refused, as the test wants it");
    }

    let mut arguments = std::env::args_os().skip(1);
    let command = PathBuf::from(arguments.next().unwrap_or_else(|| fail(CALLER, "usage: COMMAND [ARGS...]")));
    check_command(&command).unwrap_or_else(|why| fail(CALLER, &format!("{}: {why}", command.display())));
    identity::as_caller(caller, check_proxy).unwrap_or_else(|why| fail(CALLER, &format!("GLEXEC_CLIENT_CERT: {why}")));
    let account = Account::find(&settings.account).unwrap_or_else(|why| fail(SITE, &why));

    let mut job = Command::new(&command);
    job.args(arguments).env_clear().envs(environment(&account));
    if settings.linger {
        exit(linger(&mut job, &account));
    }
    identity::become_account(&account).unwrap_or_else(|why| fail(SITE, &why));
    let why = job.exec();
    fail(126, &format!("{}: {why}", command.display()))
}

fn fail(code: i32, why: &str) -> ! {
    let _ = writeln!(std::io::stderr(), "test-switcher: {why}");
    exit(code)
}

/// Appends `args==HEX,=HEX env=HEX=HEX,HEX=HEX fds=N:HEX,N:HEX cwd=HEX`: the arguments, the environment, the open
/// descriptors with what `/proc/self/fd` says of them, and the working directory. Where the caller's limit does not let
/// the log grow there is no line: the limit is meant for what comes after.
fn record(beside: &Path) -> std::io::Result<()> {
    // Read before the log is opened, so that it is not among them; and read_dir's own is gone when its links are read.
    let numbers: Vec<OsString> =
        std::fs::read_dir("/proc/self/fd")?.filter_map(Result::ok).map(|entry| entry.file_name()).collect();
    let fds: Vec<String> = numbers
        .into_iter()
        .filter_map(|number| {
            let target = std::fs::read_link(Path::new("/proc/self/fd").join(&number)).ok()?;
            Some(format!("{}:{}", number.display(), hex(target.as_os_str().as_bytes())))
        })
        .collect();
    let arguments: Vec<String> =
        std::env::args_os().skip(1).map(|argument| format!("={}", hex(argument.as_bytes()))).collect();
    let variables: Vec<String> = std::env::vars_os()
        .map(|(name, value)| format!("{}={}", hex(name.as_bytes()), hex(value.as_bytes())))
        .collect();
    let cwd = std::fs::read_link("/proc/self/cwd").unwrap_or_default();
    let line = format!(
        "args={} env={} fds={} cwd={}\n",
        arguments.join(","),
        variables.join(","),
        fds.join(","),
        hex(cwd.as_os_str().as_bytes())
    );
    let mut log = OpenOptions::new().append(true).create(true).mode(0o600).open(beside.join("switcher.log"))?;
    let longer = log.metadata()?.len() + line.len() as u64;
    if longer <= identity::file_limit() { log.write_all(line.as_bytes()) } else { Ok(()) }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The exit code, if this call is one that is to fail.
fn failure_due(beside: &Path, failing: Failing) -> Option<i32> {
    let Failing { code, times } = failing;
    let path = beside.join("switcher.failures");
    let count = || -> std::io::Result<u64> {
        let mut file =
            OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(&path)?;
        file.lock()?;
        let mut text = String::new();
        file.read_to_string(&mut text)?;
        let failed = text.trim().parse().unwrap_or(0);
        if failed < times {
            file.rewind()?;
            write!(file, "{}", failed + 1)?;
        }
        Ok(failed)
    };
    match count() {
        Ok(failed) if failed < times => Some(code),
        Ok(_) => None,
        Err(why) => fail(SITE, &format!("switcher.failures: {why}")),
    }
}

/// The command must be the absolute path of a real file that can be executed.
fn check_command(command: &Path) -> Result<(), String> {
    let found = std::fs::symlink_metadata(command).map_err(|why| why.to_string())?;
    if !command.is_absolute() {
        Err("not an absolute path".into())
    } else if !found.is_file() {
        Err("not a regular file".into())
    } else if found.mode() & 0o111 == 0 {
        Err("not executable".into())
    } else {
        Ok(())
    }
}

/// The proxy must be a non-empty regular file of the caller's that is closed to all others. Runs with the caller's
/// rights.
fn check_proxy(caller: u32) -> Result<(), String> {
    let path = std::env::var_os("GLEXEC_CLIENT_CERT").ok_or("not set")?;
    let file: File = OpenOptions::new()
        .read(true)
        .custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK | libc::O_CLOEXEC)
        .open(path)
        .map_err(|why| why.to_string())?;
    let found = file.metadata().map_err(|why| why.to_string())?;
    if !found.is_file() {
        Err("not a regular file".into())
    } else if found.uid() != caller {
        Err("not the caller's".into())
    } else if found.mode() & 0o077 != 0 {
        Err("open to others".into())
    } else if found.len() == 0 {
        Err("empty".into())
    } else {
        Ok(())
    }
}

/// What the target finds: what glexec passes on, and what it sets.
fn environment(account: &Account) -> Vec<(&'static str, OsString)> {
    let passed_on = ["GLEXEC_ENV", "GLEXEC_ID"].into_iter().filter_map(|name| Some((name, std::env::var_os(name)?)));
    let own = [
        ("HOME", account.home.clone()),
        ("USER", account.name.clone()),
        ("LOGNAME", account.name.clone()),
        ("PATH", "/usr/local/bin:/usr/bin:/bin".into()),
    ];
    own.into_iter().chain(passed_on).collect()
}

/// Stays while the command runs, still holding every descriptor (which a good switcher does not).
fn linger(job: &mut Command, account: &Account) -> i32 {
    let child = identity::fork().unwrap_or_else(|why| fail(SITE, &why));
    let Some(child) = child else {
        identity::become_account(account).unwrap_or_else(|why| fail(SITE, &why));
        let why = job.exec();
        fail(126, &why.to_string())
    };
    let status = identity::wait(child).unwrap_or_else(|why| fail(SITE, &why));
    let status = ExitStatus::from_raw(status);
    match (status.code(), status.signal()) {
        (Some(201..=204), _) => 204,
        (Some(code), _) => code,
        (None, signal) => 128 + signal.unwrap_or(0),
    }
}

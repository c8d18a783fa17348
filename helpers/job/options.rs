//! The command line of `condor_glexec_job`.

#![forbid(unsafe_code)]

use super::environment::{Variable, add, layered, parse_file};
use super::{Input, Request};
use crate::files::component::Component;
use crate::ground::argv::{Arguments, decimal};
use crate::ground::escape::Escaped;
use crate::ground::installation::beside_self;
use crate::ground::limits;
use crate::ground::outcome::{Failure, OrFail, Outcome};
use crate::ground::program::Program;
use core::ops::RangeInclusive;
use core::time::Duration;
use std::ffi::OsString;
use std::io::Read;
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;

/// What `--help` prints.
pub const HELP: &str = "\
usage: condor_glexec_job [OPTIONS] -- COMMAND [ARGS...]

Runs one job as the account that its proxy maps to, as HTCondor's Starter and ProcD do: hands a sandbox over, starts
the job in it, watches it, ends all its processes, takes the sandbox back, and ends as the job did: with the same exit
code, or by the same signal. COMMAND is an absolute path, or a path below the sandbox; there is no search along PATH.

What the job gets
  --input FILE[=NAME]  copy FILE into the sandbox, as NAME (default: its own name); repeatable. The last = counts.
  --env NAME=VALUE     set a variable; repeatable. The caller's own environment does not reach the job.
  --env-file FILE      set the variables in FILE: NAME=VALUE entries, each ended by a NUL if there is a NUL in the file
                       (env -0), else by a newline; nothing is quoted. --env wins over it.
  --stdin FILE         the job's standard input (default: ours)
  --stdout FILE        the job's standard output (default: ours); made or emptied
  --stderr FILE        the job's standard error (default: ours); made or emptied. The same name as for --stdout is
                       opened once.
  --proxy FILE         the job's proxy: this account's, mode 0600. It is copied into the sandbox under its own name (unless it is
                       there already), and the copy is removed afterwards.
  TMPDIR, TMP, TEMP, _CONDOR_SCRATCH_DIR (the sandbox) and, with --proxy, X509_USER_PROXY are set unless you set them.

Where it runs
  --switcher PATH      the switcher (glexec); needs --proxy. Default: glexec_rootless beside this program, which stays
                       in this account and confines the job.
  --sandbox DIR        use this directory as the sandbox; its parent has to belong to this account (and, with --switcher, be
                       writable for the target account: mode 1777)
  --execute DIR        make the sandbox below DIR (same conditions). Default: a directory that is made for this job beside
                       --output, or else in $TMPDIR or /tmp, and removed afterwards
  --output DIR         leave the output (all that is in the sandbox afterwards) in DIR, on the same file system; DIR must not
                       exist or be empty. Default: it stays in the sandbox; a new sandbox that is empty is removed.

How long
  --time-limit SECONDS  end the job when it has run as long as this
  --grace SECONDS       time between SIGTERM and SIGKILL (default: 10)
  --retries R           call the switcher again up to R times after it exited with 202 or 203 (default: 3)
  --delay D             wait at least D seconds before that (default: 5)

What is told
  --json FILE          write one line of JSON about what happened to FILE, or to stdout if FILE is -
  --verbose            say on stderr what is being done; the default on a terminal

On SIGTERM, SIGINT, SIGHUP, or at the time limit, the job's first process is sent SIGTERM, and after the grace period (or a second
signal) all its processes are stopped and killed. When the first process ends by itself, the others are killed as well. The
sandbox is taken back in every case, and what is in it is never removed before it is where it belongs; if that fails, a message says where it
is. Signals that come meanwhile do not interrupt that.

Exit codes: the job's; 1 usage; 125 the job could not be run, or its output not be brought back.
";

/// The grace period, in seconds, unless there is another.
const GRACE: u32 = 10;

/// How often a switcher's refusal is tried again, unless it is said (HTCondor's own default).
const RETRIES: u32 = 3;

/// The least pause between two tries, in seconds, unless it is said (HTCondor's own default).
const DELAY: u32 = 5;

/// What the program is asked for: the job, and how to tell about it.
pub struct Options {
    /// The job.
    pub request: Request,
    /// Where the record is to be written, if anywhere.
    pub json: Option<Destination>,
    /// Whether to say what is being done, even if stderr is no terminal.
    pub verbose: bool,
}

/// Where the record goes.
pub enum Destination {
    /// Our standard output.
    Stdout,
    /// This file.
    File(PathBuf),
}

/// Options that may be given once, as they came.
#[derive(Default)]
struct Single {
    env_file: Option<Vec<u8>>,
    stdin: Option<Vec<u8>>,
    stdout: Option<Vec<u8>>,
    stderr: Option<Vec<u8>>,
    proxy: Option<Vec<u8>>,
    switcher: Option<Vec<u8>>,
    sandbox: Option<Vec<u8>>,
    execute: Option<Vec<u8>>,
    output: Option<Vec<u8>>,
    time_limit: Option<Vec<u8>>,
    grace: Option<Vec<u8>>,
    retries: Option<Vec<u8>>,
    delay: Option<Vec<u8>>,
    json: Option<Vec<u8>>,
}

impl Single {
    fn slot(&mut self, option: &[u8]) -> Option<&mut Option<Vec<u8>>> {
        Some(match option {
            b"--env-file" => &mut self.env_file,
            b"--stdin" => &mut self.stdin,
            b"--stdout" => &mut self.stdout,
            b"--stderr" => &mut self.stderr,
            b"--proxy" => &mut self.proxy,
            b"--switcher" => &mut self.switcher,
            b"--sandbox" => &mut self.sandbox,
            b"--execute" => &mut self.execute,
            b"--output" => &mut self.output,
            b"--time-limit" => &mut self.time_limit,
            b"--grace" => &mut self.grace,
            b"--retries" => &mut self.retries,
            b"--delay" => &mut self.delay,
            b"--json" => &mut self.json,
            _ => return None,
        })
    }
}

/// Reads the command line.
///
/// # Errors
/// Usage; or when the environment file cannot be read.
pub fn parse(mut arguments: Arguments) -> Outcome<Options> {
    let mut single = Single::default();
    let mut inputs = Vec::new();
    let mut set = Vec::new();
    let mut verbose = false;
    loop {
        let option = arguments.take("-- COMMAND")?;
        match option.as_slice() {
            b"--" => break,
            b"--verbose" if !verbose => verbose = true,
            b"--input" => inputs.push(input(arguments.take("FILE of --input")?)?),
            b"--env" => add(&mut set, Variable::new(arguments.take("NAME=VALUE of --env")?)?)?,
            other => match single.slot(other) {
                None if other == b"--verbose" => return Err(twice(other)),
                None => {
                    return Err(Failure::usage(format_args!(
                        "{} is not an option; -- has to stand before the command",
                        Escaped(other)
                    )));
                }
                Some(Some(_)) => return Err(twice(other)),
                Some(slot) => *slot = Some(arguments.take(&format!("of {}", Escaped(other)))?),
            },
        }
    }
    let command = arguments.rest();
    if command.first().is_none_or(Vec::is_empty) {
        return Err(Failure::usage("the command is missing behind --"));
    }
    if inputs.len() > limits::INPUTS {
        return Err(Failure::usage(format_args!("more than {} input files; use --sandbox", limits::INPUTS)));
    }
    if single.switcher.is_some() && single.proxy.is_none() {
        return Err(Failure::usage("--switcher needs --proxy: the switcher maps the proxy to an account"));
    }
    if single.sandbox.is_some() && single.execute.is_some() {
        return Err(Failure::usage("--sandbox and --execute exclude each other"));
    }

    let limit = seconds("--time-limit", &single.time_limit, 1..=limits::JOB_SECONDS)?;
    let grace = seconds("--grace", &single.grace, 0..=limits::JOB_SECONDS)?.unwrap_or(GRACE);
    let retries = seconds("--retries", &single.retries, 0..=limits::RETRIES)?.unwrap_or(RETRIES);
    let delay = seconds("--delay", &single.delay, 0..=limits::RETRY_DELAY_SECONDS)?.unwrap_or(DELAY);
    let json = path("--json", single.json)?
        .map(|path| if path.as_os_str() == "-" { Destination::Stdout } else { Destination::File(path) });
    let mut request = Request {
        helpers: helpers()?,
        switcher: path("--switcher", single.switcher)?,
        proxy: path("--proxy", single.proxy)?,
        sandbox: path("--sandbox", single.sandbox)?,
        execute: path("--execute", single.execute)?,
        output: path("--output", single.output)?,
        inputs,
        environment: Vec::new(),
        stdin: path("--stdin", single.stdin)?,
        stdout: path("--stdout", single.stdout)?,
        stderr: path("--stderr", single.stderr)?,
        time_limit: limit.map(|limit| Duration::from_secs(limit.into())),
        grace: Duration::from_secs(grace.into()),
        retries,
        delay,
        command,
    };
    let from_file = match path("--env-file", single.env_file)? {
        None => Vec::new(),
        Some(file) => parse_file(&read_bounded(&file)?)?,
    };
    request.environment = layered([&[], &from_file, &set]);
    Ok(Options { request, json, verbose })
}

fn twice(option: &[u8]) -> Failure {
    Failure::usage(format_args!("{} is given twice", Escaped(option)))
}

/// A path that was given; empty is none.
fn path(option: &str, value: Option<Vec<u8>>) -> Outcome<Option<PathBuf>> {
    match value {
        Some(value) if value.is_empty() || value.len() >= limits::PATH_BYTES => {
            Err(Failure::usage(format_args!("{option} needs a path of 1 to {} bytes", limits::PATH_BYTES - 1)))
        }
        value => Ok(value.map(|value| PathBuf::from(OsString::from_vec(value)))),
    }
}

fn seconds(option: &str, value: &Option<Vec<u8>>, range: RangeInclusive<u32>) -> Outcome<Option<u32>> {
    let Some(text) = value else { return Ok(None) };
    decimal(text).filter(|number| range.contains(number)).map(Some).ok_or_else(|| {
        Failure::usage(format_args!(
            "{option} is {}; it must be a decimal number from {} to {}",
            Escaped(text),
            range.start(),
            range.end()
        ))
    })
}

/// `FILE` or `FILE=NAME`, split at the last `=`.
fn input(argument: Vec<u8>) -> Outcome<Input> {
    let split = argument.iter().rposition(|byte| *byte == b'=');
    let (file, name) = match split {
        Some(at) => (argument.get(..at), argument.get(at.saturating_add(1)..)),
        None => (Some(&argument[..]), argument.rsplit(|byte| *byte == b'/').next()),
    };
    let (file, name) = (file.unwrap_or_default().to_vec(), name.unwrap_or_default());
    let refused = |why: &dyn core::fmt::Display| Failure::usage(format_args!("--input {}: {why}", Escaped(&argument)));
    let name = Component::new(name)
        .map_err(|why| refused(&format_args!("its name in the sandbox is {}, {why}; say FILE=NAME", Escaped(name))))?;
    let file = path("--input", Some(file))?.ok_or_else(|| refused(&"no file"))?;
    Ok(Input { file, name })
}

fn read_bounded(file: &std::path::Path) -> Outcome<Vec<u8>> {
    let failed = || format!("cannot read {}", Escaped(file.as_os_str().as_encoded_bytes()));
    let mut text = Vec::new();
    let most = u64::try_from(limits::ENVIRONMENT_BYTES).or_fail(failed)?;
    let read = std::fs::File::open(file).or_fail(failed)?.take(most.saturating_add(1)).read_to_end(&mut text);
    if read.or_fail(failed)? > limits::ENVIRONMENT_BYTES {
        return Err(Failure::usage(format_args!("{}: it has more than {most} bytes", failed())));
    }
    Ok(text)
}

/// The directory of this program.
fn helpers() -> Outcome<PathBuf> {
    let mut path = PathBuf::from(OsString::from_vec(beside_self(Program::Job)?));
    path.pop();
    Ok(path)
}

#[cfg(test)]
mod tests {
    use super::{HELP, Options, parse};
    use crate::ground::argv::Arguments;
    use crate::ground::outcome::{Kind, Outcome};

    fn parsed(arguments: &[&str]) -> Outcome<Options> {
        let argv = std::iter::once("condor_glexec_job").chain(arguments.iter().copied());
        parse(Arguments::new(argv.map(Into::into).collect())?)
    }

    #[test]
    fn the_command_is_taken_as_it_is() {
        let options = parsed(&["--", "a b", "--", "--env", ""]).unwrap();
        assert_eq!(options.request.command, [&b"a b"[..], b"--", b"--env", b""]);
        assert!(options.request.switcher.is_none() && options.json.is_none() && !options.verbose);
    }

    #[test]
    fn wrong_command_lines_are_usage_errors() {
        for bad in [
            &[][..],
            &["--"],
            &["--", ""],
            &["true"],
            &["-v", "--", "true"],
            &["--frobnicate", "x", "--", "true"],
            &["--output", "--", "true"],
            &["--output", "", "--", "true"],
            &["--output", "a", "--output", "a", "--", "true"],
            &["--verbose", "--verbose", "--", "true"],
            &["--env", "A", "--", "true"],
            &["--env", "=1", "--", "true"],
            &["--env", "A=1", "--env", "A=1", "--", "true"],
            &["--time-limit", "0", "--", "true"],
            &["--time-limit", "+1", "--", "true"],
            &["--time-limit", "1000000001", "--", "true"],
            &["--grace", "-1", "--", "true"],
            &["--retries", "1001", "--", "true"],
            &["--delay", "3601", "--", "true"],
            &["--input", "a/", "--", "true"],
            &["--input", "a=..", "--", "true"],
            &["--input", "=a", "--", "true"],
            &["--input", "", "--", "true"],
            &["--switcher", "/usr/sbin/glexec", "--", "true"],
            &["--sandbox", "a", "--execute", "b", "--", "true"],
            &["--help", "--", "true"],
        ] {
            assert_eq!(parsed(bad).err().map(|failure| failure.kind), Some(Kind::Usage), "{bad:?}");
        }
    }

    #[test]
    fn bounds_are_exact() {
        for good in [["--time-limit", "1000000000"], ["--grace", "0"], ["--retries", "1000"], ["--delay", "3600"]] {
            assert!(parsed(&[good[0], good[1], "--", "true"]).is_ok(), "{good:?}");
        }
    }

    #[test]
    fn inputs_are_named() {
        let options = parsed(&["--input", "/x/a", "--input", "b=c=d", "--", "true"]).unwrap();
        let names: Vec<_> =
            options.request.inputs.iter().map(|input| (input.file.to_str().unwrap(), input.name.bytes())).collect();
        assert_eq!(names, [("/x/a", &b"a"[..]), ("b=c", b"d")]);
    }

    #[test]
    fn every_option_is_in_the_help() {
        for option in [
            "--env-file",
            "--stdin",
            "--stdout",
            "--stderr",
            "--proxy",
            "--switcher",
            "--sandbox",
            "--execute",
            "--output",
            "--time-limit",
            "--grace",
            "--retries",
            "--delay",
            "--json",
            "--verbose",
            "--input",
            "--env ",
        ] {
            assert!(HELP.contains(&format!("\n  {option}")), "{option}");
        }
    }
}

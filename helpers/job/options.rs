//! The command line of `condor_glexec_job`.

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
use std::path::{Path, PathBuf};

/// What `--help` prints.
pub(super) const HELP: &str = "\
usage: condor_glexec_job [OPTIONS] -- COMMAND [ARGS...]
       condor_glexec_job --help | -h | --version | -V

Runs one job as the account that its proxy maps to, as HTCondor's Starter and ProcD do: hands a sandbox over, starts
the job in it, watches it, ends all its processes, takes the sandbox back, and ends as the job did: with the same exit
code, or by the same signal. COMMAND is an absolute path, or a path below the sandbox; there is no search along PATH.

What the job gets
  --input FILE[=NAME]  copy FILE into the sandbox, as NAME (default: its own name); repeatable. The last = counts.
  --env NAME=VALUE     set a variable; repeatable. The caller's own environment does not reach the job.
  --env-file FILE      set the variables in FILE: NAME=VALUE entries, each ended by a NUL if there is a NUL in the file
                       (env -0), else by a newline; nothing is quoted. --env wins over it.
  --stdin FILE         the job's standard input (default: ours)
  --stdout FILE        the job's standard output (default: ours); made or emptied. A file in the sandbox (--sandbox), or
                       below --output, is opened in the job's copy and comes back with it.
  --stderr FILE        the job's standard error, in the same way. The same file as for --stdout is opened once, but in
                       the sandbox refused.
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
  --allow-root         run also as root, where uid 0 is a container's: the job is root there, and what keeps it from files
                       does not keep it from changing modes, owners and times of what belongs to root
  --output DIR         leave the output (all that is in the sandbox afterwards) in DIR, on the same file system; DIR must not
                       exist or be empty. Default: it stays in the sandbox; a new sandbox that is empty is removed.

How long
  --time-limit SECONDS  end the job when it has run as long as this
  --grace SECONDS       time between SIGTERM and SIGKILL (default: 10)
  --retries R           call the switcher again up to R times after it exited with 202 or 203 (default: 3)
  --delay D             wait at least D seconds before that (default: 5)

What is told
  --json FILE          write one line of JSON about what happened to FILE, which must be no stream of the job's; or to
                       our own standard output if FILE is -, with --stdout
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

/// What becomes of an option on the command line.
enum Goes {
    /// It stands alone.
    Flag(fn(&mut Given)),
    /// A path follows, which goes here.
    Path(fn(&mut Given) -> &mut Option<PathBuf>),
    /// A number in these bounds follows.
    Number(RangeInclusive<u32>, fn(&mut Given, u32)),
    /// It may come again and again, each time with an argument of this kind.
    Repeated(&'static str, fn(&mut Given, Vec<u8>) -> Outcome),
}

/// One option.
struct Row(&'static str, Goes);

/// All options.
const OPTIONS: [Row; 18] = [
    Row("--input", Goes::Repeated("FILE", Given::add_input)),
    Row("--env", Goes::Repeated("NAME=VALUE", Given::add_variable)),
    Row("--env-file", Goes::Path(|given| &mut given.env_file)),
    Row("--stdin", Goes::Path(|given| &mut given.request.stdin)),
    Row("--stdout", Goes::Path(|given| &mut given.request.stdout)),
    Row("--stderr", Goes::Path(|given| &mut given.request.stderr)),
    Row("--proxy", Goes::Path(|given| &mut given.request.proxy)),
    Row("--switcher", Goes::Path(|given| &mut given.request.switcher)),
    Row("--sandbox", Goes::Path(|given| &mut given.request.sandbox)),
    Row("--execute", Goes::Path(|given| &mut given.request.execute)),
    Row("--output", Goes::Path(|given| &mut given.request.output)),
    Row(
        "--time-limit",
        Goes::Number(1..=limits::JOB_SECONDS, |given, limit| given.request.time_limit = Some(seconds(limit))),
    ),
    Row("--grace", Goes::Number(0..=limits::JOB_SECONDS, |given, grace| given.request.grace = seconds(grace))),
    Row("--retries", Goes::Number(0..=limits::RETRIES, |given, retries| given.request.retries = retries)),
    Row("--delay", Goes::Number(0..=limits::RETRY_DELAY_SECONDS, |given, delay| given.request.delay = delay)),
    Row("--json", Goes::Path(|given| &mut given.json)),
    Row("--allow-root", Goes::Flag(|given| given.request.allow_root = true)),
    Row("--verbose", Goes::Flag(|given| given.verbose = true)),
];

/// What has been given so far, in place of what holds otherwise.
struct Given {
    request: Request,
    env_file: Option<PathBuf>,
    variables: Vec<Variable>,
    json: Option<PathBuf>,
    verbose: bool,
}

impl Given {
    fn nothing() -> Self {
        let request = Request {
            helpers: PathBuf::new(),
            switcher: None,
            proxy: None,
            sandbox: None,
            execute: None,
            output: None,
            inputs: Vec::new(),
            environment: Vec::new(),
            stdin: None,
            stdout: None,
            stderr: None,
            record: None,
            allow_root: false,
            time_limit: None,
            grace: seconds(GRACE),
            retries: RETRIES,
            delay: DELAY,
            command: Vec::new(),
        };
        Given { request, env_file: None, variables: Vec::new(), json: None, verbose: false }
    }

    /// Takes all options, up to the `--` that stands before the command.
    fn take_all(&mut self, arguments: &mut Arguments) -> Outcome {
        let mut seen = Vec::new();
        loop {
            let word = arguments.take("-- COMMAND")?;
            if word == b"--" {
                return Ok(());
            }
            let (option, attached) = match word.iter().position(|byte| *byte == b'=') {
                Some(at) => (word.get(..at).unwrap_or_default(), word.get(at.saturating_add(1)..)),
                None => (&word[..], None),
            };
            let Some(Row(name, goes)) = OPTIONS.iter().find(|Row(name, _)| name.as_bytes() == option) else {
                return Err(Failure::usage(format_args!(
                    "{} is not an option; -- has to stand before the command",
                    Escaped(&word)
                )));
            };
            if !matches!(goes, Goes::Repeated(..)) {
                if seen.contains(name) {
                    return Err(Failure::usage(format_args!("{} is given twice", Escaped(&word))));
                }
                seen.push(*name);
            }
            self.take(name, goes, attached.map(<[u8]>::to_vec), arguments)?;
        }
    }

    /// Takes one option's argument, if it has one: what is `attached` (`--option=ARGUMENT`), or the next word.
    fn take(&mut self, name: &str, goes: &Goes, attached: Option<Vec<u8>>, arguments: &mut Arguments) -> Outcome {
        if attached.is_some() && matches!(goes, Goes::Flag(_)) {
            return Err(Failure::usage(format_args!("{name} takes no argument")));
        }
        let argument = |kind: &str| attached.map_or_else(|| arguments.take(&format!("{kind} of {name}")), Ok);
        match goes {
            Goes::Flag(set) => set(self),
            Goes::Path(place) => *place(self) = Some(path(name, argument("FILE or DIR")?)?),
            Goes::Number(range, set) => set(self, number(name, &argument("NUMBER")?, range)?),
            Goes::Repeated(kind, add) => add(self, argument(kind)?)?,
        }
        Ok(())
    }

    fn add_input(&mut self, text: Vec<u8>) -> Outcome {
        self.request.inputs.push(input(text)?);
        Ok(())
    }

    fn add_variable(&mut self, text: Vec<u8>) -> Outcome {
        add(&mut self.variables, Variable::new(text)?)
    }

    /// Whether the options go together.
    fn check(&self) -> Outcome {
        let request = &self.request;
        if request.command.first().is_none_or(Vec::is_empty) {
            return Err(Failure::usage("the command is missing behind --"));
        }
        if request.inputs.len() > limits::INPUTS {
            return Err(Failure::usage(format_args!("more than {} input files; use --sandbox", limits::INPUTS)));
        }
        if request.switcher.is_some() && request.proxy.is_none() {
            return Err(Failure::usage("--switcher needs --proxy: the switcher maps the proxy to an account"));
        }
        if self.json.as_deref().is_some_and(is_stdout) && request.stdout.is_none() {
            return Err(Failure::usage(
                "--json - needs --stdout FILE: else the job would write there, too; or --json FILE",
            ));
        }
        if request.sandbox.is_some() && request.execute.is_some() {
            return Err(Failure::usage("--sandbox and --execute exclude each other"));
        }
        Ok(())
    }
}

/// Reads the command line.
///
/// # Errors
/// Usage; or when the environment file cannot be read.
pub fn parse(mut arguments: Arguments) -> Outcome<Options> {
    let mut given = Given::nothing();
    given.take_all(&mut arguments)?;
    given.request.command = arguments.rest();
    given.check()?;
    let Given { mut request, env_file, variables, json, verbose } = given;
    let from_file = env_file.map_or(Ok(Vec::new()), |file| parse_file(&read_bounded(&file)?))?;
    request.environment = layered([&[], &from_file, &variables]);
    request.helpers = helpers()?;
    let json = json.map(|path| if is_stdout(&path) { Destination::Stdout } else { Destination::File(path) });
    Ok(Options { request, json, verbose })
}

fn is_stdout(path: &Path) -> bool {
    path.as_os_str() == "-"
}

/// A path that was given; empty is none.
fn path(option: &str, value: Vec<u8>) -> Outcome<PathBuf> {
    if value.is_empty() || value.len() >= limits::PATH_BYTES {
        let most = limits::PATH_BYTES - 1;
        return Err(Failure::usage(format_args!("{option} needs a path of 1 to {most} bytes")));
    }
    Ok(PathBuf::from(OsString::from_vec(value)))
}

fn number(option: &str, text: &[u8], range: &RangeInclusive<u32>) -> Outcome<u32> {
    decimal(text).filter(|number| range.contains(number)).ok_or_else(|| {
        Failure::usage(format_args!(
            "{option} is {}; it must be a decimal number from {} to {}",
            Escaped(text),
            range.start(),
            range.end()
        ))
    })
}

fn seconds(number: u32) -> Duration {
    Duration::from_secs(number.into())
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
    Ok(Input { file: path("--input", file)?, name })
}

fn read_bounded(file: &Path) -> Outcome<Vec<u8>> {
    let failed = || format!("cannot read --env-file {}", Escaped(file.as_os_str().as_encoded_bytes()));
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
    use super::{HELP, OPTIONS, Options, Row, parse};
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
            &["--json", "-", "--", "true"],
            &["--json=-", "--", "true"],
            &["--verbose=", "--", "true"],
            &["--output=", "--", "true"],
            &["--output=a", "--output", "b", "--", "true"],
            &["=", "--", "true"],
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
        let options = parsed(&["--input", "/x/a", "--input=b=c=d", "--", "true"]).unwrap();
        let names: Vec<_> =
            options.request.inputs.iter().map(|input| (input.file.to_str().unwrap(), input.name.bytes())).collect();
        assert_eq!(names, [("/x/a", &b"a"[..]), ("b=c", b"d")]);
    }

    #[test]
    fn every_option_is_in_the_help_and_nothing_else() {
        for Row(name, _) in OPTIONS {
            assert!(HELP.contains(&format!("\n  {name} ")), "{name}");
        }
        assert_eq!(HELP.matches("\n  --").count(), OPTIONS.len());
    }
}

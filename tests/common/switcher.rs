//! The setuid test switcher: building and reading its log.

#![forbid(unsafe_code)]

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// Builds it once; where it is.
pub fn build() -> &'static Path {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    BUILT.get_or_init(|| {
        let mut cargo = Command::new(env!("CARGO"));
        cargo.args(["build", "--quiet", "--offline", "--package", "test-switcher", "--message-format", "json"]);
        cargo.current_dir(env!("CARGO_MANIFEST_DIR"));
        let built = cargo.output().unwrap();
        assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
        let messages = String::from_utf8(built.stdout).unwrap();
        let executable = messages.lines().find_map(|line| {
            let message: serde_json::Value = serde_json::from_str(line).ok()?;
            Some(message["executable"].as_str()?.to_owned())
        });
        executable.expect("cargo names the executable").into()
    })
}

/// What the switcher was given in one call.
#[derive(Debug)]
pub struct SwitcherCall {
    /// The command and its arguments.
    pub arguments: Vec<OsString>,
    /// The environment, sorted.
    pub environment: Vec<(OsString, OsString)>,
    /// The open descriptors, and what `/proc/self/fd` said of each, sorted.
    pub descriptors: Vec<(u32, String)>,
    /// The working directory.
    pub directory: PathBuf,
}

impl SwitcherCall {
    /// A line of the switcher's log.
    pub fn parse(line: &str) -> Self {
        let field = |index: usize, key: &str| {
            line.split(' ').nth(index).and_then(|field| field.strip_prefix(key)).expect("a line of the log")
        };
        let list = |text: &str| text.split(',').filter(|item| !item.is_empty()).map(str::to_owned).collect::<Vec<_>>();
        let arguments = list(field(0, "args=")).iter().map(|item| unhex(item.strip_prefix('=').unwrap())).collect();
        let pair = |item: &String| {
            let (name, value) = item.split_once('=').unwrap();
            (unhex(name), unhex(value))
        };
        let mut environment: Vec<_> = list(field(1, "env=")).iter().map(pair).collect();
        environment.sort();
        let descriptor = |item: &String| {
            let (number, target) = item.split_once(':').unwrap();
            (number.parse().unwrap(), unhex(target).into_string().unwrap())
        };
        let mut descriptors: Vec<(u32, String)> = list(field(2, "fds=")).iter().map(descriptor).collect();
        descriptors.sort();
        SwitcherCall { arguments, environment, descriptors, directory: unhex(field(3, "cwd=")).into() }
    }

    /// The test goes on only if the switcher had the socket to the helper as 0, the helper's pipe as 1 and 2, and
    /// nothing else (not even a directory to stand in).
    #[track_caller]
    pub fn assert_only_a_socket_and_pipes(&self) {
        let kinds: Vec<_> =
            self.descriptors.iter().map(|(number, target)| (*number, target.split(':').next())).collect();
        assert_eq!(kinds, [(0, Some("socket")), (1, Some("pipe")), (2, Some("pipe"))], "{:?}", self.descriptors);
        assert_eq!(self.directory, Path::new("/"));
    }

    /// The value of a variable.
    pub fn variable(&self, name: &str) -> Option<&OsString> {
        self.environment.iter().find(|(there, _)| there == name).map(|(_, value)| value)
    }
}

fn unhex(text: &str) -> OsString {
    let byte = |at: usize| u8::from_str_radix(&text[at..at + 2], 16).unwrap();
    OsString::from_vec((0..text.len()).step_by(2).map(byte).collect())
}

//! What a test wants the switcher to do.

#![forbid(unsafe_code)]

use std::path::Path;

/// The lines of `switcher.conf`.
pub struct Settings {
    /// `account = NAME`: whom every credential maps to.
    pub account: String,
    /// `linger = yes`: stay while the command runs.
    pub linger: bool,
    /// `hang = yes`: never start the command.
    pub hang: bool,
    /// `print = BYTES`: say that much on stderr first.
    pub print: usize,
    /// `fail = CODE times N` or `fail = CODE always`: exit with CODE in the first N calls.
    pub fail: Failing,
}

/// How often to fail, and how.
#[derive(Clone, Copy)]
pub struct Failing {
    /// The exit code.
    pub code: i32,
    /// In how many calls.
    pub times: u64,
}

impl Settings {
    /// Reads the file; a missing one is an empty one.
    pub fn read(path: &Path) -> Result<Self, String> {
        let mut settings = Settings {
            account: "greg".into(),
            linger: false,
            hang: false,
            print: 0,
            fail: Failing { code: 0, times: 0 },
        };
        let text = match std::fs::read_to_string(path) {
            Err(why) if why.kind() == std::io::ErrorKind::NotFound => String::new(),
            other => other.map_err(|why| format!("switcher.conf: {why}"))?,
        };
        for line in text.lines() {
            let wrong = || format!("switcher.conf: {line}");
            let (key, value) = line.split_once(" = ").ok_or_else(wrong)?;
            match key {
                "account" => settings.account = value.into(),
                "linger" => settings.linger = value == "yes",
                "hang" => settings.hang = value == "yes",
                "print" => settings.print = value.parse().map_err(|_| wrong())?,
                "fail" => settings.fail = Failing::parse(value).ok_or_else(wrong)?,
                _ => return Err(wrong()),
            }
        }
        Ok(settings)
    }
}

impl Failing {
    fn parse(value: &str) -> Option<Self> {
        let (code, how_often) = value.split_once(' ')?;
        let times = match how_often {
            "always" => u64::MAX,
            other => other.strip_prefix("times ")?.parse().ok()?,
        };
        Some(Failing { code: code.parse().ok()?, times })
    }
}

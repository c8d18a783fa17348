//! Arguments as bytes, turned into types that cannot hold a wrong value.

use crate::ground::escape::Escaped;
use crate::ground::limits;
use crate::ground::outcome::{Failure, Outcome};
use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;

/// A program's arguments without its own name, taken one by one. Every byte is kept as it came.
pub struct Arguments {
    rest: std::vec::IntoIter<OsString>,
}

impl Arguments {
    /// The arguments of this process.
    ///
    /// # Errors
    /// Usage, when the process was started without even its own name (argc 0).
    pub(crate) fn of_process() -> Outcome<Self> {
        Self::new(std::env::args_os().collect())
    }

    /// The arguments in `argv`, the first of which is the program's name.
    ///
    /// # Errors
    /// Usage, when `argv` is empty.
    pub fn new(argv: Vec<OsString>) -> Outcome<Self> {
        let mut rest = argv.into_iter();
        rest.next().ok_or_else(|| Failure::usage("called without a program name (argc is 0)"))?;
        Ok(Arguments { rest })
    }

    /// The next argument; `name` is what the usage message calls it.
    ///
    /// # Errors
    /// Usage, when there is none.
    pub fn take(&mut self, name: &str) -> Outcome<Vec<u8>> {
        self.rest
            .next()
            .map(OsString::into_vec)
            .ok_or_else(|| Failure::usage(format_args!("the argument {name} is missing")))
    }

    /// Takes the next argument if it is `flag`.
    pub(crate) fn take_flag(&mut self, flag: &[u8]) -> bool {
        let found = self.rest.as_slice().first().is_some_and(|next| next.as_encoded_bytes() == flag);
        if found {
            self.rest.next();
        }
        found
    }

    /// A decimal number within `range`: digits only, no sign, blank, prefix or leading zero.
    ///
    /// # Errors
    /// Usage, when there is none, or it is anything else.
    pub(crate) fn take_decimal(&mut self, name: &str, range: core::ops::RangeInclusive<u32>) -> Outcome<u32> {
        let text = self.take(name)?;
        decimal(&text).filter(|number| range.contains(number)).ok_or_else(|| {
            Failure::usage(format_args!(
                "{name} is {}; it must be a decimal number from {} to {}",
                Escaped(&text),
                range.start(),
                range.end()
            ))
        })
    }

    /// An absolute path without NUL (argv cannot hold one).
    ///
    /// # Errors
    /// Usage, when there is none, it does not start with `/`, or it is longer than the kernel takes
    /// ([`limits::PATH_BYTES`]).
    pub(crate) fn take_absolute(&mut self, name: &str) -> Outcome<Vec<u8>> {
        absolute(name, self.take(name)?)
    }

    /// R: how often a refusal that may pass is tried again.
    ///
    /// # Errors
    /// Usage.
    pub(crate) fn take_retries(&mut self) -> Outcome<u32> {
        self.take_decimal("R (retries)", 0..=limits::RETRIES)
    }

    /// D: the least pause before that, in seconds.
    ///
    /// # Errors
    /// Usage.
    pub(crate) fn take_delay(&mut self) -> Outcome<u32> {
        self.take_decimal("D (seconds between tries)", 0..=limits::RETRY_DELAY_SECONDS)
    }

    /// All that is left.
    pub fn rest(self) -> Vec<Vec<u8>> {
        self.rest.map(OsString::into_vec).collect()
    }

    /// Ends the parse.
    ///
    /// # Errors
    /// Usage, when an argument is left over.
    pub fn end(mut self) -> Outcome {
        match self.rest.next() {
            None => Ok(()),
            Some(extra) => Err(Failure::usage(format_args!("one argument too many: {}", Escaped(&extra.into_vec())))),
        }
    }
}

/// An absolute path that is not too long, as `name` is called in the usage message.
///
/// # Errors
/// Usage, when it is none.
pub(crate) fn absolute(name: &str, path: Vec<u8>) -> Outcome<Vec<u8>> {
    if path.starts_with(b"/") && path.len() < limits::PATH_BYTES {
        Ok(path)
    } else {
        Err(Failure::usage(format_args!(
            "{name} is {}; it must be an absolute path of at most 4095 bytes",
            Escaped(&path)
        )))
    }
}

/// A decimal number: digits only, no sign, no blank, no leading zero, at most what a `u32` holds.
pub(crate) fn decimal(text: &[u8]) -> Option<u32> {
    let digits_only = !text.is_empty() && text.len() <= 10 && text.iter().all(u8::is_ascii_digit);
    if !digits_only || (text.len() > 1 && text.starts_with(b"0")) {
        return None;
    }
    core::str::from_utf8(text).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::{Arguments, decimal};
    use crate::ground::outcome::Kind;

    #[test]
    fn decimal_takes_digits_and_nothing_else() {
        for (text, value) in [("0", 0), ("9", 9), ("4294967295", u32::MAX)] {
            assert_eq!(decimal(text.as_bytes()), Some(value));
        }
        for text in
            ["", "-1", "+5", " 5", "5 ", "12 13", "0x10", "00", "01", "4294967296", "99999999999", "KILL", "5\n", "٣"]
        {
            assert_eq!(decimal(text.as_bytes()), None, "{text:?}");
        }
    }

    #[test]
    fn argc_zero_is_a_usage_error() {
        assert_eq!(Arguments::new(Vec::new()).err().map(|f| f.kind), Some(Kind::Usage));
    }

    #[test]
    fn a_path_is_absolute_and_no_longer_than_the_kernel_takes() {
        let taken = |path: String| Arguments::new(vec!["x".into(), path.into()]).unwrap().take_absolute("A");
        let long = |bytes: usize| format!("/{}", "a".repeat(bytes - 1));
        assert_eq!(taken(long(4095)).unwrap().len(), 4095);
        for bad in [long(4096), String::new(), "a/b".into()] {
            let failure = taken(bad).unwrap_err();
            assert!(
                failure.kind == Kind::Usage && failure.to_string().ends_with("an absolute path of at most 4095 bytes")
            );
        }
    }

    #[test]
    fn too_few_and_too_many_are_usage_errors() {
        let mut arguments = Arguments::new(vec!["x".into(), "a".into(), "b".into()]).unwrap();
        assert_eq!(arguments.take("A").unwrap(), b"a");
        assert_eq!(arguments.end().unwrap_err().kind, Kind::Usage);
        let mut arguments = Arguments::new(vec!["x".into()]).unwrap();
        assert_eq!(arguments.take("A").unwrap_err().kind, Kind::Usage);
        assert!(arguments.end().is_ok());
    }
}

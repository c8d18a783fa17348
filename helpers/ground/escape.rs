//! Untrusted bytes made fit for a log line, a terminal or a hold reason.

use core::fmt::{self, Display, Formatter, Write};

/// Shows bytes from outside as one line of printable ASCII, at most [`Escaped::LIMIT`] input bytes of them.
///
/// Printable ASCII stands for itself except the backslash and the quotation mark; everything else (control bytes,
/// escape sequences, invalid or valid UTF-8) is shown as `\xNN`. What is cut off is replaced by `...`. The text
/// stands between quotation marks, so that blanks at its ends can be seen.
pub struct Escaped<'a>(pub &'a [u8]);

impl Escaped<'_> {
    /// The most bytes of a name or text that are shown.
    pub(crate) const LIMIT: usize = 200;
}

impl Display for Escaped<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_char('"')?;
        for &byte in self.0.iter().take(Self::LIMIT) {
            match byte {
                b'"' | b'\\' => write!(f, "\\{}", char::from(byte))?,
                b' '..=b'~' => f.write_char(char::from(byte))?,
                _ => write!(f, "\\x{byte:02x}")?,
            }
        }
        f.write_str(if self.0.len() > Self::LIMIT { "...\"" } else { "\"" })
    }
}

/// Shows what another process said, which may be escaped already: its lines one behind the other with `; ` between,
/// printable ASCII as it is, everything else as `\xNN`, and at most [`Said::LIMIT`] input bytes.
///
/// Not between quotation marks, which would have to be escaped once more: it belongs at the end of a message.
pub struct Said<'a>(pub &'a [u8]);

impl Said<'_> {
    /// The most bytes of a text that are shown.
    pub(crate) const LIMIT: usize = 400;
}

impl Display for Said<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let shown = self.0.get(..Self::LIMIT).unwrap_or(self.0);
        let lines = shown.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii).filter(|line| !line.is_empty());
        for (number, line) in lines.enumerate() {
            f.write_str(if number > 0 { "; " } else { "" })?;
            for &byte in line {
                match byte {
                    b' '..=b'~' => f.write_char(char::from(byte))?,
                    _ => write!(f, "\\x{byte:02x}")?,
                }
            }
        }
        f.write_str(if self.0.len() > Self::LIMIT { "..." } else { "" })
    }
}

#[cfg(test)]
mod tests {
    use super::{Escaped, Said};

    #[test]
    fn p9_what_others_say_is_one_line_and_not_escaped_twice() {
        let every: Vec<u8> = (0..=255).collect();
        assert!(Said(&every).to_string().bytes().all(|b| (b' '..=b'~').contains(&b)));
        assert_eq!(Said(b"\n one \r\n\n\ttwo \"a\\x0ab\"\n").to_string(), r#"one; two "a\x0ab""#);
        assert_eq!(Said(b"\x1b[0m \xff").to_string(), r"\x1b[0m \xff");
        assert_eq!(Said(b"\n \n").to_string(), "");
        let at = [b'x'; Said::LIMIT];
        assert_eq!(Said(&at).to_string().len(), Said::LIMIT);
        assert_eq!(Said(&[at.as_slice(), b"y"].concat()).to_string(), "x".repeat(Said::LIMIT) + "...");
    }

    #[test]
    fn nothing_but_printable_ascii_comes_out() {
        let every: Vec<u8> = (0..=255).collect();
        for chunk in every.chunks(50) {
            assert!(Escaped(chunk).to_string().bytes().all(|b| (b' '..=b'~').contains(&b)));
        }
        assert_eq!(Escaped(b"a\n\x1b[0m\"\\%n\xff").to_string(), r#""a\x0a\x1b[0m\"\\%n\xff""#);
    }

    #[test]
    fn the_limit_is_exact() {
        let at = [b'x'; Escaped::LIMIT];
        assert_eq!(Escaped(&at).to_string().len(), Escaped::LIMIT + 2);
        let past = [b'x'; Escaped::LIMIT + 1];
        assert!(Escaped(&past).to_string().ends_with("x...\""));
    }
}

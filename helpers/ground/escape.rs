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

#[cfg(test)]
mod tests {
    use super::Escaped;

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

//! Just enough JSON to write a record: objects, lists, numbers and strings of printable ASCII.

use core::fmt::Write;

/// A JSON string: printable ASCII as it is, everything else as `\uXXXX`.
pub(crate) fn string(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len().saturating_add(2));
    quoted.push('"');
    for character in text.chars() {
        match character {
            '"' | '\\' => {
                quoted.push('\\');
                quoted.push(character);
            }
            ' '..='~' => quoted.push(character),
            other => {
                for unit in other.encode_utf16(&mut [0; 2]) {
                    // Writing to a String cannot fail.
                    let _ = write!(quoted, "\\u{unit:04x}");
                }
            }
        }
    }
    quoted.push('"');
    quoted
}

/// A JSON list of values that are JSON already.
pub(crate) fn list(values: impl IntoIterator<Item = String>) -> String {
    format!("[{}]", values.into_iter().collect::<Vec<_>>().join(","))
}

/// A JSON object of values that are JSON already.
pub fn object<'a>(members: impl IntoIterator<Item = (&'a str, String)>) -> String {
    let members: Vec<String> = members.into_iter().map(|(name, value)| format!("{}:{value}", string(name))).collect();
    format!("{{{}}}", members.join(","))
}

#[cfg(test)]
mod tests {
    use super::{list, object, string};

    #[test]
    fn what_is_written_is_read_back_by_an_independent_parser() {
        let odd = "a\"\\\n\x1b\u{7f}é\u{1f600}\0";
        let text = object([("odd", string(odd)), ("list", list(["1".into(), string("x")])), ("empty", list([]))]);
        assert!(text.bytes().all(|byte| (b' '..=b'~').contains(&byte)));
        let read: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(read["odd"], odd);
        assert_eq!(read["list"][1], "x");
        assert_eq!(read["empty"].as_array().map(Vec::len), Some(0));
    }
}

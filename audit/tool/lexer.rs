//! As much of Rust's grammar as counting needs: what is comment or text, and what is code.

/// The source with comments, and what stands between quotes, replaced by blanks; lines stay lines.
pub fn code_of(source: &str) -> String {
    let bytes = source.as_bytes();
    let mut code = String::with_capacity(source.len());
    let mut at = 0;
    while at < bytes.len() {
        let rest = &source[at..];
        let length = if rest.starts_with("//") {
            rest.find('\n').unwrap_or(rest.len())
        } else if rest.starts_with("/*") {
            block_comment(rest)
        } else if let Some(length) = raw_text(rest, bytes, at) {
            length
        } else if rest.starts_with('"') {
            text(rest)
        } else if let Some(length) = character(rest) {
            length
        } else {
            let length = rest.chars().next().map_or(1, char::len_utf8);
            code.push_str(&rest[..length]);
            at += length;
            continue;
        };
        code.extend(rest[..length].chars().map(|c| if c == '\n' { '\n' } else { ' ' }));
        at += length;
    }
    code
}

fn block_comment(rest: &str) -> usize {
    let mut depth = 0_usize;
    let mut at = 0;
    while at < rest.len() {
        if rest[at..].starts_with("/*") {
            depth += 1;
            at += 2;
        } else if rest[at..].starts_with("*/") {
            depth -= 1;
            at += 2;
            if depth == 0 {
                return at;
            }
        } else {
            at += rest[at..].chars().next().map_or(1, char::len_utf8);
        }
    }
    rest.len()
}

/// `r"…"`, `r#"…"#`, also with a `b` or `c` in front.
fn raw_text(rest: &str, bytes: &[u8], at: usize) -> Option<usize> {
    let follows_a_name = at > 0 && (bytes[at - 1].is_ascii_alphanumeric() || bytes[at - 1] == b'_');
    let prefix = ["br", "cr", "r"].into_iter().find(|prefix| rest.starts_with(prefix)).filter(|_| !follows_a_name)?;
    let hashes = rest[prefix.len()..].bytes().take_while(|byte| *byte == b'#').count();
    let start = prefix.len() + hashes;
    rest[start..].strip_prefix('"')?;
    let end = format!("\"{}", "#".repeat(hashes));
    rest[start + 1..].find(&end).map(|found| start + 1 + found + end.len())
}

fn text(rest: &str) -> usize {
    let mut escaped = false;
    for (index, c) in rest.char_indices().skip(1) {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => return index + 1,
            _ => {}
        }
    }
    rest.len()
}

/// A character, as opposed to a lifetime.
fn character(rest: &str) -> Option<usize> {
    let inner = rest.strip_prefix('\'')?;
    let mut characters = inner.char_indices();
    let (_, first) = characters.next()?;
    if first == '\\' {
        let end = inner[2..].find('\'')?;
        return Some(1 + 2 + end + 1);
    }
    let (index, second) = characters.next()?;
    (second == '\'').then_some(1 + index + 1)
}

/// How often a word stands in code.
pub fn count_word(code: &str, word: &str) -> usize {
    code.split(|c: char| !(c.is_alphanumeric() || c == '_')).filter(|found| *found == word).count()
}

#[cfg(test)]
mod tests {
    use super::{code_of, count_word};

    #[test]
    fn comments_and_texts_are_no_code() {
        let source = "// unsafe\n/* unsafe /* unsafe */ unsafe */ unsafe \"unsafe \\\" unsafe\" r#\"unsafe \" unsafe\"# 'u' '\\'' b'\"' unsafe<'a>(b\"unsafe\")\n/// unsafe\nlet unsafe_name = 1;";
        let code = code_of(source);
        assert_eq!(count_word(&code, "unsafe"), 2, "{code}");
        assert_eq!(code.lines().count(), source.lines().count());
    }
}

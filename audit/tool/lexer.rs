//! As much of Rust's grammar as counting needs: what is comment or text, what is code, and which words it is made of.

use std::collections::BTreeSet;

/// What a stretch of a source is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Code,
    Comment,
    Text,
}

/// The source with comments, and what stands between quotes, replaced by blanks; lines stay lines.
pub fn code_of(source: &str) -> String {
    with_texts_as(source, ' ')
}

/// The source with blanks for comments, and this sign for everything in texts that is not blank.
fn with_texts_as(source: &str, sign: char) -> String {
    let mut code = String::with_capacity(source.len());
    for (kind, stretch) in stretches(source) {
        let instead = if kind == Kind::Text { sign } else { ' ' };
        match kind {
            Kind::Code => code.push_str(stretch),
            Kind::Comment | Kind::Text => {
                code.extend(stretch.chars().map(|c| if c.is_whitespace() { c } else { instead }));
            }
        }
    }
    code
}

/// The numbers of the lines, from 1, on which a comment or a part of one stands.
pub fn comment_lines(source: &str) -> BTreeSet<usize> {
    let mut found = BTreeSet::new();
    let mut line = 1;
    for (kind, stretch) in stretches(source) {
        let last = line + stretch.matches('\n').count();
        if kind == Kind::Comment {
            found.extend(line..=last);
        }
        line = last;
    }
    found
}

/// The source, cut into code, comments and texts.
fn stretches(source: &str) -> Vec<(Kind, &str)> {
    let bytes = source.as_bytes();
    let mut found = Vec::new();
    let (mut at, mut code_from) = (0, 0);
    while at < bytes.len() {
        let rest = &source[at..];
        let (kind, length) = if rest.starts_with("//") {
            (Kind::Comment, rest.find('\n').unwrap_or(rest.len()))
        } else if rest.starts_with("/*") {
            (Kind::Comment, block_comment(rest))
        } else if let Some(length) = raw_text(rest, bytes, at) {
            (Kind::Text, length)
        } else if rest.starts_with('"') {
            (Kind::Text, text(rest))
        } else if let Some(length) = character(rest) {
            (Kind::Text, length)
        } else {
            at += rest.chars().next().map_or(1, char::len_utf8);
            continue;
        };
        found.push((Kind::Code, &source[code_from..at]));
        found.push((kind, &rest[..length]));
        at += length;
        code_from = at;
    }
    found.push((Kind::Code, &source[code_from..]));
    found
}

/// The code without what is compiled for unit tests only: each item under `#[cfg(test)]`, up to its last brace or
/// semicolon.
pub fn without_tests(code: &str) -> String {
    const MARK: &str = "#[cfg(test)]";
    let mut kept = String::with_capacity(code.len());
    let mut rest = code;
    while let Some(start) = rest.find(MARK) {
        let item = &rest[start + MARK.len()..];
        let end = start + MARK.len() + end_of_item(item);
        kept.push_str(&rest[..start]);
        kept.extend(rest[start..end].chars().filter(|c| *c == '\n'));
        rest = &rest[end..];
    }
    kept + rest
}

/// Where the item that begins here ends.
pub fn end_of_item(code: &str) -> usize {
    let is_use = code.split_whitespace().find(|word| !word.starts_with("pub")) == Some("use");
    let mut depth = 0_usize;
    for (index, c) in code.char_indices() {
        match c {
            ';' if depth == 0 => return index + 1,
            '{' | '(' | '[' => depth += 1,
            '}' | ')' | ']' => {
                depth = depth.saturating_sub(1);
                if c == '}' && depth == 0 && !is_use {
                    return index + 1;
                }
            }
            _ => {}
        }
    }
    code.len()
}

/// A word or a sign of the code, and its line, counted from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Token<'c> {
    pub text: &'c str,
    pub line: usize,
}

impl Token<'_> {
    /// A name or a keyword, as opposed to a sign, a number or a lifetime.
    pub fn is_word(&self) -> bool {
        self.text.starts_with(|c: char| c.is_alphabetic() || c == '_')
    }
}

/// The words and signs of code; `::` is one sign, `'a` one, all others are single characters.
pub fn tokens(code: &str) -> Vec<Token<'_>> {
    let mut found = Vec::new();
    let (mut at, mut line) = (0, 1);
    while let Some(first) = code[at..].chars().next() {
        let rest = &code[at..];
        let is_part = |c: char| c.is_alphanumeric() || c == '_';
        let length = if rest.starts_with("::") {
            2
        } else if is_part(first) || first == '\'' {
            let from = first.len_utf8();
            rest[from..].find(|c| !is_part(c)).map_or(rest.len(), |found| from + found)
        } else {
            first.len_utf8()
        };
        if first == '\n' {
            line += 1;
        } else if !first.is_whitespace() {
            found.push(Token { text: &rest[..length], line });
        }
        at += length;
    }
    found
}

/// How many lines of code there are, without comments, blank lines and unit tests. A text that goes over lines is code.
pub fn count_lines(source: &str) -> usize {
    without_tests(&with_texts_as(source, '"')).lines().filter(|line| !line.trim().is_empty()).count()
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
    use super::{code_of, comment_lines, count_lines, count_word, tokens, without_tests};

    #[test]
    fn comments_and_texts_are_no_code() {
        let source = "// unsafe\n/* unsafe /* unsafe */ unsafe */ unsafe \"unsafe \\\" unsafe\" r#\"unsafe \" unsafe\"# \
                      'u' '\\'' b'\"' unsafe<'a>(b\"unsafe\")\n/// unsafe\nlet unsafe_name = 1;";
        let code = code_of(source);
        assert_eq!(count_word(&code, "unsafe"), 2, "{code}");
        assert_eq!(code.lines().count(), source.lines().count());
    }

    #[test]
    fn lines_with_comments_are_known() {
        let source = "let a = \"// none\"; // one\nlet b = 1;\n/* two\nthree */ let c = 2;\n\n//! four";
        assert_eq!(comment_lines(source).into_iter().collect::<Vec<_>>(), [1, 3, 4, 6]);
    }

    #[test]
    fn unit_tests_are_left_out_wherever_they_stand() {
        let code = "fn a() {}\n#[cfg(test)]\nmod tests {\n    use b::{c};\n    fn d() { e }\n}\nfn f() {}\n#[cfg(test)]\nuse \
                    g::{h, i};\nfn j() {}\n#[cfg(test)]\nmod k;\n";
        let left = without_tests(code);
        assert_eq!(left.lines().count(), code.lines().count());
        assert_eq!(left.split_whitespace().collect::<Vec<_>>().join(" "), "fn a() {} fn f() {} fn j() {}");
        assert_eq!(count_lines(&format!("// x\n\n{code}")), 3);
        assert_eq!(count_lines("a(\"{ \n\n // b\n\")"), 3);
    }

    #[test]
    fn code_falls_into_words_and_signs() {
        let found = tokens("a::b<'c>\n  {1_u8}");
        assert_eq!(
            found.iter().map(|token| token.text).collect::<Vec<_>>(),
            ["a", "::", "b", "<", "'c", ">", "{", "1_u8", "}"]
        );
        assert_eq!(found.last().map(|token| token.line), Some(2));
        assert!(found[0].is_word() && !found[4].is_word() && !found[7].is_word());
    }
}

//! Every unsafe block of our own with its reason, and that `helpers/sys` holds them and nothing else.

use crate::lexer::{code_of, count_lines, count_word, end_of_item, without_tests};
use crate::plan::MOST_SYS;

/// An `unsafe` block, function or implementation of what gets installed.
struct Block<'s> {
    file: &'s str,
    line: usize,
    /// Which of its file's it is: lines move, their order hardly.
    number: usize,
    /// What its comment says behind `SAFETY:`, or a function's below `# Safety`.
    why: Option<String>,
}

/// The table, from all sources with their texts.
pub fn section(sources: &[(String, String)]) -> String {
    let mut text = "## Unsafe code\n\nAll of it, in `helpers/sys`; every other file forbids it.\n\n| where | why it is sound |\n|---|---|\n".to_owned();
    let blocks = blocks(sources);
    for Block { file, number, why, .. } in &blocks {
        text += &format!("| `{file}` #{number} | {} |\n", why.as_deref().unwrap_or("?").replace('|', "\\|"));
    }
    text + &format!("\n{} blocks.\n", blocks.len())
}

fn blocks(sources: &[(String, String)]) -> Vec<Block<'_>> {
    let mut found = Vec::new();
    for (file, text) in sources.iter().filter(|(file, _)| file.starts_with("helpers/")) {
        let (code, lines) = (code_of(text), text.lines().collect::<Vec<_>>());
        let those = code.lines().enumerate().filter(|(_, line)| is_unsafe(line) && !line.contains("unsafe extern"));
        for (number, (index, line)) in those.enumerate() {
            let why = if declares_function(line) { duty(&lines[..index]) } else { safety(&lines[..index]) };
            found.push(Block { file, line: index + 1, number: number + 1, why });
        }
    }
    found
}

/// A line with the word itself, not with a lint's name.
fn is_unsafe(line: &str) -> bool {
    count_word(line, "unsafe") > 0
}

/// Whether the line begins an `unsafe fn`, which does not say why it is sound but what its callers have to see to.
fn declares_function(line: &str) -> bool {
    line.split_once("unsafe fn ").is_some_and(|(_, rest)| rest.starts_with(|c: char| c.is_alphabetic() || c == '_'))
}

/// The documentation right above, from `# Safety` to the next heading; attributes may stand between.
fn duty(above: &[&str]) -> Option<String> {
    let documented = above.iter().rev().map(|line| line.trim_start()).skip_while(|line| line.starts_with("#["));
    let mut lines: Vec<&str> = documented.map_while(|line| line.strip_prefix("///")).map(str::trim).collect();
    lines.reverse();
    let section: Vec<&str> = lines
        .into_iter()
        .skip_while(|line| *line != "# Safety")
        .skip(1)
        .take_while(|line| !line.starts_with("# "))
        .filter(|line| !line.is_empty())
        .collect();
    (!section.is_empty()).then(|| section.join(" "))
}

/// The comment right above, from `SAFETY:` on; the start of the statement may stand between.
fn safety(above: &[&str]) -> Option<String> {
    let nearest = above.iter().rev().take(4).position(|line| line.trim_start().starts_with("//"))?;
    let end = above.len() - nearest;
    let start = above[..end].iter().rposition(|line| !line.trim_start().starts_with("//")).map_or(0, |found| found + 1);
    let comment: Vec<&str> =
        above[start..end].iter().map(|line| line.trim_start().trim_start_matches('/').trim()).collect();
    comment.join(" ").split_once("SAFETY: ").map(|(_, why)| why.to_owned())
}

/// The row for the report.
pub fn row(sources: &[(String, String)]) -> String {
    format!(
        "| lines of code in `helpers/sys`, which has no function without unsafe code | {} | below {MOST_SYS} |\n",
        lines_of_sys(sources)
    )
}

fn lines_of_sys(sources: &[(String, String)]) -> usize {
    let sys = sources.iter().filter(|(file, _)| file.starts_with("helpers/sys/"));
    sys.map(|(_, text)| count_lines(text)).sum()
}

/// Every unsafe block that stands elsewhere or gives no reason; that `helpers/sys` is too large; what does not need to
/// stand there.
pub fn problems(sources: &[(String, String)]) -> Vec<String> {
    let mut found = Vec::new();
    for Block { file, line, why, .. } in blocks(sources) {
        if !file.starts_with("helpers/sys/") {
            found.push(format!("{file}:{line}: unsafe code outside helpers/sys"));
        }
        if why.is_none() {
            found.push(format!("{file}:{line}: no SAFETY comment"));
        }
    }
    let lines = lines_of_sys(sources);
    if lines >= MOST_SYS {
        found.push(format!("helpers/sys has {lines} lines of code, not below {MOST_SYS}"));
    }
    for (file, text) in sources.iter().filter(|(file, _)| file.starts_with("helpers/sys/")) {
        let code = without_tests(&code_of(text));
        found.extend(
            safe_functions(&code)
                .into_iter()
                .map(|(name, line)| format!("{file}:{line}: fn {name} has no unsafe code and belongs elsewhere")),
        );
    }
    found
}

/// The functions with a body in which `unsafe` does not occur, with their lines.
fn safe_functions(code: &str) -> Vec<(&str, usize)> {
    let mut found = Vec::new();
    let mut at = 0;
    while let Some(length) = code[at..].find("fn ") {
        let start = at + length;
        at = start + "fn ".len();
        let is_word = !code[..start].ends_with(|c: char| c.is_alphanumeric() || c == '_');
        let item = &code[start..];
        let item = &item[..end_of_item(item)];
        let name = code[at..].split(|c: char| !(c.is_alphanumeric() || c == '_')).next().unwrap_or_default();
        if is_word && !name.is_empty() && item.ends_with('}') && count_word(item, "unsafe") == 0 {
            found.push((name, code[..start].matches('\n').count() + 1));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::{blocks, problems};

    #[test]
    fn what_is_safe_does_not_belong_into_sys() {
        let text = "// unsafe\nextern \"C\" {\n    fn a();\n}\nfn b(c: fn (u8)) -> [u8; 2] {\n    // SAFETY: x\n    unsafe { a() }\n}\n\
                    impl D {\n    fn e() {\n        \"unsafe\"\n    }\n}\n#[cfg(test)]\nmod tests {\n    fn f() {}\n}\n";
        let sources = [("helpers/sys/mod.rs".to_owned(), text.to_owned()), ("tests/a.rs".to_owned(), text.to_owned())];
        assert_eq!(problems(&sources), ["helpers/sys/mod.rs:10: fn e has no unsafe code and belongs elsewhere"]);
    }

    #[test]
    fn unsafe_code_elsewhere_or_without_a_reason_fails() {
        let sources =
            |file: &str| [(file.to_owned(), "// SAFETY: a\nunsafe impl B {}\n\n\n\n\nunsafe impl C {}\n".to_owned())];
        assert_eq!(problems(&sources("helpers/sys/mod.rs")), ["helpers/sys/mod.rs:7: no SAFETY comment"]);
        assert_eq!(problems(&sources("helpers/a.rs"))[0], "helpers/a.rs:2: unsafe code outside helpers/sys");
    }

    #[test]
    fn an_unsafe_function_says_what_its_callers_have_to_see_to() {
        let sources = |above: &str| {
            let text = format!("{above}unsafe fn a() {{\n    // SAFETY: b\n    unsafe {{ c() }}\n}}\n");
            [("helpers/sys/mod.rs".to_owned(), text)]
        };
        let documented =
            sources("/// A.\n///\n/// # Safety\n/// It is\n/// used once.\n///\n/// # Errors\n/// No.\n#[inline]\n");
        assert_eq!(problems(&documented), [""; 0]);
        assert_eq!(blocks(&documented)[0].why.as_deref(), Some("It is used once."));
        for above in ["", "/// A.\n", "/// # Safety\n", "/// # Safety\n/// Else.\n\n", "// SAFETY: of a block\n"] {
            let line = above.matches('\n').count() + 1;
            assert_eq!(
                problems(&sources(above)),
                [format!("helpers/sys/mod.rs:{line}: no SAFETY comment")],
                "{above:?}"
            );
        }
    }

    #[test]
    fn too_much_in_sys_fails() {
        let sources = |lines| [("helpers/sys/mod.rs".to_owned(), "x;\n".repeat(lines))];
        assert_eq!(problems(&sources(149)), [""; 0]);
        assert_eq!(problems(&sources(150)), ["helpers/sys has 150 lines of code, not below 150"]);
    }
}

//! What a reader has to get through besides code: the README, the ledger's cells, lines that fit on a screen.

use crate::lexer::comment_lines;
use crate::plan::{MOST_CELL_WORDS, MOST_README_WORDS, MOST_WIDTH};

/// The file whose words are counted, and the one whose cells are.
const README: &str = "README.md";
const LEDGER: &str = "audit/ledger.md";

/// The rows for the report. Takes the documents with their texts.
pub fn rows(documents: &[(String, String)]) -> String {
    let longest = cells(documents, LEDGER).into_iter().map(|(_, words)| words).max().unwrap_or(0);
    format!(
        "| words of the README | {} | below {MOST_README_WORDS} |\n\
         | words of the ledger's longest cell | {longest} | at most {MOST_CELL_WORDS} |\n",
        words(documents),
    )
}

/// Everything that is too long. Takes the documents, and the sources whose comments have to fit, with their texts.
pub fn problems(documents: &[(String, String)], sources: &[(String, String)]) -> Vec<String> {
    let mut found = Vec::new();
    let words = words(documents);
    if words >= MOST_README_WORDS {
        found.push(format!("{README} has {words} words, not below {MOST_README_WORDS}"));
    }
    for (line, words) in cells(documents, LEDGER) {
        if words > MOST_CELL_WORDS {
            found.push(format!("{LEDGER}:{line}: a cell of {words} words, more than {MOST_CELL_WORDS}"));
        }
    }
    for (file, text) in documents {
        found.extend(too_wide(file, text, |_, line| !is_row(line)));
    }
    for (file, text) in sources {
        let comments = comment_lines(text);
        let is_row = |line: &str| is_row(line.trim_start_matches([' ', '/', '!']));
        found.extend(too_wide(file, text, |number, line| comments.contains(&number) && !is_row(line)));
    }
    found
}

/// A row of a table cannot be broken.
fn is_row(line: &str) -> bool {
    line.starts_with('|')
}

fn too_wide(file: &str, text: &str, counts: impl Fn(usize, &str) -> bool) -> Vec<String> {
    let lines = text.lines().enumerate().map(|(index, line)| (index + 1, line));
    lines
        .filter(|(number, line)| line.chars().count() > MOST_WIDTH && counts(*number, line))
        .map(|(number, _)| format!("{file}:{number}: wider than {MOST_WIDTH} characters"))
        .collect()
}

fn words(documents: &[(String, String)]) -> usize {
    let texts = documents.iter().filter(|(file, _)| file == README);
    texts.map(|(_, text)| text.split_whitespace().count()).sum()
}

/// The words of each cell of a document's tables, with the number of its line.
fn cells(documents: &[(String, String)], wanted: &str) -> Vec<(usize, usize)> {
    let mut found = Vec::new();
    for (_, text) in documents.iter().filter(|(file, _)| file == wanted) {
        for (index, row) in text.lines().enumerate().filter(|(_, line)| line.starts_with('|')) {
            let row = row.replace("\\|", " ");
            found.extend(row.split('|').map(|cell| (index + 1, cell.split_whitespace().count())));
        }
    }
    found
}

/// Prose in lines that are not too wide. What begins with a `-` goes on below its text.
pub fn wrapped(text: &str) -> String {
    let mut lines = String::new();
    for paragraph in text.lines() {
        if is_row(paragraph) {
            lines += paragraph;
            lines.push('\n');
            continue;
        }
        let indent = if paragraph.starts_with("- ") { "  " } else { "" };
        let mut width = 0;
        for word in paragraph.split(' ') {
            let length = word.chars().count();
            if width > 0 && width + 1 + length > MOST_WIDTH {
                lines += "\n";
                lines += indent;
                width = indent.len();
            } else if width > 0 {
                lines.push(' ');
                width += 1;
            }
            lines += word;
            width += length;
        }
        lines.push('\n');
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::{problems, wrapped};

    fn document(file: &str, text: String) -> Vec<(String, String)> {
        vec![(file.to_owned(), text)]
    }

    #[test]
    fn a_long_readme_fails() {
        assert_eq!(problems(&document("README.md", "a\n".repeat(999)), &[]), [""; 0]);
        let found = problems(&document("README.md", "a\n".repeat(1_000)), &[]);
        assert_eq!(found, ["README.md has 1000 words, not below 1000"]);
    }

    #[test]
    fn a_long_cell_of_the_ledger_fails() {
        let row = |words| document("audit/ledger.md", format!("| a |\n| b \\| c | {} |\n", "d ".repeat(words)));
        assert_eq!(problems(&row(40), &[]), [""; 0]);
        assert_eq!(problems(&row(41), &[]), ["audit/ledger.md:2: a cell of 41 words, more than 40"]);
    }

    #[test]
    fn a_wide_line_of_prose_fails_and_a_row_does_not() {
        let text = format!("{}\n| {}\n{}\n", "ä".repeat(120), "b".repeat(200), "c".repeat(121));
        assert_eq!(problems(&document("x.md", text), &[]), ["x.md:3: wider than 120 characters"]);
    }

    #[test]
    fn a_wide_line_with_a_comment_fails_and_a_text_does_not() {
        let text = format!(
            "a(\"{}\");\n// {}\nb(\"{}\"); // d\n//! | {}\n",
            "x".repeat(130),
            "y".repeat(120),
            "z".repeat(130),
            "r".repeat(130)
        );
        let found = problems(&[], &document("a.rs", text));
        assert_eq!(found, ["a.rs:2: wider than 120 characters", "a.rs:3: wider than 120 characters"]);
    }

    #[test]
    fn what_is_wrapped_fits_and_keeps_its_words() {
        let text = wrapped(&format!("- {}\n\n{}", "word ".repeat(60).trim_end(), "long".repeat(50)));
        assert!(text.lines().nth(1).is_some_and(|line| line.starts_with("  word")));
        assert_eq!(text.lines().filter(|line| line.len() > 120).count(), 1, "{text}");
        assert_eq!(text.split_whitespace().count(), 62);
        assert_eq!(wrapped("a\n\nb"), "a\n\nb\n");
    }
}

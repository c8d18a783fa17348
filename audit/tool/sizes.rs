//! No file is too long to be read in one go.

use crate::plan::MOST_LINES;

/// The row for the report, from all sources and scripts with their texts.
pub fn row(files: &[(String, String)]) -> String {
    let longest = files.iter().map(|(file, text)| (text.lines().count(), file)).max();
    let (lines, file) = longest.map_or((0, ""), |(lines, file)| (lines, file.as_str()));
    format!(
        "| lines of the longest of {} sources and scripts, `{file}` | {lines} | at most {MOST_LINES} |\n",
        files.len()
    )
}

/// Every file that is too long.
pub fn problems(files: &[(String, String)]) -> Vec<String> {
    let lengths = files.iter().map(|(file, text)| (file, text.lines().count()));
    lengths
        .filter(|(_, lines)| *lines > MOST_LINES)
        .map(|(file, lines)| format!("{file} has {lines} lines, more than {MOST_LINES}"))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::problems;

    #[test]
    fn a_file_that_is_too_long_fails() {
        let files = [("a.rs".to_owned(), "x\n".repeat(500)), ("run".to_owned(), "\n".repeat(501))];
        assert_eq!(problems(&files), ["run has 501 lines, more than 500"]);
    }
}

//! How many lines of code stand in which folder, and on which side of which boundary of trust.

use crate::Outcome;
use crate::lexer::count_lines;
use crate::plan::{Folder, HELPERS, LEVELS, OTHERS};

/// The tables, from all sources with their texts. Fails when a source stands in a folder that is not in the plan.
pub fn section(sources: &[(String, String)]) -> Outcome<String> {
    let folders: Vec<&Folder> = HELPERS.iter().chain(&OTHERS).collect();
    let mut counts = vec![(0_usize, 0_usize); folders.len()];
    for (file, text) in sources {
        let name = file.strip_prefix("helpers/").unwrap_or(file).split('/').next();
        let index = folders.iter().position(|folder| Some(folder.name) == name);
        let index = index.ok_or_else(|| format!("{file}: its folder is not in audit/tool/plan.rs"))?;
        counts[index].0 += 1;
        counts[index].1 += count_lines(text);
    }
    let mut text = "## Folders\n\n\
        Lines of code, without comments, blank lines and unit tests, and the folders that each one may use. Those of `helpers/`\n\
        stand in the order of their layers. `check` fails on a name that no arrow allows and on modules in a circle.\n\n\
        | folder | what | level of trust | files | lines | may use |\n|---|---|---|---|---|---|\n"
        .to_owned();
    for (folder, (files, lines)) in folders.iter().zip(&counts) {
        let level = LEVELS.iter().find(|(trust, _)| *trust == folder.trust).map_or("", |(_, level)| level);
        let uses = if folder.uses.is_empty() { "—".to_owned() } else { folder.uses.join(", ") };
        text += &format!("| `{}` | {} | {level} | {files} | {lines} | {uses} |\n", folder.name, folder.what);
    }
    text += "\n## Levels of trust\n\n| level of trust | files | lines |\n|---|---|---|\n";
    for (trust, level) in LEVELS {
        let those = || folders.iter().zip(&counts).filter(|(folder, _)| folder.trust == trust).map(|(_, count)| count);
        let [files, lines] = [those().map(|count| count.0).sum::<usize>(), those().map(|count| count.1).sum()];
        text += &format!("| {level} | {files} | {lines} |\n");
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::section;

    #[test]
    fn files_count_by_their_folder() {
        let source = |file: &str| (file.to_owned(), "a();\n// b\nc();\n".to_owned());
        let sources = ["helpers/lib.rs", "helpers/copy/send.rs", "helpers/target/mod.rs", "tests/x.rs"].map(source);
        let text = section(&sources).unwrap();
        assert!(text.contains("\n| reads hostile bytes | 2 | 4 |\n"), "{text}");
        assert!(section(&[source("helpers/attic/mod.rs")]).is_err());
    }
}

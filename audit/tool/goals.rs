//! The goals for the sources, of which each one is measured, printed in the report, and kept by `check`.

use crate::modules::Modules;
use crate::plan::MOST_WIDTH;
use crate::{Outcome, closure, files, layers, levels, prose, public, read, sizes, unsafe_code};
use std::path::Path;

/// The folders with what we have written ourselves.
const FOLDERS: [&str; 6] = ["helpers", "seccomp-profiles", "tests", "fuzz", "audit", ".ci"];

/// Folders in them that hold what was built or found.
const PASSED_BY: [&str; 5] = ["fuzz/target/", "fuzz/corpus/", "fuzz/artifacts/", "fuzz/coverage/", "fuzz/crashes/"];

/// A file's path in the tree, and its text.
pub type Text = (String, String);

/// What was measured of a tree, and what is against its goals.
pub struct Goals {
    pub report: String,
    pub problems: Vec<String>,
}

/// What there is to read of the program whose `main` stands in `helpers/bin/<program>.rs`.
pub fn reading_list(root: &Path, program: &str) -> Outcome<String> {
    let helpers = texts(root, &root.join("helpers"))?.into_iter().filter(|(file, _)| file.ends_with(".rs"));
    let modules = Modules::new(&helpers.collect::<Vec<_>>());
    closure::reading_list(&modules, program).ok_or_else(|| format!("there is no helpers/bin/{program}.rs"))
}

/// Measures a tree.
pub fn measure(root: &Path) -> Outcome<Goals> {
    let mut written = Vec::new();
    for folder in FOLDERS {
        written.extend(texts(root, &root.join(folder))?);
    }
    let ends = |ending: &'static str| move |text: &&Text| text.0.ends_with(ending);
    let sources: Vec<Text> = written.iter().filter(ends(".rs")).cloned().collect();
    let mut documents: Vec<Text> = written.iter().filter(ends(".md")).cloned().collect();
    for name in ["README.md", "SECURITY.md"] {
        documents.push((name.to_owned(), read(&root.join(name))?));
    }
    let is_script = |(file, text): &&Text| {
        [".rs", ".py", ".sh"].iter().any(|ending| file.ends_with(ending)) || text.starts_with("#!")
    };
    let scripts: Vec<Text> = written.iter().filter(is_script).cloned().collect();
    let helpers: Vec<Text> = sources.iter().filter(|(file, _)| file.starts_with("helpers/")).cloned().collect();
    let modules = Modules::new(&helpers);

    let bounds = format!(
        "## Bounds\n\nThe other goals that `check` keeps. No line with a comment and no line of prose is \
         wider than {MOST_WIDTH} characters.\n\n\
         | what | now | goal |\n|---|---|---|\n"
    );
    let rows = [unsafe_code::row(&sources), sizes::row(&scripts), public::row(&sources), prose::rows(&documents)];
    let report = [
        unsafe_code::section(&sources),
        levels::section(&sources)?,
        closure::section(&modules),
        bounds + &rows.concat(),
    ]
    .join("\n");
    let problems = [
        layers::problems(&modules),
        closure::problems(&modules),
        unsafe_code::problems(&sources),
        sizes::problems(&scripts),
        public::problems(&sources),
        prose::problems(&documents, &sources),
    ]
    .concat();
    Ok(Goals { report, problems })
}

/// The texts below a folder; what is no text is none of ours to judge.
fn texts(root: &Path, folder: &Path) -> Outcome<Vec<Text>> {
    let mut found = Vec::new();
    for path in files(folder, "")? {
        let shown = path.strip_prefix(root).unwrap_or(&path).display().to_string();
        if PASSED_BY.iter().any(|folder| shown.starts_with(folder)) {
            continue;
        }
        let bytes = std::fs::read(&path).map_err(|error| format!("{}: {error}", path.display()))?;
        found.extend(String::from_utf8(bytes).ok().map(|text| (shown, text)));
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::measure;
    use std::fs::{create_dir_all, remove_dir_all, write};

    #[test]
    fn all_that_we_wrote_is_measured_and_nothing_else() {
        let root = std::env::temp_dir().join(format!("glexec-rs-audit-goals.{}", std::process::id()));
        let long = "\n".repeat(501);
        let script = format!("#!/bin/sh{long}");
        for (file, text) in [
            ("README.md", "Read me.\n"),
            ("SECURITY.md", &"wide ".repeat(30)),
            ("helpers/lib.rs", "mod target;\n"),
            ("helpers/target/mod.rs", &long),
            ("seccomp-profiles/build.rs", ""),
            ("tests/run", &script),
            ("fuzz/corpus/x.rs", &long),
            ("audit/ledger.md", ""),
            (".ci/run", ""),
        ] {
            let path = root.join(file);
            create_dir_all(path.parent().unwrap()).unwrap();
            write(path, text).unwrap();
        }
        let found = measure(&root);
        remove_dir_all(&root).unwrap();
        assert_eq!(
            found.unwrap().problems,
            [
                "helpers/target/mod.rs has 501 lines, more than 500",
                "tests/run has 501 lines, more than 500",
                "SECURITY.md:1: wider than 120 characters"
            ]
        );
    }
}

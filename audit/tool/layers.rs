//! Who may name whom: the arrows between the folders, and no circle between modules.

use crate::graph::{Graph, circles};
use crate::modules::{Modules, Reference};
use crate::plan::HELPERS;
use std::collections::BTreeMap;

/// The folder of a module, by the module's path.
pub fn folder_of(path: &[String]) -> &str {
    path.first().map_or("lib.rs", String::as_str)
}

/// Every name that no arrow allows, every module that stands in no folder, every hidden arrow, and every circle.
pub fn problems(modules: &Modules) -> Vec<String> {
    let mut found = Vec::new();
    for (path, module) in &modules.all {
        let is_listed = HELPERS.iter().any(|folder| folder.name == folder_of(path));
        let stands_alone = path.len() == 1 && !module.file.ends_with("/mod.rs");
        if !is_listed || stands_alone {
            found.push(format!("{}: stands in no folder of audit/tool/plan.rs", module.file));
        }
    }
    found.extend(modules.references.iter().filter(|reference| !is_allowed(reference)).map(|reference| {
        let Reference { from, to, file, line } = reference;
        format!("{file}:{line}: {} must not name {}", folder_of(from), shown(to))
    }));
    found.extend(modules.hidden.iter().map(|Reference { to, file, line, .. }| {
        format!("{file}:{line}: adds to a type of {}, which hides it from those who read what uses it", shown(to))
    }));
    let mut folders: Graph<String> = BTreeMap::new();
    for reference in &modules.references {
        let from = folders.entry(folder_of(&reference.from).to_owned()).or_default();
        from.insert(folder_of(&reference.to).to_owned());
    }
    for circle in circles(&folders) {
        found.push(format!("folders in a circle: {}", circle.into_iter().collect::<Vec<_>>().join(", ")));
    }
    for circle in circles(&modules.graph()) {
        let within = modules.references.iter().filter(|one| circle.contains(&one.from) && circle.contains(&one.to));
        let arrows: Vec<String> =
            within.map(|one| format!("\n    {}:{} names {}", one.file, one.line, shown(&one.to))).collect();
        let names: Vec<String> = circle.iter().map(|path| shown(path)).collect();
        found.push(format!("modules in a circle: {}{}", names.join(", "), arrows.concat()));
    }
    found
}

fn is_allowed(reference: &Reference) -> bool {
    let [from, to] = [&reference.from, &reference.to].map(|path| folder_of(path));
    from == to || HELPERS.iter().any(|folder| folder.name == from && folder.uses.contains(&to))
}

fn shown(path: &[String]) -> String {
    if path.is_empty() { "lib.rs".to_owned() } else { path.join("::") }
}

#[cfg(test)]
mod tests {
    use super::problems;
    use crate::modules::Modules;

    fn problems_of(files: &[(&str, &str)]) -> Vec<String> {
        let files: Vec<_> = files.iter().map(|(file, text)| (format!("helpers/{file}"), (*text).to_owned())).collect();
        problems(&Modules::new(&files))
    }

    #[test]
    fn an_arrow_upwards_fails_with_file_and_line() {
        let mut files = [
            ("lib.rs", "pub mod ground;\npub mod sys;"),
            ("ground/mod.rs", "pub mod argv;"),
            ("ground/argv.rs", "use crate::sys;\nfn x() { sys::close() }"),
            ("sys/mod.rs", "pub fn close() {}"),
        ];
        assert_eq!(problems_of(&files), [""; 0]);
        files[3].1 = "\nuse crate::ground::argv::Argv;";
        let found = problems_of(&files);
        assert_eq!(found[0], "helpers/sys/mod.rs:2: sys must not name ground::argv");
        assert_eq!(found[1], "folders in a circle: ground, sys");
        assert!(found[2].starts_with("modules in a circle: ground::argv, sys\n"), "{found:?}");
    }

    #[test]
    fn sides_stay_apart() {
        let files = [
            ("lib.rs", "pub mod pilot;\npub mod target;"),
            ("pilot/mod.rs", "use crate::target::Peer;"),
            ("target/mod.rs", ""),
        ];
        assert_eq!(problems_of(&files), ["helpers/pilot/mod.rs:1: pilot must not name target"]);
    }

    #[test]
    fn a_module_adds_to_its_own_types_only() {
        let files = [
            ("lib.rs", "pub mod confine;\npub mod files;"),
            ("confine/mod.rs", "pub struct Place;"),
            ("files/mod.rs", "use crate::confine::Place;\ntrait Own {}\nimpl Own for Place {}\nimpl Place {}\n"),
        ];
        let found = problems_of(&files);
        assert!(
            found.len() == 1 && found[0].starts_with("helpers/files/mod.rs:4: adds to a type of confine"),
            "{found:?}"
        );
    }

    #[test]
    fn a_folder_that_is_not_in_the_table_fails_and_so_does_a_file_in_none() {
        let files = [
            ("lib.rs", "pub mod attic;\npub mod ground;\npub mod pilot;"),
            ("attic/mod.rs", "pub mod box_;"),
            ("attic/box_.rs", ""),
            ("ground/mod.rs", ""),
            ("pilot.rs", ""),
        ];
        assert_eq!(problems_of(&files).len(), 3, "{:?}", problems_of(&files));
    }

    #[test]
    fn a_parent_and_its_child_that_name_each_other_are_a_circle() {
        let files = [
            ("lib.rs", "pub mod policy;"),
            ("policy/mod.rs", "mod parse;\nuse parse::Lines;\npub struct Policy;"),
            ("policy/parse.rs", "use super::Policy;"),
        ];
        let found = problems_of(&files);
        assert!(found.len() == 1 && found[0].starts_with("modules in a circle: policy, policy::parse"), "{found:?}");
    }
}

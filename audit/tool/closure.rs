//! What one program's `main` reaches: who reviews the program has to read that much, and no more.

use crate::graph::reached;
use crate::modules::Modules;
use crate::plan::{MOST_REACHED, MOST_REACHED_BY};

/// A program with all that its `main` reaches, over names in modules, whatever they name and so on.
struct Closure {
    program: String,
    lines: usize,
    limit: usize,
    modules: usize,
}

/// The table.
pub fn section(modules: &Modules) -> String {
    let mut text = "## What each program reaches\n\n\
        Lines of code in all modules that the program's `main` names, that those name, and so on. A `mod x;` names nothing.\n\
        What a module takes through another one's `pub use` belongs to the module where it stands.\n\n\
        | program | lines | limit | modules |\n|---|---|---|---|\n"
        .to_owned();
    for Closure { program, lines, limit, modules } in closures(modules) {
        text += &format!("| `{program}` | {lines} | below {limit} | {modules} |\n");
    }
    text
}

/// The modules that one program reaches, the longest first: the reading list of who reviews it.
pub fn reading_list(modules: &Modules, program: &str) -> Option<String> {
    let main = modules.programs().find(|path| path.last().is_some_and(|name| name == program))?;
    let found = reached(&modules.graph(), main);
    let mut list: Vec<_> =
        found.iter().filter_map(|path| Some((modules.all.get(path)?.lines, path.join("::")))).collect();
    list.sort_by(|one, other| other.cmp(one));
    Some(list.iter().map(|(lines, path)| format!("{lines:5} {path}\n")).collect())
}

/// Every program that reaches too much.
pub fn problems(modules: &Modules) -> Vec<String> {
    let too_large = closures(modules).into_iter().filter(|closure| closure.lines >= closure.limit);
    too_large
        .map(|Closure { program, lines, limit, .. }| {
            format!("helpers/bin/{program}.rs reaches {lines} lines of code, not below {limit}")
        })
        .collect()
}

fn closures(modules: &Modules) -> Vec<Closure> {
    let graph = modules.graph();
    let one = |path: &Vec<String>| {
        let program = path.last().cloned().unwrap_or_default();
        let found = reached(&graph, path);
        let lines = found.iter().filter_map(|path| modules.all.get(path)).map(|module| module.lines).sum();
        let special = MOST_REACHED_BY.iter().find(|(name, _)| *name == program);
        let limit = special.map_or(MOST_REACHED, |(_, limit)| *limit);
        Closure { program, lines, limit, modules: found.len() }
    };
    modules.programs().map(one).collect()
}

#[cfg(test)]
mod tests {
    use super::{problems, section};
    use crate::modules::Modules;

    fn modules(padding: usize) -> Modules {
        let files = [
            ("lib.rs", "pub mod a;\npub mod b;\npub mod c;".to_owned()),
            ("bin/run.rs", "// x\nfn main() {\n    glexec_rs::a::main()\n}\n".to_owned()),
            ("a.rs", "use crate::b::B;\n\n#[cfg(test)]\nmod tests {}".to_owned()),
            ("b.rs", "x();\n".repeat(padding)),
            ("c.rs", "use crate::b::B;".to_owned()),
        ];
        Modules::new(&files.map(|(file, text)| (format!("helpers/{file}"), text)))
    }

    #[test]
    fn what_is_named_counts_and_nothing_else() {
        let text = section(&modules(10));
        assert!(text.contains("\n| `run` | 14 | below 2000 | 3 |\n"), "{text}");
    }

    #[test]
    fn the_reading_list_has_what_is_reached_and_how_much_that_is() {
        let list = super::reading_list(&modules(10), "run").unwrap();
        assert_eq!(list, "   10 b\n    3 bin::run\n    1 a\n");
        assert_eq!(super::reading_list(&modules(10), "walk"), None);
    }

    #[test]
    fn too_much_fails() {
        assert_eq!(problems(&modules(1_995)), [""; 0]);
        assert_eq!(problems(&modules(1_996)), ["helpers/bin/run.rs reaches 2000 lines of code, not below 2000"]);
    }
}

//! The modules of `helpers/`, one a file, and which of them names something of which other.

use crate::lexer::count_lines;
use crate::names::{Import, Named, Source};
use std::collections::{BTreeMap, BTreeSet};

/// A module's path without the crate's name; that of `lib.rs` is empty.
type Path = Vec<String>;

/// A file of `helpers/`.
pub struct Module {
    /// The file's path in the tree.
    pub file: String,
    /// Lines of code, without comments, blank lines and unit tests.
    pub lines: usize,
    source: Source,
}

/// That a module names something of another one.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Reference {
    pub from: Path,
    pub to: Path,
    pub file: String,
    pub line: usize,
}

/// All modules that get compiled into the programs, each program's own file included.
pub struct Modules {
    pub all: BTreeMap<Path, Module>,
    pub references: BTreeSet<Reference>,
    /// Where a module adds to another one's type: who calls what it adds does not name it.
    pub hidden: BTreeSet<Reference>,
}

/// What the files of programs call the library.
const LIBRARY: &str = "glexec_rs";

/// How many re-exports of re-exports are followed, so that a circle of them ends.
const MOST_STEPS: usize = 16;

impl Modules {
    /// From the files of `helpers/`, as paths such as `helpers/copy/rules.rs` with their texts. A module that exists
    /// for unit tests only is left out.
    pub fn new(files: &[(String, String)]) -> Self {
        let mut all: BTreeMap<Path, Module> = files
            .iter()
            .map(|(file, text)| {
                let module = Module { file: file.clone(), lines: count_lines(text), source: Source::parse(text) };
                (module_path(file), module)
            })
            .collect();
        // The longer a path, the later: a module's parent is judged first.
        let mut paths: Vec<Path> = all.keys().cloned().collect();
        paths.sort_by_key(Vec::len);
        for path in paths {
            let is_compiled = match path.split_last() {
                None => true,
                Some(_) if is_program(&path) => true,
                Some((name, parent)) => all.get(parent).is_some_and(|parent| parent.source.children.contains(name)),
            };
            if !is_compiled {
                all.remove(&path);
            }
        }
        let mut modules = Self { all, references: BTreeSet::new(), hidden: BTreeSet::new() };
        modules.hidden = modules.all.iter().flat_map(|(path, module)| modules.extended_by(path, module)).collect();
        modules.references = modules.all.iter().flat_map(|(path, module)| modules.named_by(path, module)).collect();
        modules
    }

    /// The module's programs: `bin/setup.rs` is `bin::setup`.
    pub fn programs(&self) -> impl Iterator<Item = &Path> {
        self.all.keys().filter(|path| is_program(path))
    }

    /// What a module names, for every module.
    pub fn graph(&self) -> BTreeMap<Path, BTreeSet<Path>> {
        let mut graph: BTreeMap<Path, BTreeSet<Path>> =
            self.all.keys().map(|path| (path.clone(), BTreeSet::new())).collect();
        for reference in &self.references {
            graph.entry(reference.from.clone()).or_default().insert(reference.to.clone());
        }
        graph
    }

    fn named_by(&self, path: &Path, module: &Module) -> Vec<Reference> {
        let source = &module.source;
        let imported = source.imports.iter().filter(|import| {
            // What is only offered to others is named by those who take it.
            !import.is_offered || import.name.as_ref().is_some_and(|name| source.words.contains(name))
        });
        let mut found = Vec::new();
        for (named, is_import) in imported
            .map(|import| (&import.from, import.name.is_some()))
            .chain(source.paths.iter().map(|named| (named, false)))
        {
            for (to, is_whole) in self.resolve(path, named, 0) {
                // To import a module is to name nothing yet; the paths that begin with it do.
                if to != *path && !(is_whole && is_import) {
                    found.push(Reference { from: path.clone(), to, file: module.file.clone(), line: named.line });
                }
            }
        }
        found
    }

    fn extended_by(&self, path: &Path, module: &Module) -> Vec<Reference> {
        let mut found = Vec::new();
        for named in module.source.extended.iter().filter(|named| !named.path.is_empty()) {
            for (to, _) in self.resolve(path, named, 0).into_iter().filter(|(to, _)| to != path) {
                found.push(Reference { from: path.clone(), to, file: module.file.clone(), line: named.line });
            }
        }
        found
    }

    /// The modules that hold what a path in this module names, and whether it is the module itself that is named.
    fn resolve(&self, module: &Path, named: &Named, steps: usize) -> Vec<(Path, bool)> {
        let mut rest = named.path.as_slice();
        let mut at = module.clone();
        let mut inner = named.depth;
        let mut is_anchored = false;
        while let Some((first, others)) = rest.split_first() {
            match first.as_str() {
                "crate" => at.clear(),
                LIBRARY if is_program(module) => at.clear(),
                "self" => {}
                "super" if inner > 0 => inner -= 1,
                "super" => drop(at.pop()),
                _ => break,
            }
            is_anchored = true;
            rest = others;
        }
        if is_program(&at) && is_anchored {
            return Vec::new();
        }
        if rest.is_empty() {
            return vec![(at, true)];
        }
        if is_anchored || self.knows(&at, &rest[0]) { self.descend(at, rest, steps) } else { Vec::new() }
    }

    /// Whether a path in this module that begins with this word is ours, and not another crate's or a type's.
    fn knows(&self, module: &Path, word: &str) -> bool {
        self.all.get(module).is_some_and(|module| {
            module.source.children.contains(word)
                || module.source.imports.iter().any(|import| import.name.as_deref() == Some(word) && is_ours(import))
        })
    }

    fn descend(&self, mut at: Path, path: &[String], steps: usize) -> Vec<(Path, bool)> {
        let mut rest = path;
        while let Some((first, others)) = rest.split_first() {
            let child: Path = at.iter().chain([first]).cloned().collect();
            let is_child = self.all.contains_key(&child);
            if is_child && !others.is_empty() {
                at = child;
                rest = others;
                continue;
            }
            let Some(module) = self.all.get(&at) else { return Vec::new() };
            // A last word may be a module and, in another of the language's name spaces, an item.
            let mut found: Vec<(Path, bool)> = is_child.then_some((child, true)).into_iter().collect();
            for import in module.source.imports.iter().filter(|import| steps < MOST_STEPS && is_ours(import)) {
                let could_be = match &import.name {
                    Some(name) => name == first,
                    None => import.is_offered,
                };
                if could_be {
                    let mut longer = import.from.clone();
                    longer.path.extend(if import.name.is_some() { others } else { rest }.iter().cloned());
                    found.extend(self.resolve(&at, &longer, steps + 1));
                }
            }
            if found.is_empty() || module.source.items.contains(first) {
                found.push((at, false));
            }
            return found;
        }
        vec![(at, true)]
    }
}

/// Whether an import may lead to one of our own modules. A first word may also be a child's name.
fn is_ours(import: &Import) -> bool {
    !matches!(import.from.path[0].as_str(), "core" | "std" | "alloc")
}

fn is_program(path: &[String]) -> bool {
    path.len() == 2 && path[0] == "bin"
}

/// `helpers/a/b.rs` and `helpers/a/b/mod.rs` are `a::b`.
pub fn module_path(file: &str) -> Path {
    let inside = file.strip_prefix("helpers/").unwrap_or(file);
    let inside = inside.strip_suffix(".rs").unwrap_or(inside);
    let mut path: Path = inside.split('/').map(str::to_owned).collect();
    if path.last().is_some_and(|last| last == "mod") || path == ["lib"] {
        path.pop();
    }
    path
}

#[cfg(test)]
mod tests {
    use super::Modules;

    /// The references of a tree of invented files, as `from > to`.
    fn references(files: &[(&str, &str)]) -> Vec<String> {
        let files: Vec<_> = files.iter().map(|(file, text)| (format!("helpers/{file}"), (*text).to_owned())).collect();
        let found = Modules::new(&files).references.into_iter();
        found.map(|one| format!("{} > {}:{}", one.from.join("::"), one.to.join("::"), one.line)).collect()
    }

    #[test]
    fn the_longest_path_that_is_a_file_counts() {
        let files = [
            ("lib.rs", "pub mod copy;\npub mod job;"),
            ("copy/mod.rs", "pub mod rules;\npub struct Way;"),
            ("copy/rules.rs", "pub struct Rules;"),
            (
                "job/mod.rs",
                "use crate::copy::rules::Rules;\nuse crate::copy::{self, Way};\nfn a() { copy::rules::b() }",
            ),
        ];
        assert_eq!(references(&files), ["job > copy:2", "job > copy::rules:1", "job > copy::rules:3"]);
    }

    #[test]
    fn a_declaration_an_offer_and_an_imported_module_name_nothing_yet() {
        let files = [
            ("lib.rs", "pub mod a;\npub mod b;"),
            (
                "a/mod.rs",
                "pub mod one;\nmod two;\npub use two::Two;\nuse crate::b;\npub(crate) use one::used;\nfn x() { used() }",
            ),
            ("a/one.rs", ""),
            ("a/two.rs", "use super::Three;"),
            ("b.rs", ""),
        ];
        assert_eq!(references(&files), ["a > a::one:5", "a::two > a:1"]);
    }

    #[test]
    fn what_is_taken_through_another_module_belongs_to_where_it_stands() {
        let files = [
            ("lib.rs", "pub mod a;\npub mod b;\npub mod c;"),
            ("a/mod.rs", "mod one;\nmod two;\npub use one::One;\npub use two::*;\npub struct Own;"),
            ("a/one.rs", "pub use crate::c::One;"),
            ("a/two.rs", "pub fn go() {}"),
            ("b.rs", "use crate::a::{self, One};\nuse crate::a::go;\nfn x() { a::Own::new() }"),
            ("c.rs", "pub struct One;"),
        ];
        // Nobody knows what a star brings, so all that it could bring counts.
        assert_eq!(references(&files), ["b > a:3", "b > a::two:1", "b > a::two:2", "b > a::two:3", "b > c:1"]);
    }

    #[test]
    fn a_module_and_a_function_of_the_same_name_both_count() {
        let files = [
            ("lib.rs", "pub mod job;"),
            ("job/mod.rs", "pub mod run;\npub use run::run;"),
            ("job/run.rs", "pub fn run() {}"),
            ("bin/job.rs", "fn main() { glexec_rs::job::run(); }"),
        ];
        assert_eq!(references(&files), ["bin::job > job::run:1"]);
    }

    #[test]
    fn tests_other_crates_and_types_of_ones_own_are_left_out() {
        let files = [
            ("lib.rs", "mod a;\nmod b;\n#[cfg(test)]\nmod t;"),
            (
                "a.rs",
                "use std::b;\nuse b::C;\nfn x() { Self::y(); D::z(); b::w() }\n#[cfg(test)]\nmod tests { use crate::b::E; }",
            ),
            ("b.rs", ""),
            ("t.rs", "use crate::b::F;"),
        ];
        assert_eq!(references(&files), [""; 0]);
    }

    #[test]
    fn super_leaves_the_modules_within_a_file_first() {
        let files = [
            ("lib.rs", "mod a;\nmod b;"),
            ("a.rs", "mod inner {\nuse super::super::b::B;\nuse super::C;\n}"),
            ("b.rs", ""),
        ];
        assert_eq!(references(&files), ["a > b:2"]);
    }
}

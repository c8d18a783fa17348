//! `pub` is for the library's users, the tests and the fuzz targets; all else is `pub(crate)` or private.
//!
//! Whether an item is needed is told by names, without types: it is when its name and its module's stand in one
//! program, test or fuzz target, or when the declaration of a needed item shows it. A method can be called on a value
//! whose type is named elsewhere, so that its own name is enough. Two things of one name count as one: now and then an
//! item may stay public for nothing, but none is refused that has to be public. What is public in a private module is
//! for rustc's lint `unreachable_pub`. Fields are not looked at.

use crate::lexer::{Token, code_of, tokens, without_tests};
use crate::modules::module_path;
use std::collections::{BTreeMap, BTreeSet};

/// The library's interface for other programs, by the names that `job::run` takes and gives; their declarations bring
/// the rest.
const INTERFACE: [&str; 8] = ["job", "run", "Request", "Record", "Status", "EndedBy", "Input", "News"];

/// The crate's name, which every source that uses it has to name; those beside it in its folder may get values from it.
const LIBRARY: &str = "glexec_rs";

/// A public item of the library.
struct Item {
    file: String,
    line: usize,
    name: String,
    /// Whether it stands by itself in its module, and not in an `impl`.
    is_path: bool,
    /// The names in what others see of its declaration.
    declares: BTreeSet<String>,
}

/// The row for the report, from all sources with their texts.
pub fn row(sources: &[(String, String)]) -> String {
    format!(
        "| public items of `helpers/` | {} | each for the library's users, a test or a fuzz target |\n",
        items(sources).len()
    )
}

/// Every item that is public for nobody.
pub fn problems(sources: &[(String, String)]) -> Vec<String> {
    let items = items(sources);
    let users = users(sources);
    let mut needed: Vec<bool> = items.iter().map(|item| is_named(item, &items, &users)).collect();
    loop {
        let shown: BTreeSet<&String> =
            items.iter().zip(&needed).filter(|(_, needed)| **needed).flat_map(|(item, _)| &item.declares).collect();
        let now: Vec<bool> =
            items.iter().zip(&needed).map(|(item, needed)| *needed || shown.contains(&item.name)).collect();
        if now == needed {
            break;
        }
        needed = now;
    }
    let useless = items.iter().zip(&needed).filter(|(_, needed)| !**needed);
    useless
        .map(|(Item { file, line, name, .. }, _)| {
            format!("{file}:{line}: `{name}` is public, and nobody outside names it")
        })
        .collect()
}

/// Whether one of the users can mean this item.
fn is_named(item: &Item, items: &[Item], users: &[BTreeSet<String>]) -> bool {
    // Where else the name is offered.
    let offered = items.iter().filter(|other| other.is_path && other.name == item.name);
    let modules: BTreeSet<String> = offered
        .map(|other| &other.file)
        .chain([&item.file])
        .map(|file| module_path(file).pop().unwrap_or(LIBRARY.to_owned()))
        .collect();
    let can_mean = |words: &BTreeSet<String>| {
        words.contains(&item.name) && (!item.is_path || modules.iter().any(|module| words.contains(module)))
    };
    INTERFACE.contains(&item.name.as_str()) || users.iter().any(can_mean)
}

/// The words of each program, test and fuzz target; a folder of sources is one as a whole.
fn users(sources: &[(String, String)]) -> Vec<BTreeSet<String>> {
    let mut groups: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for (file, text) in sources.iter().filter(|(file, _)| !is_inside(file)) {
        let group = file.split('/').take(2).collect::<Vec<_>>().join("/");
        let code = code_of(text);
        let words = tokens(&code).into_iter().filter(Token::is_word).map(|token| token.text.to_owned());
        groups.entry(group).or_default().extend(words);
    }
    groups.into_values().filter(|words| words.contains(LIBRARY)).collect()
}

fn is_inside(file: &str) -> bool {
    file.starts_with("helpers/") && !file.starts_with("helpers/bin/")
}

fn items(sources: &[(String, String)]) -> Vec<Item> {
    let inside = sources.iter().filter(|(file, _)| is_inside(file));
    inside.flat_map(|(file, text)| items_of(file, text)).collect()
}

fn items_of(file: &str, text: &str) -> Vec<Item> {
    let code = without_tests(&code_of(text));
    let tokens = tokens(&code);
    let mut found = Vec::new();
    let mut depth = 0_usize;
    for at in 0..tokens.len() {
        match tokens[at].text {
            "{" => depth += 1,
            "}" => depth -= 1,
            _ => {}
        }
        if tokens[at].text != "pub" {
            continue;
        }
        let rest = &tokens[at + 1..];
        let line = tokens[at].line;
        let mut add = |name: &str, declares: &[Token]| {
            let declares = declares.iter().filter(|token| token.is_word()).map(|token| token.text.to_owned()).collect();
            found.push(Item { file: file.to_owned(), line, name: name.to_owned(), is_path: depth == 0, declares });
        };
        // `const` may begin a function, and `unsafe` and `async` do.
        let kind = rest.iter().position(|token| !matches!(token.text, "const" | "unsafe" | "async" | "extern"));
        let is_constant = rest.first().is_some_and(|token| token.text == "const") && kind == Some(1);
        let Some(kind) = kind else { continue };
        match rest[kind].text {
            "fn" => add(rest[kind + 1].text, until(rest, &["{", ";"])),
            "struct" => add(rest[kind + 1].text, &public_fields(rest)),
            "enum" | "trait" | "union" => add(rest[kind + 1].text, item(rest)),
            "static" | "type" => add(rest[kind + 1].text, until(rest, &[";"])),
            "mod" => add(rest[kind + 1].text, &[]),
            "use" => {
                let end = rest.iter().position(|token| token.text == ";").unwrap_or(rest.len());
                for pair in rest[..end + 1].windows(2).filter(|pair| pair[0].is_word()) {
                    if matches!(pair[1].text, "," | "}" | ";") && pair[0].text != "self" {
                        add(pair[0].text, &[]);
                    }
                }
            }
            name if is_constant => add(name, until(rest, &["="])),
            _ => {} // a field, or `pub(crate)`
        }
    }
    found
}

/// What stands before the first of these signs outside of brackets.
fn until<'t, 'c>(tokens: &'t [Token<'c>], signs: &[&str]) -> &'t [Token<'c>] {
    let mut depth = 0_usize;
    for (index, token) in tokens.iter().enumerate() {
        match token.text {
            text if depth == 0 && signs.contains(&text) => return &tokens[..index],
            "(" | "[" | "{" => depth += 1,
            ")" | "]" | "}" => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    tokens
}

/// An item up to its last brace or its semicolon.
fn item<'t, 'c>(tokens: &'t [Token<'c>]) -> &'t [Token<'c>] {
    let head = until(tokens, &["{", ";"]).len();
    let mut depth = 0_usize;
    for (index, token) in tokens.iter().enumerate().skip(head) {
        match token.text {
            "{" => depth += 1,
            "}" => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return &tokens[..index];
        }
    }
    tokens
}

/// What a structure shows: its parameters, and the types of its public fields.
fn public_fields<'c>(tokens: &[Token<'c>]) -> Vec<Token<'c>> {
    let all = item(tokens);
    let head = until(all, &["{"]);
    // The fields of `struct X(pub Y);` are part of its head.
    let mut found: Vec<Token> = until(head, &["("]).iter().take_while(|token| token.text != "(").copied().collect();
    for (index, _) in all.iter().enumerate().filter(|(_, token)| token.text == "pub") {
        found.extend(until(&all[index + 1..], &[","]));
    }
    found
}

#[cfg(test)]
mod tests {
    use super::{items, problems};

    fn sources(library: &str, outside: &[(&str, &str)]) -> Vec<(String, String)> {
        let inside = [("helpers/a.rs", library)];
        inside.iter().chain(outside).map(|(file, text)| ((*file).to_owned(), (*text).to_owned())).collect()
    }

    #[test]
    fn all_kinds_of_items_are_seen() {
        let library = "pub fn a() {}\npub const fn b() {}\npub const C: D = E;\npub struct F { pub g: u8 }\npub(crate) fn h() \
                       {}\npub mod i;\npub use j::{K, l as M};\nimpl F { pub fn n(&self) {} }\npub enum O {}\npub trait P {}\npub type \
                       Q = u8;\n#[cfg(test)]\nmod tests { pub fn r() {} }";
        let names: Vec<_> = items(&sources(library, &[])).into_iter().map(|item| item.name).collect();
        assert_eq!(names, ["a", "b", "C", "F", "i", "K", "M", "n", "O", "P", "Q"]);
    }

    #[test]
    fn what_nobody_outside_names_must_not_be_public() {
        let library = "pub fn used() {}\npub fn unused() {}\npub struct Request;";
        let tests = [("tests/x.rs", "use glexec_rs::a::used;"), ("tests/y.rs", "use glexec_rs::b; fn unused() {}")];
        assert_eq!(
            problems(&sources(library, &tests)),
            ["helpers/a.rs:2: `unused` is public, and nobody outside names it"]
        );
    }

    #[test]
    fn what_another_module_offers_is_named_through_it() {
        let offers = ("helpers/b/mod.rs", "pub use crate::a::used;\npub mod c;");
        let tests = ("tests/x.rs", "use glexec_rs::b::{c, used};");
        assert_eq!(problems(&sources("pub fn used() {}", &[offers, tests])), [""; 0]);
    }

    #[test]
    fn what_a_needed_declaration_shows_is_needed() {
        let library = "pub struct Request { pub a: Shown, b: Hidden }\npub struct Shown(pub Deep, Hidden);\npub struct Hidden;\npub \
                       struct Deep;\nimpl Shown { pub fn new(of: Argument) -> Self { Hidden::go() } }\npub struct Argument;";
        let tests = [("fuzz/bodies/x.rs", "use glexec_rs::a::Shown;"), ("fuzz/bodies/y.rs", "Shown::new()")];
        assert_eq!(
            problems(&sources(library, &tests)),
            ["helpers/a.rs:3: `Hidden` is public, and nobody outside names it"]
        );
    }
}

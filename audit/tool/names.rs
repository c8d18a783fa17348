//! What one source file declares, imports and names.

use crate::lexer::{Token, code_of, tokens, without_tests};
use std::collections::BTreeSet;

/// A path as it stands in the source: `crate::copy::rules` or `rules::Rules`, with `self` and `super` in front where
/// they are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Named {
    pub path: Vec<String>,
    pub line: usize,
    /// How many modules within this file stand around it, which `super` has to leave first.
    pub depth: usize,
}

/// An import: a name in this file, or all names, for a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Import {
    /// The name in this file; none for a `*`.
    pub name: Option<String>,
    pub from: Named,
    /// A `pub use`, which offers the name to others and need not mean that this file uses it.
    pub is_offered: bool,
}

/// What a file says, its unit tests left out.
#[derive(Debug, Default)]
pub struct Source {
    /// The modules that have files of their own: `mod x;`.
    pub children: BTreeSet<String>,
    /// What is defined at the top level of the file.
    pub items: BTreeSet<String>,
    pub imports: Vec<Import>,
    /// The types that `impl` blocks add to, as they are named, where the block is not of a trait of this file.
    pub extended: Vec<Named>,
    /// Paths of two and more words outside of imports.
    pub paths: Vec<Named>,
    /// All words outside of imports.
    pub words: BTreeSet<String>,
}

/// What makes the word behind it the name of an item.
const INTRODUCES: [&str; 10] = ["fn", "struct", "enum", "union", "trait", "type", "const", "static", "mod", "macro"];

impl Source {
    pub fn parse(source: &str) -> Self {
        let code = without_tests(&code_of(source));
        let tokens = tokens(&code);
        let mut found = Self::default();
        // The depths of braces at which modules within this file begin.
        let mut inner: Vec<usize> = Vec::new();
        let mut impls: Vec<(Impl, usize, usize)> = Vec::new();
        let mut braces = 0;
        let mut at = 0;
        while let Some(token) = tokens.get(at) {
            let next = |ahead: usize| tokens.get(at + ahead).map_or("", |token| token.text);
            let before = at.checked_sub(1).map_or("", |index| tokens[index].text);
            match token.text {
                "{" => braces += 1,
                "}" => {
                    braces -= 1;
                    if inner.last() == Some(&braces) {
                        inner.pop();
                    }
                }
                "use" if next(1) != "<" => {
                    let mut tree = Tree { tokens: &tokens, at: at + 1, depth: inner.len(), found: Vec::new() };
                    tree.read(Vec::new());
                    let is_offered = is_pub(&tokens[..at]);
                    found.imports.extend(tree.found.into_iter().map(|(name, from)| Import { name, from, is_offered }));
                    at = tree.at;
                    continue;
                }
                "mod" if next(2) == ";" => {
                    found.children.insert(next(1).to_owned());
                    at += 2;
                }
                word if token.is_word() => {
                    if word == "mod" && next(2) == "{" {
                        inner.push(braces);
                    }
                    // At other places than the start of an item, `impl` is a type.
                    if word == "impl" && matches!(before, "" | "}" | ";" | "]" | "{" | "unsafe") {
                        impls.push((Impl::read(&tokens[at + 1..]), token.line, inner.len()));
                    }
                    if braces == 0 && INTRODUCES.contains(&before) {
                        found.items.insert(word.to_owned());
                    }
                    found.words.insert(word.to_owned());
                    if next(1) == "::" && before != "::" {
                        let path = path(&tokens[at..]);
                        let length = path.len() * 2 - 1;
                        found.words.extend(path.iter().cloned());
                        found.paths.push(Named { path, line: token.line, depth: inner.len() });
                        at += length;
                        continue;
                    }
                }
                _ => {}
            }
            at += 1;
        }
        let others = impls.into_iter().filter(|(block, _, _)| !block.of.iter().any(|of| found.items.contains(of)));
        found.extended = others.map(|(block, line, depth)| Named { path: block.to, line, depth }).collect();
        found
    }
}

/// The head of an `impl` block.
struct Impl {
    /// The trait's path.
    of: Vec<String>,
    /// The type's path; none where it is no path, as with a slice.
    to: Vec<String>,
}

impl Impl {
    /// From what follows the word.
    fn read(tokens: &[Token]) -> Self {
        let head: Vec<Token> =
            outside_of_angles(tokens).take_while(|token| !matches!(token.text, "{" | "where")).collect();
        let (of, to) = match head.iter().position(|token| token.text == "for") {
            Some(at) => (&head[..at], &head[at + 1..]),
            None => (&head[..0], head.as_slice()),
        };
        let [of, to] = [of, to].map(|tokens| {
            let start = tokens.iter().position(|token| token.is_word() && !matches!(token.text, "mut" | "dyn"));
            start.map_or(Vec::new(), |start| path(&tokens[start..]))
        });
        Self { of, to }
    }
}

/// Without what stands between `<` and `>`.
fn outside_of_angles<'t, 'c>(tokens: &'t [Token<'c>]) -> impl Iterator<Item = Token<'c>> + use<'t, 'c> {
    let mut depth = 0_usize;
    tokens.iter().enumerate().filter_map(move |(index, token)| {
        let is_arrow = index > 0 && tokens[index - 1].text == "-";
        match token.text {
            "<" => depth += 1,
            ">" if !is_arrow => {
                depth = depth.saturating_sub(1);
                return None;
            }
            _ => {}
        }
        (depth == 0).then_some(*token)
    })
}

/// The words that `::` joins from here on; what is between `<` and `>` ends a path.
fn path(tokens: &[Token]) -> Vec<String> {
    let mut words = vec![tokens[0].text.to_owned()];
    for pair in tokens[1..].chunks_exact(2) {
        if pair[0].text != "::" || !pair[1].is_word() {
            break;
        }
        words.push(pair[1].text.to_owned());
    }
    words
}

/// Whether `pub`, or `pub` with a scope, stands right at the end.
fn is_pub(before: &[Token]) -> bool {
    match before.last().map(|token| token.text) {
        Some("pub") => true,
        Some(")") => {
            let open = before.iter().rposition(|token| token.text == "(");
            open.and_then(|open| before[..open].last()).is_some_and(|token| token.text == "pub")
        }
        _ => false,
    }
}

/// What follows `use`.
struct Tree<'t, 'c> {
    tokens: &'t [Token<'c>],
    at: usize,
    depth: usize,
    found: Vec<(Option<String>, Named)>,
}

impl Tree<'_, '_> {
    fn text(&self) -> &str {
        self.tokens.get(self.at).map_or(";", |token| token.text)
    }

    /// One branch, up to the sign that ends it, which is passed by.
    fn read(&mut self, mut path: Vec<String>) {
        let mut name = None;
        loop {
            let line = self.tokens.get(self.at).map_or(0, |token| token.line);
            let text = self.text().to_owned();
            self.at += 1;
            match text.as_str() {
                "::" => {}
                "{" => {
                    while self.text() != "}" && self.text() != ";" {
                        self.read(path.clone());
                    }
                    self.at += 1;
                    path.clear();
                }
                "*" => {
                    let from = Named { path: std::mem::take(&mut path), line, depth: self.depth };
                    self.found.push((None, from));
                }
                "as" => {
                    name = Some(self.text().to_owned());
                    self.at += 1;
                }
                "self" if !path.is_empty() => {}
                "," | ";" | "}" => {
                    if text == "}" {
                        self.at -= 1; // it also ends the branch around this one
                    }
                    if let Some(last) = path.last().cloned() {
                        let line = self.tokens[self.at.saturating_sub(2)].line;
                        let from = Named { path, line, depth: self.depth };
                        self.found.push((Some(name.unwrap_or(last)), from));
                    }
                    return;
                }
                _ => path.push(text),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Source;

    fn imports(source: &str) -> Vec<String> {
        let found = Source::parse(source).imports.into_iter();
        found
            .map(|import| {
                let offered = if import.is_offered { "pub " } else { "" };
                format!(
                    "{offered}{}={}@{}",
                    import.name.as_deref().unwrap_or("*"),
                    import.from.path.join("::"),
                    import.from.line
                )
            })
            .collect()
    }

    #[test]
    fn imports_are_read_with_all_their_branches() {
        assert_eq!(
            imports(
                "use a::b;\nuse crate::{self as top, c::{self, D as E,\n f::*}, g};\npub(crate) use super::h::{I};"
            ),
            [
                "b=a::b@1",
                "top=crate@2",
                "c=crate::c@2",
                "E=crate::c::D@2",
                "*=crate::c::f@3",
                "g=crate::g@3",
                "pub I=super::h::I@4"
            ]
        );
    }

    #[test]
    fn declarations_are_no_names_and_paths_are() {
        let source = Source::parse(
            "mod one;\npub mod two;\nfn own() { one::go::<two::T>(\"three::x\"); self::four(Five::Six) } // seven::x\nmod \
             inner { fn y() { super::super::eight::z() } }\n#[cfg(test)]\nmod tests { fn x() { nine::x() } }",
        );
        assert_eq!(source.children.iter().collect::<Vec<_>>(), ["one", "two"]);
        assert_eq!(source.items.iter().collect::<Vec<_>>(), ["inner", "own"]);
        let paths: Vec<_> = source.paths.iter().map(|named| (named.path.join("::"), named.line, named.depth)).collect();
        assert_eq!(
            paths,
            [
                ("one::go".to_owned(), 3, 0),
                ("two::T".to_owned(), 3, 0),
                ("self::four".to_owned(), 3, 0),
                ("Five::Six".to_owned(), 3, 0),
                ("super::super::eight::z".to_owned(), 4, 1)
            ]
        );
    }

    #[test]
    fn the_types_that_blocks_add_to_are_seen() {
        let source = Source::parse(
            "trait Own {}\nimpl<T: Into<u8>> a::B<T> {}\nimpl C for D {}\nimpl Own for E {}\nfn f() -> impl G {}\nimpl<F: Fn() \
             -> H> I for &'_ mut J<F> where F: K {}",
        );
        let types: Vec<_> = source.extended.iter().map(|named| (named.path.join("::"), named.line)).collect();
        assert_eq!(types, [("a::B".to_owned(), 2), ("D".to_owned(), 3), ("J".to_owned(), 6)]);
    }

    #[test]
    fn a_captured_lifetime_is_no_import() {
        assert_eq!(imports("fn a<'b>() -> impl C + use<'b> {}"), [""; 0]);
    }
}

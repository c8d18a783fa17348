//! Two questions about what names what: what is reached from here, and what goes round in a circle.

use std::collections::{BTreeMap, BTreeSet};

/// What each one names.
pub type Graph<T> = BTreeMap<T, BTreeSet<T>>;

/// All that is reached from one on any way, itself included.
pub fn reached<T: Ord + Clone>(graph: &Graph<T>, from: &T) -> BTreeSet<T> {
    let mut found = BTreeSet::new();
    let mut ahead = vec![from];
    while let Some(one) = ahead.pop() {
        if found.insert(one.clone()) {
            ahead.extend(graph.get(one).into_iter().flatten());
        }
    }
    found
}

/// The largest sets of which each one reaches each other one.
pub fn circles<T: Ord + Clone>(graph: &Graph<T>) -> Vec<BTreeSet<T>> {
    let reach: BTreeMap<&T, BTreeSet<T>> = graph.keys().map(|one| (one, reached(graph, one))).collect();
    let comes_back = |one: &T, other: &T| reach.get(other).is_some_and(|reach| reach.contains(one));
    let mut found: BTreeSet<BTreeSet<T>> = BTreeSet::new();
    for (one, reach) in &reach {
        let circle: BTreeSet<T> = reach.iter().filter(|other| comes_back(one, other)).cloned().collect();
        if circle.len() > 1 {
            found.insert(circle);
        }
    }
    found.into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::{Graph, circles, reached};

    fn graph(arrows: &[(char, char)]) -> Graph<char> {
        let mut graph = Graph::new();
        for (from, to) in arrows {
            graph.entry(*from).or_default().insert(*to);
            graph.entry(*to).or_default();
        }
        graph
    }

    #[test]
    fn what_is_reached_and_what_goes_round() {
        let graph = graph(&[('a', 'b'), ('b', 'c'), ('c', 'b'), ('d', 'a'), ('e', 'f'), ('f', 'g'), ('g', 'e')]);
        assert_eq!(reached(&graph, &'a').iter().collect::<String>(), "abc");
        assert_eq!(reached(&graph, &'d').iter().collect::<String>(), "abcd");
        let found: Vec<String> = circles(&graph).iter().map(|circle| circle.iter().collect()).collect();
        assert_eq!(found, ["bc", "efg"]);
    }
}

//! Rounds of one race, and what came of them.

use crate::attacker::{Attack, Attacker};
use crate::common::{Finished, Site, Snapshot, another_round};
use crate::trap::Trap;
use std::io::Write;

/// Rounds of one race, with what the attackers did meanwhile.
pub struct Race<'s> {
    pub name: &'static str,
    pub site: &'s Site,
    pub least: u64,
    pub rounds: u64,
    /// How many names each attacker has changed while a helper was at work.
    pub swaps: Vec<u64>,
    /// Exits with 0 and with anything else.
    pub ends: [u64; 2],
    pub wins: Vec<String>,
}

impl<'s> Race<'s> {
    pub fn new(name: &'static str, site: &'s Site) -> Self {
        let least = std::env::var("GLEXEC_RS_RACE_ROUNDS").map_or(30, |rounds| rounds.parse().unwrap());
        Race { name, site, least, rounds: 0, swaps: Vec::new(), ends: [0; 2], wins: Vec::new() }
    }

    /// The next round's number, if there is one.
    pub fn next_round(&mut self) -> Option<u64> {
        let round = self.rounds;
        another_round(round, self.least, self.was_one()).then(|| {
            self.rounds += 1;
            round
        })
    }

    /// Whether more names were changed than there were rounds, more than there should be at least by every attacker,
    /// and both ends have come of it.
    pub fn was_one(&self) -> bool {
        self.swaps.iter().sum::<u64>() > self.rounds
            && self.swaps.iter().all(|swaps| *swaps > self.least)
            && self.ends.iter().all(|ends| *ends > 0)
    }

    /// Does `work`, a helper's call, while the attacks go on; counts what they changed meanwhile. Each has a processor
    /// of its own as long as there are enough, and another one in the next round.
    pub fn against<T>(&mut self, attacks: &[Attack], work: impl FnOnce() -> T) -> T {
        let start = |(attack, processor)| Attacker::start(self.site, attack, processor);
        let attackers: Vec<_> = attacks.iter().zip(self.rounds..).map(start).collect();
        let before: Vec<u64> = attackers.iter().map(Attacker::count).collect();
        let done = work();
        self.swaps.resize(attackers.len(), 0);
        for ((swaps, attacker), before) in self.swaps.iter_mut().zip(&attackers).zip(before) {
            *swaps += attacker.count() - before;
        }
        done
    }

    pub fn ended(&mut self, finished: &Finished) {
        // An entry that was swapped at the wrong moment is left out, and said to be.
        let is_struck = finished.code != Some(0) || finished.said().contains("not readable");
        self.ends[usize::from(is_struck)] += 1;
    }

    /// Notes what must not be.
    pub fn check(&mut self, holds: bool, win: impl FnOnce() -> String) {
        if !holds {
            self.wins.push(win());
        }
    }

    /// Notes where one tree is not like the other.
    pub fn check_same(&mut self, tree: &Snapshot, expected: &Snapshot) {
        let differences = tree.differences(expected);
        self.check(differences.is_empty(), || differences.join("; "));
    }

    /// Notes what was done to a trap.
    pub fn check_untouched(&mut self, trap: &Trap) {
        self.wins.extend(trap.touched());
    }

    pub fn conclude(self) {
        let was_one = self.was_one();
        let Race { name, rounds, swaps, ends: [done, struck], wins, .. } = self;
        // Not through a macro: their output is kept back when the test passes.
        let line =
            format!("{name}: {rounds} rounds ({done} whole, {struck} struck), {swaps:?} swaps, {} wins", wins.len());
        let _ = writeln!(std::io::stderr(), "{line}");
        assert!(wins.is_empty(), "{line}: {wins:#?}");
        assert!(was_one, "the attackers were too slow, or could not change how a call ends: {line}");
    }
}

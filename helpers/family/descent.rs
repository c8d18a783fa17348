//! Who descends from one process, found out in one reading of `/proc`, whatever is born and ends meanwhile.
//!
//! Memory is flat: one bit for each number that a process can have, and room for the way from one process up to its
//! nearest ancestor that was seen already. The bits hold for one look, since numbers are given to others later.

use super::Process;
use crate::ground::limits;
use arrayvec::ArrayVec;
use std::io;

/// A set of process numbers: one bit for each that a kernel can give.
pub(super) struct Numbers(Box<[u64]>);

/// How many numbers share a word.
const WORD_BITS: u32 = u64::BITS;

impl Numbers {
    pub(super) fn none() -> Self {
        const WORDS: usize = (limits::PID_MAX / WORD_BITS + 1) as usize;
        Numbers(vec![0; WORDS].into_boxed_slice())
    }

    /// Empties the set. What is empty is not written to, so that only pages with numbers in use take memory.
    pub(super) fn clear(&mut self) {
        self.0.iter_mut().filter(|word| **word != 0).for_each(|word| *word = 0);
    }

    /// True if the number was not in the set.
    pub(super) fn insert(&mut self, number: u32) -> bool {
        let (Some(at), bit) = Self::place(number) else { return true };
        let Some(word) = self.0.get_mut(at) else { return true };
        let before = *word;
        *word = before | bit;
        before & bit == 0
    }

    pub(super) fn contains(&self, number: u32) -> bool {
        let (Some(at), bit) = Self::place(number) else { return false };
        self.0.get(at).is_some_and(|word| word & bit != 0)
    }

    fn place(number: u32) -> (Option<usize>, u64) {
        let at = usize::try_from(number / WORD_BITS).ok();
        (at, 1_u64.wrapping_shl(number % WORD_BITS))
    }
}

/// What is known in one look.
pub(super) struct Descent {
    members: Numbers,
    strangers: Numbers,
    /// From the process that was met upwards; then those of them that have just turned out to be members.
    way: ArrayVec<Process, { limits::FAMILY_WAY }>,
    unfinished: bool,
}

impl Descent {
    pub(super) fn new() -> Self {
        Descent { members: Numbers::none(), strangers: Numbers::none(), way: ArrayVec::new(), unfinished: false }
    }

    /// Forgets all. From here on `root` is a member, and neither `except` nor what descends from it.
    pub(super) fn begin(&mut self, root: u32, except: u32) {
        self.members.clear();
        self.strangers.clear();
        self.members.insert(root);
        // The first process of all has a parent of that number.
        self.strangers.insert(0);
        self.strangers.insert(except);
    }

    /// Begins another reading of `/proc` in the same look.
    pub(super) fn begin_reading(&mut self) {
        self.unfinished = false;
    }

    /// Whether one more reading is needed, because there were processes whose ancestors were too many.
    pub(super) fn is_unfinished(&self) -> bool {
        self.unfinished
    }

    /// Whether the number's process is a member; `None` as long as that is not known.
    pub(super) fn verdict(&self, number: u32) -> Option<bool> {
        match (self.members.contains(number), self.strangers.contains(number)) {
            (true, _) => Some(true),
            (_, true) => Some(false),
            _ => None,
        }
    }

    /// Finds out whether `process`, which is not known yet, is a member. New members are then there to be taken by
    /// [`Self::next_member`].
    ///
    /// # Errors
    /// Those of `look`.
    pub(super) fn trace(
        &mut self,
        process: Process,
        mut look: impl FnMut(u32) -> io::Result<Option<Process>>,
    ) -> io::Result<()> {
        self.way.clear();
        let mut above = Some(process);
        // There are no longer ways; what still has none of the answers below comes again in the next reading.
        let mut steps = 0..limits::PID_MAX;
        while let Some(top) = above {
            if steps.next().is_none() {
                self.unfinished = true;
                break;
            }
            let parent = top.parent;
            if self.way.is_full() {
                // Those at the bottom are met again in the next reading, with their ancestors known by then.
                self.unfinished = true;
                self.way.drain(..limits::FAMILY_WAY / 2);
            }
            self.way.push(top);
            if let Some(is_member) = self.verdict(parent) {
                self.settle(is_member);
                return Ok(());
            }
            // A line read before and one read after a number was given to another process can form a ring.
            if self.way.iter().any(|below| below.birth.pid == parent) {
                self.settle(false);
                return Ok(());
            }
            above = look(parent)?;
            while above.is_none()
                && let Some(orphan) = self.way.pop()
            {
                // Its parent has ended, so that it has another one by now; or it has ended, too.
                above = look(orphan.birth.pid)?.filter(|again| again.birth == orphan.birth);
                if above.is_some_and(|again| again.parent == orphan.parent) {
                    // A parent that this account cannot see.
                    self.way.clear();
                    return Ok(());
                }
            }
        }
        self.way.clear();
        Ok(())
    }

    /// The next of the new members, parents before their children.
    pub(super) fn next_member(&mut self) -> Option<Process> {
        self.way.pop()
    }

    fn settle(&mut self, is_member: bool) {
        let known = if is_member { &mut self.members } else { &mut self.strangers };
        for process in &self.way {
            known.insert(process.birth.pid);
        }
        if !is_member {
            self.way.clear();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Birth, Process};
    use super::{Descent, Numbers};
    use crate::ground::limits;

    fn process(pid: u32, parent: u32) -> Process {
        Process { birth: Birth { pid, start: 1 }, parent, state: b'S', threads: 1 }
    }

    /// The members among `all`, in the order in which they are found, and how often `all` was read.
    fn members(all: &[Process], root: u32, except: u32) -> (Vec<u32>, u32) {
        let find = |pid| all.iter().find(|process| process.birth.pid == pid).copied();
        let mut descent = Descent::new();
        descent.begin(root, except);
        let (mut found, mut readings) = (Vec::new(), 0);
        while readings == 0 || descent.is_unfinished() {
            readings += 1;
            descent.begin_reading();
            for process in all {
                if descent.verdict(process.birth.pid).is_none() {
                    descent.trace(*process, |pid| Ok(find(pid))).unwrap();
                }
                found.extend(core::iter::from_fn(|| descent.next_member()).map(|member| member.birth.pid));
            }
        }
        (found, readings)
    }

    #[test]
    fn a_set_of_numbers_has_room_for_all_of_them() {
        let mut numbers = Numbers::none();
        for number in [0, 1, 63, 64, limits::PID_MAX] {
            assert!(!numbers.contains(number) && numbers.insert(number) && !numbers.insert(number), "{number}");
        }
        assert!(numbers.contains(63) && !numbers.contains(62) && !numbers.contains(65));
        assert!(!numbers.contains(u32::MAX) && numbers.insert(u32::MAX));
        numbers.clear();
        assert!(!numbers.contains(63) && !numbers.contains(limits::PID_MAX));
    }

    #[test]
    fn descendants_outside_of_the_exception_are_members() {
        let all = [(1, 0), (10, 1), (11, 10), (12, 11), (13, 11), (15, 13), (20, 10), (21, 20), (30, 31), (31, 30)];
        let all = all.map(|(pid, parent)| process(pid, parent));
        assert_eq!(members(&all, 10, 20), (vec![11, 12, 13, 15], 1));
        assert_eq!(members(&all, 10, 0).0, [11, 12, 13, 15, 20, 21]);
        assert!(members(&all, 1, 10).0.is_empty());
    }

    #[test]
    fn parents_come_before_their_children_whatever_their_numbers_are() {
        let all = [(2, 90), (3, 2), (10, 1), (50, 70), (70, 10), (90, 50), (91, 1)];
        let all = all.map(|(pid, parent)| process(pid, parent));
        assert_eq!(members(&all, 10, 0), (vec![70, 50, 90, 2, 3], 1));
    }

    #[test]
    fn rings_end() {
        let all =
            [(10, 12), (11, 10), (12, 11), (30, 31), (31, 30), (40, 31)].map(|(pid, parent)| process(pid, parent));
        assert_eq!(members(&all, 10, 0), (vec![11, 12], 1));
    }

    #[test]
    fn a_way_that_is_too_long_takes_another_reading() {
        // Numbers have started again behind the last of these.
        let long = u32::try_from(limits::FAMILY_WAY).unwrap() + 10;
        let mut all = vec![process(2, 100 + long), process(3, 2), process(10, 1), process(101, 10)];
        all.extend((102..=100 + long).map(|pid| process(pid, pid - 1)));
        let (found, readings) = members(&all, 10, 0);
        assert_eq!((found.len(), readings), (all.len() - 1, 2));
        assert_eq!(found[found.len() - 2..], [2, 3]);
    }

    #[test]
    fn a_way_whose_numbers_fall_takes_another_reading_too() {
        let top = 100 + 3 * u32::try_from(limits::FAMILY_WAY).unwrap();
        let mut all = vec![process(10, 1)];
        all.extend((100..=top).map(|pid| process(pid, if pid == top { 10 } else { pid + 1 })));
        let (found, readings) = members(&all, 10, 0);
        assert_eq!((found.len(), readings), (all.len() - 1, 2));
        assert!(found.windows(2).all(|pair| pair[0] != pair[1]));
    }

    #[test]
    fn who_loses_its_parent_meanwhile_has_another_one() {
        let mut descent = Descent::new();
        descent.begin(10, 0);
        let now = |pid| Ok((pid == 5).then(|| process(5, 10)));
        descent.trace(process(5, 900), now).unwrap();
        assert_eq!(descent.next_member().map(|member| member.birth.pid), Some(5));
        // Its number is another's by now.
        let other = |pid| Ok((pid == 6).then(|| Process { birth: Birth { pid: 6, start: 2 }, ..process(6, 10) }));
        descent.trace(process(6, 900), other).unwrap();
        assert_eq!((descent.verdict(6), descent.next_member()), (None, None));
    }

    #[test]
    fn who_loses_two_ancestors_meanwhile_has_another_parent() {
        let mut descent = Descent::new();
        descent.begin(10, 0);
        let mut before = vec![process(6, 7)];
        let now = |pid| {
            Ok(before.iter().position(|process| process.birth.pid == pid).map(|at| before.remove(at)).or_else(|| {
                // Neither 6 nor 7 is there any more.
                (pid == 5).then(|| process(5, 10))
            }))
        };
        descent.trace(process(5, 6), now).unwrap();
        assert_eq!(descent.next_member().map(|member| member.birth.pid), Some(5));
    }

    #[test]
    fn a_parent_that_cannot_be_seen_is_nobodys() {
        let mut descent = Descent::new();
        descent.begin(10, 0);
        let now = |pid| Ok((pid == 5).then(|| process(5, 900)));
        descent.trace(process(5, 900), now).unwrap();
        assert_eq!((descent.verdict(5), descent.next_member(), descent.is_unfinished()), (None, None, false));
    }
}

//! A node with as many slots as `GLEXEC_RS_SLOTS` says, 60 by default (200 with `tests/run --full`): all of them set
//! up, run, kill and clean up in one EXECUTE at the same time.

use crate::common::Site;
use crate::own_namespaces;
use crate::slot::Slot;
use crate::turn;
use std::time::Instant;

fn slots() -> usize {
    std::env::var("GLEXEC_RS_SLOTS").map_or(60, |number| number.parse().expect("GLEXEC_RS_SLOTS is a number"))
}

/// Does `work` for all slots at once.
fn all_at_once<T: Send>(slots: Vec<T>, work: impl Fn(T) -> T + Sync) -> Vec<T> {
    std::thread::scope(|scope| {
        let threads: Vec<_> = slots.into_iter().map(|slot| scope.spawn(|| work(slot))).collect();
        threads.into_iter().map(|thread| thread.join().expect("a slot failed")).collect()
    })
}

fn new_slots(site: &Site) -> Vec<Slot<'_>> {
    (0..slots()).map(|number| Slot::new(site, number)).collect()
}

#[test]
#[ignore = "needs root"]
fn every_slot_does_the_same_at_the_same_time() {
    let _turn = turn();
    let site = Site::new();
    own_namespaces::with(&site, || {
        let mut slots = new_slots(&site);
        for (what, step) in Slot::STEPS {
            let began = Instant::now();
            slots = all_at_once(slots, |mut slot| {
                step(&mut slot);
                slot
            });
            eprintln!("{what} in {} slots: {:.1?}", slots.len(), began.elapsed());
        }
    });
}

#[test]
#[ignore = "needs root"]
fn every_slot_goes_its_own_way() {
    let _turn = turn();
    let site = Site::new();
    own_namespaces::with(&site, || {
        let began = Instant::now();
        let slots = all_at_once(new_slots(&site), |mut slot| {
            for (_, step) in Slot::STEPS {
                step(&mut slot);
            }
            slot
        });
        eprintln!("{} cycles: {:.1?}", slots.len(), began.elapsed());
    });
}

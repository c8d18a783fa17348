//! Where hostile bytes are read.

use glexec_rs::confine::Confined;
use glexec_rs::confine::landlock::Grant;
use glexec_rs::confine::side::Side;

/// Does `work` in a thread that is confined as a helper is on `side`. A forbidden call ends the whole process.
/// The side must be that of a helper with threads: in the other profiles none may end.
#[cfg(not(fuzzing))]
pub fn confined<T: Send>(side: &Side, grants: &[Grant<'_>], work: impl FnOnce(&Confined) -> T + Send) -> T {
    let confine = || glexec_rs::confine::confine(side, grants, glexec_rs::confine::landlock::MayLack::default());
    std::thread::scope(|scope| scope.spawn(|| work(&confine().expect("a confined thread"))).join())
        .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

/// Does `work` unconfined: a fuzzer must be able to write down what it finds.
#[cfg(fuzzing)]
pub fn confined<T: Send>(_: &Side, _: &[Grant<'_>], work: impl FnOnce(&Confined) -> T + Send) -> T {
    work(&Confined::assumed())
}

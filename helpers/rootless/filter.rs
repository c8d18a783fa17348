//! The seccomp filter of a job: what one account can do to itself and Landlock does not know about.
//!
//! Everything is allowed but the calls listed here, since nobody knows what a job needs. Calls of another architecture's
//! convention (32 bit programs) kill the process, because their numbers mean something else. On x86_64 every rule stands for the
//! x32 convention, too, in which the same kernel functions have other numbers.
//!
//! Arguments are compared in the width that the kernel uses: it drops the upper half of a register that carries an `int`.
//!
//! The filter is also a mark: whoever carries it is inside a domain (see [`crate::process::status`]).

#![forbid(unsafe_code)]

use super::site_fault;
use crate::outcome::Outcome;
use libc::c_long;
use seccompiler::{
    BackendError, BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter,
    SeccompRule, TargetArch, apply_filter,
};
use std::collections::BTreeMap;

#[cfg(target_arch = "x86_64")]
const ARCHITECTURE: TargetArch = TargetArch::x86_64;
#[cfg(target_arch = "aarch64")]
const ARCHITECTURE: TargetArch = TargetArch::aarch64;

/// Marks a number of the x32 convention (`__X32_SYSCALL_BIT`).
#[cfg(target_arch = "x86_64")]
const X32: c_long = 0x4000_0000;

/// `ioctl` in the x32 convention, the only one of the calls below whose number is another one there.
#[cfg(target_arch = "x86_64")]
const X32_IOCTL: c_long = 514;

/// The types of socket whose messages can carry an address of their own. `AF_UNIX` makes a datagram socket of `SOCK_RAW`.
const WITHOUT_CONNECTION: [i32; 2] = [libc::SOCK_DGRAM, libc::SOCK_RAW];

/// The part of a socket's type that is not flags (the kernel's `SOCK_TYPE_MASK`).
const SOCKET_TYPE_MASK: u32 = 0xf;

/// The flags with which `open` uses its mode; without them the register holds anything.
const CREATING: [i32; 2] = [libc::O_CREAT, libc::O_TMPFILE & !libc::O_DIRECTORY];

/// The bits that make a file run with its owner's or group's rights.
const SET_ID: [u32; 2] = [libc::S_ISUID, libc::S_ISGID];

/// Installs the filters for good, [`crate::process::status::DOMAIN_FILTERS`] of them.
///
/// # Errors
/// The administrator's: the kernel has no seccomp filters, or something around us forbids them.
pub fn install() -> Outcome {
    let context = "cannot install the seccomp filter";
    let refused = compile(denied(), libc::EPERM).map_err(site_fault(context))?;
    let absent = compile(absent(), libc::ENOSYS).map_err(site_fault(context))?;
    apply_filter(&refused).and_then(|()| apply_filter(&absent)).map_err(site_fault(context))
}

/// Alternatives, each a list of conditions of which all must hold; none at all: always.
type Rules = Vec<Vec<Condition>>;

/// The argument with this index, of which these bits have this value.
#[derive(Clone, Copy)]
struct Condition {
    argument: u8,
    comparison: Comparison,
}

#[derive(Clone, Copy)]
enum Comparison {
    Is(u32),
    IsNot(u32),
    Bits { mask: u32, value: u32 },
}

const fn is(argument: u8, value: u32) -> Condition {
    Condition { argument, comparison: Comparison::Is(value) }
}

const fn has(argument: u8, bits: u32) -> Condition {
    Condition { argument, comparison: Comparison::Bits { mask: bits, value: bits } }
}

/// What fails with `EPERM`.
fn denied() -> Vec<(c_long, Rules)> {
    let mut list = vec![
        // Typing into a terminal that the pilot left open as a standard stream.
        (libc::SYS_ioctl, vec![vec![is(1, TIOCSTI)], vec![is(1, TIOCLINUX)]]),
        // Sockets with a path lead to the daemons of the account (systemd --user, condor's shared port, agents with keys), and
        // Landlock before ABI 9 does not know them. A connected pair stays possible; one without connection could still send anywhere.
        (libc::SYS_socket, vec![vec![is(0, bits(libc::AF_UNIX))]]),
        (
            libc::SYS_socketpair,
            WITHOUT_CONNECTION
                .iter()
                .map(|kind| {
                    let comparison = Comparison::Bits { mask: SOCKET_TYPE_MASK, value: bits(*kind) };
                    vec![Condition { argument: 1, comparison }]
                })
                .collect(),
        ),
        // The limits of another process of the account; a CPU limit kills it.
        (libc::SYS_prlimit64, vec![vec![Condition { argument: 0, comparison: Comparison::IsNot(0) }]]),
        // A file that runs with the pilot's rights, outside every domain, for whoever else can reach the sandbox.
        (libc::SYS_fchmod, set_id(1)),
        (libc::SYS_fchmodat, set_id(2)),
        (libc::SYS_fchmodat2, set_id(2)),
        (libc::SYS_openat, created_set_id(2, 3)),
        (libc::SYS_mknodat, set_id(2)),
    ];
    #[cfg(target_arch = "x86_64")]
    list.extend([
        (libc::SYS_chmod, set_id(1)),
        (libc::SYS_creat, set_id(1)),
        (libc::SYS_open, created_set_id(1, 2)),
        (libc::SYS_mknod, set_id(1)),
    ]);
    let whole = [
        // The account's keyrings.
        libc::SYS_keyctl,
        libc::SYS_add_key,
        libc::SYS_request_key,
        // The account's System V and POSIX IPC objects: memory and messages of the pilot, and nothing that a sandbox's removal removes.
        libc::SYS_shmget,
        libc::SYS_shmat,
        libc::SYS_shmctl,
        libc::SYS_semget,
        libc::SYS_semop,
        libc::SYS_semtimedop,
        libc::SYS_semctl,
        libc::SYS_msgget,
        libc::SYS_msgsnd,
        libc::SYS_msgrcv,
        libc::SYS_msgctl,
        libc::SYS_mq_open,
        libc::SYS_mq_unlink,
        // Parts of the kernel with many flaws in the past that no job needs.
        libc::SYS_bpf,
        libc::SYS_perf_event_open,
        libc::SYS_userfaultfd,
    ];
    list.extend(whole.into_iter().map(|number| (number, Vec::new())));
    list
}

/// What fails with `ENOSYS`, as on a kernel that does not have it, because programs then do without.
fn absent() -> Vec<(c_long, Rules)> {
    // Both take their arguments from memory, where a filter cannot look: io_uring would open sockets, openat2 set-id files.
    vec![(libc::SYS_io_uring_setup, Vec::new()), (libc::SYS_openat2, Vec::new())]
}

fn set_id(mode: u8) -> Rules {
    SET_ID.iter().map(|bit| vec![has(mode, *bit)]).collect()
}

fn created_set_id(flags: u8, mode: u8) -> Rules {
    CREATING
        .iter()
        .flat_map(|creating| SET_ID.iter().map(move |bit| vec![has(flags, bits(*creating)), has(mode, *bit)]))
        .collect()
}

/// The two requests that put input into a terminal. The C libraries do not agree on their type; the kernel looks at 32 bits.
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::unnecessary_cast)]
const TIOCSTI: u32 = libc::TIOCSTI as u32;
/// See [`TIOCSTI`].
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::unnecessary_cast)]
const TIOCLINUX: u32 = libc::TIOCLINUX as u32;

/// A constant of the C library as the 32 bits that the kernel looks at. Its sign, if it has one, means nothing there.
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
fn bits(constant: impl Into<i64>) -> u32 {
    constant.into() as u32
}

fn compile(list: Vec<(c_long, Rules)>, errno: i32) -> Result<BpfProgram, BackendError> {
    let mut by_number = BTreeMap::new();
    for (number, rules) in list {
        let rules = rules.iter().map(|all| rule(all)).collect::<Result<Vec<_>, _>>()?;
        for number in conventions(number) {
            by_number.insert(number, rules.clone());
        }
    }
    let action = SeccompAction::Errno(bits(errno));
    SeccompFilter::new(by_number, SeccompAction::Allow, action, ARCHITECTURE)?.try_into()
}

fn rule(all: &[Condition]) -> Result<SeccompRule, BackendError> {
    let conditions = all.iter().map(|condition| {
        let (operation, value) = match condition.comparison {
            Comparison::Is(value) => (SeccompCmpOp::Eq, value),
            Comparison::IsNot(value) => (SeccompCmpOp::Ne, value),
            Comparison::Bits { mask, value } => (SeccompCmpOp::MaskedEq(mask.into()), value),
        };
        SeccompCondition::new(condition.argument, SeccompCmpArgLen::Dword, operation, value.into())
    });
    SeccompRule::new(conditions.collect::<Result<_, _>>()?)
}

/// The numbers under which a call can be made in programs of this architecture.
#[cfg(target_arch = "x86_64")]
fn conventions(number: c_long) -> impl Iterator<Item = c_long> {
    let own_x32 = (number == libc::SYS_ioctl).then_some(X32_IOCTL | X32);
    [number, number | X32].into_iter().chain(own_x32)
}

#[cfg(not(target_arch = "x86_64"))]
fn conventions(number: c_long) -> impl Iterator<Item = c_long> {
    core::iter::once(number)
}

#[cfg(test)]
mod tests {
    use super::{absent, compile, denied};
    use std::collections::HashSet;

    #[test]
    fn every_call_is_listed_once() {
        // A second entry would silently replace the first.
        let numbers: Vec<_> = denied().into_iter().chain(absent()).map(|(number, _)| number).collect();
        assert_eq!(numbers.iter().collect::<HashSet<_>>().len(), numbers.len());
    }

    #[test]
    fn the_lists_compile() {
        assert!(compile(denied(), libc::EPERM).is_ok_and(|program| program.len() < 4096));
        assert!(compile(absent(), libc::ENOSYS).is_ok());
    }
}

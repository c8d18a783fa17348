//! Ends a whole family of processes: everything that descends from one process, however it tries to get away.
//!
//! A member can leave its session, its process group, its namespaces and its parent, but not its descent: the root of the
//! family is a child subreaper (`PR_SET_CHILD_SUBREAPER`), so whoever loses its parent becomes the root's child. Killing alone
//! loses against a family that forks faster than it is killed; so all members are stopped first, and a stopped process
//! forks no more.
//!
//! Everything read from `/proc` is the job's to choose (a process names itself) and is parsed as such. Nothing here needs
//! more than a descriptor of `/proc` and pidfds, so that it works in a process confined to that.

#![forbid(unsafe_code)]

use crate::ground::argv::decimal;
use crate::ground::limits;
use crate::ground::outcome::{Failure, OrFail, Outcome};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{Mode, OFlags, RawDir, openat};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open};
use std::collections::HashSet;
use std::ffi::CString;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Instant;

/// What tells one process from every other that had or will have its number: the start time in clock ticks since boot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Identity {
    /// Its number.
    pub pid: u32,
    /// Its start time.
    pub start: u64,
}

/// One line of `/proc/<pid>/stat`, as far as it matters here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Process {
    /// What tells it from others.
    pub identity: Identity,
    /// Its parent's number.
    pub parent: u32,
    /// The state of the first thread only.
    pub state: u8,
    /// How many threads it has.
    pub threads: u64,
}

impl Process {
    /// Whether anything of it still runs or could. A first thread may end ("Z") while others go on.
    fn lives(&self) -> bool {
        match self.state {
            b'X' | b'x' => false,
            b'Z' => self.threads > 1,
            _ => true,
        }
    }

    /// Whether its first thread is seen running, although every thread of a process is stopped by one SIGSTOP. Waiting
    /// for the kernel ("D", where the parent of a vfork is) does not count: it stops as soon as it leaves the kernel.
    fn runs(&self) -> bool {
        matches!(self.state, b'R' | b'S')
    }
}

/// Reads one `/proc/<pid>/stat` line (proc_pid_stat(5)). The second field is the process's own choice of name in
/// parentheses, with any byte in it; all later fields are numbers but for the state, so the name ends at the *last* `)`.
pub fn parse(line: &[u8]) -> Option<Process> {
    let name_start = line.iter().position(|byte| *byte == b'(')?;
    let name_end = line.iter().rposition(|byte| *byte == b')')?;
    let pid = decimal(line.get(..name_start)?.strip_suffix(b" ")?)?;
    let mut fields = line.get(name_end..)?.strip_prefix(b") ")?.strip_suffix(b"\n")?.split(|byte| *byte == b' ');
    // Fields 3, 4, 20 and 22 of the manual page.
    let [state] = *fields.next()? else { return None };
    let parent = decimal(fields.next()?)?;
    let threads = long_decimal(fields.nth(15)?)?;
    let start = long_decimal(fields.nth(1)?)?;
    Some(Process { identity: Identity { pid, start }, parent, state, threads })
}

fn long_decimal(text: &[u8]) -> Option<u64> {
    if text.is_empty() || !text.iter().all(u8::is_ascii_digit) {
        return None;
    }
    core::str::from_utf8(text).ok()?.parse().ok()
}

/// What `/proc` says about one process; `None` when it is gone.
fn look_at(proc: BorrowedFd<'_>, pid: u32) -> io::Result<Option<Process>> {
    let name = CString::new(format!("{pid}/stat"))?;
    let mut line = [0_u8; limits::STAT_BYTES];
    let read = openat(proc, &name, OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW, Mode::empty())
        .and_then(|file| rustix::io::read(file, &mut line));
    let length = match read {
        Ok(length) => length,
        Err(Errno::NOENT | Errno::SRCH) => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    // A line that fills the buffer may be cut, and one that is not of the kernel's form must not hide a process.
    let whole = line.get(..length).filter(|whole| whole.len() < limits::STAT_BYTES);
    match whole.and_then(parse).filter(|process| process.identity.pid == pid) {
        Some(process) => Ok(Some(process)),
        None => Err(io::Error::new(io::ErrorKind::InvalidData, "a line of /proc/<pid>/stat is not of the known form")),
    }
}

/// All processes that `/proc` shows. Each is shown to `visit` as soon as it is seen.
fn every_process(proc: BorrowedFd<'_>, mut visit: impl FnMut(&Process) -> Outcome) -> Outcome<Vec<Process>> {
    let listing =
        openat(proc, c".", OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty()).or_fail(FAILED)?;
    // Room for a few names only: between the listing of a name and the look at its process, the process grows old.
    let mut buffer = Vec::with_capacity(128);
    let mut entries = RawDir::new(listing, buffer.spare_capacity_mut());
    let mut processes = Vec::new();
    while let Some(entry) = entries.next() {
        if let Some(pid) = decimal(entry.or_fail(FAILED)?.file_name().to_bytes())
            && let Some(process) = look_at(proc, pid).or_fail(FAILED)?
        {
            visit(&process)?;
            processes.push(process);
        }
    }
    // A parent that is not listed has ended, or was born behind the reader's back: look once more at both.
    let listed: HashSet<u32> = processes.iter().map(|process| process.identity.pid).collect();
    let mut fresh = Vec::new();
    for process in processes.iter().filter(|process| process.parent != 0 && !listed.contains(&process.parent)) {
        fresh.extend(look_at(proc, process.identity.pid).or_fail(FAILED)?);
        fresh.extend(look_at(proc, process.parent).or_fail(FAILED)?);
    }
    // The newer of two looks at one process comes first, and stays.
    fresh.append(&mut processes);
    fresh.sort_by_key(|process| process.identity.pid);
    fresh.dedup_by_key(|process| process.identity.pid);
    Ok(fresh)
}

/// The living descendants of `root` among `processes`, parents before their children, without `except` and what
/// descends from it.
fn descendants(mut processes: Vec<Process>, root: u32, except: u32) -> Vec<Process> {
    processes.sort_unstable_by_key(|process| process.parent);
    let children = |parent: u32| {
        let start = processes.partition_point(|process| process.parent < parent);
        processes.iter().skip(start).take_while(move |process| process.parent == parent)
    };
    let mut seen = HashSet::from([root, except]);
    let mut waiting = vec![root];
    let mut family = Vec::new();
    while let Some(parent) = waiting.pop() {
        for child in children(parent) {
            // A line read before and one read after a number was given to another process could otherwise form a ring.
            if seen.insert(child.identity.pid) {
                waiting.push(child.identity.pid);
                family.push(*child);
            }
        }
    }
    family.retain(Process::lives);
    family
}

/// Does something to every living descendant of `root` that can be found in one look at `/proc`, and gives all of them.
///
/// Whoever can be told to be one of them at first sight is dealt with at once: a process that does nothing but fork and end is
/// only caught while it is young.
fn for_each_descendant(
    proc: BorrowedFd<'_>,
    root: u32,
    except: u32,
    mut act: impl FnMut(&Process) -> Outcome,
) -> Outcome<Vec<Process>> {
    let mut known = HashSet::from([root]);
    let processes = every_process(proc, |process| {
        let pid = process.identity.pid;
        let first_seen = pid != except && known.contains(&process.parent) && known.insert(pid);
        if first_seen && process.lives() { act(process) } else { Ok(()) }
    })?;
    let family = descendants(processes, root, except);
    family.iter().filter(|process| !known.contains(&process.identity.pid)).try_for_each(act)?;
    Ok(family)
}

/// A pidfd of exactly the process that was looked at; `None` when that one is gone.
fn hold(proc: BorrowedFd<'_>, process: &Process) -> io::Result<Option<OwnedFd>> {
    let Some(pid) = i32::try_from(process.identity.pid).ok().and_then(Pid::from_raw) else { return Ok(None) };
    let pidfd = match pidfd_open(pid, PidfdFlags::empty()) {
        Ok(pidfd) => pidfd,
        Err(Errno::SRCH) => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    // Whoever has the number now started when the process did, so it is the process; and the pidfd's process has not
    // ended up to now, so it is that one.
    let same = look_at(proc, process.identity.pid)?.is_some_and(|now| now.identity == process.identity);
    let mut ended = [PollFd::new(&pidfd, PollFlags::IN)];
    let alive = poll(&mut ended, Some(&Timespec { tv_sec: 0, tv_nsec: 0 }))? == 0;
    Ok((same && alive).then_some(pidfd))
}

const FAILED: fn() -> &'static str = || "cannot end the job's processes";

/// What became of one signal.
enum Sent {
    Delivered,
    Gone,
    Refused,
}

fn send(
    proc: BorrowedFd<'_>,
    process: &Process,
    signal: Signal,
    how: &mut impl FnMut(BorrowedFd<'_>, u8) -> Outcome<Result<(), Errno>>,
) -> Outcome<Sent> {
    let Some(pidfd) = hold(proc, process).or_fail(FAILED)? else { return Ok(Sent::Gone) };
    let number = u8::try_from(signal.as_raw()).or_fail(FAILED)?;
    match how(pidfd.as_fd(), number)? {
        Ok(()) => Ok(Sent::Delivered),
        Err(Errno::SRCH) => Ok(Sent::Gone),
        Err(Errno::PERM) => Ok(Sent::Refused),
        Err(error) => Err(error).or_fail(FAILED),
    }
}

/// Stops and then kills every process that descends from `root`, but neither `root` nor `except` (the caller, who is one
/// of them) nor what descends from `except` (a switcher and the peer behind it).
///
/// `root` must be a child subreaper. `proc` is a directory descriptor of `/proc`. `signal` delivers one signal to
/// the process behind a pidfd and tells what the kernel answered: `ESRCH` means that it ended by itself, `EPERM` that it belongs
/// to another account (a lingering switcher), which is waited for instead because it ends after what it has started.
///
/// Returns how many processes were sent SIGKILL.
///
/// # Errors
/// When a descendant still lives after [`limits::FAMILY_KILL_DEADLINE`], when `/proc` cannot be read, or when `signal` fails in
/// another way.
pub fn end(
    proc: BorrowedFd<'_>,
    root: u32,
    except: u32,
    mut signal: impl FnMut(BorrowedFd<'_>, u8) -> Outcome<Result<(), Errno>>,
) -> Outcome<usize> {
    let begin = Instant::now();
    let mut stopped = HashSet::new();
    let mut awake = true;
    // Stopping only makes the killing sure; what can't be stopped in time is killed all the same.
    while awake && begin.elapsed() < limits::FAMILY_STOP_DEADLINE {
        awake = false;
        for_each_descendant(proc, root, except, |process| {
            // Each answer can take long: the clock is looked at for every process, here and below.
            if begin.elapsed() >= limits::FAMILY_STOP_DEADLINE {
                return Ok(());
            }
            let known = !stopped.insert(process.identity);
            if known && !process.runs() {
                return Ok(());
            }
            match send(proc, process, Signal::STOP, &mut signal)? {
                Sent::Delivered | Sent::Gone => awake = true,
                Sent::Refused => {}
            }
            Ok(())
        })?;
    }

    let begin = Instant::now();
    let mut killed = HashSet::new();
    let mut pause = limits::FAMILY_PAUSE_LEAST;
    let mut empty_looks = 0_u32;
    while empty_looks < limits::FAMILY_EMPTY_LOOKS {
        let mut news = false;
        let left = for_each_descendant(proc, root, except, |process| {
            if begin.elapsed() < limits::FAMILY_KILL_DEADLINE
                && !killed.contains(&process.identity)
                && let Sent::Delivered = send(proc, process, Signal::KILL, &mut signal)?
            {
                killed.insert(process.identity);
                news = true;
            }
            Ok(())
        })?;
        empty_looks = if left.is_empty() { empty_looks.saturating_add(1) } else { 0 };
        if let Some(first) = left.first()
            && begin.elapsed() >= limits::FAMILY_KILL_DEADLINE
        {
            return Err(Failure::permanent(format_args!(
                "{} processes of the job are still there {} s after SIGKILL, one of them process {} in state {}; look at what \
                 keeps them in the kernel, or whose they are",
                left.len(),
                limits::FAMILY_KILL_DEADLINE.as_secs(),
                first.identity.pid,
                char::from(first.state),
            )));
        }
        // Nothing new: those that are left are about to end; look again a little later each time.
        pause = if news || left.is_empty() {
            limits::FAMILY_PAUSE_LEAST
        } else {
            pause.saturating_mul(2).min(limits::FAMILY_PAUSE_MOST)
        };
        std::thread::sleep(pause);
    }
    Ok(killed.len())
}

#[cfg(test)]
mod tests {
    use super::{Identity, Process, descendants, end, every_process, hold, look_at, parse};
    use crate::ground::outcome::{Failure, Outcome};
    use crate::sys::pidfd_signal;
    use rustix::fs::{CWD, Mode, OFlags, openat};
    use rustix::io::Errno;
    use std::io::{BufRead, BufReader};
    use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
    use std::process::{Command, Stdio};

    const REST: &str = "0 -1 4194304 1 2 3 4 5 6 7 8 20 0 3 0 4711 9 9";

    fn line(name: &str) -> Vec<u8> {
        format!("12 ({name}) S 7 1 1 {REST}\n").into_bytes()
    }

    #[test]
    fn a_process_names_itself_as_it_likes() {
        let expected = Process { identity: Identity { pid: 12, start: 4711 }, parent: 7, state: b'S', threads: 3 };
        for name in ["sh", "", ")", "a) R 1 1 1 1", "\n", "\n13 (x) S 1", "(((", ") Z 0 0 0", " "] {
            assert_eq!(parse(&line(name)), Some(expected), "{name:?}");
        }
    }

    #[test]
    fn what_is_no_stat_line_is_refused() {
        let good = line("sh");
        for cut in 0..good.len() {
            // Only fields that nobody reads may be missing, and never the end of the line.
            assert_eq!(parse(&good[..cut]), None, "{cut}");
        }
        for bad in [
            format!("-12 (sh) S 7 1 1 {REST}\n"),
            format!("12(sh) S 7 1 1 {REST}\n"),
            format!("12 (sh)  S 7 1 1 {REST}\n"),
            format!("12 (sh) SS 7 1 1 {REST}\n"),
            format!("12 (sh) S -7 1 1 {REST}\n"),
            "12 (sh) S 7 1 1 0 -1 4194304 1 2 3 4 5 6 7 8 20 0 x 0 4711\n".to_string(),
            "12 (sh) S 7 1 1 0 -1 4194304 1 2 3 4 5 6 7 8 20 0 3 0 99999999999999999999\n".to_string(),
        ] {
            assert_eq!(parse(bad.as_bytes()), None, "{bad:?}");
        }
    }

    fn process(pid: u32, parent: u32, state: u8, threads: u64) -> Process {
        Process { identity: Identity { pid, start: 1 }, parent, state, threads }
    }

    #[test]
    fn only_living_descendants_outside_of_the_exception_belong_to_the_family() {
        let all = vec![
            process(1, 0, b'S', 1),
            process(10, 1, b'S', 1),
            process(11, 10, b'S', 1),
            process(12, 11, b'R', 1),
            process(13, 11, b'Z', 1),
            process(14, 11, b'Z', 2),
            process(15, 13, b'T', 1),
            process(20, 10, b'S', 1),
            process(21, 20, b'S', 1),
            process(30, 31, b'S', 1),
            process(31, 30, b'S', 1),
        ];
        let mut pids: Vec<u32> = descendants(all, 10, 20).iter().map(|process| process.identity.pid).collect();
        pids.sort_unstable();
        assert_eq!(pids, [11, 12, 14, 15]);
    }

    #[test]
    fn a_ring_ends() {
        let all = vec![process(10, 12, b'S', 1), process(11, 10, b'S', 1), process(12, 11, b'S', 1)];
        assert_eq!(descendants(all, 10, 0).len(), 2);
    }

    fn plain(process: BorrowedFd<'_>, signal: u8) -> Outcome<Result<(), Errno>> {
        Ok(pidfd_signal(process, signal))
    }

    fn proc() -> OwnedFd {
        openat(CWD, "/proc", OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty()).unwrap()
    }

    #[test]
    fn this_process_and_its_ancestors_are_seen() {
        let all = every_process(proc().as_fd(), |_| Ok(())).unwrap();
        let this = all.iter().find(|process| process.identity.pid == std::process::id()).unwrap();
        assert!(this.parent == 0 || all.iter().any(|process| process.identity.pid == this.parent));
    }

    #[test]
    fn only_the_process_that_was_looked_at_is_held() {
        let mut child = Command::new("sleep").arg("600").spawn().unwrap();
        let is_held = |process: &Process| hold(proc().as_fd(), process).unwrap().is_some();
        let process = look_at(proc().as_fd(), child.id()).unwrap().unwrap();
        let running = is_held(&process);
        // Its number was another process's when that was looked at.
        let Identity { pid, start } = process.identity;
        let another = is_held(&Process { identity: Identity { pid, start: start - 1 }, ..process });
        // It has ended, and its number may be given away at any moment.
        child.kill().unwrap();
        while look_at(proc().as_fd(), pid).unwrap().unwrap().lives() {
            std::thread::yield_now();
        }
        let ended = is_held(&process);
        child.wait().unwrap();
        assert_eq!((running, another, ended, is_held(&process)), (true, false, false, false));
    }

    #[test]
    fn everything_below_a_process_ends_but_for_the_exception() {
        // Children only: this root is no child subreaper, so what loses its parent would not be its any more.
        let script = "sleep 600 & spared=$!; sleep 600 & (trap '' TERM; exec sleep 600) & \
                      sh -c 'kill -STOP $$' & echo $spared; wait";
        let mut root = Command::new("sh").args(["-c", script]).stdout(Stdio::piped()).spawn().unwrap();
        let mut first = String::new();
        BufReader::new(root.stdout.take().unwrap()).read_line(&mut first).unwrap();
        let spared: u32 = first.trim().parse().unwrap();
        assert!(end(proc().as_fd(), root.id(), spared, plain).unwrap() >= 1);
        // The shell waits for the one that was spared; with that gone too it ends.
        assert!(root.try_wait().unwrap().is_none());
        end(proc().as_fd(), root.id(), 0, plain).unwrap();
        assert!(root.wait().unwrap().success());
    }

    #[test]
    fn slow_answers_do_not_stretch_the_deadlines() {
        const MEMBERS: u32 = 20;
        let script = format!("for n in $(seq {MEMBERS}); do sleep 600 & done; echo; wait");
        let mut root = Command::new("sh").args(["-c", &script]).stdout(Stdio::piped()).spawn().unwrap();
        BufReader::new(root.stdout.take().unwrap()).read_line(&mut String::new()).unwrap();
        let pause = crate::ground::limits::FAMILY_KILL_DEADLINE / 10;
        let slow = |process: BorrowedFd<'_>, signal: u8| {
            std::thread::sleep(pause);
            plain(process, signal)
        };
        let begin = std::time::Instant::now();
        let ended = end(proc().as_fd(), root.id(), 0, slow);
        let took = begin.elapsed();
        end(proc().as_fd(), root.id(), 0, plain).unwrap();
        root.wait().unwrap();
        assert!(ended.is_err());
        let most = crate::ground::limits::FAMILY_STOP_DEADLINE + crate::ground::limits::FAMILY_KILL_DEADLINE;
        assert!(took < most + 3 * pause, "{took:?}");
    }

    #[test]
    fn an_error_of_the_delivery_ends_the_attempt() {
        let mut root =
            Command::new("sh").args(["-c", "sleep 600 & echo; wait"]).stdout(Stdio::piped()).spawn().unwrap();
        BufReader::new(root.stdout.take().unwrap()).read_line(&mut String::new()).unwrap();
        let broken = |_: BorrowedFd<'_>, _| Err(Failure::permanent("broken"));
        assert!(end(proc().as_fd(), root.id(), 0, broken).is_err());
        end(proc().as_fd(), root.id(), 0, plain).unwrap();
        root.wait().unwrap();
    }
}

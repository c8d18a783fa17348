//! What a hostile target side does in the place of the peer: a job that took it over can do all of this.

#![deny(unsafe_code)]

use crate::common::raw::*;
use rustix::fs::{Mode, OFlags, open};
use rustix::io::Errno;
use std::fs::File;
use std::io::Write;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};

/// What the helper must make of it.
#[derive(Clone, Copy, Debug)]
pub enum Answer {
    /// A failure, in whose report these words occur; nothing has changed.
    Refused(&'static [&'static str]),
    /// The same, because an answer has a descriptor: the kernel refuses to send it ([`PERM`] says so), or else the
    /// helper to take it.
    NoDescriptor,
    /// It goes on, and names what it left out with these words.
    LeftOut(&'static str),
}
use Answer::{LeftOut, NoDescriptor, Refused};

/// What is played, by its name, against which helper (the word of the peer's argument), and what must come of it.
pub struct Attack {
    pub name: &'static str,
    pub helper: &'static str,
    pub play: fn(&Raw),
    pub answer: Answer,
}

const fn cleanup(name: &'static str, play: fn(&Raw), words: &'static [&'static str]) -> Attack {
    Attack { name, helper: "cleanup", play, answer: Refused(words) }
}

const fn passed(name: &'static str, play: fn(&Raw), words: &'static str) -> Attack {
    Attack { name, helper: "cleanup", play, answer: LeftOut(words) }
}

const fn other(helper: &'static str, name: &'static str, play: fn(&Raw), words: &'static [&'static str]) -> Attack {
    Attack { name, helper, play, answer: Refused(words) }
}

const fn with_descriptor(helper: &'static str, name: &'static str, play: fn(&Raw)) -> Attack {
    Attack { name, helper, play, answer: NoDescriptor }
}

/// What is reported instead of an answer with a descriptor that cannot be sent.
pub const PERM: &str = "the kernel refuses to send it";

const NAME: &[&str] = &["not a single file name"];
const ENDED: &[&str] = &["has ended before its work was done"];
const PROTOCOL: &[&str] = &["broke the protocol"];
const CUT: &[&str] = &["cut short"];
const THERE: &[&str] = &["File exists"];
const NO_ACKNOWLEDGEMENT: &[&str] = &["something else than an acknowledgement"];

/// What a process exits with that has played its attack to the end. One that panics half-way must not pass for one that
/// falls silent.
pub const PLAYED: i32 = 77;

/// All of them. The proxy's name is that of the tests' sandboxes.
pub const ATTACKS: &[Attack] = &[
    cleanup("another greeting", |_| {}, &["not the peer of this version"]),
    cleanup("nothing after the greeting", |_| {}, ENDED),
    // Names.
    cleanup("a file .", |raw| raw.send(&records(&[&small(b".", 0o644, b"x")])), NAME),
    cleanup("a directory ..", |raw| raw.send(&records(&[&enter(b"..")])), NAME),
    cleanup("a name with a slash", |raw| raw.send(&records(&[&small(b"../../x", 0o644, b"x")])), NAME),
    cleanup("an absolute name", |raw| raw.send(&records(&[&enter(b"/tmp")])), NAME),
    cleanup("an empty name", |raw| raw.send(&records(&[&enter(b"")])), NAME),
    cleanup("a NUL in a name", |raw| raw.send(&records(&[&small(b"a\0b", 0o644, b"")])), NAME),
    cleanup("256 bytes of name", |raw| raw.send(&records(&[&enter(&[b'x'; 256])])), &["too long"]),
    cleanup("the proxy", |raw| raw.send(&records(&[&small(b"x509up_u1234", 0o600, b"x")])), &["sends the proxy"]),
    cleanup("the proxy as a directory", |raw| raw.send(&records(&[&enter(b"x509up_u1234")])), &["sends the proxy"]),
    cleanup("the proxy as a link", |raw| raw.send(&records(&[&symlink(b"x509up_u1234", b"y")])), &["sends the proxy"]),
    cleanup("a file twice", |raw| raw.send(&records(&[&small(b"a", 0o644, b""), &small(b"a", 0o644, b"")])), THERE),
    cleanup("a directory twice", |raw| raw.send(&records(&[&enter(b"a"), LEAVE, &enter(b"a")])), THERE),
    cleanup("a file, then a directory", |raw| raw.send(&records(&[&small(b"a", 0o644, b""), &enter(b"a")])), THERE),
    cleanup(
        "a directory, then a file",
        |raw| raw.send(&records(&[&enter(b"a"), LEAVE, &small(b"a", 0o644, b"")])),
        THERE,
    ),
    cleanup("through a link", |raw| raw.send(&records(&[&symlink(b"a", b"data"), &enter(b"a")])), THERE),
    cleanup("into a link", |raw| raw.send(&records(&[&symlink(b"a", b"b"), &small(b"a", 0o644, b"x")])), THERE),
    cleanup(
        "a file by descriptor twice",
        |raw| {
            let file_ = regular();
            raw.send_with(&records(&[&file(b"a"), &file(b"a")]), &[file_.as_fd(), file_.as_fd()]);
        },
        THERE,
    ),
    // Fields.
    cleanup(
        "a mode of 16 bits",
        |raw| raw.send(&records(&[&enter_with(b"a", 0o10_000, &time(0, 0))])),
        &["permission bits"],
    ),
    cleanup(
        "10⁹ nanoseconds",
        |raw| raw.send(&records(&[&enter_with(b"a", 0, &time(0, 1_000_000_000))])),
        &["time out of range"],
    ),
    cleanup("an empty link", |raw| raw.send(&records(&[&symlink(b"a", b"")])), &["link target"]),
    cleanup("a NUL in a link", |raw| raw.send(&records(&[&symlink(b"a", b"b\0c")])), &["link target"]),
    cleanup("4,096 bytes of link", |raw| raw.send(&records(&[&symlink(b"a", &[b'x'; 4096])])), &["too long"]),
    cleanup(
        "16 KiB and a byte in a small file",
        |raw| raw.send(&records(&[&small(b"a", 0o644, &[0; 16_385])])),
        &["too long"],
    ),
    cleanup("no reason", |raw| raw.send(&records(&[&left_out(b"a", 0)])), &["unknown reason"]),
    cleanup("a reason that there is not", |raw| raw.send(&records(&[&left_out(b"a", 6)])), &["unknown reason"]),
    cleanup("a record 0", |raw| raw.send(&records(&[&[0]])), &["unknown kind"]),
    cleanup("a record 8", |raw| raw.send(&records(&[&[8]])), &["unknown kind"]),
    cleanup("a packet that is no packet", |raw| raw.send(b"?"), PROTOCOL),
    cleanup("a packet for the other side", |raw| raw.send(&totals(b'A', 0)), PROTOCOL),
    cleanup("half a name", |raw| raw.send(&records(&[&enter(b"abc")[..4]])), CUT),
    cleanup("a length without its text", |raw| raw.send(&records(&[&[3, 255, 255]])), &["too long"]),
    cleanup("half an end", |raw| raw.send(&records(&[&end(0)[..20]])), CUT),
    cleanup("a packet without records", |raw| raw.send(b"R"), PROTOCOL),
    cleanup("a packet of a megabyte", |raw| raw.send(&records(&[&vec![2; 100_000]])), &["too large"]),
    // Order.
    cleanup("up from the top", |raw| raw.send(&records(&[LEAVE])), &["leaves the sandbox"]),
    cleanup("once more up than down", |raw| raw.send(&records(&[&enter(b"a"), LEAVE, LEAVE])), &["leaves the sandbox"]),
    cleanup("an end inside", |raw| raw.send(&records(&[&enter(b"a"), &end(1)])), &["does not fit"]),
    cleanup(
        "an end that counts wrong",
        |raw| raw.send(&records(&[&small(b"a", 0o644, b""), &end(2)])),
        &["does not fit"],
    ),
    cleanup("2⁶⁴−1 entries", |raw| raw.send(&records(&[&end(u64::MAX)])), &["does not fit"]),
    cleanup("records behind the end", |raw| raw.send(&records(&[&end(0), &enter(b"a")])), &["behind the end"]),
    cleanup("no end", |raw| raw.send(&records(&[&small(b"a", 0o644, b"x")])), ENDED),
    cleanup(
        "4,097 levels",
        |raw| {
            for _ in 0..41 {
                raw.send(&records(&[&enter(b"d").repeat(100)]));
            }
        },
        &["deeper than"],
    ),
    cleanup(
        "a text to frighten people",
        |raw| raw.send(&[b"F", &text(b"\x1b[2J\nroot: all is well %n%s\xff\r")[..]].concat()),
        &["reports: \\x1b[2J; root: all is well %n%s\\xff\n"],
    ),
    cleanup(
        "a text of 60,000 bytes",
        |raw| raw.send(&[b"F", &text(&[b'\n'; 60_000])[..]].concat()),
        &["something else than records"],
    ),
    // Descriptors.
    cleanup(
        "a descriptor without a file",
        |raw| raw.send_with(&records(&[&enter(b"a")]), &[regular().as_fd()]),
        &["descriptors without a file record"],
    ),
    cleanup("a file without a descriptor", |raw| raw.send(&records(&[&file(b"a")])), &["a file without a descriptor"]),
    cleanup(
        "two descriptors for a file",
        |raw| raw.send_with(&records(&[&file(b"a")]), &[regular().as_fd(), regular().as_fd()]),
        &["descriptors without a file record"],
    ),
    cleanup(
        "253 descriptors",
        |raw| raw.send_with(&records(&[&file(b"a")]), &[regular().as_fd(); MOST_DESCRIPTORS]),
        &["more descriptors"],
    ),
    cleanup("a descriptor to write only", |raw| by_descriptor(raw, written()), &["cannot read the file \"a\""]),
    cleanup(
        "an O_PATH descriptor",
        |raw| by_descriptor(raw, path("output", OFlags::PATH)),
        &["cannot read the file \"a\""],
    ),
    cleanup("a file that grows without end", grows, &["changed while it was copied"]),
    passed("a directory", |raw| by_descriptor(raw, path(".", OFlags::RDONLY)), "a device, FIFO or socket"),
    passed("a device", |raw| by_descriptor(raw, path("/dev/zero", OFlags::RDONLY)), "a device, FIFO or socket"),
    passed("a pipe", |raw| by_descriptor(raw, rustix::pipe::pipe().unwrap().0), "a device, FIFO or socket"),
    passed("a socket", |raw| by_descriptor(raw, rustix::io::dup(&raw.0).unwrap()), "a device, FIFO or socket"),
    passed(
        "an anonymous inode",
        |raw| by_descriptor(raw, rustix::event::eventfd(0, rustix::event::EventfdFlags::empty()).unwrap()),
        "a device, FIFO or socket",
    ),
    passed(
        "a file of /proc",
        |raw| by_descriptor(raw, path("/proc/self/mem", OFlags::RDONLY)),
        "on another file system",
    ),
    passed(
        "a file of /proc without end",
        |raw| by_descriptor(raw, path("/proc/self/status", OFlags::RDONLY)),
        "on another file system",
    ),
    passed(
        "a file of /sys",
        |raw| by_descriptor(raw, path("/sys/kernel/mm/transparent_hugepage/enabled", OFlags::RDONLY)),
        "on another file system",
    ),
    passed(
        "a memory file",
        |raw| by_descriptor(raw, rustix::fs::memfd_create("x", rustix::fs::MemfdFlags::empty()).unwrap()),
        "on another file system",
    ),
    passed(
        "a file of FUSE",
        |raw| by_descriptor(raw, path("../../fuse/file", OFlags::RDONLY)),
        "on another file system",
    ),
    passed(
        "links that lead out",
        |raw| {
            let targets: [&[u8]; 5] = [b"/etc/passwd", b"..", b"a/../../x", b"x509up_u1234", b"./x509up_u1234"];
            let links: Vec<Vec<u8>> =
                targets.iter().enumerate().map(|(number, target)| symlink(&[b'0' + number as u8], target)).collect();
            raw.send(&records(&links.iter().map(Vec::as_slice).collect::<Vec<_>>()));
            raw.send(&records(&[&end(5)]));
        },
        "5 left out",
    ),
    // Setup: the target side receives, and answers.
    other("setup", "no word but the greeting", |_| {}, ENDED),
    other("setup", "ready for something else", |raw| raw.send(b"D"), &["something else"]),
    other("setup", "ready with a byte more", |raw| raw.send(b"Yx"), &["something else"]),
    other(
        "setup",
        "a whole tree that was not made",
        |raw| {
            raw.send(b"Y");
            acknowledge(raw, 0)
        },
        &["cannot exchange"],
    ),
    other(
        "setup",
        "another tree",
        |raw| {
            raw.send(b"Y");
            acknowledge(raw, 1)
        },
        &["another tree"],
    ),
    other(
        "setup",
        "an acknowledgement in advance",
        |raw| {
            raw.send(b"Y");
            raw.send(&totals(b'A', 9))
        },
        // Heard before the tree is sent, it means nothing, and no other one comes; heard afterwards, it does not fit.
        &["acknowledge"],
    ),
    other(
        "setup",
        "records for the sender",
        |raw| {
            raw.send(b"Y");
            raw.send(&records(&[&end(0)]))
        },
        NO_ACKNOWLEDGEMENT,
    ),
    other(
        "setup",
        "half an acknowledgement",
        |raw| {
            raw.send(b"Y");
            raw.send(&totals(b'A', 9)[..50])
        },
        NO_ACKNOWLEDGEMENT,
    ),
    with_descriptor("setup", "news with a descriptor", |raw| {
        raw.send(b"Y");
        answer_with_descriptor(raw, &totals(b'P', 1))
    }),
    with_descriptor("setup", "an acknowledgement with a descriptor", |raw| {
        raw.send(b"Y");
        answer_with_descriptor(raw, &totals(b'A', 9))
    }),
    other("setup", "locks on all that is sent", lock_all, ENDED),
    with_descriptor("setup", "ready with a descriptor", |raw| answer_with_descriptor(raw, b"Y")),
    // Kill and update_proxy: one answer.
    other("kill", "an errno that there is not", |raw| raw.send(&[b'G', 0, 0x10]), &["something else"]),
    other("kill", "done instead of an errno", |raw| raw.send(b"D"), &["something else"]),
    other("kill", "no answer", |_| {}, ENDED),
    with_descriptor("kill", "an answer with a descriptor", |raw| answer_with_descriptor(raw, &[b'G', 0, 0])),
    other("kill", "an answer of a megabyte", |raw| raw.send(&vec![b'G'; 100_000]), &["too large"]),
    other("update_proxy", "ready instead of done", |raw| raw.send(b"Y"), &["something else"]),
    other("update_proxy", "no answer at all", |_| {}, ENDED),
    with_descriptor("update_proxy", "done with a descriptor", |raw| answer_with_descriptor(raw, b"D")),
];

/// What could fill a memory: much, and large. The last word is one that the protocol does not have.
pub const STREAMS: &[Attack] = &[
    cleanup("200,000 things left out", |raw| stream(raw, 200_000, |n| left_out(&long_name(n), 1)), PROTOCOL),
    cleanup("5,000 links that lead out", |raw| stream(raw, 5_000, |n| symlink(&long_name(n), &[b'/'; 4095])), PROTOCOL),
    cleanup("2,000 small files", |raw| stream(raw, 2_000, |n| small(&long_name(n), 0o644, &[1; 16_384])), PROTOCOL),
    cleanup("2,000 directories", |raw| stream(raw, 2_000, |n| [&enter(&long_name(n)), LEAVE].concat()), PROTOCOL),
    cleanup(
        "long names at the greatest depth",
        |raw| {
            stream(raw, 4_096, |n| enter(&long_name(n)));
            stream(raw, 1_000, |n| left_out(&long_name(n), 1));
        },
        PROTOCOL,
    ),
    cleanup(
        "100,000 devices",
        |raw| {
            let device = path("/dev/null", OFlags::RDONLY);
            let packet = records(&[&file(b"a").repeat(50)]);
            (0..2_000).for_each(|_| raw.send_with(&packet, &[device.as_fd(); 50]));
            raw.send(b"?");
        },
        PROTOCOL,
    ),
    cleanup(
        "a flood after the failure",
        |raw| {
            raw.send(b"?");
            (0..10_000).for_each(|_| raw.send(&[b'R'; 60_000]));
        },
        PROTOCOL,
    ),
    other(
        "setup",
        "news without end",
        |raw| {
            raw.send(b"Y");
            (0..200_000).for_each(|entries| raw.send(&totals(b'P', entries)));
            raw.send(b"?");
        },
        NO_ACKNOWLEDGEMENT,
    ),
    other(
        "setup",
        "a flood instead of an acknowledgement",
        |raw| {
            raw.send(b"Y");
            (0..10_000).for_each(|_| raw.send(&[b'P'; 60_000]));
        },
        NO_ACKNOWLEDGEMENT,
    ),
];

/// Sends so many records, in packets as large as they may be, and something that is no packet.
fn stream(raw: &Raw, count: u32, record: impl Fn(u32) -> Vec<u8>) {
    let mut packet = records(&[]);
    for number in 0..count {
        let record = record(number);
        if packet.len() + record.len() > 60_000 {
            raw.send(&packet);
            packet = records(&[]);
        }
        packet.extend(record);
    }
    raw.send(&packet);
    raw.send(b"?");
}

/// A name of its own, as long as names can be.
fn long_name(number: u32) -> Vec<u8> {
    format!("{number:0255}").into_bytes()
}

/// Plays the attack of this name over fd 0, in the place of `condor_glexec_peer`.
pub fn play(name: &str) -> ! {
    let attack = ATTACKS.iter().chain(STREAMS).find(|attack| attack.name == name).expect("an attack");
    let raw = Raw(rustix::io::dup(rustix::stdio::stdin()).unwrap());
    if name == "another greeting" {
        raw.send(b"glexec-rs peer 2\n");
    } else {
        raw.send(GREETING);
        attack_after_greeting(attack, raw);
    }
    std::process::exit(PLAYED)
}

fn attack_after_greeting(attack: &Attack, raw: Raw) {
    // A signal comes with its first packet, everything else is told where to work.
    let first = raw.receive().expect("a place or a signal");
    let place = (attack.helper != "kill").then(|| Place::decode(&first));
    if attack.helper == "cleanup" {
        let place = place.as_ref().unwrap();
        std::env::set_current_dir(sandbox(place, "")).unwrap();
    }
    (attack.play)(&raw);
    match (attack.answer, place) {
        (LeftOut(_), Some(place)) => give_up_the_sandbox(&raw, &place),
        // A pilot that hears nothing more must have heard enough.
        _ => drop(raw),
    }
}

/// Behaves from here on: the tree is the pilot's, what was the job's is removed.
fn give_up_the_sandbox(raw: &Raw, place: &Place) {
    while let Some(packet) = raw.receive() {
        if packet == b"C" {
            std::fs::remove_dir_all(sandbox(place, ".condor")).unwrap();
            raw.send(b"D");
        }
    }
}

fn sandbox(place: &Place, suffix: &str) -> std::path::PathBuf {
    let name = String::from_utf8(place.name.clone()).unwrap() + suffix;
    Path::new(std::str::from_utf8(&place.parent).unwrap()).join(name)
}

/// A file of the job's in its sandbox.
fn regular() -> File {
    File::open("output").unwrap()
}

fn written() -> OwnedFd {
    File::create("written").unwrap().into()
}

fn path(path: &str, flags: OFlags) -> OwnedFd {
    open(path, flags, Mode::empty()).unwrap()
}

/// A tree of one file, which is this descriptor.
fn by_descriptor(raw: &Raw, descriptor: OwnedFd) {
    raw.send_with(&records(&[&file(b"a"), &end(1)]), &[descriptor.as_fd()]);
    // Closing it may take for ever.
    std::mem::forget(descriptor);
}

/// A file that somebody writes to as fast as they can, until the pilot has gone. Large enough that this is during the
/// copy.
fn grows(raw: &Raw) {
    let mut growing = File::create("growing").unwrap();
    growing.write_all(&vec![1; 64 << 20]).unwrap();
    let passed = File::open("growing").unwrap();
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for _ in 0..1 << 20 {
                growing.write_all(&[1; 64]).unwrap();
                if over.load(Ordering::Relaxed) {
                    break;
                }
            }
        });
        raw.send_with(&records(&[&file(b"a"), &end(1)]), &[passed.as_fd()]);
        while raw.receive().is_some_and(|packet| packet[0] == b'P') {}
        over.store(true, Ordering::Relaxed);
    });
    std::fs::remove_file("growing").unwrap();
}

fn answer_with_descriptor(raw: &Raw, answer: &[u8]) {
    let null = path("/dev/null", OFlags::RDONLY);
    if raw.try_send_with(answer, &[null.as_fd()]) == Err(Errno::PERM) {
        raw.send(&[b"F", &text(PERM.as_bytes())[..]].concat());
    }
}

/// Leaves a process behind for each descriptor that came with the tree, which is a `sleep` as soon as it has the lock:
/// it waits for who has it now.
fn lock_all(raw: &Raw) {
    raw.send(b"Y");
    let program = std::env::current_exe().unwrap();
    while let Some((packet, descriptors)) = raw.receive_with() {
        for descriptor in descriptors {
            let mut locker = Command::new("/bin/sh");
            locker.args(["-c", "exec 3<&0; (flock 3 && exec sleep 1000) &"]).current_dir(program.parent().unwrap());
            locker.stdin(descriptor).stdout(Stdio::null()).stderr(Stdio::null()).status().unwrap();
        }
        if entries_at_end(&packet).is_some() {
            break;
        }
    }
}

/// Acknowledges a tree as if all of it had been made, and as many more entries as that.
fn acknowledge(raw: &Raw, more: u64) {
    let mut entries = None;
    while entries.is_none() {
        let Some(packet) = raw.receive() else { return };
        entries = entries_at_end(&packet);
    }
    raw.send(&totals(b'A', entries.unwrap() + more));
    // The reason that it fails for is its own: let it say so.
    while raw.receive().is_some() {}
}

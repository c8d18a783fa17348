//! How often sender and receiver of a copy of 10,000 files ask for memory, each in a thread of its own that is
//! confined as the helper is. One line a side: its name, how many times in all, how many bytes in all.
//!
//! In 100 directories, half of the files travel as bytes and half as descriptors.

use glexec_rs::confine::confine;
use glexec_rs::confine::landlock::{Grant, MayLack};
use glexec_rs::confine::side::{SETUP_PILOT, SETUP_TARGET, filling, removing};
use glexec_rs::copy::origin::Origin;
use glexec_rs::copy::progress::Progress;
use glexec_rs::copy::receive::receive_tree;
use glexec_rs::copy::send::{Tree, send_tree};
use glexec_rs::files::walk::{LIST, open_directory};
use glexec_rs::protocol::connection::{Connection, pair};
use glexec_rs::protocol::tree::Verdict;
use rustix::fs::CWD;
use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::fs::{self, File};
use std::os::fd::AsFd;
use std::path::Path;

const FILES: usize = 10_000;

/// Counts what each thread asks for.
struct Counting;

thread_local! {
    static ASKED: Cell<(u64, u64)> = const { Cell::new((0, 0)) };
}

fn count(bytes: usize) {
    // A thread that ends has nothing to count with any more.
    let _ = ASKED.try_with(|asked| {
        let (times, all) = asked.get();
        asked.set((times + 1, all + bytes as u64));
    });
}

// SAFETY: every call is passed on to the system's allocator as it is.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size());
        // SAFETY: as the caller promises.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        // SAFETY: as the caller promises.
        unsafe { System.dealloc(memory, layout) }
    }

    unsafe fn realloc(&self, memory: *mut u8, layout: Layout, bytes: usize) -> *mut u8 {
        count(bytes);
        // SAFETY: as the caller promises.
        unsafe { System.realloc(memory, layout, bytes) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// What `work` has asked for.
fn counted(work: impl FnOnce()) -> (u64, u64) {
    let (times, bytes) = ASKED.get();
    work();
    let (times_now, bytes_now) = ASKED.get();
    (times_now - times, bytes_now - bytes)
}

fn plant(root: &Path) {
    for number in 0..FILES {
        let directory = root.join(format!("directory-{}", number / 100));
        if number % 100 == 0 {
            fs::create_dir(&directory).unwrap();
        }
        let bytes = if number % 2 == 0 { 4096 } else { 20_000 };
        fs::write(directory.join(format!("file-{number}")), vec![7; bytes]).unwrap();
    }
}

fn main() {
    let work = std::env::temp_dir().join(format!("glexec-rs-allocations.{}", std::process::id()));
    let (from, to) = (work.join("from"), work.join("to"));
    fs::create_dir_all(&from).unwrap();
    fs::create_dir(&to).unwrap();
    plant(&from);
    let (ours, theirs) = pair().unwrap();
    let (sent, received) = std::thread::scope(|scope| {
        let sender = scope.spawn(|| {
            let opened = open_directory(CWD, from.to_str().unwrap(), LIST).unwrap();
            let granted = opened.directory.try_clone().unwrap();
            let grants = [Grant { object: granted.as_fd(), rights: removing() }];
            let connection = Connection::new(ours);
            let proof = confine(&SETUP_PILOT, &grants, MayLack::default()).unwrap();
            counted(|| {
                send_tree(&connection, opened, Tree::Inputs(None), Progress::none(), &proof).unwrap();
            })
        });
        let receiver = scope.spawn(|| {
            let root = File::open(&to).unwrap().into();
            let grants = [Grant { object: std::os::fd::OwnedFd::as_fd(&root), rights: filling() }];
            let connection = Connection::new(theirs);
            let proof = confine(&SETUP_TARGET, &grants, MayLack::default()).unwrap();
            counted(|| {
                let received = receive_tree(&connection, &root, Origin::Pilot, Progress::none(), &proof).unwrap();
                assert_eq!(received.totals.files, FILES as u64);
                connection.send(&Verdict::Complete(received.totals).encode(), &[]).unwrap();
            })
        });
        (sender.join().unwrap(), receiver.join().unwrap())
    });
    for (name, (times, bytes)) in [("sender", sent), ("receiver", received)] {
        println!("{name} {times} {bytes}");
    }
    fs::remove_dir_all(&work).unwrap();
}

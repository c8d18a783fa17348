//! A helper's worker that is kept in the kernel, beyond the reach of SIGKILL, by locks that others hold while they wait
//! for a page of a file server which does not answer.

use super::{HANGS, Left, at_deadline, side_by_side};
use crate::common::{Account, GREG, MALLORY, Site, Snapshot, as_account, put_file};
use crate::fuse::{Fuse, WHEN_READ};
use glexec_rs::ground::limits;
use std::fs::File;
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::thread::JoinHandle;

/// What is said of a worker that is given up.
const STUCK: &[&str] = &["stuck in the kernel", "end the job's processes"];

#[test]
#[ignore = "needs root"]
fn c10_c11_whoever_keeps_the_worker_in_the_kernel_does_not_keep_the_helper() {
    side_by_side(&[the_job_holds_the_lock_of_an_output, another_account_holds_the_lock_of_the_sandbox]);
}

/// Lets `account` make a call on a file that needs its lock, with a page of memory that its file server never brings.
fn hold_the_lock(account: Account, served: PathBuf, locked: File, call: fn(i32, *mut libc::c_void)) -> JoinHandle<()> {
    let holder = std::thread::spawn(move || {
        as_account(account, || {
            let served = File::open(served).unwrap();
            call(locked.as_raw_fd(), page_of(&served));
        })
    });
    // Nothing shows when it has got there; a second is long.
    std::thread::sleep(std::time::Duration::from_secs(1));
    holder
}

#[allow(unsafe_code)]
fn page_of(file: &File) -> *mut libc::c_void {
    // SAFETY: a new mapping, which nobody in this process reads or writes; only the kernel does.
    let page = unsafe {
        let protection = libc::PROT_READ | libc::PROT_WRITE;
        libc::mmap(std::ptr::null_mut(), 4096, protection, libc::MAP_PRIVATE, file.as_raw_fd(), 0)
    };
    assert!(page != libc::MAP_FAILED, "{}", std::io::Error::last_os_error());
    page
}

#[allow(unsafe_code)]
fn write_from(file: i32, page: *mut libc::c_void) {
    // SAFETY: the kernel reads the page, which stays mapped.
    unsafe { libc::write(file, page, 4096) };
}

#[allow(unsafe_code)]
fn list_into(directory: i32, page: *mut libc::c_void) {
    // SAFETY: the kernel writes the page, which stays mapped.
    unsafe { libc::syscall(libc::SYS_getdents64, directory, page, 4096) };
}

fn served(site: &Site) -> (Fuse, PathBuf) {
    let at = site.root.join("fuse");
    (Fuse::mount(&at, WHEN_READ), at.join("file"))
}

/// Its size makes the pilot's side ask the file system for holes.
fn the_job_holds_the_lock_of_an_output() {
    let site = Site::new();
    let (server, page) = served(&site);
    let left = Left::by_a_job(&site);
    put_file(GREG, &left.sandbox.path.join("large"), &[5; 1_000_000], 0o644);
    let large = File::options().write(true).open(left.sandbox.path.join("large")).unwrap();
    let holder = hold_the_lock(GREG, page, large, write_from);
    let call = || site.cleanup(&left.sandbox).time_limit(HANGS).run();
    at_deadline(limits::STUCK_DEADLINE, call).expect_refusal(1, STUCK);
    // As long as the worker is there, nobody comes between.
    site.cleanup(&left.sandbox).run().expect_refusal(1, &["another helper"]);
    drop(server);
    holder.join().unwrap();
    site.kill_processes();
    let job = left.sandbox.snapshot();
    site.cleanup(&left.sandbox).run().expect_quiet();
    left.sandbox.assert_taken_back(&job, &left.given);
}

/// It is handed over by then; the pilot's side cannot empty its own directory.
fn another_account_holds_the_lock_of_the_sandbox() {
    let site = Site::new();
    let (server, page) = served(&site);
    let sandbox = site.sandbox();
    let given = sandbox.snapshot();
    let listed = as_account(MALLORY, || File::open(&sandbox.path).unwrap());
    let holder = hold_the_lock(MALLORY, page, listed, list_into);
    let call = || site.setup(&sandbox).time_limit(HANGS).run();
    at_deadline(limits::STUCK_DEADLINE, call).expect_refusal(2, STUCK);
    drop(server);
    holder.join().unwrap();
    site.kill_processes();
    // Wherever it was left, the next call ends well.
    site.setup(&sandbox).cwd("/").run().expect_quiet();
    sandbox.snapshot().unmarked().assert_same(&given.clone().masked(0o755).owned_by(GREG));
    assert_eq!(Snapshot::of(&sandbox.parked).names(), [Path::new(&sandbox.proxy)]);
}

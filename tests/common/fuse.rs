//! A file system whose server is somebody's process: it answers when it likes (`/dev/fuse`, protocol 7.31 of
//! `linux/fuse.h`).

#![deny(unsafe_code)]

use rustix::fs::{Mode, OFlags, open};
use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};
use std::ffi::CString;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::thread::JoinHandle;

const LOOKUP: u32 = 1;
const FORGET: u32 = 2;
const GETATTR: u32 = 3;
const OPEN: u32 = 14;
const READ: u32 = 15;
const RELEASE: u32 = 18;
const FLUSH: u32 = 25;
const INIT: u32 = 26;

/// What is in the file: a page, as often as somebody reads.
const SIZE: u64 = 4096;

/// A mounted file system with one file, `file`. Unmounted when dropped, which ends all that waits for it.
pub struct Fuse {
    at: PathBuf,
    server: Option<JoinHandle<()>>,
}

impl Fuse {
    /// Mounts one that never answers the requests of `silent`.
    pub fn mount(at: &Path, silent: &'static [u32]) -> Self {
        let device = Self::mount_alone(at);
        let server = std::thread::spawn(move || serve(&device, silent));
        Fuse { at: at.into(), server: Some(server) }
    }

    /// Mounts one whose server has died.
    #[allow(dead_code)]
    pub fn dead(at: &Path) -> Self {
        drop(Self::mount_alone(at));
        Fuse { at: at.into(), server: None }
    }

    fn mount_alone(at: &Path) -> OwnedFd {
        std::fs::create_dir(at).unwrap();
        let device = open("/dev/fuse", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty()).expect("/dev/fuse");
        let options = format!("fd={},rootmode=40755,user_id=0,group_id=0,allow_other", device.as_raw_fd());
        mount("fuse", at, "fuse", MountFlags::empty(), Some(&*CString::new(options).unwrap())).unwrap();
        device
    }

    /// Where it is mounted by now, after the directories above have moved.
    #[allow(dead_code)]
    pub fn moved(&mut self, at: &Path) {
        self.at = at.into();
    }
}

impl Drop for Fuse {
    fn drop(&mut self) {
        // Forced: whoever waits for an answer gets an error.
        let _ = unmount(&self.at, UnmountFlags::FORCE | UnmountFlags::DETACH);
        if let Some(server) = self.server.take() {
            let _ = server.join();
        }
    }
}

/// Answers until the file system is gone.
fn serve(device: &OwnedFd, silent: &[u32]) {
    let mut request = vec![0; 1 << 20];
    while let Ok(length) = rustix::io::read(device, &mut request) {
        let field = |at: usize| u32::from_le_bytes(request[at..at + 4].try_into().unwrap());
        let (operation, unique) = (field(4), &request[8..16]);
        if length < 40 || operation == FORGET || silent.contains(&operation) {
            continue;
        }
        let root = request[16..24] == 1_u64.to_le_bytes();
        let (error, body) = match operation {
            INIT => (0, words(&[7, 31, 0, 0, 0, 4096, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0])),
            LOOKUP => (0, [numbers(&[2, 0, 3600, 3600, 0]), attributes(false)].concat()),
            GETATTR => (0, [numbers(&[3600, 0]), attributes(root)].concat()),
            OPEN => (0, numbers(&[0, 0])),
            READ => (0, vec![7; SIZE as usize]),
            FLUSH | RELEASE => (0, Vec::new()),
            _ => (-libc::ENOSYS, Vec::new()),
        };
        let length = 16 + body.len() as u32;
        let answer = [&length.to_le_bytes()[..], &error.to_le_bytes(), unique, &body].concat();
        let _ = rustix::io::write(device, &answer);
    }
}

/// The requests that the kernel makes when a descriptor is read, and when it is closed.
#[allow(dead_code)]
pub const WHEN_READ: &[u32] = &[READ, GETATTR];
/// See [`WHEN_READ`]. What it is asked for before anything else can be.
#[allow(dead_code)]
pub const EVER: &[u32] = &[LOOKUP, GETATTR, OPEN, READ, 27, 28];
/// See [`WHEN_READ`].
#[allow(dead_code)]
pub const WHEN_CLOSED: &[u32] = &[FLUSH];

fn numbers(numbers: &[u64]) -> Vec<u8> {
    numbers.iter().flat_map(|number| number.to_le_bytes()).collect()
}

fn words(words: &[u32]) -> Vec<u8> {
    words.iter().flat_map(|word| word.to_le_bytes()).collect()
}

/// Of the file, or of the directory that it is in.
fn attributes(directory: bool) -> Vec<u8> {
    let (inode, mode) = if directory { (1, 0o040_755) } else { (2, 0o100_644) };
    let times = [0, 0, 0];
    [numbers(&[inode, SIZE, 8]), numbers(&times), words(&[0, 0, 0, mode, 1, 0, 0, 0, 4096, 0])].concat()
}

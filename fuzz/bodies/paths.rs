//! Paths: the walk that refuses what others could swap, against the kernel's own, among directories and links that
//! lead anywhere.

use super::playground::Playground;
use super::{assert_fit_to_be_shown, input::Input};
use glexec_rs::copy::link::stays_inside;
use glexec_rs::files::component::Component;
use glexec_rs::files::metadata::Metadata;
use glexec_rs::files::path::{split, trusted_directory};
use rustix::fs::{CWD, FileType, Mode, OFlags, mkdirat, openat, symlinkat};
use std::ffi::OsStr;
use std::fs::{self, Permissions};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

/// Places that come to lie in each other.
const PLACES: [&[u8]; 16] = [
    b"a",
    b"b",
    b"a/b",
    b"a/c",
    b"b/a",
    b"a/b/c",
    b"..",
    b".",
    b"../a",
    b"a/..",
    b"a/../b",
    b"b/c",
    b"a//b/.",
    b"",
    b"c",
    b"../../..",
];

/// Makes a few directories and links, then takes the rest as a path below them.
pub fn target(data: &[u8]) {
    let mut input = Input::new(data);
    let ground = Playground::new();
    let root = ground.path.as_os_str().as_bytes();
    for _ in 0..input.choice(12) {
        let place = below(root, input.pick(&PLACES));
        let at = OsStr::from_bytes(&place);
        // Whatever is no place for one is passed over.
        if !inside(&ground, at.as_ref()) {
            continue;
        }
        match input.choice(4) {
            0 | 1 => drop(mkdirat(CWD, &place[..], Mode::RWXU)),
            2 => {
                let is_absolute = input.flag();
                let target = input.pick(&PLACES);
                let target = if is_absolute { below(root, target) } else { target.to_vec() };
                let _ = symlinkat(&target[..], CWD, &place[..]);
            }
            _ => {
                let modes = [0o777, 0o1777, 0o770, 0o711];
                let mode = modes[input.choice(modes.len())];
                if fs::symlink_metadata(at).is_ok_and(|found| found.is_dir()) {
                    fs::set_permissions(at, Permissions::from_mode(mode)).expect("its mode");
                }
            }
        }
    }
    component(input.text());
    link(&mut input);
    walk(&below(root, input.pick(&PLACES)), root);
    walk(&below(root, input.rest()), root);
}

/// Whether `place` is a name in a directory that the kernel sees below the ground: nothing else may be changed.
fn inside(ground: &Playground, place: &Path) -> bool {
    place
        .file_name()
        .and_then(|_| place.parent())
        .and_then(|parent| parent.canonicalize().ok())
        .is_some_and(|parent| parent.starts_with(ground.path.canonicalize().expect("the ground")))
}

fn below(root: &[u8], path: &[u8]) -> Vec<u8> {
    let path: Vec<u8> = path.iter().copied().filter(|byte| *byte != 0).collect();
    [root, b"/", &path].concat()
}

fn walk(path: &[u8], root: &[u8]) {
    let own = rustix::process::geteuid().as_raw();
    let kernels = openat(CWD, path, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty());
    match trusted_directory(path, &[own]) {
        Ok(directory) => {
            let ours = Metadata::of(&directory).expect("what is open");
            assert!(ours.is_directory());
            // The kernel counts the bytes of a path, we count its parts.
            if path.len() < 4096 {
                let theirs = Metadata::of(kernels.expect("where we come to")).expect("what is open");
                assert_eq!(ours.identity, theirs.identity);
            }
            assert!(ours.mode & 0o022 == 0 || ours.mode & 0o1000 != 0, "others could swap what is in it");
            assert!(ours.owner == 0 || ours.owner == own);
        }
        Err(failure) => {
            assert_fit_to_be_shown(&failure.to_string());
            assert!(kernels.is_err() || !is_plain(path, root), "{failure}");
        }
    }
    if let Ok((parent, name)) = split(path) {
        assert!(parent.starts_with(b"/"));
        let joined = [&parent[..], b"/", name.bytes()].concat();
        let normal = |path: &[u8]| path.split(|byte| *byte == b'/').filter(|part| !part.is_empty()).count();
        assert_eq!(normal(&joined), normal(path));
    }
}

/// Whether nothing below the ground is open to others, and neither the path nor a link leads out of it: then there is
/// no reason to refuse what the kernel finds.
fn is_plain(path: &[u8], root: &[u8]) -> bool {
    let leads_up = |path: &[u8]| path.split(|byte| *byte == b'/').any(|part| part == b"..");
    let stays = |target: &[u8]| !leads_up(target) && (!target.starts_with(b"/") || target.starts_with(root));
    let below = super::playground::tree(Path::new(OsStr::from_bytes(root)));
    !leads_up(path)
        && below.values().all(|seen| match seen.kind {
            FileType::Symlink => stays(&seen.content),
            _ => seen.mode & 0o022 == 0,
        })
}

fn component(bytes: &[u8]) {
    let expected =
        !bytes.is_empty() && bytes != b"." && bytes != b".." && !bytes.iter().any(|byte| matches!(byte, 0 | b'/'));
    let ours = Component::new(bytes);
    assert_eq!(ours.is_ok(), expected);
    if let Ok(name) = ours {
        assert_eq!(name.bytes(), bytes);
        assert_eq!(name.with_suffix(b".condor").is_ok(), bytes.len() + 7 <= 255);
        assert_fit_to_be_shown(&name.to_string());
    }
}

/// What is kept stays kept deeper down, and never begins at the root or ends at the proxy.
fn link(input: &mut Input<'_>) {
    let proxy = Component::new(b"x509").expect("a name");
    let depth = input.choice(6);
    let target = input.text();
    if stays_inside(target, depth, &proxy, &[]) {
        assert!(stays_inside(target, depth + 1, &proxy, &[]));
        assert!(!target.is_empty() && !target.starts_with(b"/"));
        let mut height = depth as isize;
        for part in target.split(|byte| *byte == b'/').filter(|part| !part.is_empty() && *part != b".") {
            height += if part == b".." { -1 } else { 1 };
            assert!(height >= 0, "above the sandbox");
        }
        let last = target.split(|byte| *byte == b'/').rfind(|part| !part.is_empty() && *part != b".");
        assert_ne!(last, Some(proxy.bytes()));
    }
}

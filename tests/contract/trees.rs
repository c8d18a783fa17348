//! Trees of every kind through `condor_glexec_setup` and back through `condor_glexec_cleanup`, with two accounts.

use crate::common::{FileSystem, GREG, PILOT, Sandbox, Site, Snapshot, as_account, nest, pem};
use rustix::fs::{AtFlags, CWD, Timespec, Timestamps, utimensat};
use std::ffi::OsStr;
use std::fs::{self, File, Permissions};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};

const FILE_SYSTEMS: [FileSystem; 3] = [FileSystem::Disk, FileSystem::Tmpfs(512), FileSystem::Xfs(320)];

fn mode(path: &Path, mode: u32) {
    fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
}

fn name(bytes: &[u8]) -> &OsStr {
    OsStr::from_bytes(bytes)
}

/// Builds a tree as the pilot in a new sandbox, hands it over, compares; takes it back, compares again.
fn there_and_back(site: &Site, build: impl FnOnce(&Path) + Send) -> Sandbox {
    let sandbox = site.empty_sandbox();
    as_account(PILOT, || build(&sandbox.path));
    let given = sandbox.snapshot();
    site.setup(&sandbox).run().expect_quiet();
    sandbox.assert_handed_over(&given);
    let left = sandbox.snapshot();
    site.cleanup(&sandbox).run().expect_quiet();
    sandbox.assert_taken_back(&left, &given);
    sandbox
}

#[test]
#[ignore = "needs root"]
fn every_name() {
    for file_system in FILE_SYSTEMS {
        let site = Site::on(file_system);
        there_and_back(&site, |top| {
            let single = (1..=255_u8).filter(|byte| !b"/.".contains(byte)).map(|byte| vec![byte]);
            let odd: [&[u8]; 24] = [
                b"...",
                b".hidden",
                b"..hidden",
                b"-rf",
                b"--",
                b"--help",
                b"a b",
                b" leading",
                b"trailing ",
                b"new\nline",
                b"\r\n",
                b"tab\t",
                b"\x1b[31mred",
                b"$(id)",
                b"`id`",
                b"*?[a]",
                b"%s%n%x",
                b"\xff\xfe\xfd",
                b"\xc3\xa4 and \xe4",
                b"\xed\xa0\x80",
                b"back\\slash",
                b"quote'\"",
                &[b'x'; 255],
                &[0xff; 255],
            ];
            let names: Vec<Vec<u8>> = single.chain(odd.map(<[u8]>::to_vec)).collect();
            for directory in ["files", "directories", "links"] {
                fs::create_dir(top.join(directory)).unwrap();
            }
            for bytes in &names {
                fs::write(top.join("files").join(name(bytes)), bytes).unwrap();
                let directory = top.join("directories").join(name(bytes));
                fs::create_dir(&directory).unwrap();
                fs::write(directory.join(name(bytes)), b"in").unwrap();
                symlink(name(bytes), top.join("links").join(name(bytes))).unwrap();
            }
        });
    }
}

#[test]
#[ignore = "needs root"]
fn every_mode() {
    for file_system in FILE_SYSTEMS {
        let site = Site::on(file_system);
        there_and_back(&site, |top| {
            for bits in (0..0o1000).chain([0o4755, 0o2755, 0o1777, 0o7777, 0o6711]) {
                let file = top.join(format!("file{bits:o}"));
                fs::write(&file, format!("{bits:o}")).unwrap();
                mode(&file, bits);
                let directory = top.join(format!("directory{bits:o}"));
                fs::create_dir(&directory).unwrap();
                fs::write(directory.join("closed"), b"in").unwrap();
                mode(&directory.join("closed"), 0);
                fs::create_dir(directory.join("empty")).unwrap();
                mode(&directory.join("empty"), bits);
                mode(&directory, bits);
            }
        });
    }
}

#[test]
#[ignore = "needs root"]
fn every_time() {
    for file_system in FILE_SYSTEMS {
        let site = Site::on(file_system);
        there_and_back(&site, |top| {
            // What ext4 can hold: 1901 to 2446.
            for seconds in [0, 1, -1, -2_000_000_000, 1_700_000_000, 2_147_483_648, 4_294_967_296, 15_000_000_000] {
                for nanoseconds in [0, 1, 123_456_789, 999_999_999] {
                    let stem = format!("{seconds}.{nanoseconds}");
                    let [file, directory, link] = ["f", "d", "l"].map(|kind| top.join(format!("{kind}{stem}")));
                    fs::write(&file, &stem).unwrap();
                    fs::create_dir(&directory).unwrap();
                    fs::write(directory.join("in"), b"in").unwrap();
                    symlink("in", &link).unwrap();
                    let time = Timespec { tv_sec: seconds, tv_nsec: nanoseconds };
                    for path in [&file, &directory, &link] {
                        let times = Timestamps { last_access: time, last_modification: time };
                        utimensat(CWD, path, &times, AtFlags::SYMLINK_NOFOLLOW).unwrap();
                    }
                }
            }
        });
    }
}

#[test]
#[ignore = "needs root"]
fn links_hard_and_symbolic() {
    for file_system in FILE_SYSTEMS {
        let site = Site::on(file_system);
        let sandbox = there_and_back(&site, |top| {
            fs::create_dir_all(top.join("a/b/c")).unwrap();
            for (size, file) in [(0, "empty"), (10, "small"), (4096, "page"), (100_000, "large")] {
                fs::write(top.join(file), vec![1; size]).unwrap();
                for place in ["a", "a/b", "a/b/c"] {
                    fs::hard_link(top.join(file), top.join(place).join(file)).unwrap();
                    fs::hard_link(top.join(file), top.join(place).join(format!("again-{file}"))).unwrap();
                }
            }
            fs::write(top.join("a/closed"), b"closed").unwrap();
            fs::hard_link(top.join("a/closed"), top.join("closed")).unwrap();
            mode(&top.join("closed"), 0);
            // Several hundred names of one file, and several hundred files of two names.
            fs::write(top.join("many"), b"many").unwrap();
            for index in 0..400 {
                fs::hard_link(top.join("many"), top.join(format!("many{index}"))).unwrap();
                fs::write(top.join(format!("pair{index}")), format!("{index}")).unwrap();
                fs::hard_link(top.join(format!("pair{index}")), top.join(format!("a/pair{index}"))).unwrap();
            }
            let long = "d/".repeat(511) + "x";
            for (link, target) in [
                ("file", "small"),
                ("directory", "a/b"),
                ("dangling", "nothing"),
                ("itself", "itself"),
                ("here", "."),
                ("a/up", ".."),
                ("a/b/c/up", "../../../small"),
                ("slashes", "a//b/"),
                ("odd", "\n\u{1b}"),
                ("long", &long),
            ] {
                symlink(target, top.join(link)).unwrap();
            }
            symlink(name(b"\xff\xfe"), top.join("bytes")).unwrap();
        });
        let links = |path: &str| fs::metadata(sandbox.path.join(path)).unwrap().nlink();
        assert_eq!(
            (links("large"), links("empty"), links("many"), links("a/pair7"), links("closed")),
            (7, 7, 401, 2, 2)
        );
    }
}

#[test]
#[ignore = "needs root"]
fn links_of_the_pilots_may_lead_anywhere_but_do_not_come_back() {
    let site = Site::new();
    let sandbox = site.empty_sandbox();
    as_account(PILOT, || {
        symlink("/usr/bin/env", sandbox.path.join("absolute")).unwrap();
        symlink("../../elsewhere", sandbox.path.join("outside")).unwrap();
        symlink("x".repeat(4095), sandbox.path.join("longest")).unwrap();
        symlink(&sandbox.proxy, sandbox.path.join("proxy")).unwrap();
    });
    let given = sandbox.snapshot();
    site.setup(&sandbox).run().expect_quiet();
    sandbox.assert_handed_over(&given);
    let left = sandbox.snapshot();
    site.cleanup(&sandbox).run().expect_refusal(0, &["3 left out", "absolute", "outside", "proxy"]);
    sandbox.assert_taken_back(&left.without("absolute").without("outside").without("proxy"), &given);
}

#[test]
#[ignore = "needs root"]
fn fifteen_hundred_levels_deep() {
    for file_system in FILE_SYSTEMS {
        let site = Site::on(file_system);
        there_and_back(&site, |top| drop(nest(top, 1500, "d")));
    }
}

#[test]
#[ignore = "needs root"]
fn far_longer_paths_than_a_system_call_takes() {
    let site = Site::on(FileSystem::Tmpfs(256));
    let long = "n".repeat(255);
    there_and_back(&site, |top| drop(nest(top, 1000, &long)));
}

#[test]
#[ignore = "needs root"]
fn as_deep_as_the_limit_and_one_level_more() {
    const DEPTH: usize = glexec_rs::ground::limits::DEPTH;
    let site = Site::on(FileSystem::Tmpfs(512));
    let deep = site.empty_sandbox();
    as_account(PILOT, || nest(&deep.path, DEPTH, "d"));
    site.setup(&deep).run().expect_quiet();
    site.cleanup(&deep).run().expect_quiet();
    assert!(deep.path.join("d/d/d").is_dir());

    let deeper = site.empty_sandbox();
    as_account(PILOT, || nest(&deeper.path, DEPTH + 1, "d"));
    site.setup(&deeper).run().expect_refusal(2, &["deeper"]);
    assert!(!deeper.parked.exists());
    assert_eq!(fs::metadata(deeper.path.join("d/d")).unwrap().uid(), PILOT.uid());

    // And on the way back.
    site.setup(&deep).run().expect_quiet();
    as_account(GREG, || {
        fs::rename(deep.path.join("d"), deep.path.join("was")).unwrap();
        fs::create_dir(deep.path.join("d")).unwrap();
        fs::rename(deep.path.join("was"), deep.path.join("d/d")).unwrap();
    });
    site.cleanup(&deep).run().expect_refusal(1, &["deeper"]);
    assert_eq!(Snapshot::of(&deep.parked).names(), [Path::new(&deep.proxy)]);
}

#[test]
#[ignore = "needs root"]
fn ten_thousand_small_files() {
    for file_system in FILE_SYSTEMS {
        let site = Site::on(file_system);
        there_and_back(&site, |top| {
            for directory in 0..100 {
                let directory = top.join(format!("directory {directory}"));
                fs::create_dir(&directory).unwrap();
                for file in 0..100 {
                    fs::write(directory.join(format!("{file}")), vec![file; 37 * usize::from(file)]).unwrap();
                }
            }
        });
    }
}

#[test]
#[ignore = "needs root"]
fn sizes_around_blocks_and_pages() {
    for file_system in FILE_SYSTEMS {
        let site = Site::on(file_system);
        there_and_back(&site, |top| {
            for block in [512_usize, 4096, 65_536, 131_072, 1 << 20] {
                for size in [block - 1, block, block + 1, 3 * block + 7] {
                    let content: Vec<u8> = (0..size).map(|index| (index % 251) as u8).collect();
                    fs::write(top.join(size.to_string()), content).unwrap();
                }
            }
        });
    }
}

#[test]
#[ignore = "needs root"]
fn holes_at_every_place() {
    for file_system in FILE_SYSTEMS {
        let site = Site::on(file_system);
        let mut stored: Vec<(PathBuf, u64)> = Vec::new();
        let sandbox = there_and_back(&site, |top| {
            for (file, size, data) in [
                ("only a hole", 10 << 20, &[][..]),
                ("at the beginning", 10 << 20, &[9 << 20][..]),
                ("at the end", 10 << 20, &[0][..]),
                ("in the middle", 10 << 20, &[0, 9 << 20][..]),
                ("many", 40 << 20, &[1 << 20, 3 << 20, 5 << 20, 17 << 20, 33 << 20][..]),
                ("odd end", (10 << 20) + 3, &[4 << 20][..]),
            ] {
                let file = File::create(top.join(file)).unwrap();
                file.set_len(size).unwrap();
                for at in data {
                    file.write_all_at(&[7; 8192], *at).unwrap();
                }
                file.sync_all().unwrap();
            }
            for entry in
                fs::read_dir(top).unwrap().flatten().filter(|entry| !entry.file_name().as_bytes().starts_with(b"x"))
            {
                stored.push((entry.file_name().into(), entry.metadata().unwrap().blocks()));
            }
        });
        for (name, before) in stored {
            let after = fs::metadata(sandbox.path.join(&name)).unwrap().blocks();
            // 8 blocks of 512: what a file system may round.
            assert!(after <= before + 8 * 5, "{name:?} has {after} blocks and had {before} on {file_system:?}");
        }
    }
}

#[test]
#[ignore = "needs root"]
fn an_8_gib_file_with_8_kib_of_data() {
    sparse_file(8 << 30);
}

#[test]
#[ignore = "needs root"]
fn c8_a_1_tib_file_with_8_kib_of_data() {
    sparse_file(1 << 40);
}

fn sparse_file(size: u64) {
    for file_system in FILE_SYSTEMS {
        let site = Site::on(file_system);
        let sandbox = site.empty_sandbox();
        as_account(PILOT, || {
            let file = File::create(sandbox.path.join("sparse")).unwrap();
            file.write_all_at(&[1; 4096], 5 << 30).unwrap();
            file.write_all_at(&[2; 4096], size - 4096).unwrap();
        });
        let given = sandbox.snapshot();
        let check = || {
            let file = File::open(sandbox.path.join("sparse")).unwrap();
            let found = file.metadata().unwrap();
            assert_eq!(found.len(), size);
            assert!(found.blocks() <= 64, "{} blocks on {file_system:?}", found.blocks());
            let mut block = [0; 4096];
            for (at, byte) in [(0, 0), (5 << 30, 1), ((5 << 30) + 4096, 0), (size - 4096, 2)] {
                file.read_exact_at(&mut block, at).unwrap();
                assert_eq!(block, [byte; 4096], "at {at}");
            }
        };
        check();
        site.setup(&sandbox).run().expect_quiet();
        sandbox.assert_handed_over(&given);
        check();
        let left = sandbox.snapshot();
        site.cleanup(&sandbox).run().expect_quiet();
        sandbox.assert_taken_back(&left, &given);
        check();
    }
}

/// A mebibyte that is like no other.
fn mebibyte(index: u64) -> Vec<u8> {
    let mut piece = vec![(index % 253) as u8; 1 << 20];
    piece[..8].copy_from_slice(&index.to_le_bytes());
    piece
}

fn write_mebibytes(path: &Path, count: u64) {
    let file = File::create(path).unwrap();
    for index in 0..count {
        file.write_all_at(&mebibyte(index), index << 20).unwrap();
    }
}

#[track_caller]
fn assert_mebibytes(path: &Path, count: u64) {
    let file = File::open(path).unwrap();
    assert_eq!(file.metadata().unwrap().len(), count << 20);
    let mut piece = vec![0; 1 << 20];
    for index in 0..count {
        file.read_exact_at(&mut piece, index << 20).unwrap();
        assert!(piece == mebibyte(index), "mebibyte {index} is another");
    }
}

fn large_file(site: &Site, mebibytes: u64) {
    let sandbox = site.empty_sandbox();
    let file = sandbox.path.join("large");
    as_account(PILOT, || write_mebibytes(&file, mebibytes));
    let mtime = fs::metadata(&file).unwrap().modified().unwrap();
    for (helper, owner) in [(site.setup(&sandbox), GREG), (site.cleanup(&sandbox).cwd("/"), PILOT)] {
        helper.run().expect_quiet();
        assert_mebibytes(&file, mebibytes);
        let found = fs::metadata(&file).unwrap();
        assert_eq!((found.uid(), found.modified().unwrap()), (owner.uid(), mtime));
    }
    assert_eq!(fs::read(sandbox.proxy_path()).unwrap(), pem(1));
}

#[test]
#[ignore = "needs root"]
fn a_1_gib_file() {
    let site = Site::new();
    large_file(&site, 1024);
}

#[test]
#[ignore = "needs root"]
fn a_1_gib_file_in_memory() {
    let site = Site::on(FileSystem::Tmpfs(2200));
    large_file(&site, 1024);
}

/// Two real copies would not fit.
#[test]
#[ignore = "needs root"]
fn a_file_system_with_reflinks_needs_no_room_for_the_copy() {
    let site = Site::on(FileSystem::Xfs(700));
    large_file(&site, 400);
}

/// The other way round: what does not fit fails, and nothing is lost.
#[test]
#[ignore = "needs root"]
fn c7_a_full_disk() {
    let site = Site::on(FileSystem::Tmpfs(20));
    let sandbox = site.sandbox();
    as_account(PILOT, || write_mebibytes(&sandbox.path.join("large"), 12));
    let given = sandbox.snapshot();
    site.setup(&sandbox).run().expect_refusal(2, &["large", "space"]);
    sandbox.assert_as_before(&given);

    fs::remove_file(sandbox.path.join("large")).unwrap();
    site.setup(&sandbox).run().expect_quiet();
    as_account(GREG, || write_mebibytes(&sandbox.path.join("output"), 12));
    let (left, parked) = (sandbox.snapshot(), Snapshot::of(&sandbox.parked).below());
    for _ in 0..2 {
        site.cleanup(&sandbox).run().expect_refusal(1, &["output", "space"]);
        sandbox.snapshot().assert_same(&left);
        Snapshot::of(&sandbox.parked).below().assert_same(&parked);
    }
    as_account(GREG, || File::options().write(true).open(sandbox.path.join("output")).unwrap().set_len(4 << 20))
        .unwrap();
    let left = sandbox.snapshot();
    site.cleanup(&sandbox).run().expect_quiet();
    sandbox.assert_taken_back(&left, &given);
}

//! Repeats every input that the fuzz targets have kept, and all that ever made one fail, without a fuzzer:
//! `fuzz/corpus/<target>` and `fuzz/crashes/<target>`. Where hostile bytes are read, the reading thread is confined as
//! the helper is.
//!
//! With the variable `FUZZ_SEEDS` set, `seeds` also writes what real runs say as inputs into that directory.

use crate::bodies;
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// What all corpora together may have: a repository is no place for more.
const MOST_FILES: usize = 1500;
const MOST_BYTES: u64 = 1 << 20;

fn fuzz(below: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz").join(below)
}

fn files(directory: &Path) -> Vec<PathBuf> {
    let listed = fs::read_dir(directory).into_iter().flatten();
    let mut files: Vec<PathBuf> = listed.map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files
}

fn names(directory: &str) -> BTreeSet<String> {
    files(&fuzz(directory)).iter().map(|path| path.file_stem().unwrap().to_str().unwrap().to_owned()).collect()
}

/// Every input of one target, the last of which is named when it fails.
fn repeat(name: &str) {
    let (_, target) = bodies::ALL.into_iter().find(|(known, _)| *known == name).expect("a target");
    let kept = files(&fuzz("corpus").join(name));
    assert!(!kept.is_empty(), "fuzz/corpus/{name} is missing");
    for path in kept.into_iter().chain(files(&fuzz("crashes").join(name))) {
        let input = fs::read(&path).unwrap();
        if let Err(panic) = std::panic::catch_unwind(|| target(&input)) {
            eprintln!("the input was {}", path.display());
            std::panic::resume_unwind(panic);
        }
    }
    target(b"");
}

macro_rules! corpora {
    ($($name:ident)*) => {
        $(#[test]
        fn $name() {
            repeat(stringify!($name));
        })*

        #[test]
        fn every_target_has_its_files_and_they_are_few() {
            let known = BTreeSet::from([$(stringify!($name).to_owned()),*]);
            assert_eq!(BTreeSet::from(bodies::ALL.map(|(name, _)| name.to_owned())), known);
            assert_eq!(names("src/bin"), known);
            assert_eq!(names("corpus"), known);
            assert!(names("crashes").is_subset(&known));
            let kept: Vec<PathBuf> = known.iter().flat_map(|name| files(&fuzz("corpus").join(name))).collect();
            let bytes: u64 = kept.iter().map(|path| path.metadata().unwrap().len()).sum();
            assert!(kept.len() <= MOST_FILES && bytes <= MOST_BYTES, "{} files, {bytes} bytes", kept.len());
        }
    };
}

corpora! {
    answers arguments channel env_file environment job_record last_word messages packets paths pem policy proc_files receive send
}

//! Compiles the profiles of this folder into BPF, for every architecture, and hands those of the target's to the
//! helpers. Anything that is wrong with one stops the build.

mod profile;

use profile::{ARCHITECTURES, Checked, Rule, Step};
use seccompiler::{BpfProgram, TargetArch, compile_from_json};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::path::{Path, PathBuf};

fn main() {
    println!("cargo::rerun-if-changed=seccomp-profiles");
    let folder = Path::new("seccomp-profiles");
    let fragments: BTreeMap<String, Vec<Rule>> = files(&folder.join("shared"))
        .into_iter()
        .map(|(name, path)| {
            let rules = profile::fragment(&read(&path)).unwrap_or_else(|why| refuse(&path, &why));
            (name, rules)
        })
        .collect();
    let variable = |name| std::env::var(name).expect("cargo tells about the target");
    let target = variable("CARGO_CFG_TARGET_ARCH");
    if variable("CARGO_CFG_TARGET_ENV") != "musl" {
        println!(
            "cargo::warning=the seccomp profiles are those of programs with musl; built for another C library they will be killed"
        );
    }
    // In a form that compilers and linkers called by themselves take alike. (The tests unwind, and keep their tables.)
    println!("cargo::rerun-if-changed=helpers/bin/no-unwinding.ld");
    let root = variable("CARGO_MANIFEST_DIR");
    println!("cargo::rustc-link-arg-bins=-T{root}/helpers/bin/no-unwinding.ld");
    let mut source = String::new();
    let mut used = BTreeSet::new();
    for (name, path) in files(folder) {
        let checked = profile::check(&name, &read(&path), &fragments).unwrap_or_else(|why| refuse(&path, &why));
        for architecture in ARCHITECTURES {
            let program = compile(&checked, architecture).unwrap_or_else(|why| refuse(&path, &why));
            if architecture == target {
                declare(&mut source, &name, &program);
            }
        }
        used.extend(checked.includes);
    }
    if let Some(unused) = fragments.keys().find(|name| !used.contains(*name)) {
        refuse(&folder.join("shared").join(unused), "no profile includes it");
    }
    let out = PathBuf::from(std::env::var_os("OUT_DIR").expect("cargo names a folder")).join("profiles.rs");
    std::fs::write(out, source).expect("the folder is writable");
}

fn refuse(path: &Path, why: &str) -> ! {
    panic!("{}: {why}", path.display())
}

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_else(|error| refuse(path, &error.to_string()))
}

/// The JSON files of a folder, by their names without the ending.
fn files(folder: &Path) -> BTreeMap<String, PathBuf> {
    let listing = std::fs::read_dir(folder).unwrap_or_else(|error| refuse(folder, &error.to_string()));
    listing
        .map(|entry| entry.unwrap_or_else(|error| refuse(folder, &error.to_string())).path())
        .filter(|path| path.extension().is_some_and(|ending| ending == "json"))
        .map(|path| (path.file_stem().unwrap_or_default().to_string_lossy().into_owned(), path))
        .collect()
}

fn compile(profile: &Checked, architecture: &str) -> Result<Vec<Step>, String> {
    let target = TargetArch::try_from(architecture).map_err(|error| error.to_string())?;
    let mut programs =
        compile_from_json(profile.plain(architecture).as_bytes(), target).map_err(|error| error.to_string())?;
    let program: BpfProgram = programs.remove(&profile.name).ok_or("it was compiled into nothing")?;
    let compiled = program.iter().map(|step| (step.code, step.jt, step.jf, step.k));
    Ok(profile.ceiling(architecture).into_iter().chain(compiled).collect())
}

/// Adds a constant with the program: `cleanup.pilot` becomes `CLEANUP_PILOT`.
fn declare(source: &mut String, name: &str, program: &[Step]) {
    let constant = name.replace('.', "_").to_uppercase();
    let steps: String = program
        .iter()
        .map(|(code, jt, jf, k)| format!("sock_filter {{ code: {code}, jt: {jt}, jf: {jf}, k: {k} }},"))
        .collect();
    writeln!(source, "/// `seccomp-profiles/{name}.json`.\npub const {constant}: Profile = Profile(&[{steps}]);")
        .expect("a string has room");
}

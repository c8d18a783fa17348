//! What the programs are made of besides our own sources.

use crate::lexer::{code_of, count_word};
use crate::{Outcome, files, read};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;

/// The crates of the package's own tree, as cargo resolves it, with what a reviewer asks of each.
pub fn section(root: &Path) -> Outcome<String> {
    let metadata = metadata(root)?;
    let packages: BTreeMap<&str, &Value> =
        list(&metadata, "packages").filter_map(|package| Some((package["id"].as_str()?, package))).collect();
    let nodes: BTreeMap<&str, &Value> =
        list(&metadata["resolve"], "nodes").filter_map(|node| Some((node["id"].as_str()?, node))).collect();
    let own = metadata["resolve"]["root"].as_str().ok_or("cargo metadata names no root package")?;
    let names = installed_names(root)?;
    let installed: BTreeSet<&str> = packages
        .iter()
        .filter(|(_, package)| names.contains(&format!("{} v{}", string(package, "name"), string(package, "version"))))
        .map(|(id, _)| *id)
        .collect();
    let building: BTreeSet<&str> =
        reachable(&nodes, own, &[Value::Null, "build".into()]).difference(&installed).copied().collect();

    let mut text = "## Dependencies\n\n`unsafe` counts the word in the crate's code, comments and texts left out.\n\n| crate | version | licence | for | build script | proc macro | `unsafe` |\n|---|---|---|---|---|---|---|\n".to_owned();
    for (id, purpose) in installed
        .iter()
        .map(|id| (id, "programs"))
        .chain(building.iter().map(|id| (id, "building")))
        .filter(|(id, _)| **id != own)
    {
        let package = packages.get(id).ok_or("cargo metadata lacks a package")?;
        let kind =
            |wanted: &str| list(package, "targets").any(|target| list(target, "kind").any(|kind| kind == wanted));
        let word = |present| if present { "yes" } else { "no" };
        let field = |name: &str| string(package, name);
        let macros = kind("proc-macro");
        let purpose = if macros { "building" } else { purpose };
        text += &format!(
            "| {} | {} | {} | {purpose} | {} | {} | {} |\n",
            field("name"),
            field("version"),
            field("license"),
            word(kind("custom-build")),
            word(macros),
            unsafe_words(&field("manifest_path"))?
        );
    }
    Ok(text
        + "\nAdvisories: not checked by this report. The database of RustSec is not on the registry of crates, so that a build that reaches only the registry cannot have it; \
        where it can be reached, `cargo deny check advisories` and `cargo audit` read this tree's `Cargo.lock`.\n")
}

fn string(package: &Value, name: &str) -> String {
    package[name].as_str().unwrap_or("?").to_owned()
}

/// What the programs themselves are made of, as `name vVERSION`: cargo's metadata does not tell their features from
/// those of the build.
fn installed_names(root: &Path) -> Outcome<BTreeSet<String>> {
    let output = cargo(
        root,
        &["tree", "--locked", "-p", "glexec-rs", "-e", "normal,no-proc-macro", "--prefix", "none", "--format", "{p}"],
    )?;
    let lines = String::from_utf8_lossy(&output).into_owned();
    Ok(lines.lines().map(|line| line.split(' ').take(2).collect::<Vec<_>>().join(" ")).collect())
}

fn cargo(root: &Path, arguments: &[&str]) -> Outcome<Vec<u8>> {
    let output = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
        .args(arguments)
        .current_dir(root)
        .output()
        .map_err(|error| format!("cargo: {error}"))?;
    if output.status.success() {
        Ok(output.stdout)
    } else {
        Err(format!("cargo: {}", String::from_utf8_lossy(&output.stderr)))
    }
}

fn metadata(root: &Path) -> Outcome<Value> {
    let target = format!("{}-unknown-linux-musl", std::env::consts::ARCH);
    let output = cargo(root, &["metadata", "--format-version", "1", "--locked", "--filter-platform", &target])?;
    serde_json::from_slice(&output).map_err(|error| format!("cargo metadata: {error}"))
}

fn list<'v>(value: &'v Value, name: &str) -> impl Iterator<Item = &'v Value> {
    value[name].as_array().into_iter().flatten()
}

/// All that a package needs through dependencies of these kinds, itself included.
fn reachable<'v>(nodes: &BTreeMap<&'v str, &'v Value>, from: &'v str, kinds: &[Value]) -> BTreeSet<&'v str> {
    let mut found = BTreeSet::new();
    let mut ahead = vec![from];
    while let Some(id) = ahead.pop() {
        if found.insert(id) {
            let node = nodes.get(id).copied().unwrap_or(&Value::Null);
            ahead.extend(
                list(node, "deps")
                    .filter(|dep| list(dep, "dep_kinds").any(|kind| kinds.contains(&kind["kind"])))
                    .filter_map(|dep| dep["pkg"].as_str()),
            );
        }
    }
    found
}

fn unsafe_words(manifest: &str) -> Outcome<usize> {
    let folder = Path::new(manifest).parent().ok_or("a package without a folder")?.join("src");
    files(&folder, ".rs")?.iter().map(|path| Ok(count_word(&code_of(&read(path)?), "unsafe"))).sum()
}

//! Every ordered atomic access names what it pairs with, and `docs/PROTOCOL.md` explains each name.
#![cfg(not(loom))]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// Crates whose sources take part in the protocol.
const CRATES: [&str; 3] = ["shm-protocol", "writer", "reader"];
/// How far from an ordered access its SYNC comment may stand, in lines.
const NEAR: usize = 2;

fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// The crates' sources, tests and models left out.
fn sources() -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut to_visit: Vec<PathBuf> = CRATES.iter().map(|name| workspace().join(name).join("src")).collect();
    while let Some(dir) = to_visit.pop() {
        // A crate may be missing from a source package.
        let Ok(entries) = fs::read_dir(&dir) else { continue };
        for entry in entries {
            let path = entry.expect("the directory can be read").path();
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            let skipped = matches!(name, "tests" | "tests.rs" | "testing" | "testing.rs" | "loom_models.rs");
            if skipped {
                continue;
            } else if path.is_dir() {
                to_visit.push(path);
            } else if name.ends_with(".rs") {
                found.push(path);
            }
        }
    }
    assert!(!found.is_empty(), "no sources found");
    found.sort();
    found
}

/// Names in `SYNC(name)` on this line.
fn names(line: &str) -> Vec<&str> {
    line.split("SYNC(").skip(1).filter_map(|rest| rest.split_once(')')).map(|(name, _)| name).collect()
}

/// Whether the line's code, comments left out, asks for an order.
fn ordered(line: &str) -> bool {
    let code = line.split("//").next().unwrap_or_default();
    ["Release", "Acquire", "AcqRel", "SeqCst"]
        .iter()
        .any(|order| code.contains(&format!("Ordering::{order}")))
}

/// Source lines up to where unit tests in the same file begin.
fn lines(path: &Path) -> Vec<String> {
    let text = fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let end = text.find("#[cfg(test)]\nmod tests {").unwrap_or(text.len());
    text[..end].lines().map(str::to_owned).collect()
}

#[test]
fn every_ordered_access_names_its_sync_point() {
    let mut missing = Vec::new();
    for path in sources() {
        let lines = lines(&path);
        for (n, line) in lines.iter().enumerate().filter(|(_, line)| ordered(line)) {
            let near = &lines[n.saturating_sub(NEAR)..lines.len().min(n + NEAR + 1)];
            if near.iter().all(|line| names(line).is_empty()) {
                missing.push(format!("{}:{}: {}", path.display(), n + 1, line.trim()));
            }
        }
    }
    assert!(missing.is_empty(), "no SYNC(name) beside:\n{}", missing.join("\n"));
}

#[test]
fn every_sync_point_has_two_sides_and_is_documented() {
    let path = workspace().join("docs/PROTOCOL.md");
    let document = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let mut seen: BTreeMap<String, usize> = BTreeMap::new();
    for path in sources() {
        for line in lines(&path) {
            for name in names(&line) {
                *seen.entry(name.to_owned()).or_default() += 1;
            }
        }
    }
    assert!(seen.contains_key("publish"), "the sources have moved");
    for (name, sides) in &seen {
        assert!(*sides >= 2, "SYNC({name}) has one side only");
        assert!(
            document.contains(&format!("\n#### SYNC({name})\n")),
            "docs/PROTOCOL.md does not explain SYNC({name})"
        );
    }
    for name in document.lines().filter_map(|line| line.strip_prefix("#### ")).flat_map(names) {
        assert!(
            seen.contains_key(name),
            "docs/PROTOCOL.md explains SYNC({name}), which is nowhere in the sources"
        );
    }
}

#[test]
fn every_loom_model_is_named_in_the_document_and_no_other() {
    let document =
        fs::read_to_string(workspace().join("docs/PROTOCOL.md")).expect("docs/PROTOCOL.md can be read");
    let models = ["segment", "lane"].map(|part| {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("src").join(part).join("loom_models.rs");
        fs::read_to_string(path).expect("the models can be read")
    });
    let models = models.concat();
    let models: Vec<&str> = models
        .lines()
        .filter_map(|line| line.strip_prefix("fn loom_"))
        .filter_map(|rest| rest.split_once('('))
        .map(|(name, _)| name)
        .collect();
    for name in &models {
        assert!(document.contains(&format!("`loom_{name}`")), "docs/PROTOCOL.md does not name loom_{name}");
    }
    for named in
        document.split("`loom_").skip(1).filter_map(|rest| rest.split_once('`')).map(|(name, _)| name)
    {
        let known = named == "models.rs" || models.contains(&named);
        assert!(known, "there is no model loom_{named}");
    }
}

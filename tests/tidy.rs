//! The repository's own rules that no compiler checks.

#![allow(clippy::unwrap_used, reason = "tests: what cannot be read fails the test")]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// The crates of the workspace.
const MANIFESTS: [&str; 8] = [
    "Cargo.toml",
    "shm-protocol/Cargo.toml",
    "writer/Cargo.toml",
    "reader/Cargo.toml",
    "cli/Cargo.toml",
    "cli/terminal/Cargo.toml",
    "benches/harness/Cargo.toml",
    "benches/suite/Cargo.toml",
];
/// Where their sources are.
const SOURCES: [&str; 8] = [
    "src",
    "shm-protocol/src",
    "writer/src",
    "reader/src",
    "cli/src",
    "cli/terminal/src",
    "benches/harness/src",
    "benches/suite/src",
];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn sources(dir: &Path, out: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() && !path.ends_with("target") {
            sources(&path, out);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            out.push(path);
        }
    }
}

/// Which of our crates a manifest's ordinary dependencies name.
fn edges(manifest: &Path) -> BTreeSet<String> {
    let text = std::fs::read_to_string(manifest).unwrap();
    let mut inside = false;
    let mut found = BTreeSet::new();
    for line in text.lines() {
        if line.starts_with('[') {
            inside = line.contains("dependencies") && !line.contains("workspace.dependencies");
        } else if inside && line.starts_with("waldo") {
            found.insert(line.split(['.', ' ', '=']).next().unwrap().to_owned());
        }
    }
    found
}

#[test]
fn the_crates_depend_on_each_other_as_the_architecture_says() {
    let set = |names: &[&str]| names.iter().map(|name| name.to_string()).collect::<BTreeSet<_>>();
    let root = root();
    assert_eq!(edges(&root.join("shm-protocol/Cargo.toml")), set(&[]));
    assert_eq!(edges(&root.join("writer/Cargo.toml")), set(&["waldo-shm-protocol"]));
    assert_eq!(edges(&root.join("reader/Cargo.toml")), set(&["waldo-shm-protocol"]));
    assert_eq!(edges(&root.join("Cargo.toml")), set(&["waldo-reader", "waldo-shm-protocol", "waldo-writer"]));
    assert_eq!(edges(&root.join("cli/terminal/Cargo.toml")), set(&[]));
    assert_eq!(edges(&root.join("benches/harness/Cargo.toml")), set(&["waldo", "waldo-terminal"]));
    let program = ["waldo", "waldo-harness", "waldo-shm-protocol", "waldo-terminal"];
    assert_eq!(edges(&root.join("cli/Cargo.toml")), set(&program));
    assert_eq!(edges(&root.join("benches/suite/Cargo.toml")), set(&program));
}

#[test]
fn every_dependency_has_its_line_in_the_architecture() {
    let architecture = std::fs::read_to_string(root().join("ARCHITECTURE.md")).unwrap();
    for manifest in MANIFESTS {
        let text = std::fs::read_to_string(root().join(manifest)).unwrap();
        let mut inside = false;
        for line in text.lines() {
            if line.starts_with('[') {
                inside = line.contains("dependencies]") && !line.starts_with("[workspace");
                continue;
            }
            let name = line.split(['.', ' ', '=']).next().unwrap_or_default();
            if inside && !name.is_empty() && !name.starts_with(['#', '"', ']']) && !name.starts_with("waldo")
            {
                assert!(architecture.contains(&format!("`{name}`")), "{manifest}: {name}");
            }
        }
    }
}

#[test]
fn every_file_says_what_it_is_and_none_is_a_drawer() {
    let mut files = Vec::new();
    for dir in SOURCES.into_iter().chain(["tests", "cli/tests", "benches", "examples"]) {
        if root().join(dir).is_dir() {
            sources(&root().join(dir), &mut files);
        }
    }
    assert!(files.len() > 50);
    for file in files {
        let text = std::fs::read_to_string(&file).unwrap();
        let head = text.lines().next().unwrap_or_default();
        assert!(head.starts_with("//!") || head.starts_with("#![doc"), "{}: no head", file.display());
        let name = file.file_stem().unwrap().to_str().unwrap();
        assert!(
            !["util", "utils", "common", "helpers", "manager", "misc"].contains(&name),
            "{}",
            file.display()
        );
        // A comparison whose outcome is dropped checks nothing.
        for (number, line) in text.lines().enumerate() {
            let line = line.trim();
            assert!(
                !(line.starts_with("matches!(") && line.ends_with(';')),
                "{}:{}",
                file.display(),
                number + 1
            );
        }
    }
}

#[test]
fn unsafe_code_is_where_the_architecture_says() {
    let allowed = [
        "shm-protocol/src/checksum.rs",
        "shm-protocol/src/prefetch.rs",
        "shm-protocol/src/segment.rs",
        "shm-protocol/src/segment/publisher.rs",
        "writer/src/control.rs",
        "writer/src/lock.rs",
        "writer/src/waking/futex.rs",
        "writer/src/scheduling.rs",
        "writer/src/engine/buffer.rs",
        "writer/src/engine/uring.rs",
        "writer/src/disk/lease.rs",
        "writer/src/disk/os.rs",
        "reader/src/source/control.rs",
        "reader/src/pages/page_map.rs",
        "reader/src/futex.rs",
        "benches/suite/src/system.rs",
    ];
    let mut files = Vec::new();
    for dir in SOURCES {
        sources(&root().join(dir), &mut files);
    }
    for file in files {
        let name = file.strip_prefix(root()).unwrap().to_str().unwrap().to_owned();
        let test = name.contains("test") || name.contains("loom");
        let text = std::fs::read_to_string(&file).unwrap();
        let code = text.lines().map(|line| line.split("//").next().unwrap_or_default());
        let has = code.into_iter().any(|line| line.contains("unsafe {") || line.contains("unsafe fn"));
        assert!(!has || test || allowed.contains(&name.as_str()), "{name} holds unsafe code");
    }
}

/// A promise is worth as much as its test.
#[test]
fn every_test_that_the_guarantees_name_exists() {
    let text = std::fs::read_to_string(root().join("docs/GUARANTEES.md")).unwrap();
    let mut files = Vec::new();
    for dir in ["src", "shm-protocol", "writer/src", "reader/src", "tests", "cli", "benches/suite"] {
        sources(&root().join(dir), &mut files);
    }
    let code: String = files.iter().map(|file| std::fs::read_to_string(file).unwrap()).collect();
    // Names of tests are sentences; nothing else in that document has so many parts.
    let is_test = |word: &&str| {
        word.matches('_').count() >= 2
            && word.bytes().all(|b| b == b'_' || b.is_ascii_lowercase() || b.is_ascii_digit())
    };
    let named: BTreeSet<&str> = text.split('`').skip(1).step_by(2).filter(is_test).collect();
    assert!(named.len() > 100, "{}", named.len());
    for name in named {
        assert!(code.contains(&format!("fn {name}(")), "docs/GUARANTEES.md names {name}, which is no test");
    }
    // Each of the things that go wrong has a test or a reason.
    let rows: Vec<&str> =
        text.lines().filter(|line| line.starts_with("| ") && line.split('|').count() == 6).collect();
    for number in 1..=36 {
        let row = rows.iter().find(|row| row.starts_with(&format!("| {number} |")));
        let last = row.unwrap_or_else(|| panic!("row {number} is missing")).split('|').nth(4).unwrap().trim();
        assert!(!last.is_empty(), "row {number} has neither test nor reason");
    }
}

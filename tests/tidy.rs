//! The repository's own rules that no compiler checks.

#![allow(clippy::unwrap_used, reason = "tests: what cannot be read fails the test")]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// The crates of the workspace.
const MANIFESTS: [&str; 10] = [
    "Cargo.toml",
    "shm-protocol/Cargo.toml",
    "writer/Cargo.toml",
    "reader/Cargo.toml",
    "service/Cargo.toml",
    "cli/Cargo.toml",
    "cli/terminal/Cargo.toml",
    "benches/harness/Cargo.toml",
    "benches/suite/Cargo.toml",
    "examples/Cargo.toml",
];
/// Where their sources are.
const SOURCES: [&str; 10] = [
    "src",
    "shm-protocol/src",
    "writer/src",
    "reader/src",
    "service/src",
    "cli/src",
    "cli/terminal/src",
    "benches/harness/src",
    "benches/suite/src",
    "examples/src",
];

/// Longest file, function and comment line.
const FILE_LINES_MAX: usize = 400;
const FUNCTION_LINES_MAX: usize = 80;
const COMMENT_COLUMNS_MAX: usize = 110;

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
    assert_eq!(edges(&root.join("service/Cargo.toml")), set(&["waldo", "waldo-terminal"]));
    assert_eq!(edges(&root.join("cli/terminal/Cargo.toml")), set(&[]));
    assert_eq!(edges(&root.join("benches/harness/Cargo.toml")), set(&["waldo", "waldo-terminal"]));
    let program = ["waldo", "waldo-harness", "waldo-shm-protocol", "waldo-terminal"];
    assert_eq!(edges(&root.join("cli/Cargo.toml")), set(&program));
    let suite = ["waldo", "waldo-harness", "waldo-service", "waldo-shm-protocol", "waldo-terminal"];
    assert_eq!(edges(&root.join("benches/suite/Cargo.toml")), set(&suite));
    assert_eq!(edges(&root.join("examples/Cargo.toml")), set(&["waldo"]));
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
    for dir in SOURCES.into_iter().chain(["tests", "cli/tests", "service/tests", "benches", "examples"]) {
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
        "shm-protocol/src/lane.rs",
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
        "service/src/activation.rs",
        "src/client/lane/memory.rs",
        "src/client/lane/passing.rs",
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
    for dir in ["src", "shm-protocol", "writer/src", "reader/src", "service", "tests", "cli", "benches/suite"]
    {
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

/// Every file of ours that holds Rust.
fn everything() -> Vec<PathBuf> {
    let mut files = Vec::new();
    for dir in
        SOURCES.into_iter().chain(["tests", "cli/tests", "shm-protocol/tests", "benches", "examples", "fuzz"])
    {
        if root().join(dir).is_dir() {
            sources(&root().join(dir), &mut files);
        }
    }
    files.sort();
    files.dedup();
    files
}

/// A test, or what tests share.
fn is_test(file: &Path) -> bool {
    let name = file.strip_prefix(root()).unwrap().to_str().unwrap();
    ["test", "loom", "histories", "simulated"].iter().any(|part| name.contains(part))
}

#[test]
fn files_functions_and_comments_are_short() {
    let mut long = Vec::new();
    for file in everything() {
        let name = file.strip_prefix(root()).unwrap().display().to_string();
        let text = std::fs::read_to_string(&file).unwrap();
        let lines: Vec<&str> = text.lines().collect();
        if lines.len() > FILE_LINES_MAX && !is_test(&file) {
            long.push(format!("{name}: {} lines", lines.len()));
        }
        for (number, line) in lines.iter().enumerate() {
            if line.trim_start().starts_with("//") && line.chars().count() > COMMENT_COLUMNS_MAX {
                long.push(format!("{name}:{}: a comment of {} columns", number + 1, line.chars().count()));
            }
        }
        for (start, end) in functions(&lines) {
            if end - start + 1 > FUNCTION_LINES_MAX {
                long.push(format!("{name}:{}: a function of {} lines", start + 1, end - start + 1));
            }
        }
    }
    assert!(long.is_empty(), "{}", long.join("\n"));
}

/// First and last line of each function, as rustfmt sets them.
fn functions(lines: &[&str]) -> Vec<(usize, usize)> {
    let indent = |line: &str| line.len() - line.trim_start().len();
    let begins = |line: &str| {
        let mut words = line.split_whitespace();
        words.any(|word| word == "fn")
            && !line.trim_start().starts_with("//")
            && !line.trim_end().ends_with(';')
    };
    let mut found = Vec::new();
    for (start, line) in lines.iter().enumerate().filter(|(_, line)| begins(line)) {
        let end = (start + 1..lines.len())
            .find(|end| indent(lines[*end]) == indent(line) && lines[*end].trim() == "}");
        found.extend(end.filter(|_| !line.trim_end().ends_with('}')).map(|end| (start, end)));
    }
    found
}

#[test]
fn no_two_types_of_a_crate_bear_one_name() {
    let mut twice = Vec::new();
    for dir in SOURCES {
        let mut files = Vec::new();
        sources(&root().join(dir), &mut files);
        let mut seen = std::collections::BTreeMap::new();
        for file in files.iter().filter(|file| !is_test(file)) {
            let text = std::fs::read_to_string(file).unwrap();
            let code = text.split("#[cfg(test)]\nmod tests {").next().unwrap();
            for line in code.lines() {
                let words: Vec<&str> =
                    line.split_whitespace().filter(|word| !word.starts_with("pub")).collect();
                let [kind @ ("struct" | "enum" | "trait" | "union"), name, ..] = words[..] else { continue };
                let name: String = name.chars().take_while(|c| c.is_alphanumeric()).collect();
                // The arguments of a command: `demo::Args`, `tail::Args`.
                if name == "Args" {
                    continue;
                }
                if let Some(other) = seen.insert(name.clone(), file.clone()) {
                    twice.push(format!("{kind} {name} is in {} and in {}", other.display(), file.display()));
                }
            }
        }
    }
    assert!(twice.is_empty(), "{}", twice.join("\n"));
}

#[test]
fn the_repository_explains_itself() {
    let mut files = everything();
    for name in ["README.md", "ARCHITECTURE.md", "CHANGELOG.md", "src/embedded.md", ".ci/run"] {
        files.push(root().join(name));
    }
    files.extend(std::fs::read_dir(root().join("docs")).unwrap().map(|entry| entry.unwrap().path()));
    // Put together, so that this file does not hold them.
    let outside = [
        concat!("../", "shared"),
        concat!("design ", "measurements"),
        concat!("(D", "1)"),
        concat!("(D1", "a)"),
    ];
    for file in files.iter().filter(|file| file.is_file()) {
        let text = std::fs::read_to_string(file).unwrap();
        for word in outside {
            assert!(!text.contains(word), "{} refers to {word}, which no reader of it has", file.display());
        }
    }
}

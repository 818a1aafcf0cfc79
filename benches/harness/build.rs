//! Hands the commit that is being built to the program, for the results of `waldo-suite`.

use std::path::Path;
use std::process::Command;

fn main() {
    println!("cargo:rustc-env=WALDO_COMMIT={}", commit().unwrap_or_else(|| "unknown".to_owned()));
    // Whether there are changes depends on the sources, which a build looks at anyway.
    for path in ["build.rs", "Cargo.lock", "src", "shm-protocol/src", "writer/src", "reader/src"] {
        watch(Path::new(path));
    }
}

/// The newest commit, with `-dirty` behind it if there are changes; `None` outside a checkout.
fn commit() -> Option<String> {
    // A copy of the sources inside somebody else's repository is no checkout of this one.
    if !git(&["rev-parse", "--show-prefix"])?.is_empty() {
        return None;
    }
    watch_in_git("HEAD");
    watch_in_git("packed-refs");
    if let Some(branch) = git(&["symbolic-ref", "--quiet", "HEAD"]) {
        watch_in_git(&branch);
    }
    git(&["describe", "--always", "--dirty"])
}

fn watch_in_git(name: &str) {
    if let Some(path) = git(&["rev-parse", "--git-path", name]) {
        watch(Path::new(&path));
    }
}

/// Has cargo run this again when `path` changes. What does not exist would count as changed at every build.
fn watch(path: &Path) {
    if path.exists() {
        println!("cargo:rerun-if-changed={}", path.display());
    }
}

fn git(args: &[&str]) -> Option<String> {
    let output = Command::new("git").args(args).output().ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

//! Finds out which commit the command is built from, for `waldo --version`.
//!
//! From a source archive there is none to be found, and the version goes without. Who builds a package can name
//! it in the variable WALDO_COMMIT.

use std::path::{Path, PathBuf};
use std::process::Command;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-env-changed=WALDO_COMMIT");
    let version = std::env::var("CARGO_PKG_VERSION").unwrap_or_default();
    let target = std::env::var("TARGET").unwrap_or_default();
    let named = std::env::var("WALDO_COMMIT").ok().filter(|commit| !commit.trim().is_empty());
    let commit = named.map(|commit| commit.trim().to_owned()).or_else(commit);
    let version = match commit {
        Some(commit) => format!("{version} ({commit})"),
        None => version,
    };
    println!("cargo::rustc-env=WALDO_VERSION={version}");
    println!("cargo::rustc-env=WALDO_TARGET={target}");
}

/// The commit of the repository that this source is the work tree of, and its date.
fn commit() -> Option<String> {
    let manifest = PathBuf::from(std::env::var_os("CARGO_MANIFEST_DIR")?);
    let source = manifest.parent()?;
    // A source archive may have been unpacked within the repository of something else.
    let top = git(source, &["rev-parse", "--show-toplevel"])?;
    if Path::new(&top).canonicalize().ok()? != source.canonicalize().ok()? {
        return None;
    }
    // Both change with each commit and each checkout.
    for name in ["HEAD", "logs/HEAD"] {
        let path = source.join(git(source, &["rev-parse", "--git-path", name])?);
        if path.exists() {
            println!("cargo::rerun-if-changed={}", path.display());
        }
    }
    git(source, &["log", "-1", "--format=%h %cs", "--abbrev=12"])
}

/// One line that git prints; `None` if there is no git, or no repository for it.
fn git(dir: &Path, args: &[&str]) -> Option<String> {
    let output = Command::new("git").arg("-C").arg(dir).args(args).output().ok()?;
    let text = String::from_utf8(output.stdout).ok().filter(|_| output.status.success())?;
    let line = text.trim();
    (!line.is_empty() && !line.contains('\n')).then(|| line.to_owned())
}

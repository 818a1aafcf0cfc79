//! What the command says about itself: completions, manual pages, version.

use crate::support::*;
use std::path::Path;
use std::process::Command;

const BUILD: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/build.rs");

/// Every command that `--help` names.
fn commands() -> Vec<String> {
    let help = run(waldo().arg("--help"), b"");
    let list = help.text().split("Commands:").nth(1).unwrap().split("\n\n").next().unwrap();
    let names = list.lines().filter_map(|line| line.strip_prefix("  ")?.split(' ').next());
    names.filter(|name| !name.is_empty() && *name != "help").map(str::to_owned).collect()
}

#[test]
fn shells_complete_every_command() {
    for shell in ["bash", "zsh", "fish"] {
        let done = run(waldo().args(["completions", shell]), b"");
        assert_eq!((done.code, done.stderr.as_str()), (0, ""));
        for name in commands() {
            assert!(done.text().contains(&name), "{shell}: {name}");
        }
    }
    assert_eq!(run(waldo().args(["completions", "rc"]), b"").code, 2);
    // Bash takes it, and offers the options of a command.
    let script = format!(
        "{}\nCOMP_WORDS=(waldo tail --checkp); COMP_CWORD=2; _waldo waldo --checkp tail; echo \"${{COMPREPLY[@]}}\"",
        run(waldo().args(["completions", "bash"]), b"").text()
    );
    let offered = run(Command::new("bash").arg("--norc"), script.as_bytes());
    assert_eq!(offered.text().trim(), "--checkpoint --checkpoint-every", "{}", offered.stderr);
}

#[test]
fn every_command_has_a_manual_page() {
    let place = Place::new();
    let dir = place.join("man/man1");
    let done = run(waldo().arg("man").arg(&dir), b"");
    assert_eq!((done.code, done.stdout.len()), (0, 0), "{}", done.stderr);
    let mut pages: Vec<_> = std::fs::read_dir(&dir)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    pages.sort();
    let mut expected: Vec<_> = commands().iter().map(|name| format!("waldo-{name}.1")).collect();
    expected.push("waldo.1".to_owned());
    expected.sort();
    assert_eq!(pages, expected);
    let tail = std::fs::read_to_string(dir.join("waldo-tail.1")).unwrap();
    assert!(
        tail.contains(".nf\nExamples:\n") && tail.contains("Exit codes") && tail.ends_with(".fi\n"),
        "{tail}"
    );
    let whole = run(waldo().arg("man"), b"");
    assert_eq!(whole.text(), std::fs::read_to_string(dir.join("waldo.1")).unwrap());
    let refused = run(waldo().arg("man").arg("/proc/none"), b"");
    assert!(refused.code == 1 && refused.stderr.contains("/proc/none"), "{}", refused.stderr);
}

#[test]
fn the_version_is_told() {
    let (short, long) = (run(waldo().arg("-V"), b""), run(waldo().arg("--version"), b""));
    let version = concat!("waldo ", env!("CARGO_PKG_VERSION"));
    assert!(
        short.text().starts_with(version) && long.text().starts_with(short.text().trim()),
        "{}",
        short.text()
    );
    assert!(long.text().contains("format version 1"), "{}", long.text());
}

/// Builds the build script by itself, and runs it for a source tree in `source`.
fn version_of(source: &Path, commit: Option<&str>) -> String {
    let script = source.join("build-script");
    if !script.exists() {
        let mut compile = Command::new(std::env::var_os("RUSTC").unwrap_or("rustc".into()));
        let compiled = run(compile.arg(BUILD).arg("--edition=2024").arg("-o").arg(&script), b"");
        assert_eq!(compiled.code, 0, "{}", compiled.stderr);
    }
    std::fs::create_dir_all(source.join("cli")).unwrap();
    let mut command = Command::new(&script);
    command
        .env("CARGO_MANIFEST_DIR", source.join("cli"))
        .env("CARGO_PKG_VERSION", "1.2.3")
        .env("TARGET", "here")
        .env_remove("WALDO_COMMIT")
        .env_remove("GIT_DIR")
        .envs(commit.map(|commit| ("WALDO_COMMIT", commit)));
    let done = run(&mut command, b"");
    assert_eq!((done.code, done.stderr.as_str()), (0, ""));
    let line = done.text().lines().find_map(|line| line.strip_prefix("cargo::rustc-env=WALDO_VERSION="));
    line.unwrap().to_owned()
}

/// An archive has no repository, and may be unpacked within another one.
#[test]
fn the_commit_in_the_version_is_this_sources_own() {
    let place = Place::new();
    let source = place.path();
    assert_eq!(version_of(source, None), "1.2.3");
    assert_eq!(version_of(source, Some("abc")), "1.2.3 (abc)");
    let git = |args: &[&str]| {
        let identity = ["-c", "user.name=a", "-c", "user.email=a@example.org"];
        Command::new("git").arg("-C").arg(source).args(identity).args(args).output()
    };
    if !git(&["init", "-q"]).is_ok_and(|output| output.status.success()) {
        println!("left out: there is no git");
        return;
    }
    assert_eq!(version_of(source, None), "1.2.3");
    git(&["commit", "-q", "--allow-empty", "-m", "first", "--date", "2026-01-31T12:00:00Z"]).unwrap();
    let head = String::from_utf8(git(&["rev-parse", "HEAD"]).unwrap().stdout).unwrap();
    assert!(version_of(source, None).starts_with(&format!("1.2.3 ({}", &head[..12])));
    let unpacked = source.join("vendor/waldo");
    std::fs::create_dir_all(&unpacked).unwrap();
    std::fs::copy(source.join("build-script"), unpacked.join("build-script")).unwrap();
    assert_eq!(version_of(&unpacked, None), "1.2.3");
}

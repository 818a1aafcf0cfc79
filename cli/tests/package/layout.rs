//! The files of the package without the package: what `cli/Cargo.toml` lists for cargo-deb, from this build.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// A program of this build.
pub fn program(name: &str) -> PathBuf {
    Path::new(env!("CARGO_BIN_EXE_waldo")).with_file_name(name)
}

/// One line of the list: what, where to, permission bits.
struct Asset {
    source: String,
    target: String,
    mode: u32,
}

/// Puts every file in its place under `root`.
pub fn lay_out(root: &Path) {
    let mut generated = 0;
    for asset in assets() {
        let sources = sources(&asset.source);
        if sources.is_empty() {
            // Manual pages and completions: `packaging/build` has the command make them.
            assert!(asset.source.starts_with("../target/"), "there is no {}", asset.source);
            generated += 1;
        }
        for source in sources {
            let mut target = root.join(&asset.target);
            if asset.target.ends_with('/') {
                target.push(source.file_name().unwrap());
            }
            fs::create_dir_all(target.parent().unwrap()).unwrap();
            fs::copy(&source, &target).unwrap();
            fs::set_permissions(&target, Permissions::from_mode(asset.mode)).unwrap();
        }
    }
    println!("laid out from this build; {generated} lines of the list name what packaging/build makes");
}

fn assets() -> Vec<Asset> {
    let manifest = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml")).unwrap();
    let (_, list) = manifest.split_once("\nassets = [\n").unwrap();
    let (list, _) = list.split_once("\n]").unwrap();
    let asset = |line: &str| {
        let parts: Vec<&str> = line.split('"').collect();
        let [_, source, _, target, _, mode, _] = parts[..] else { panic!("not understood: {line}") };
        let mode = u32::from_str_radix(mode, 8).unwrap();
        Asset { source: source.to_owned(), target: target.to_owned(), mode }
    };
    list.lines().map(asset).collect()
}

/// The files that a source names, which may hold a `*` in its last part.
fn sources(source: &str) -> Vec<PathBuf> {
    if let Some(name) = source.strip_prefix("target/release/") {
        return vec![program(name)];
    }
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(source);
    let name = path.file_name().unwrap().to_str().unwrap();
    let Some((before, behind)) = name.split_once('*') else {
        return path.exists().then_some(path).into_iter().collect();
    };
    let Ok(entries) = fs::read_dir(path.parent().unwrap()) else { return Vec::new() };
    let matches = |path: &PathBuf| {
        let name = path.file_name().unwrap().to_str().unwrap();
        name.starts_with(before) && name.ends_with(behind)
    };
    entries.map(|entry| entry.unwrap().path()).filter(matches).collect()
}

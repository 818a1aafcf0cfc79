//! What somebody has put in the place of a ring's files.

use crate::support::*;
use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::symlink;
use std::process::Command;

/// Larger than any memory, and nothing of it on the disk.
const ENDLESS: u64 = 1 << 40;

fn told(command: &mut Command) -> (i32, String) {
    let done = run(command, b"");
    (done.code, done.text().to_owned() + &done.stderr)
}

/// `stat`, `top` and `inspect` read the link by themselves.
#[test]
fn what_stands_in_the_place_of_the_link_is_neither_waited_for_nor_followed() {
    let place = Place::new();
    let home = place.ring("ring", b"x\n");
    let (link, aside, segment) = (home.join("control.link"), place.join("aside"), place.join("segment"));
    fs::write(&segment, b"").unwrap();
    let readers_of_the_segment = || {
        let (_, text) = told(waldo().args(["stat", "--json"]).arg(&home));
        serde_json::from_str::<serde_json::Value>(&text).unwrap()["readers"]["control"].clone()
    };
    // `stat` tells of what a good link leads to.
    fs::write(&link, format!("waldo-control 1\npath {}\n", segment.display())).unwrap();
    assert!(readers_of_the_segment().is_object());
    fs::rename(&link, &aside).unwrap();
    for (what, wanted) in [
        ("symbolic link", "symbolic links"),
        ("pipe", "this is no regular file"),
        ("endless", "is damaged: not a control link"),
    ] {
        match what {
            "pipe" => nix::unistd::mkfifo(&link, nix::sys::stat::Mode::S_IRWXU).unwrap(),
            "symbolic link" => symlink(&aside, &link).unwrap(),
            _ => File::create(&link).unwrap().set_len(ENDLESS).unwrap(),
        }
        let (code, text) = told(waldo().arg("inspect").arg(&home));
        assert!(code == 0 && text.contains(wanted), "{what}: {code} {text}");
        if what == "symbolic link" {
            assert!(readers_of_the_segment().is_null());
        }
        fs::remove_file(&link).unwrap();
    }
}

#[test]
fn what_stands_in_the_place_of_the_metadata_is_not_followed_nor_read_to_no_end() {
    let place = Place::new();
    let home = place.ring("ring", b"x\n");
    let (meta, aside) = (home.join("ring.meta"), place.join("aside"));
    fs::copy(&meta, &aside).unwrap();
    OpenOptions::new().write(true).open(&meta).unwrap().set_len(ENDLESS).unwrap();
    let (code, text) = told(waldo().arg("inspect").arg(&home));
    assert!(code == 0 && text.contains("slot 0"), "{code} {text}");
    let (code, text) = told(waldo().arg("repair").arg(&home));
    assert!(code == 1 && text.contains("ring.meta") && !text.contains("memory"), "{code} {text}");
    fs::remove_file(&meta).unwrap();
    symlink(&aside, &meta).unwrap();
    let (_, text) = told(waldo().arg("inspect").arg(&home));
    assert!(text.contains("cannot open") && !text.contains("slot 0"), "{text}");
    // Somebody who names a symbolic link wants what it leads to.
    let (code, text) = told(waldo().arg("inspect").arg(&meta));
    assert!(code == 0 && text.contains("good; slot"), "{code} {text}");
}

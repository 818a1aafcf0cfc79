//! Readers that see the ring's directory through another mount than its writer.

use crate::roles::writer_append;
use crate::support::child::Child;
use crate::support::namespaces::can_unshare;
use crate::support::ring::{Setup, TestRing};
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use std::fs;
use std::path::{Path, PathBuf};
use tempfile::TempDir;

fn setup() -> Setup {
    Setup { ring_size: 4, ..Setup::default() }
}

/// For a shell in a mount namespace of its own: `lower` with an overlay of its own over it, at `merged` in
/// `dir`.
fn overlay(dir: &Path, lower: &Path) -> String {
    let dir = dir.display();
    format!(
        "mount -t tmpfs waldo-test {dir}; mkdir {dir}/upper {dir}/work {dir}/merged; \
         mount -t overlay waldo-test -o lowerdir={},upperdir={dir}/upper,workdir={dir}/work {dir}/merged",
        lower.display()
    )
}

fn has_overlay() -> bool {
    let has = fs::read_to_string("/proc/filesystems").is_ok_and(|list| list.contains("overlay"));
    if !has {
        println!("skipped: there is no overlay file system here");
    }
    has && can_unshare(&["-m"])
}

/// An overlay in this process's own namespace, with its layers beside it.
struct Overlay(TempDir);

impl Overlay {
    /// `None`, and a word about it, where mounting is not allowed.
    fn new() -> Option<Overlay> {
        let dir = tempfile::Builder::new().prefix("waldo-test-mount-").tempdir().unwrap();
        let overlay = Overlay(dir);
        for name in ["lower", "upper", "work", "merged"] {
            fs::create_dir(overlay.path(name)).unwrap();
        }
        let path = |name: &str| overlay.path(name).display().to_string();
        let data = format!("lowerdir={},upperdir={},workdir={}", path("lower"), path("upper"), path("work"));
        let merged = overlay.path("merged");
        match mount(Some("waldo-test"), &merged, Some("overlay"), MsFlags::empty(), Some(data.as_str())) {
            Ok(()) => Some(overlay),
            Err(error) => {
                println!("skipped: cannot mount an overlay here: {error}");
                None
            }
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }
}

impl Drop for Overlay {
    fn drop(&mut self) {
        // Also when something in it is still open.
        let _ = umount2(&self.path("merged"), MntFlags::MNT_DETACH);
    }
}

/// Holds records of a ring that is written through an overlay, seen as `view`, while the ring goes round
/// several times.
fn hold_while_written_through_an_overlay(view: &str) {
    if !has_overlay() {
        return;
    }
    let Some(overlay) = Overlay::new() else { return };
    let setup = setup();
    let ring = TestRing::at(overlay.path("merged").join("ring"));
    let mut writer = ring.writer(&setup);
    writer_append(&mut writer, 50, 5, setup.max);
    let mut holder = Child::spawn("holder", setup.args(&overlay.path(view).join("ring")));
    holder.expect("holding");
    writer_append(&mut writer, 4000, 5, setup.max);
    holder.say("look");
    holder.expect("unchanged");
    writer.close().unwrap();
}

/// On overlayfs a mapping is one of the file in the layer below, which a write lease on the overlay's own
/// file knows nothing of. The writer was granted it, and wrote over records that readers had slices of. An
/// open file of the overlay is known to it.
#[test]
fn what_is_written_and_read_through_an_overlay_does_not_change() {
    hold_while_written_through_an_overlay("merged");
}

/// The same, read from outside in the layer below: nothing that a reader can do there is seen by the writer,
/// which has to find out that it can prove nothing.
#[test]
fn what_is_written_through_an_overlay_and_read_below_it_does_not_change() {
    hold_while_written_through_an_overlay("upper");
}

#[test]
fn a_ring_that_is_mounted_elsewhere_is_read_with_its_segment() {
    if !can_unshare(&["-m"]) {
        return;
    }
    let (setup, ring, view) = (setup(), TestRing::new(), TempDir::new().unwrap());
    let mut writer = ring.writer(&setup);
    writer_append(&mut writer, 100, 5, setup.max);
    let script = format!("mount --bind {} {}", ring.home().display(), view.path().display());
    let mut scout = Child::spawn_within(&["-m"], &script, "scout", setup.args(view.path()));
    scout.expect("attached");
    scout.say("new");
    assert_eq!(scout.expect("status").join(" "), "segment live 100");
    writer.close().unwrap();
}

#[test]
fn what_is_read_through_an_overlay_does_not_change() {
    if !has_overlay() {
        return;
    }
    let (setup, ring, view) = (setup(), TestRing::new(), TempDir::new().unwrap());
    let mut writer = ring.writer(&setup);
    writer_append(&mut writer, 50, 5, setup.max);
    let args = setup.args(&view.path().join("merged/ring"));
    let script = overlay(view.path(), ring.home().parent().unwrap());
    let mut scout = Child::spawn_within(&["-m"], &script, "scout", args.clone());
    scout.expect("attached");
    scout.say("new");
    // The overlay has another number for the directory than the segment names, so that is not this
    // directory's.
    assert_eq!(scout.expect("status").join(" "), "files absent 50");
    let mut holder = Child::spawn_within(&["-m"], &script, "holder", args);
    holder.expect("holding");
    // The ring goes round several times.
    writer_append(&mut writer, 4000, 5, setup.max);
    holder.say("look");
    holder.expect("unchanged");
    writer.close().unwrap();
}

#[test]
fn a_ring_is_followed_through_an_overlay_over_it() {
    if !has_overlay() {
        return;
    }
    let (setup, ring, view) = (Setup { ring_size: 64, ..setup() }, TestRing::new(), TempDir::new().unwrap());
    let mut writer = ring.writer(&setup);
    writer_append(&mut writer, 50, 5, setup.max);
    let script = overlay(view.path(), ring.home().parent().unwrap());
    let args = setup.args(&view.path().join("merged/ring")).with("report", 1);
    let mut follower = Child::spawn_within(&["-m"], &script, "follower", args);
    for tip in (50..4000).step_by(395) {
        while follower.skip_to("at") != [tip] {}
        writer_append(&mut writer, 395, 5, setup.max);
    }
    let tip = writer.tip().unwrap();
    follower.say(tip);
    assert_eq!(follower.skip_to("done"), [tip, 0, tip]);
    follower.finish();
    writer.close().unwrap();
}

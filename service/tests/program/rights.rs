//! Who may read the rings of a configuration.

use crate::ring::Place;
use crate::support::*;
use nix::sys::signal::Signal;
use std::os::unix::fs::MetadataExt;

/// A group that has no name.
const READERS: u32 = 54_322;

#[test]
fn a_ring_has_the_group_and_the_mode_of_the_configuration() {
    if !nix::unistd::geteuid().is_root() {
        println!("left out: this needs root, to give files to any group");
        return;
    }
    let place = Place::new();
    let table = |more: &str| ring_table(&place, "orders", more);
    let file = config_file(&place, &table("group = \"54322\"\nmode = \"0644\""));
    let mut program = Program::start(&place, &["--config".into(), path(&file)]);
    append(&place.dir().join("orders.sock"), "one");
    let home = place.dir().join("orders");
    let control = place.dir().join("orders.control");
    for (path, mode) in [
        (home.clone(), 0o2755),
        (home.join("ring.meta"), 0o644),
        (home.join("control.link"), 0o644),
        (home.join("page-0000000000000001"), 0o644),
        (home.join("writer.lock"), 0o600),
        // Names of producers are for nobody else, whatever readers may read.
        (home.join("producers.journal"), 0o600),
        (control, 0o644),
    ] {
        let stat = std::fs::metadata(&path).unwrap();
        assert_eq!((stat.gid(), stat.mode() & 0o7777), (READERS, mode), "{}", path.display());
    }
    config_file(&place, &table("group = \"54323\"\nmode = \"0640\""));
    program.signal(Signal::SIGHUP);
    program.until_told("READY=1");
    program.until_logged("what has changed of this ring takes effect at the next restart: mode, group");
    program.stop();
}

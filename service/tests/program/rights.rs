//! Who may read the rings of a configuration.

use crate::ring::Place;
use crate::support::*;
use nix::sys::signal::Signal;
use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::process::CommandExt;

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
        // Names of producers are for nobody else, whatever readers may read.
        (home.join("producers.journal"), 0o600),
        (control, 0o644),
    ] {
        let stat = fs::metadata(&path).unwrap();
        assert_eq!((stat.gid(), stat.mode() & 0o7777), (READERS, mode), "{}", path.display());
    }
    // For its user alone, so that its group counts for nothing and is left as it is.
    assert_eq!(fs::metadata(home.join("writer.lock")).unwrap().mode() & 0o7777, 0o600);
    config_file(&place, &table("group = \"54323\"\nmode = \"0640\""));
    program.signal(Signal::SIGHUP);
    program.until_told("READY=1");
    program.until_logged("what has changed of this ring takes effect at the next restart: mode, group");
    program.stop();
}

/// The file is in order, but the start would be refused.
#[test]
fn check_warns_of_a_group_that_could_not_be_given_away() {
    if !nix::unistd::geteuid().is_root() {
        println!("left out: this needs root, to be another user");
        return;
    }
    const USER: u32 = 54_321;
    let place = Place::new();
    fs::set_permissions(place.dir(), Permissions::from_mode(0o755)).unwrap();
    let more = "group = \"54322\"\nsocket_group = \"54323\"";
    let file = config_file(&place, &ring_table(&place, "orders", more));
    let check = |user: Option<u32>| {
        let mut command = waldo_service();
        command.args(["--config".into(), path(&file), "--check".into()]);
        if let Some(user) = user {
            command.uid(user).gid(user);
        }
        let output = command.output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{output:?}");
        assert!(String::from_utf8(output.stdout).unwrap().contains("ring orders: "));
        String::from_utf8(output.stderr).unwrap()
    };
    assert_eq!(check(None), "");
    let told = check(Some(USER));
    for words in [
        "ring orders: run by this user, the service would refuse `group`: user 54321 is no member of group 54322.",
        "would refuse `socket_group`: user 54321 is no member of group 54323.",
        "SupplementaryGroups=",
    ] {
        assert!(told.contains(words), "{words}: {told}");
    }
    assert!(!place.dir().join("orders").exists());
}

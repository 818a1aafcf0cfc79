//! The service in a container, and those that it serves outside. Needs root; says so where that is missing.
//!
//! A container is made by hand: namespaces, mounts, nothing else.

use crate::ring::Place;
use crate::support::*;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::process::Command;

/// What the container is made of, and what is mounted in it.
struct Container {
    what: &'static str,
    namespaces: &'static [&'static str],
    mounts: &'static str,
}

/// `$1` is the directory that the ring and the socket are in.
const CONTAINERS: [Container; 5] = [
    Container {
        what: "a /dev/shm of its own",
        namespaces: &["--mount", "--ipc"],
        mounts: "mount -t tmpfs tmpfs /dev/shm",
    },
    Container {
        what: "users and processes of its own",
        namespaces: &["--user", "--map-root-user", "--mount", "--pid", "--fork", "--kill-child"],
        mounts: "mount -t proc proc /proc",
    },
    Container {
        what: "a clock of its own",
        namespaces: &["--time", "--boottime", "100000", "--fork", "--kill-child"],
        mounts: "true",
    },
    Container {
        what: "the ring on overlayfs",
        namespaces: &["--mount"],
        mounts: "mount -t tmpfs tmpfs /dev/shm && mkdir $1/upper $1/work $1/lower $1/ring && mount -t tmpfs tmpfs $1/upper && mkdir $1/upper/u $1/upper/w && \
                 mount -t overlay overlay -o lowerdir=$1/lower,upperdir=$1/upper/u,workdir=$1/upper/w $1/ring",
    },
    Container {
        what: "everything read-only but the ring and the socket",
        namespaces: &["--mount"],
        mounts: "mount --bind $1 $1 && mount -o remount,bind,ro / && mount -o remount,bind,ro /dev",
    },
];

#[test]
fn producers_and_readers_outside_a_container_are_served() {
    for Container { what, namespaces, mounts } in CONTAINERS {
        let place = Place::new();
        if !Command::new("unshare").args(namespaces).arg("true").status().is_ok_and(|done| done.success()) {
            println!("left out, {what}: no such namespaces here");
            continue;
        }
        let script = format!("mount --make-rprivate / 2>&- ; {mounts} && exec \"${{@:2}}\"");
        let mut command = Command::new("unshare");
        command.args(namespaces).args(["bash", "-c", &script, "bash"]).arg(place.dir());
        // Shared memory as usual, not the file of the other tests.
        let args = small(&place);
        let args =
            args.iter().filter(|arg| **arg != "--control" && **arg != path(&place.dir().join("control")));
        command.arg(waldo_service().get_program()).args(args);
        let mut program = Program::start_command(&place, &mut command);
        append(&place.socket(), what);
        // What is mounted over is seen inside alone.
        if !what.contains("overlayfs") {
            assert_eq!(texts(&place.home()), [what]);
        }
        let children =
            std::fs::read_to_string(format!("/proc/{0}/task/{0}/children", program.pid())).unwrap();
        let pid = children.trim().parse().unwrap_or(program.pid() as i32);
        kill(Pid::from_raw(pid), Signal::SIGTERM).unwrap();
        assert_eq!(program.ended().code(), Some(0), "{what}: {}", program.log());
        assert!(program.log().contains("1 records were stored"), "{what}: {}", program.log());
        remove_segment(&place);
    }
}

/// The shared memory that outlives the service.
fn remove_segment(place: &Place) {
    let link = std::fs::read_to_string(place.home().join("control.link")).unwrap_or_default();
    if let Some(name) = link.lines().find_map(|line| line.strip_prefix("posix ")) {
        let _ = nix::sys::mman::shm_unlink(name);
    }
}

#[test]
fn a_home_that_cannot_be_written_is_told() {
    let place = Place::new();
    let mut command = Command::new("unshare");
    let script =
        "mount --make-rprivate / && mkdir $1/ring && mount -t tmpfs -o ro tmpfs $1/ring && exec \"${@:2}\"";
    command.args(["--mount", "bash", "-c", script, "bash"]).arg(place.dir());
    command.arg(waldo_service().get_program()).args(small(&place));
    if !Command::new("unshare").args(["--mount", "true"]).status().is_ok_and(|done| done.success()) {
        println!("left out: no namespaces here (not root?)");
        return;
    }
    let mut program = Program::spawn(&place, &mut command);
    assert_eq!(program.ended().code(), Some(3));
    let log = program.log();
    assert!(log.contains("cannot open the ring") && log.contains("Read-only file system"), "{log}");
}

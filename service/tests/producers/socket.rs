//! The socket's file: who may have it, and in whose place it may come.

use crate::support::child::Child;
use crate::support::ring::{Place, open};
use crate::support::running::Running;
use nix::unistd::{Gid, getgroups};
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::net::{UnixDatagram, UnixListener, UnixStream};
use std::path::PathBuf;
use waldo::client::{Producer, ProducerOptions};
use waldo::writer::Durability;
use waldo_service::{Service, ServiceError, ServiceOptions};

/// Why a service cannot have `path`, next to a ring that it could have.
fn refused(path: PathBuf, options: ServiceOptions) -> ServiceError {
    let place = Place::new();
    Service::bind(open(place.dir(), Durability::PageCache), path, options).unwrap_err()
}

#[test]
fn a_socket_of_a_live_service_is_refused_and_stays() {
    let place = Place::new();
    let service = Running::start(&place, Durability::PageCache, ServiceOptions::default());
    let error = refused(place.socket(), ServiceOptions::default());
    assert!(matches!(&error, ServiceError::SocketHeld { path } if *path == place.socket()), "{error}");
    Producer::connect(place.socket(), ProducerOptions::default()).unwrap().close().unwrap();
    service.stop();
    assert_eq!(
        fs::read_dir(place.dir())
            .unwrap()
            .filter(|e| e.as_ref().unwrap().file_name() == "socket.new")
            .count(),
        0
    );
}

#[test]
fn a_socket_that_a_dead_service_left_is_replaced() {
    let place = Place::new();
    let mut dead = Child::start(place.dir(), 2);
    dead.kill();
    assert!(UnixStream::connect(place.socket()).is_err() && place.socket().exists());
    let service = Running::start(&place, Durability::PageCache, ServiceOptions::default());
    Producer::connect(place.socket(), ProducerOptions::default()).unwrap().close().unwrap();
    service.stop();
}

#[test]
fn what_is_no_left_over_socket_of_a_service_is_not_touched() {
    let place = Place::new();
    let file = place.dir().join("file");
    fs::write(&file, "dear").unwrap();
    let error = refused(file.clone(), ServiceOptions::default());
    assert!(matches!(error, ServiceError::NotASocket { .. }), "{error}");
    assert_eq!(fs::read(&file).unwrap(), b"dear");
    // A socket of another kind, in use.
    let datagram = place.dir().join("datagram");
    let _held = UnixDatagram::bind(&datagram).unwrap();
    let error = refused(datagram, ServiceOptions::default());
    assert!(matches!(error, ServiceError::SocketHeld { .. }), "{error}");
}

#[test]
fn trouble_with_the_directory_is_told() {
    let place = Place::new();
    let error = refused(place.dir().join("none/socket"), ServiceOptions::default());
    assert!(error.to_string().contains("make it first"), "{error}");
    let file = place.dir().join("file");
    fs::write(&file, "").unwrap();
    let error = refused(file.join("socket"), ServiceOptions::default());
    assert!(matches!(error, ServiceError::Directory { .. }), "{error}");
    let error = refused(place.dir().join("x".repeat(120)), ServiceOptions::default());
    assert!(matches!(error, ServiceError::PathTooLong { .. }), "{error}");
    let error = refused(place.socket(), ServiceOptions::default().group("no such group"));
    assert!(matches!(error, ServiceError::Group { .. }), "{error}");
    assert!(!place.socket().exists());
}

#[test]
fn the_socket_has_the_mode_and_the_group_that_were_asked_for() {
    let place = Place::new();
    // A group that this process may give away.
    let own = getgroups().unwrap().pop().unwrap_or_else(Gid::current);
    let options = ServiceOptions::default().mode(0o620).group(own.to_string());
    let service = Running::start(&place, Durability::PageCache, options);
    let found = fs::metadata(place.socket()).unwrap();
    assert_eq!((found.permissions().mode() & 0o777, found.gid()), (0o620, own.as_raw()));
    service.stop();
}

#[test]
fn a_socket_that_was_replaced_meanwhile_is_not_removed() {
    let place = Place::new();
    let service = Running::start(&place, Durability::PageCache, ServiceOptions::default());
    fs::remove_file(place.socket()).unwrap();
    let _other = UnixListener::bind(place.socket()).unwrap();
    service.stop();
    assert!(place.socket().exists());
}

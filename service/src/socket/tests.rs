//! Two services that come for one path at the same time.

use super::*;
use std::os::unix::net::UnixStream;

fn listener(path: &Path) -> UnixListener {
    UnixListener::bind(path).unwrap()
}

#[test]
fn a_socket_that_came_alive_in_between_is_given_back() {
    let dir = tempfile::tempdir().unwrap();
    let (path, new) = (dir.path().join("socket"), dir.path().join("socket.new"));
    let _other = listener(&path);
    let other = fs::metadata(&path).unwrap().ino();
    let _own = listener(&new);
    // As if the first look had found a socket that nobody listened on.
    assert!(matches!(install(&new, &path), Err(ServiceError::SocketHeld { .. })));
    assert_eq!(fs::metadata(&path).unwrap().ino(), other);
    rename(&new, &path, RenameFlags::RENAME_EXCHANGE).unwrap();
    assert!(matches!(look(&new), Err(ServiceError::SocketHeld { .. })));
}

/// Another service that has bound its socket and does not listen yet is not taken for a dead one, and nobody
/// connects to ours before it has its mode.
#[test]
fn nobody_meets_a_socket_that_is_being_made() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("socket");
    let (socket, file) = bind_beside(&path).unwrap();
    assert_eq!(connect_at_once(&file.path).unwrap_err().kind(), ErrorKind::ConnectionRefused);
    let new = dir.path().join("socket.new");
    fs::rename(&file.path, &new).unwrap();
    let bound = bind(&path, &ServiceOptions::default()).unwrap();
    let found = fs::symlink_metadata(&new).unwrap();
    assert_eq!((found.dev(), found.ino()), file.identity);
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 2, "nothing else is left over");
    drop((bound, socket));
}

#[test]
fn a_path_that_can_be_no_socket_is_refused_before_anything_is_made() {
    for path in ["", "@orders", "/run/waldo/", "/run/waldo/.", "..", "/", "a\0b"] {
        let error = check_path(Path::new(path)).unwrap_err();
        assert!(matches!(error, ServiceError::Options { .. }), "{path:?}: {error}");
    }
    let long = "x".repeat(PATH_LEN_MAX);
    assert!(check_path(Path::new(&long)).is_ok());
    let error = check_path(Path::new(&(long + "x"))).unwrap_err();
    assert!(matches!(error, ServiceError::PathTooLong { .. }), "{error}");
}

#[test]
fn of_many_that_come_at_once_one_gets_the_path() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("socket");
    drop(listener(&path));
    let bound: Vec<_> = std::thread::scope(|scope| {
        let options = ServiceOptions::default();
        let threads: Vec<_> = (0..8)
            .map(|_| {
                let (path, options) = (&path, options.clone());
                scope.spawn(move || bind(path, &options).ok())
            })
            .collect();
        threads.into_iter().filter_map(|thread| thread.join().unwrap()).collect()
    });
    // All keep theirs until here, so whoever has the path is alive.
    let holders = bound.iter().filter(|bound| {
        let found = fs::symlink_metadata(&path).unwrap();
        (found.dev(), found.ino()) == bound.file.identity
    });
    assert_eq!(holders.count(), 1);
    assert!(UnixStream::connect(&path).is_ok());
}

#[test]
fn a_service_that_is_stopped_holds_its_path_and_holds_nobody_up() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("socket");
    // It takes no connection, and its queue is full.
    let _stopped = listener(&path);
    let mut waiting = Vec::new();
    let full = loop {
        match connect_at_once(&path) {
            Ok(stream) => waiting.push(stream),
            Err(error) => break error,
        }
    };
    assert_eq!(full.kind(), ErrorKind::WouldBlock, "{full}");
    let outcome = bind(&path, &ServiceOptions::default());
    assert!(matches!(outcome, Err(ServiceError::SocketHeld { .. })), "{outcome:?}");
}

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

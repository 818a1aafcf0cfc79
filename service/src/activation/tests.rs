//! What the environment may say.

use super::*;

fn fds(pid: &str, fds: &str, names: Option<&str>) -> Result<Vec<(RawFd, String)>, ServiceError> {
    let found = parse(Some(pid), Some(fds), names, 42)?;
    Ok(found.into_iter().map(|one| (one.fd, one.name)).collect())
}

#[test]
fn descriptors_count_from_three_and_may_have_names() {
    assert_eq!(fds("42", "0", None).unwrap(), []);
    assert_eq!(fds("42", "1", None).unwrap(), [(3, String::new())]);
    assert_eq!(fds("42", "2", Some("a:b")).unwrap(), [(3, "a".into()), (4, "b".into())]);
    assert_eq!(fds("42", "2", Some("a")).unwrap()[1], (4, String::new()));
}

#[test]
fn what_is_meant_for_another_process_is_not_taken() {
    assert_eq!(fds("41", "1", None).unwrap(), []);
    assert!(parse(None, Some("1"), None, 42).unwrap().is_empty());
    assert!(parse(Some("42"), None, None, 42).unwrap().is_empty());
}

#[test]
fn nonsense_is_told() {
    for (pid, count) in [("x", "1"), ("42", "x"), ("42", "-1"), ("42", "99999999999")] {
        assert!(matches!(fds(pid, count, None), Err(ServiceError::Activation { .. })), "{pid} {count}");
    }
}

#[test]
fn only_a_listening_unix_stream_socket_will_do() {
    let dir = tempfile::tempdir().unwrap();
    let file = std::fs::File::create(dir.path().join("file")).unwrap();
    assert!(check(file.into()).is_err());
    let (one, _other) = std::os::unix::net::UnixStream::pair().unwrap();
    assert!(check(one.into()).unwrap_err().to_string().contains("does not listen"));
    let datagram = std::os::unix::net::UnixDatagram::unbound().unwrap();
    assert!(check(datagram.into()).unwrap_err().to_string().contains("no stream socket"));
    let internet = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    assert!(check(internet.into()).unwrap_err().to_string().contains("no Unix socket"));
    assert!(check(UnixListener::bind(dir.path().join("socket")).unwrap().into()).is_ok());
}

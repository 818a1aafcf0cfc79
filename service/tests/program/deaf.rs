//! A producer that does not read its answers.

use crate::raw::{Raw, append};
use std::io::{ErrorKind, Write};
use std::path::Path;
use std::time::Duration;

/// Connects, and sends batches until the service takes no more because its answers are not taken.
pub fn fill_with_answers(socket: &Path) -> Raw {
    let (mut raw, _) = Raw::greet(socket, None);
    raw.0.set_write_timeout(Some(Duration::from_millis(200))).unwrap();
    for batch in 1.. {
        match raw.0.write(&append(batch, 0, &[b"x".to_vec()])) {
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => break,
            Err(error) => panic!("{error}"),
        }
    }
    raw
}

//! A reader that nothing but the writer's wake can rouse, and a visitor that tries what it must not.

use crate::support::args::Args;
use crate::support::child::tell;
use crate::support::payload::check_batch;
use std::fs::OpenOptions;
use std::io::ErrorKind;
use std::path::Path;
use std::time::Duration;
use waldo::protocol::names;
use waldo::reader::{AttachError, AttachOptions, Cursor, ReaderOptions, Ring, WaitStrategy};
use waldo::writer::{OpenError, Writer};

/// Far longer than the test.
const NEVER: Duration = Duration::from_secs(3600);

/// Says `ready`, then `got LAST` for each batch up to `until`.
pub fn wait(args: &Args) {
    let options = AttachOptions::default().check_interval(NEVER).stalled_after(NEVER);
    let ring = Ring::attach_with(args.get("home"), options).unwrap();
    let options = ReaderOptions::default().wait(WaitStrategy::Park);
    let mut last = args.number("after");
    let mut reader = ring.reader_with(Cursor::After(last), options).unwrap();
    tell("ready");
    while last < args.number("until") {
        let batch = reader.recv(None).unwrap().unwrap();
        last = check_batch(&batch, last, args.number("max") as usize);
        tell(format!("got {last}"));
    }
}

/// Says `attached` or `refused MESSAGE`, then `no NAME` for every file that could not be opened for writing,
/// `no writer` if the ring could not be opened for writing, and `done`.
pub fn visit(args: &Args) {
    let home = Path::new(args.get("home"));
    match Ring::attach(home) {
        Ok(_) => tell("attached"),
        Err(AttachError::Io { source, path }) if source.kind() == ErrorKind::PermissionDenied => {
            let message = AttachError::Io { source, path }.to_string();
            assert!(message.contains("read permission"), "{message}");
            tell("refused");
        }
        Err(error) => panic!("{error}"),
    }
    let entries = match std::fs::read_dir(home) {
        Ok(entries) => entries.collect(),
        Err(error) => {
            // The directory keeps those out who may not read its files.
            assert_eq!(error.kind(), ErrorKind::PermissionDenied);
            Vec::new()
        }
    };
    for entry in entries {
        let entry = entry.unwrap();
        let denied = |options: &OpenOptions| {
            options.open(entry.path()).is_err_and(|error| error.kind() == ErrorKind::PermissionDenied)
        };
        let name = entry.file_name();
        assert!(denied(OpenOptions::new().write(true)), "{name:?} can be written");
        if name == names::LOCK {
            // Whoever can open it can lock the writer out.
            assert!(denied(OpenOptions::new().read(true)), "{name:?} can be read");
        }
    }
    let options = crate::support::ring::Setup::from_args(args).options();
    assert!(matches!(Writer::open(home, options), Err(OpenError::Io { .. })));
    tell("done");
}

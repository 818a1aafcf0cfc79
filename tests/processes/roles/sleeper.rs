//! A reader as most programs have it: default options, asleep until there is something, without a deadline.

use crate::support::args::Args;
use crate::support::child::tell;
use crate::support::payload::check_batch;
use waldo::reader::{Cursor, ReadError, Ring};

/// Says `ready`, `at LAST` for each batch, and at the end `replaced`, `gone` or `error MESSAGE`.
pub fn play(args: &Args) {
    let ring = Ring::attach(args.get("home")).unwrap();
    let mut last = args.number("after");
    let mut reader = ring.reader(Cursor::After(last)).unwrap();
    tell("ready");
    let error = loop {
        match reader.recv(None) {
            Ok(Some(batch)) => {
                last = check_batch(&batch, last, args.number("max") as usize);
                tell(format!("at {last}"));
            }
            Ok(None) => panic!("there was no deadline"),
            Err(error) => break error,
        }
    };
    match error {
        ReadError::Replaced { .. } => tell("replaced"),
        ReadError::Gone { .. } => tell("gone"),
        error => tell(format!("error {error}")),
    }
}

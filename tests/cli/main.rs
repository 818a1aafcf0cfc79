//! The `waldo` command as a user meets it: real processes, real files.
#![allow(clippy::unwrap_used, reason = "a test, helpers included, fails by panicking")]

mod bench;
mod demo;
mod errors;
mod fanout;
mod follow;
mod inspect;
mod round_trip;
mod service;
mod support;

//! The service over real processes and real sockets.
#![allow(clippy::unwrap_used, reason = "a test, helpers included, fails by panicking")]

mod support;

mod activation;
mod crowd;
mod fencing;
mod full;
mod hostile;
mod killed;
mod lanes;
mod resend;
mod shutdown;
mod socket;
mod window;

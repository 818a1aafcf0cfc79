//! Tests against a forged writer.

mod follow;
mod hostile;
mod searching;
mod streams;
mod verifying;
mod waiting;
mod without_control;

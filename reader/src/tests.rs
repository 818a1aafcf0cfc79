//! Tests against a forged writer.

mod cursors;
mod damaged;
mod follow;
mod hostile;
mod model;
mod restarts;
mod searching;
mod sleeping;
mod streams;
mod tail;
mod trimming;
mod verifying;
mod waiting;
mod without_control;

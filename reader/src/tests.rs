//! Tests against a forged writer.

mod damaged;
mod follow;
mod hostile;
mod restarts;
mod searching;
mod sleeping;
mod streams;
mod tail;
mod trimming;
mod verifying;
mod waiting;
mod without_control;

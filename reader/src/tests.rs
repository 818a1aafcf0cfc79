//! Tests against a forged writer.

mod cursors;
mod damaged;
mod follow;
mod holes;
mod hostile;
mod model;
mod moved;
mod other_shapes;
mod other_starts;
mod restarts;
mod searching;
mod sleeping;
mod strange_files;
mod streams;
mod tail;
mod told;
mod trimming;
mod verifying;
mod waiting;
mod without_control;

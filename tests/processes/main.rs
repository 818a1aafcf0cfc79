//! Waldo over real processes: every test starts children that play a writer or a reader, and lets things
//! happen to them.
#![allow(clippy::unwrap_used, reason = "a test, helpers included, fails by panicking")]

#[path = "../power_cuts/machine.rs"]
#[allow(dead_code, reason = "nobody's shared memory is emptied here")]
mod machine;
mod roles;
mod support;

mod checkpoints;
mod closing;
mod control_lost;
mod crash;
mod crowd;
mod crowd_restart;
mod disk_full;
mod elsewhere;
mod failing_disk;
mod follow;
mod in_flight;
mod in_the_way;
mod lapped;
mod limits;
mod locking;
mod moved;
mod moved_home;
mod numbers;
mod pages_taken;
mod permissions;
mod rights;
mod rights_changed;
mod rights_permitted;
mod small_memory;
mod stopped_writer;
mod strange_files;
mod streams;
mod torn;
mod views;
mod without_uring;

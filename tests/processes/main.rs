//! Waldo over real processes: every test starts children that play a writer or a reader, and lets things happen
//! to them.

mod roles;
mod support;

mod crash;
mod crowd;
mod follow;
mod lapped;
mod torn;

//! How Waldo's programs talk to whoever started them.
//!
//! Standard error that nobody reads must not stop a writer ([`notice`](mod@notice)), and names of files and
//! records must not steer a terminal ([`escape`]); figures are for people ([`units`]), and so are how large a
//! ring is to be ([`capacity`]), whether the disk has room for that ([`room`]) and who may read it
//! ([`permissions`]); a signal ends a program in good order
//! ([`interrupt`]); and every end has its exit code ([`failure`]).

pub mod capacity;
pub mod escape;
pub mod failure;
pub mod interrupt;
pub mod notice;
pub mod permissions;
pub mod room;
pub mod units;

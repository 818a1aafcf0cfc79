//! How Waldo's programs talk to their user.
//!
//! Standard error that nobody reads must not stop a writer ([`notice`](mod@notice)), and names of files and
//! records must not control a terminal ([`escape`]). People write and read figures ([`units`]), the size of a
//! ring ([`capacity`]) and permission bits ([`permissions`]), and are told whether the disk has room for a
//! ring ([`room`]). A signal ends a program in good order ([`interrupt`]), and every end has its exit code
//! ([`failure`]).

pub mod capacity;
pub mod escape;
pub mod failure;
pub mod interrupt;
pub mod notice;
pub mod permissions;
pub mod room;
pub mod units;

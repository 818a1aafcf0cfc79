//! What every test here needs.

pub mod child;
pub mod raw;
pub mod ring;
pub mod running;
#[path = "../../../tests/processes/support/wait.rs"]
pub mod wait;

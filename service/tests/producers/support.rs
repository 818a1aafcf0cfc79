//! What every test here needs.

pub mod child;
pub mod raw;
pub mod ring;
pub mod running;
pub mod transport;
#[path = "../../../tests/processes/support/wait.rs"]
pub mod wait;

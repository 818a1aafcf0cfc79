//! The lane: the shared memory through which a producer hands frames to a service on the same machine,
//! instead of through the socket. What is in it is in [`waldo_shm_protocol::lane`] and in
//! `docs/PRODUCERS.md`; here is what both sides need of the system.

mod memory;
mod passing;
mod sender;

pub use memory::LaneMemory;
pub use passing::{Receiving, send_descriptor};
pub(super) use sender::LaneSender;
pub use waldo_shm_protocol::lane::{
    LANE_CAPACITY_MAX, LANE_CAPACITY_MIN, Lane, LaneDrain, LaneFault, LaneFiller, LaneGeometry,
};

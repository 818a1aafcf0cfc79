//! Sending records to a ring through the service that owns it (`waldo-service`), from any process.
//!
//! ```no_run
//! use waldo::client::{Producer, ProducerOptions};
//!
//! let options = ProducerOptions::default().name("billing-7").durable(true);
//! let producer = Producer::connect("/run/waldo/orders.sock", options)?;
//! // A program that reads its records from a source of its own goes on behind what is stored.
//! let resume_behind = producer.last_stored();
//! let ticket = producer.append(&[&b"first"[..], b"second"])?;
//! println!("{resume_behind}: stored as {}", ticket.wait()?.first_seq_no);
//! producer.close()?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! Appends are queued and return a [`Ticket`], to be waited for or awaited: no runtime is needed, and any
//! will do. Two threads of the producer's own move the frames. When the connection breaks, the producer
//! connects again, as long and as often as [`ProducerOptions::reconnect_for`] allows, and sends again what
//! was not acknowledged.
//!
//! A producer **with a name** numbers its records from 1, and the service stores each number once: also when
//! a batch is sent again because the service was killed before the acknowledgement arrived. A producer
//! **without a name** may store a batch twice in that case: at least once is all that can be promised then.
//!
//! The frames are in [`wire`] and in `docs/PRODUCERS.md`.

mod backlog;
mod backoff;
mod connect;
mod connection;
mod error;
pub mod lane;
mod options;
mod producer;
mod session;
#[cfg(test)]
mod tests;
mod ticket;
mod waiter;
mod waiters;
pub mod wire;

pub use connect::connect_at_once;
pub use error::ProducerError;
pub use options::ProducerOptions;
pub use producer::Producer;
pub use ticket::{Stored, Ticket};

//! A service for one Waldo ring: many producers, in any process, append to it over a Unix socket.
//!
//! ```no_run
//! use waldo::writer::{Writer, WriterOptions};
//! use waldo_service::{Service, ServiceOptions};
//!
//! # async fn serve() -> Result<(), Box<dyn std::error::Error>> {
//! let writer = Writer::open("/var/lib/app/ring", WriterOptions::default())?;
//! let options = ServiceOptions::default().mode(0o660).group("producers");
//! let service = Service::bind(writer, "/run/app/ring.sock", options)?;
//! let until = async { /* wait for SIGTERM */ };
//! let counters = service.run(until).await?;
//! println!("{} records stored", counters.records);
//! # Ok(())
//! # }
//! ```
//!
//! Producers connect by `waldo::client`, or by any program that speaks the frames of `docs/PRODUCERS.md`.
//! A producer that is slow, hostile or dies in the middle of a frame harms nobody but itself, and leaves no
//! half record. A producer with a name may send a batch as often as it likes: it is stored once, also when
//! the service was killed in between.
//!
//! Reading order: `service` (the socket and the connections), `accept`, `connection`, `threads` (those that
//! append), `engine`, `sequencer`, `completer`, `syncer`, then `producers` and `journal` (what is remembered
//! of names).

mod accept;
mod activation;
mod completer;
mod connection;
mod counters;
mod descriptors;
mod engine;
mod error;
mod journal;
mod options;
mod pace;
mod producers;
mod request;
mod sequencer;
mod service;
mod socket;
mod step;
mod syncer;
mod threads;
mod users;

pub use activation::{inherited_listener, inherited_listeners};
pub use counters::ServiceCounters;
pub use descriptors::{descriptors_kept, keep_descriptors_for};
pub use error::ServiceError;
pub use options::ServiceOptions;
pub use service::{Service, Watch};

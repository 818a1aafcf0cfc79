//! The thread that answers those that want to know when their records are durable, in rings that do not make
//! every append durable by themselves: one flush for all that wait.

use crate::connection::link::{Reply, fatal};
use crate::engine::Engine;
use crate::step::{Durable, code_of};
use std::sync::mpsc::Receiver;

/// The thread's whole life.
pub(crate) fn run(engine: &Engine, asked: &Receiver<Durable>) {
    while let Ok(first) = asked.recv() {
        let mut group = vec![first];
        group.extend(asked.try_iter());
        match engine.writer.sync() {
            Ok(()) => {
                for Durable { link, ack, window } in group {
                    link.reply(Reply::Ack(ack), Some(window));
                }
            }
            Err(error) => {
                tracing::warn!("records of producers could not be made durable: {error}");
                // Nobody may append behind what has failed.
                let mut core = engine.core.lock();
                core.failed = Some(error.clone());
                engine.broken.send_replace(true);
                for Durable { link, ack, .. } in group.into_iter().filter(|waiting| !waiting.link.is_dead()) {
                    let code = code_of(&error);
                    engine.count(code);
                    link.end(fatal(code, ack.batch, ack.last_seq_no, error.to_string()));
                }
            }
        }
    }
}

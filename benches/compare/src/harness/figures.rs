//! What was measured, and medians of it.

use super::quantiles::Quantiles;
use super::spec::Phase;
use crate::system::System;
use serde::Serialize;

/// One phase with all its processes.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct PhaseFigures {
    /// Records published.
    pub records: f64,
    /// Records a second, as the publisher got rid of them.
    pub published_per_s: f64,
    /// Records a second that arrived, all subscribers together, from the first being published to the last
    /// arriving.
    pub delivered_per_s: f64,
    /// Nanoseconds a record takes of the publisher's time.
    pub publish_ns: Quantiles,
    /// Nanoseconds from a record's publishing to its receipt.
    pub delay_ns: Quantiles,
    /// CPU time of publisher and server, in nanoseconds for each record published.
    pub publisher_cpu_ns: f64,
    /// CPU time of all subscribers, in nanoseconds for each record received.
    pub subscriber_cpu_ns: f64,
    /// Records that did not arrive, all subscribers together.
    pub lost: f64,
    /// Records that arrived damaged, twice or out of order.
    pub bad: f64,
}

/// Memory of a process in KiB: medians of what [`waldo_harness::processes::memory::Memory`] says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Memory {
    /// Its heap, stacks and the like: what files and shared memory have no part in.
    pub own: f64,
    /// Pages that no other process has mapped, of files and shared memory too.
    pub private: f64,
    /// Those, and its share of the others.
    pub proportional: f64,
    /// Page tables.
    pub tables: f64,
}

/// One system with one number of subscribers.
#[derive(Clone, Debug, Serialize)]
pub struct Cell {
    /// The system.
    pub system: System,
    /// Subscriber processes.
    pub subscribers: usize,
    /// Nanoseconds from the start of the first subscriber until all were subscribed.
    pub attach_ns: Option<f64>,
    /// At a steady pace.
    pub paced: Option<PhaseFigures>,
    /// As fast as it goes.
    pub flood: Option<PhaseFigures>,
    /// Memory of a subscriber in the end, KiB.
    pub memory: Option<Memory>,
    /// Why there is not more.
    pub stopped: Option<String>,
}

impl Cell {
    /// Nothing measured yet.
    pub fn new(system: System, subscribers: usize) -> Cell {
        Cell { system, subscribers, attach_ns: None, paced: None, flood: None, memory: None, stopped: None }
    }

    /// The figures of that phase.
    pub fn phase(&self, phase: Phase) -> Option<&PhaseFigures> {
        match phase {
            Phase::WarmUp => None,
            Phase::Paced => self.paced.as_ref(),
            Phase::Flood => self.flood.as_ref(),
        }
    }

    /// The same cell from several runs: the median of each figure over the runs that have it.
    pub fn median(runs: &[&Cell]) -> Option<Cell> {
        let first = runs.first()?;
        let of =
            |get: &dyn Fn(&Cell) -> Option<f64>| median(runs.iter().filter_map(|run| get(run)).collect());
        let phase = |phase: Phase| {
            let of =
                |get: fn(&PhaseFigures) -> f64| of(&|run: &Cell| run.phase(phase).map(get)).unwrap_or(0.0);
            runs.iter().any(|run| run.phase(phase).is_some()).then(|| PhaseFigures {
                records: of(|p| p.records),
                published_per_s: of(|p| p.published_per_s),
                delivered_per_s: of(|p| p.delivered_per_s),
                publish_ns: Quantiles {
                    p50: of(|p| p.publish_ns.p50),
                    p99: of(|p| p.publish_ns.p99),
                    max: of(|p| p.publish_ns.max),
                },
                delay_ns: Quantiles {
                    p50: of(|p| p.delay_ns.p50),
                    p99: of(|p| p.delay_ns.p99),
                    max: of(|p| p.delay_ns.max),
                },
                publisher_cpu_ns: of(|p| p.publisher_cpu_ns),
                subscriber_cpu_ns: of(|p| p.subscriber_cpu_ns),
                // A loss is never averaged away.
                lost: runs.iter().filter_map(|run| Some(run.phase(phase)?.lost)).sum(),
                bad: runs.iter().filter_map(|run| Some(run.phase(phase)?.bad)).sum(),
            })
        };
        let memory = |get: fn(&Memory) -> f64| of(&|run: &Cell| run.memory.as_ref().map(get)).unwrap_or(0.0);
        Some(Cell {
            system: first.system,
            subscribers: first.subscribers,
            attach_ns: of(&|run| run.attach_ns),
            paced: phase(Phase::Paced),
            flood: phase(Phase::Flood),
            memory: runs.iter().any(|run| run.memory.is_some()).then(|| Memory {
                own: memory(|m| m.own),
                private: memory(|m| m.private),
                proportional: memory(|m| m.proportional),
                tables: memory(|m| m.tables),
            }),
            stopped: runs.iter().find_map(|run| run.stopped.clone()),
        })
    }
}

/// The middle value; the lower one of two.
pub fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_unstable_by(f64::total_cmp);
    values.get(values.len().saturating_sub(1) / 2).copied()
}

//! Where another system is better than Waldo: found by program, so that no loss is overlooked.

use super::figures::Cell;
use super::units;
use crate::system::System;
use clap::ValueEnum;

/// How much better somebody has to be, so that it is not noise alone.
const MARGIN: f64 = 1.05;

struct Measure {
    name: &'static str,
    get: fn(&Cell) -> Option<f64>,
    more_is_better: bool,
    show: fn(f64) -> String,
}

const MEASURES: &[Measure] = &[
    less("paced, time to receipt, p50", |c| Some(c.paced?.delay_ns.p50)),
    less("paced, time to receipt, p99", |c| Some(c.paced?.delay_ns.p99)),
    less("paced, time in the publisher, p50", |c| Some(c.paced?.publish_ns.p50)),
    less("paced, time in the publisher, p99", |c| Some(c.paced?.publish_ns.p99)),
    less("paced, CPU of the publisher and server for a record", |c| Some(c.paced?.publisher_cpu_ns)),
    less("paced, CPU of a subscriber for a record", |c| Some(c.paced?.subscriber_cpu_ns)),
    Measure {
        name: "fast, records delivered each second",
        get: |c| Some(c.flood?.delivered_per_s),
        more_is_better: true,
        show: units::rate,
    },
    less("fast, time to receipt, p50 (how far behind a publisher that does not wait)", |c| {
        Some(c.flood?.delay_ns.p50)
    }),
    less("fast, time in the publisher for a record, p50", |c| Some(c.flood?.publish_ns.p50)),
    less("fast, time in the publisher for a record, p99", |c| Some(c.flood?.publish_ns.p99)),
    less("fast, CPU of the publisher and server for a record", |c| Some(c.flood?.publisher_cpu_ns)),
    less("fast, CPU of a subscriber for a record", |c| Some(c.flood?.subscriber_cpu_ns)),
    less("all subscribed after", |c| c.attach_ns),
    Measure {
        name: "memory of a subscriber's own",
        get: |c| Some(c.memory?.own),
        more_is_better: false,
        show: units::memory,
    },
];

const fn less(name: &'static str, get: fn(&Cell) -> Option<f64>) -> Measure {
    Measure { name, get, more_is_better: false, show: units::time }
}

/// One line for each figure and each system that is better in it, with the numbers of subscribers for which
/// it is.
pub fn losses(cells: &[Cell]) -> Vec<String> {
    let mut lines = Vec::new();
    for measure in MEASURES {
        for system in System::value_variants() {
            let of_system =
                cells.iter().filter(|cell| cell.system == *system && cell.system != System::Waldo);
            let better: Vec<String> = of_system.filter_map(|cell| loss(measure, cells, cell)).collect();
            if !better.is_empty() {
                lines.push(format!(
                    "{}: {}, {}",
                    measure.name,
                    crate::peers::facts(*system).name,
                    better.join("; ")
                ));
            }
        }
    }
    lines
}

fn loss(measure: &Measure, cells: &[Cell], cell: &Cell) -> Option<String> {
    let same = |ours: &&Cell| ours.system == System::Waldo && ours.subscribers == cell.subscribers;
    let theirs = (measure.get)(cell)?;
    let ours = (measure.get)(cells.iter().find(same)?)?;
    let factor = if measure.more_is_better { theirs / ours } else { ours / theirs };
    (factor > MARGIN).then(|| {
        let (theirs, ours) = ((measure.show)(theirs), (measure.show)(ours));
        let times = units::ratio(factor);
        format!("{times} better with {} ({theirs}, Waldo {ours})", cell.subscribers)
    })
}

//! What is to become of a batch: which of its records are new, and which sequence numbers they get.

use crate::connection::link::Link;
use crate::engine::Core;
use crate::step::Plan;
use waldo::client::wire::{Batch, ErrorCode};

/// Code, detail and text of an error.
pub(super) type Refusal = (ErrorCode, u64, String);

pub(super) fn plan(core: &Core, link: &Link, batch: &Batch<Vec<u8>>) -> Result<Plan, Refusal> {
    if let Some(error) = &core.failed {
        return Err((ErrorCode::WriterFailed, core.tip, error.to_string()));
    }
    let fields = batch.fields();
    let (first, records) = (fields.first_number, fields.count);
    let last_number = if first == 0 { 0 } else { first + u64::from(records) - 1 };
    let producer = link.producer().map(|id| core.producers.get(id));
    let mut plan = Plan {
        skip: 0,
        count: records,
        number: first,
        seq_no: 0,
        first_seq_no: 0,
        last_seq_no: 0,
        last_number,
    };
    match producer {
        None if first != 0 => return Err(malformed("a producer without a name numbers no records")),
        Some(_) if first == 0 => return Err(malformed("a producer with a name numbers its records")),
        // It has been forgotten while it was connected: cannot be, those in use stay.
        Some(None) => return Err((ErrorCode::NotStored, core.tip, "the name is gone".into())),
        None => {}
        Some(Some(producer)) => {
            let last = producer.last();
            if !producer.is_new() && first > last + 1 {
                let text = format!("record {first} does not follow {last}, the last one stored");
                return Err((ErrorCode::OutOfOrder, last, text));
            }
            if !producer.is_new() {
                plan.skip = (last + 1 - first).min(records.into()) as u32;
            }
            plan.first_seq_no = producer.seq_of(first).unwrap_or(0);
            plan.last_seq_no = producer.seq_of(last_number).unwrap_or(0);
        }
    }
    plan.count -= plan.skip;
    plan.number = if first == 0 { 0 } else { first + u64::from(plan.skip) };
    if plan.count == 0 {
        return Ok(plan);
    }
    let held = fields.previous.checked_add(plan.skip.into()) == Some(core.tip);
    if batch.is_conditional() && !held {
        let (wanted, tip) = (fields.previous, core.tip);
        let text = format!("the log ends with record {tip}, the batch was to follow {wanted}");
        return Err((ErrorCode::Conflict, tip, text));
    }
    let Some(end) = core.tip.checked_add(plan.count.into()) else {
        return Err((ErrorCode::NotStored, core.tip, "sequence numbers are used up".into()));
    };
    plan.seq_no = core.tip + 1;
    plan.last_seq_no = end;
    if plan.skip == 0 {
        plan.first_seq_no = plan.seq_no;
    }
    Ok(plan)
}

fn malformed(text: &str) -> Refusal {
    (ErrorCode::Malformed, 0, text.into())
}

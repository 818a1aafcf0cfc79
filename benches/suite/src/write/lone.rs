//! One record at a time, back to back.

use super::Case;
use crate::comparison::ns_per_call;
use crate::floor::Files;
use crate::result_table::{Goal, Unit};
use crate::ring::{self, COMMITTED};
use crate::session::Session;
use std::slice::from_ref;
use waldo::Waldo;
use waldo::writer::Durability;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    /// [`waldo::writer::Writer::append_payloads`], which numbers and hashes.
    Payloads,
    /// [`waldo::writer::Writer::append`] of a record made before.
    Log,
    /// [`Waldo::append`] of a record made before, nobody else appending.
    Embedded,
}

/// Visible when it returns.
pub fn committed(session: &mut Session, case: &Case) -> anyhow::Result<()> {
    session.sheet.topic(
        "lone",
        "one record at a time, committed; mean of 50 back to back, median of those; floor: pwrite of as many bytes",
    );
    for payload_len in case.sizes(&[100, 4096]) {
        for way in [Way::Payloads, Way::Log, Way::Embedded] {
            row(session, payload_len, way, COMMITTED)?;
        }
    }
    Ok(())
}

/// Durable when it returns.
pub fn durable(session: &mut Session, case: &Case) -> anyhow::Result<()> {
    session.sheet.topic(
        "lone, durable",
        "one record at a time, durable when append returns; floor: pwritev2(RWF_DSYNC) of as many bytes",
    );
    for payload_len in case.sizes(&[100]) {
        for way in [Way::Payloads, Way::Embedded] {
            row(session, payload_len, way, Durability::Sync)?;
        }
    }
    Ok(())
}

fn row(session: &mut Session, payload_len: usize, way: Way, durability: Durability) -> anyhow::Result<()> {
    let area = session.scratch.area()?;
    let plan = session.plan.clone();
    let sync = durability == Durability::Sync;
    let api = match way {
        Way::Payloads => "Writer::append_payloads",
        Way::Log => "Writer::append",
        Way::Embedded => "Waldo::append (async)",
    };
    let name = format!("{api}, {payload_len} B");
    let mut files = Files::make(&area.floor(), 2, plan.page_len)?;
    let bytes = vec![0x5a; ring::size(payload_len)];
    let payload = vec![0x5a; payload_len];
    let (n, group) = if sync { (plan.share(50), 1) } else { (plan.share(2000), 50) };
    let mut bare =
        || {
            ns_per_call(n, group, |_| {
                if sync { Ok(files.write_durable(&bytes)?) } else { Ok(files.write(&bytes)?) }
            })
        };
    let duel = if way == Way::Embedded {
        let options = ring::options(&plan, &area, durability);
        let waldo = pollster::block_on(Waldo::open_with(area.home(), options))?;
        let mut ours = || {
            let logs = ring::logs(waldo.prev_seq_no(), &payload, n);
            ns_per_call(n, group, |call| Ok(pollster::block_on(waldo.append(from_ref(&logs[call])))?))
        };
        let duel = session.compare(&name, &mut ours, &mut bare);
        pollster::block_on(waldo.close());
        duel?
    } else {
        let mut writer = ring::open(&plan, &area, durability)?;
        let mut ours = || match way {
            Way::Payloads => {
                ns_per_call(n, group, |_| Ok(writer.append_payloads(from_ref(&payload)).map(drop)?))
            }
            _ => {
                let logs = ring::logs(writer.tip(), &payload, n);
                ns_per_call(n, group, |call| Ok(writer.append(from_ref(&logs[call])).map(drop)?))
            }
        };
        let duel = session.compare(&name, &mut ours, &mut bare)?;
        writer.close()?;
        duel
    };
    let goal = match way {
        _ if sync || payload_len != 100 => Goal::None,
        Way::Payloads | Way::Log => Goal::RatioAtMost(1.5),
        Way::Embedded => Goal::AtMost(5000.0),
    };
    session.sheet.duel(&name, Unit::Ns, &duel, goal);
    Ok(())
}

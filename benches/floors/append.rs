//! One record at a time, back to back.

use crate::Bench;
use crate::args::suffix;
use crate::floor::Files;
use crate::ring::{self, INTERVAL};
use crate::stats::{duel, ns_per_call};
use crate::table::{Goal, Unit};
use std::slice::from_ref;
use waldo::Waldo;
use waldo::writer::{Durability, Io, Writer};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    /// [`Writer::append_payloads`], which numbers and hashes.
    Payloads,
    /// [`Writer::append`] of a record made before.
    Log,
    /// [`Waldo::append`] of a record made before, nobody else appending.
    Embedded,
}

pub fn run(bench: &mut Bench) -> anyhow::Result<()> {
    bench.table.topic(
        "append: one record at a time, mean of 50 back to back (median of those); \
         floor: pwrite of as many bytes, durable: pwritev2(RWF_DSYNC)",
    );
    for io in bench.plan.io.clone() {
        for payload_len in [100, 4096] {
            for way in [Way::Payloads, Way::Log, Way::Embedded] {
                lone(bench, payload_len, way, INTERVAL, io)?;
            }
        }
        for way in [Way::Payloads, Way::Embedded] {
            lone(bench, 100, way, Durability::Sync, io)?;
        }
    }
    Ok(())
}

fn lone(
    bench: &mut Bench,
    payload_len: usize,
    way: Way,
    durability: Durability,
    io: Io,
) -> anyhow::Result<()> {
    let area = bench.scratch.area()?;
    let sync = durability == Durability::Sync;
    let options = ring::options(&bench.plan, &area, durability, io);
    let mut files = Files::make(&area.floor(), 2, bench.plan.page_len)?;
    let bytes = vec![0x5a; ring::size(payload_len)];
    let payload = vec![0x5a; payload_len];
    let (n, group) = if sync { (bench.plan.count(50), 1) } else { (bench.plan.count(2000), 50) };
    let mut bare =
        || {
            ns_per_call(n, group, |_| {
                if sync { Ok(files.write_durable(&bytes)?) } else { Ok(files.write(&bytes)?) }
            })
        };
    let duel = if way == Way::Embedded {
        let waldo = pollster::block_on(Waldo::open_with(area.home(), options))?;
        let mut ours = || {
            let logs = ring::logs(waldo.prev_seq_no(), &payload, n);
            ns_per_call(n, group, |call| Ok(pollster::block_on(waldo.append(from_ref(&logs[call])))?))
        };
        let duel = duel(&bench.plan, &mut ours, &mut bare)?;
        pollster::block_on(waldo.close());
        duel
    } else {
        let mut writer = Writer::open(area.home(), options)?;
        let mut ours = || match way {
            Way::Payloads => {
                ns_per_call(n, group, |_| Ok(writer.append_payloads(from_ref(&payload)).map(drop)?))
            }
            _ => {
                let logs = ring::logs(writer.tip(), &payload, n);
                ns_per_call(n, group, |call| Ok(writer.append(from_ref(&logs[call])).map(drop)?))
            }
        };
        let duel = duel(&bench.plan, &mut ours, &mut bare)?;
        writer.close()?;
        duel
    };
    let name = match way {
        Way::Payloads => "Writer::append_payloads",
        Way::Log => "Writer::append",
        Way::Embedded => "Waldo::append",
    };
    let durable = if sync { ", durable" } else { "" };
    let goal = match way {
        _ if sync || payload_len > 100 => Goal::None,
        Way::Payloads | Way::Log => Goal::RatioAtMost(1.5),
        Way::Embedded => Goal::AtMost(5000.0),
    };
    bench.table.duel(&format!("{name}, {payload_len} B{durable}{}", suffix(io)), Unit::Ns, &duel, goal);
    Ok(())
}

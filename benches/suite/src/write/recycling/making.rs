//! The cost of preparing a page: a fresh one, and a recycled one.

use crate::result_table::{Goal, Unit};
use crate::ring::{self, COMMITTED};
use crate::session::Session;
use crate::setting::Plan;
use std::fs::File;
use std::time::Instant;
use waldo::writer::{Durability, Writer};
use waldo_terminal::units;

const PAGES: u32 = 3;

/// A row for pages whose name need not be durable, and one for pages whose name has to be.
pub fn run(session: &mut Session) -> anyhow::Result<()> {
    for (durability, name) in [(COMMITTED, "committed"), (Durability::Sync, "durable")] {
        let area = session.scratch.area()?;
        let plan = Plan { ring_size: PAGES, ..session.plan.clone() };
        // Every append turns the page, and waits for it.
        let options = (ring::options(&plan, &area, durability)).page_records_max(1).prepare_ahead(false);
        let mut writer = Writer::open(area.home(), options)?;
        for _ in 0..3 * PAGES {
            writer.append_payloads(&[b"one to a page"])?;
        }
        let home = area.home();
        let name = format!(
            "append that makes its page of {} from nothing, {name}; floor: recycles it",
            units::bytes(plan.page_len)
        );
        let writer = std::cell::RefCell::new(writer);
        let turn = || -> anyhow::Result<f64> {
            let start = Instant::now();
            writer.borrow_mut().append_payloads(&[b"one to a page"])?;
            Ok(start.elapsed().as_nanos() as f64)
        };
        let mut fresh = || {
            // Somebody else has the page open that is to go.
            let oldest = ring::page_paths(&home)?.into_iter().next().map(File::open).transpose()?;
            let took = turn()?;
            drop(oldest);
            Ok(took)
        };
        let duel = session.compare(&name, &mut fresh, &mut || turn())?;
        session.sheet.duel(&name, Unit::Ns, &duel, Goal::None);
        writer.into_inner().close()?;
    }
    Ok(())
}

//! A change of a ring's size, described in words.

use nix::sys::statvfs::statvfs;
use std::fmt::Write;
use std::path::Path;
use waldo::writer::resize::{PageRun, Resize, RingGeometry};
use waldo_terminal::units;

/// What the ring has, what it will have, and what goes.
pub fn describe(home: &Path, plan: &Resize) -> String {
    let mut text = format!("ring       {}\n", home.display());
    let _ = writeln!(text, "has        {}", geometry(&plan.from));
    let _ = writeln!(text, "will have  {}", geometry(&plan.to));
    let _ = writeln!(
        text,
        "disk       {} in {} now; {} when the ring is full, with two pages that are made ready",
        units::bytes(plan.dropped.bytes + plan.kept.bytes),
        pages(plan.dropped.pages + plan.kept.pages),
        units::bytes(plan.to.disk_bytes())
    );
    let most = plan.disk_bytes_max();
    if most > plan.to.disk_bytes() {
        let _ = writeln!(
            text,
            "           up to {} before that: the {} that stay keep their length until they leave the ring",
            units::bytes(most),
            pages(plan.kept.pages)
        );
    }
    if let Some(available) = available(home)
        && most.saturating_sub(plan.dropped.bytes + plan.kept.bytes) > available
    {
        let _ = writeln!(
            text,
            "           more than there is room for: {} are left, and appends will be refused when they are used up",
            units::bytes(available)
        );
    }
    let _ = writeln!(text, "drops      {}", run(&plan.dropped));
    let _ = writeln!(text, "keeps      {}", run(&plan.kept));
    text
}

/// What is asked.
pub fn question(plan: &Resize) -> &'static str {
    match plan.dropped.records {
        0 => "Change it? [y/N] ",
        _ => "Drop these records, and change it? [y/N] ",
    }
}

/// What was done.
pub fn done(plan: &Resize) -> String {
    let dropped = match plan.dropped.records {
        0 => "no record was dropped".to_owned(),
        records => format!("{} records were dropped", units::count(records)),
    };
    format!("Done: {}, and {dropped}.\n", geometry(&plan.to))
}

fn geometry(sizes: &RingGeometry) -> String {
    let bytes = u64::from(sizes.ring_size).saturating_mul(sizes.page_len);
    format!("{} of {}, {}", pages(sizes.ring_size.into()), units::bytes(sizes.page_len), units::bytes(bytes))
}

fn pages(count: u64) -> String {
    format!("{} page{}", units::count(count), if count == 1 { "" } else { "s" })
}

fn run(run: &PageRun) -> String {
    let which = match run.pages {
        0 => return "nothing".to_owned(),
        1 => format!("page {}", run.first_page),
        count => format!("{} pages, {} to {}", units::count(count), run.first_page, run.last_page),
    };
    match (run.first_seq_no, run.last_seq_no) {
        (Some(first), Some(last)) => {
            format!("{which}, with {} records: {first} to {last}", units::count(run.records))
        }
        _ => format!("{which}, without records"),
    }
}

fn available(home: &Path) -> Option<u64> {
    let stat = statvfs(home).ok()?;
    Some(stat.blocks_available().saturating_mul(stat.fragment_size()))
}

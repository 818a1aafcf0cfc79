//! Torture: writers and readers that are killed and stopped at any moment, writers that come back with other
//! options, other shared memory or in another place, on four file systems.
//!
//! ```text
//! # a few kills
//! cargo test --test torture
//! # ten thousand, shared out evenly
//! WALDO_TORTURE_KILLS=10000 cargo test --release --test torture -- --nocapture
//! ```
//!
//! `WALDO_TORTURE_SEED=N` throws the same again; what it meets is up to the machine.
//! `WALDO_TORTURE_PATIENCE=SECONDS` is how long a reader may be without what a living writer has appended;
//! the longest time is printed. Needs root, for mounts of its own; says so where something is missing.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "../processes/support/args.rs"]
mod args;
#[path = "../power_cuts/child.rs"]
mod child;
mod crew;
#[path = "../power_cuts/dice.rs"]
mod dice;
#[path = "../power_cuts/machine.rs"]
#[allow(dead_code, reason = "nobody cuts the power here")]
mod machine;
mod oracle;
#[path = "../power_cuts/payload.rs"]
mod payload;
mod place;
#[path = "../power_cuts/plan.rs"]
#[allow(dead_code, reason = "nothing is counted by mode here")]
mod plan;
#[path = "../power_cuts/points.rs"]
mod points;
mod reader;
mod rounds;
mod writer;

use place::{Ground, Place};
use rounds::Rounds;

/// Kills on each file system, in a run that nobody asked more of.
const FEW: u64 = 25;

/// Not a test: where the child processes begin.
#[test]
fn child_entry() {
    child::enter(|role, args| match role {
        "writer" => writer::play(args),
        "reader" => reader::play(args),
        _ => panic!("no role {role}"),
    });
}

#[test]
fn nothing_is_lost_and_nobody_is_blind_on_tmpfs() {
    torture(Ground::Tmpfs);
}

#[test]
fn nothing_is_lost_and_nobody_is_blind_on_ext4() {
    torture(Ground::Ext4);
}

#[test]
fn nothing_is_lost_and_nobody_is_blind_on_xfs() {
    torture(Ground::Xfs);
}

#[test]
fn nothing_is_lost_and_nobody_is_blind_on_overlayfs() {
    torture(Ground::Overlay);
}

fn torture(ground: Ground) {
    let asked = std::env::var("WALDO_TORTURE_KILLS").ok();
    let kills = asked.map_or(FEW, |text| text.parse::<u64>().unwrap().div_ceil(Ground::ALL.len() as u64));
    let seed = dice::seed("WALDO_TORTURE_SEED");
    let place = match Place::new(ground) {
        Ok(place) => place,
        Err(why) => return eprintln!("SKIPPED: no torture on {}: {why}", ground.name()),
    };
    let mut rounds = Rounds::new(ground, &place, seed);
    let findings = rounds.run(kills);
    println!("{}, seed {seed}: {}", ground.name(), rounds.account());
    assert!(findings.is_empty(), "{} findings\n{}", findings.len(), findings.join("\n"));
}

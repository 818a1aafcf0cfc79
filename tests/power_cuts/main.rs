//! Real power cuts: rings on ext4 and on XFS, whose power is cut while they are written, opened, and
//! recovered, and while it is changed who may read them.
//!
//! ```text
//! # a few cuts
//! cargo test --test power_cuts
//! # a thousand on each file system
//! WALDO_POWER_CUTS=1000 cargo test --release --test power_cuts -- --nocapture
//! ```
//!
//! A cut is the file system's own shutdown call, without flushing the journal, on a loop device; then the
//! file system is mounted anew, which replays the journal. `WALDO_POWER_CUTS_SEED=N` throws the same options
//! and times again; what they meet is up to the machine. Needs root, `mkfs.ext4`, `mkfs.xfs` and loop
//! devices; says so where they are missing.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "../processes/support/args.rs"]
mod args;
#[allow(dead_code, reason = "nobody is stopped here")]
mod child;
mod counts;
mod dice;
mod life;
#[allow(dead_code, reason = "nothing but the image is on the tmpfs")]
mod machine;
mod oracle;
mod payload;
mod plan;
mod points;
mod rights;
mod rounds;
mod writeback;

use counts::Table;
use machine::{FileSystem, Machine};
use rights::Changes;
use rounds::Rounds;

/// Cuts on each file system, in a run that nobody asked more of.
const FEW: u64 = 15;
const FEW_CHANGES: u64 = 6;

/// Not a test: where the child processes begin.
#[test]
fn child_entry() {
    child::enter(|role, args| match role {
        "life" => life::play(args),
        _ => panic!("no role {role}"),
    });
}

#[test]
fn a_power_cut_takes_nothing_durable_on_ext4() {
    cut(FileSystem::Ext4);
}

#[test]
fn a_power_cut_takes_nothing_durable_on_xfs() {
    cut(FileSystem::Xfs);
}

#[test]
fn a_power_cut_in_a_change_of_rights_lets_nobody_in_on_ext4() {
    cut_changes(FileSystem::Ext4);
}

#[test]
fn a_power_cut_in_a_change_of_rights_lets_nobody_in_on_xfs() {
    cut_changes(FileSystem::Xfs);
}

fn cuts(few: u64) -> u64 {
    std::env::var("WALDO_POWER_CUTS").map_or(few, |text| text.parse().unwrap())
}

/// `None` where there cannot be one, which is said.
fn machine(file_system: FileSystem) -> Option<Machine> {
    Machine::new(file_system)
        .inspect_err(|why| eprintln!("SKIPPED: no power cuts on {}: {why}", file_system.name()))
        .ok()
}

fn cut_changes(file_system: FileSystem) {
    let seed = dice::seed("WALDO_POWER_CUTS_SEED");
    let Some(machine) = machine(file_system) else { return };
    let mut changes = Changes::new(file_system, machine, seed);
    let findings = changes.run(cuts(FEW_CHANGES));
    println!("{:?} in changes of rights on {}, seed {seed}", changes.met, file_system.name());
    assert!(findings.is_empty(), "{} findings\n{}", findings.len(), findings.join("\n"));
}

fn cut(file_system: FileSystem) {
    let cuts = cuts(FEW);
    let seed = dice::seed("WALDO_POWER_CUTS_SEED");
    let Some(machine) = machine(file_system) else { return };
    let mut table = Table::default();
    let findings = Rounds::new(file_system, machine, seed, &mut table).run(cuts);
    println!("{} cuts on {}, seed {seed}\n{table}", table.cuts(), file_system.name());
    let texts: Vec<&str> = findings.iter().map(|finding| finding.0.as_str()).collect();
    assert!(findings.is_empty(), "{} findings\n{}", findings.len(), texts.join("\n"));
}

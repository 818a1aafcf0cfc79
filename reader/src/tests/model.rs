//! Readers against a plain vector, over the product of what can come together: cursor, visibility, source,
//! what to do when lapped, and everything that happens to a ring, in any order.
//!
//! Each of these had been tested along its own axis. The faults lay where two of them met: a cursor beyond
//! the newest record and a query after it, or a lap; a rewind and a lookup; a trim between two searches;
//! durable records and no segment.
//!
//! `WALDO_MODEL_CASES` sets how many random histories are tried (default 60), `WALDO_MODEL_SEED` with which
//! the first one begins, `WALDO_MODEL_LENGTH` how long the histories are of which all are tried (default 2).

mod checks;
mod follower;
mod world;

use crate::{Cursor, OnLapped, Visibility};
use follower::{Follower, Start, since};
use std::panic::{AssertUnwindSafe, catch_unwind};
use world::{Event, World};

const VISIBILITIES: [Visibility; 2] = [Visibility::Committed, Visibility::Durable];
const ON_LAPPED: [OnLapped; 3] = [OnLapped::Fail, OnLapped::Oldest, OnLapped::Tip];
/// What happens in the exhaustive part.
const EVENTS: [Event; 6] =
    [Event::Append(3), Event::GoRound, Event::Flush, Event::Restart, Event::NewSegment, Event::Crash(2)];

fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |value| value.parse().unwrap())
}

/// Cursors before, in and beyond the log, and in a gap of its numbers.
fn starts(world: &World) -> Vec<Start> {
    let log = world.log();
    let (oldest, tip) = (world.oldest(), log.len());
    let mut numbers = vec![0, u64::MAX];
    let mut times = vec![0, u64::MAX];
    for at in [0, oldest.saturating_sub(1), oldest, (oldest + tip) / 2, tip.saturating_sub(1)] {
        let Some(e) = log.get(at) else { continue };
        numbers.extend([e.prev, e.seq - 1, e.seq, e.seq + 1]);
        times.extend([e.time - 1, e.time, e.time + 1]);
    }
    // Beyond the newest record: one more, some more, more than the ring holds.
    numbers.extend([2, 4, 9, 40].map(|more| world.forge.tip() + more));
    times.extend([15, 45, 400].map(|more| log.last().map_or(1000, |e| e.time) + more));
    numbers.sort_unstable();
    numbers.dedup();
    let cursors = [Cursor::Tip, Cursor::Oldest].into_iter();
    let cursors = cursors.chain(numbers.iter().flat_map(|n| [Cursor::After(*n), Cursor::From(*n)]));
    cursors.chain(times.into_iter().map(since)).map(Start::At).collect()
}

/// Runs `history` with readers that start at each place before each event: some read after every event,
/// others only once, at the end.
fn run(history: &[Event], before: usize) {
    let mut world = World::new();
    history[..before].iter().for_each(|event| world.happen(*event));
    let (mut eager, mut lazy) = (Vec::new(), Vec::new());
    for start in starts(&world) {
        for files in [false, true] {
            for visibility in VISIBILITIES {
                for on_lapped in ON_LAPPED {
                    let follower = || Follower::new(&world, start, (files, visibility, on_lapped));
                    eager.extend(follower());
                    lazy.extend(follower());
                }
            }
        }
    }
    for event in &history[before..] {
        world.happen(*event);
        if matches!(event, Event::Crash(_)) {
            eager.iter_mut().chain(&mut lazy).for_each(Follower::cut);
        }
        eager.iter_mut().for_each(|follower| follower.drain(&world));
    }
    for follower in eager.iter_mut().chain(&mut lazy) {
        follower.drain(&world);
        // And again from another place, with the same reader.
        follower.query(&world, world.forge.tip() + 3);
        follower.query(&world, world.forge.tip());
    }
    world.happen(Event::Append(4));
    eager.iter_mut().chain(&mut lazy).for_each(|follower| follower.drain(&world));
}

#[test]
fn every_short_history_reads_as_the_model_says() {
    let length = number("WALDO_MODEL_LENGTH", 2) as u32;
    for n in 0..EVENTS.len().pow(length) {
        let history: Vec<Event> =
            (0..length).map(|digit| EVENTS[n / EVENTS.len().pow(digit) % EVENTS.len()]).collect();
        for before in 0..history.len() {
            tell(&format!("{history:?}, readers from event {before} on"), || run(&history, before));
        }
    }
}

/// Runs `what`, and names it if it fails.
fn tell(name: &str, what: impl FnOnce()) {
    if let Err(panic) = catch_unwind(AssertUnwindSafe(what)) {
        println!("in the history {name}");
        std::panic::resume_unwind(panic);
    }
}

/// A small generator, so that a seed means the same history for ever.
struct Random(u64);

impl Random {
    fn below(&mut self, n: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut x = self.0;
        x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((x ^ (x >> 31)) % n as u64) as usize
    }

    fn event(&mut self) -> Event {
        match self.below(12) {
            0..4 => Event::Append(self.below(6) as u8),
            4..6 => Event::GoRound,
            6..8 => Event::Flush,
            8 => Event::Restart,
            9 => Event::NewSegment,
            _ => Event::Crash(self.below(8) as u8),
        }
    }
}

fn run_random(seed: u64) {
    let mut random = Random(seed);
    let mut world = World::new();
    let mut followers: Vec<Follower> = Vec::new();
    let mut checkpoints = Vec::new();
    for _ in 0..40 {
        let event = random.event();
        world.happen(event);
        if matches!(event, Event::Crash(_)) {
            followers.iter_mut().for_each(Follower::cut);
        }
        let mut starts = starts(&world);
        starts.extend(checkpoints.iter().copied().map(Start::Resume));
        let start = |random: &mut Random| starts[random.below(starts.len())];
        for follower in &mut followers {
            match random.below(6) {
                0..3 => follower.drain(&world),
                3 => {
                    follower.seek(&world, start(&mut random));
                }
                4 => {
                    let after = world.log().get(random.below(world.log().len().max(1))).map_or(0, |e| e.seq);
                    follower.query(&world, after + random.below(3) as u64);
                }
                _ => {}
            }
            checkpoints.extend(follower.checkpoint().filter(|_| random.below(20) == 0));
        }
        if followers.len() < 24 {
            let kind = (random.below(2) == 0, VISIBILITIES[random.below(2)], ON_LAPPED[random.below(3)]);
            followers.extend(Follower::new(&world, start(&mut random), kind));
        }
    }
    followers.iter_mut().for_each(|follower| follower.drain(&world));
}

#[test]
fn random_histories_read_as_the_model_says() {
    let (cases, seed) = (number("WALDO_MODEL_CASES", 60), number("WALDO_MODEL_SEED", 1));
    for seed in seed..seed + cases {
        tell(&format!("of seed {seed}"), || run_random(seed));
    }
}

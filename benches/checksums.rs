//! What a payload's checksum costs: CRC-32C, which Waldo uses, compared with XXH3 and with copying the bytes.
//!
//! `cargo bench --bench checksums` prints a table; docs/PERFORMANCE.md has one, and says why Waldo uses
//! CRC-32C. Rounds of the three alternate, so that other work on the machine affects all alike; figures are
//! medians.

use std::hint::black_box;
use std::time::{Duration, Instant};

/// Payload sizes in bytes.
const SIZES: [usize; 4] = [100, 1000, 4 << 10, 64 << 10];
/// What the payloads lie in: once it stays in the second-level cache, once it comes from memory.
const SETS: [(&str, usize); 2] = [("256 KiB", 256 << 10), ("64 MiB", 64 << 20)];
const ROUNDS: usize = 31;
const ROUND: Duration = Duration::from_millis(10);

/// Done with a payload and room for a copy of it.
type Work = fn(&[u8], &mut [u8]);

fn crc(payload: &[u8], _: &mut [u8]) {
    black_box(waldo::protocol::payload_hash(payload));
}

fn xxh3(payload: &[u8], _: &mut [u8]) {
    black_box(xxhash_rust::xxh3::xxh3_64(payload));
}

fn copy(payload: &[u8], room: &mut [u8]) {
    room.copy_from_slice(payload);
    black_box(room);
}

/// Bytes per nanosecond, which is GB/s, of `work` on all payloads of `size` bytes in `set`, again and again.
fn rate(work: Work, set: &[u8], size: usize, next: &mut usize) -> f64 {
    let mut room = vec![0; size];
    let payloads = set.len() / size;
    let (start, mut bytes) = (Instant::now(), 0);
    while start.elapsed() < ROUND {
        // So many that looking at the clock costs nothing.
        for _ in 0..(256 << 10) / size {
            let at = *next % payloads * size;
            work(black_box(&set[at..at + size]), &mut room);
            *next += 1;
            bytes += size;
        }
    }
    bytes as f64 / start.elapsed().as_nanos() as f64
}

fn median(mut rates: Vec<f64>) -> f64 {
    rates.sort_by(f64::total_cmp);
    rates[rates.len() / 2]
}

fn main() {
    println!("GB/s, medians of {ROUNDS} rounds\n");
    println!("| payload | lies in | CRC-32C | XXH3 | copy | XXH3 / CRC-32C | CRC-32C / copy |");
    println!("|---|---|---|---|---|---|---|");
    for (name, len) in SETS {
        let set: Vec<u8> = (0..len as u32).map(|i| (i.wrapping_mul(0x9e37_79b9) >> 24) as u8).collect();
        for size in SIZES {
            let works: [Work; 3] = [crc, xxh3, copy];
            let mut rates = [const { Vec::new() }; 3];
            let mut next = 0;
            for _ in 0..ROUNDS {
                for (work, rates) in works.into_iter().zip(&mut rates) {
                    rates.push(rate(work, &set, size, &mut next));
                }
            }
            let [crc, xxh3, copy] = rates.map(median);
            println!(
                "| {size} B | {name} | {crc:.1} | {xxh3:.1} | {copy:.1} | {:.2} | {:.2} |",
                xxh3 / crc,
                crc / copy
            );
        }
    }
}

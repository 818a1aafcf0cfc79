//! smoke
use std::time::{Duration, Instant};
use waldo_writer::*;
fn main() {
    let dir = tempfile::tempdir_in("/var/tmp").unwrap();
    for io in [Io::Auto, Io::Pwrite, Io::Uring] {
        for durability in [Durability::Interval(Duration::from_millis(200)), Durability::Sync] {
            let home = dir.path().join(format!("{io:?}{}", durability == Durability::Sync));
            let o = WriterOptions { io, durability, remove_control: true, page_len: 16 << 20, ..Default::default() };
            let t = Instant::now();
            let mut w = Writer::open(&home, o.clone()).unwrap();
            println!("{io:?} {durability:?} open {:?} {:?}", t.elapsed(), w.opened());
            let mut lat = vec![];
            let n = if durability == Durability::Sync { 2000 } else { 50000 };
            for _ in 0..n {
                let t = Instant::now();
                w.append_payloads(&[[7u8; 100]]).unwrap();
                lat.push(t.elapsed());
            }
            lat.sort();
            println!("  lone p50 {:?} p99 {:?} p99.9 {:?}", lat[n / 2], lat[n * 99 / 100], lat[n * 999 / 1000]);
            let payload = vec![1u8; 1000];
            let batch: Vec<&[u8]> = (0..2000).map(|_| &payload[..]).collect();
            let t = Instant::now();
            let rounds = if durability == Durability::Sync { 100 } else { 1000 };
            for _ in 0..rounds { w.append_payloads(&batch).unwrap(); }
            let e = t.elapsed().as_secs_f64();
            println!("  batch {:.2} GB/s", rounds as f64 * 2e6 / e / 1e9);
            let tip = w.tip();
            let t = Instant::now();
            w.close().unwrap();
            println!("  close {:?}", t.elapsed());
            let t = Instant::now();
            let w = Writer::open(&home, o).unwrap();
            println!("  reopen {:?} {:?}", t.elapsed(), w.opened());
            assert_eq!(w.tip(), tip);
        }
    }
}

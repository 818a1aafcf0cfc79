//! Tests of what needs no other process.

use super::figures::{Cell, PhaseFigures, median};
use super::losses::losses;
use super::quantiles::Quantiles;
use super::record::{Press, Stamp, read};
use super::spec::Phase;
use crate::system::System;
use waldo_harness::results::histogram::Latency;

#[test]
fn a_record_is_read_as_it_was_made() {
    for size in [40, 100, 1024] {
        let stamp = Stamp { number: 7, sent_ns: 99, phase: Phase::Flood, last: true };
        let mut record = Vec::new();
        Press::new(size).print(&mut record, stamp);
        assert_eq!(record.len(), size);
        assert_eq!(read(&record, size), Some(stamp));
        for at in 0..size {
            record[at] ^= 1;
            assert_eq!(read(&record, size), None, "a change of byte {at} of {size}");
            record[at] ^= 1;
        }
        assert_eq!(read(&record[..size - 1], size), None);
        assert_eq!(read(&[], size), None);
    }
}

#[test]
fn spreads_add_up_across_processes() {
    let (mut one, mut two, mut all) =
        (Latency::of_two_digits(), Latency::of_two_digits(), Latency::of_two_digits());
    (1..=100).for_each(|value| one.record_ns(value));
    (901..=1000).for_each(|value| two.record_ns(value));
    all.add_text(&one.take_text()).unwrap();
    all.add_text(&two.take_text()).unwrap();
    let quantiles = Quantiles::of(&all);
    assert!((99.0..=101.0).contains(&quantiles.p50), "{quantiles:?}");
    assert!((990.0..=1010.0).contains(&quantiles.max), "{quantiles:?}");
    assert_eq!(Quantiles::of(&one), Quantiles::default());
}

#[test]
fn medians_are_of_what_was_measured_and_losses_are_summed() {
    assert_eq!(median(vec![3.0, 1.0, 2.0]), Some(2.0));
    assert_eq!(median(vec![]), None);
    let run = |delivered_per_s, lost| {
        let mut cell = Cell::new(System::Unix, 10);
        cell.flood = Some(PhaseFigures { delivered_per_s, lost, ..PhaseFigures::default() });
        cell
    };
    let failed = Cell { stopped: Some("no".into()), ..Cell::new(System::Unix, 10) };
    let median = Cell::median(&[&run(5.0, 1.0), &failed, &run(7.0, 2.0), &run(6.0, 0.0)]).unwrap();
    assert_eq!(median.flood.unwrap().delivered_per_s, 6.0);
    assert_eq!(median.flood.unwrap().lost, 3.0);
    assert_eq!(median.stopped.as_deref(), Some("no"));
    assert!(median.paced.is_none());
}

#[test]
fn what_waldo_loses_is_found() {
    let cell = |system, attach_ns| Cell { attach_ns: Some(attach_ns), ..Cell::new(system, 10) };
    let lost = losses(&[cell(System::Waldo, 200.0), cell(System::Unix, 100.0), cell(System::Lmdb, 300.0)]);
    assert_eq!(lost.len(), 1, "{lost:?}");
    assert!(lost[0].contains("Unix sockets"), "{lost:?}");
}

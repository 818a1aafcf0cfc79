//! The table of metrics, the document and the dashboard say the same.

use super::*;
use std::collections::BTreeSet;

fn file(path: &str) -> String {
    std::fs::read_to_string(format!("{}/{path}", env!("CARGO_MANIFEST_DIR"))).unwrap()
}

#[test]
fn each_metric_is_in_the_document_with_its_kind_and_a_unit() {
    let text = file("../docs/OPERATIONS.md");
    let section = text.split_once("\n### Metrics\n").unwrap().1.split("\n#").next().unwrap();
    let rows: Vec<Vec<String>> = section
        .lines()
        .filter(|line| line.starts_with("| `"))
        .map(|line| line.split('|').map(|cell| cell.trim().trim_matches('`').to_owned()).collect())
        .collect();
    let told: Vec<(String, String)> = rows.iter().map(|row| (row[1].clone(), row[2].clone())).collect();
    let known: Vec<(String, String)> =
        METRICS.iter().map(|metric| (metric.name.to_owned(), metric.kind().to_owned())).collect();
    assert_eq!(told, known);
    assert!(rows.iter().all(|row| !row[3].is_empty() && !row[4].is_empty()));
}

#[test]
fn no_metric_is_there_twice_and_names_follow_the_conventions() {
    let names: BTreeSet<&str> = METRICS.iter().map(|metric| metric.name).collect();
    assert_eq!(names.len(), METRICS.len());
    for Metric { name, help, .. } in METRICS {
        assert!(name.starts_with("waldo_") || name.starts_with("process_"), "{name}");
        assert!(help.ends_with('.') && !help.contains('\n'), "{name}");
        let nonstandard = ["_ms", "_ns", "_mb", "_count"];
        assert!(!nonstandard.iter().any(|unit| name.ends_with(unit)), "{name}");
    }
}

#[test]
fn every_counter_of_the_writer_is_shown() {
    use waldo::protocol::segment::Counter;
    let shown: BTreeSet<&str> = METRICS
        .iter()
        .filter_map(|metric| match metric.origin {
            Origin::Writer(name) | Origin::WriterNanoseconds(name) => Some(name),
            _ => None,
        })
        .collect();
    assert_eq!(shown, Counter::ALL.iter().map(|(_, name)| *name).collect());
}

/// A panel with a metric that does not exist shows nothing, for ever.
#[test]
fn the_dashboard_and_the_alerts_name_metrics_that_there_are() {
    let dashboard = file("dashboards/waldo.json");
    serde_json::from_str::<serde_json::Value>(&dashboard).unwrap();
    let names: BTreeSet<&str> = METRICS.iter().map(|metric| metric.name).collect();
    let operations = file("../docs/OPERATIONS.md");
    let alerts = operations.split_once("\n### Alerts\n").unwrap().1.split("\n## ").next().unwrap().to_owned();
    for (text, least) in [(dashboard, 15), (alerts, 7)] {
        let words = text.split(|c: char| !c.is_ascii_lowercase() && c != '_');
        let named: BTreeSet<&str> =
            words.filter(|word| ["waldo_", "process_"].iter().any(|start| word.starts_with(start))).collect();
        assert!(named.len() >= least, "{named:?}");
        assert!(named.is_subset(&names), "{:?}", named.difference(&names));
    }
}

#[test]
fn labels_are_escaped() {
    let mut samples = Samples { out: String::new(), name: "m" };
    samples.add(&[("a", "x\"y\\z\nw"), ("b", "")], Some(Number::Real(0.5)));
    samples.add(&[], Some(Number::Whole(u64::MAX)));
    assert_eq!(samples.out, "m{a=\"x\\\"y\\\\z\\nw\",b=\"\"} 0.5\nm 18446744073709551615\n");
}

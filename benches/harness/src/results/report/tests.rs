//! Reports with everything in them that should not break them.

use super::*;

fn report() -> Report {
    let log = |label: &str| Axis { label: label.to_owned(), log: true };
    let series = |name: &str, points: Vec<(f64, f64)>| Series { name: name.to_owned(), points };
    Report {
        title: "Fan-out <of> \"records\" & 'more'".to_owned(),
        command: "waldo-suite write --size 100 <x>".to_owned(),
        machine: Machine::here(Path::new("/tmp")),
        notes: vec!["a < b & `c > d`".to_owned()],
        tables: vec![Table {
            caption: "rows".to_owned(),
            head: vec!["what".to_owned(), "ours".to_owned(), "goal".to_owned()],
            rows: vec![
                vec!["one".to_owned(), "1.35 us".to_owned(), "met".to_owned()],
                vec!["another".to_owned(), "<1>".to_owned(), "MISSED".to_owned()],
            ],
        }],
        plots: vec![
            Plot {
                title: "latency".to_owned(),
                x: Axis::percentiles(),
                y: log("microseconds <us>"),
                series: vec![
                    series("ours", (0..40).map(|n| (1.3f64.powi(n), 1.0 + 1.2f64.powi(n))).collect()),
                    series("floor", (0..40).map(|n| (1.3f64.powi(n), 0.7 + 1.1f64.powi(n))).collect()),
                ],
            },
            Plot {
                title: "throughput".to_owned(),
                x: log("bytes of a record"),
                y: Axis { label: "GB/s".to_owned(), log: false },
                series: vec![
                    series(
                        "not finite",
                        vec![(f64::NAN, 1.0), (10.0, f64::INFINITY), (0.0, 3.0), (-1.0, 1.0)],
                    ),
                    series("committed", vec![(64.0, 0.4), (1024.0, 2.8), (65536.0, 6.2)]),
                    series("empty", Vec::new()),
                ],
            },
            Plot { title: "nothing".to_owned(), x: log("x"), y: log("y"), series: Vec::new() },
            Plot {
                title: "one point".to_owned(),
                x: log("x"),
                y: log("y"),
                series: vec![series("one", vec![(5.0, 5.0)])],
            },
        ],
        data: json!({ "p50": f64::NAN, "rows": [1, 2, 3] }),
    }
}

#[test]
fn files_appear_whole_and_hold_everything() {
    let dir = tempfile::tempdir().unwrap();
    let stem = dir.path().join("v1.2");
    check_stem(&stem).unwrap();
    let written = report().write(&stem).unwrap();
    assert_eq!(written, [dir.path().join("v1.2.json"), dir.path().join("v1.2.html")]);
    let html = std::fs::read_to_string(&written[1]).unwrap();
    assert!(html.contains("&lt;of&gt; &quot;records&quot; &amp;"));
    assert!(html.contains("a &lt; b &amp; <code>c &gt; d</code>"));
    assert!(html.contains("Nothing was measured"));
    assert_eq!(html.matches("<svg").count(), 3);
    for bad in ["NaN", "inf", "<of>", "<us>", "<script", "http://waldo", "#010203"] {
        assert!(!html.contains(bad), "{bad}");
    }
    let json: Value = serde_json::from_slice(&std::fs::read(&written[0]).unwrap()).unwrap();
    assert_eq!(json["machine"]["version"], env!("CARGO_PKG_VERSION"));
    assert!(json["data"]["p50"].is_null());
    assert_eq!(json["tables"][0]["rows"][0][1], "1.35 us");
    // Nothing else is left, and a second report replaces the first.
    report().write(&stem).unwrap();
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 2);
    let mode = std::fs::metadata(&written[0]).unwrap().permissions().mode();
    assert_eq!(mode & 0o400, 0o400);
}

#[test]
fn a_place_that_cannot_be_written_is_told_early() {
    for wrong in ["/no/such/directory/report", "/", ".."] {
        let error = check_stem(Path::new(wrong)).unwrap_err().to_string();
        assert!(error.contains("place") || error.contains("--report"), "{error}");
    }
}

#[test]
fn a_table_on_the_terminal_has_its_figures_to_the_right() {
    let text = report().tables[0].to_text();
    assert!(text.starts_with("rows\n"));
    assert!(text.contains("┆ 1.35 us ┆") && text.contains("┆     <1> ┆"), "{text}");
}

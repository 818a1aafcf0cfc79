//! What the service shows over HTTP.

use crate::ring::Place;
use crate::support::*;
use crate::wait::wait_until;
use prometheus_parse::{Scrape, Value};
use std::collections::HashMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::Command;
use std::time::Duration;
use waldo::client::{Producer, ProducerOptions};
use waldo::reader::Ring;

/// A service with a port of its own, and its address.
pub fn start(place: &Place, text: &str) -> (Program, String) {
    let file = config_file(place, text);
    let args = ["--config", &path(&file), "--http", "127.0.0.1:0"].map(str::to_owned);
    let program = Program::start(place, &args);
    let address = address_of(&program);
    (program, address)
}

/// Where a service that has begun serves metrics.
pub fn address_of(program: &Program) -> String {
    program.until_logged("metrics and status at http://");
    let log = program.log();
    let address = log.split_once("metrics and status at http://").unwrap().1.split('/').next().unwrap();
    address.to_owned()
}

fn connect(address: &str) -> TcpStream {
    let stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    stream
}

/// Status, head and body of an answer.
pub fn get(address: &str, request: &str) -> (u16, String, String) {
    let mut stream = connect(address);
    write!(stream, "{request} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n").unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    let (head, body) = text.split_once("\r\n\r\n").unwrap();
    (head.split(' ').nth(1).unwrap().parse().unwrap(), head.to_lowercase(), body.to_owned())
}

fn metrics(address: &str) -> (String, Scrape) {
    let (code, head, body) = get(address, "GET /metrics");
    assert!(code == 200 && head.contains("content-type: text/plain; version=0.0.4"), "{head}");
    let scrape = Scrape::parse(body.lines().map(|line| Ok(line.to_owned()))).unwrap();
    (body, scrape)
}

/// The value of a metric of a ring.
fn value(scrape: &Scrape, metric: &str, ring: &str) -> Option<f64> {
    let found =
        scrape.samples.iter().find(|one| one.metric == metric && one.labels.get("ring") == Some(ring));
    found.map(|one| match one.value {
        Value::Counter(value) | Value::Gauge(value) => value,
        ref other => panic!("{metric}: {other:?}"),
    })
}

#[test]
fn the_metrics_are_what_prometheus_reads_and_agree_with_the_ring() {
    let place = Place::new();
    let text = ring_table(&place, "orders", "") + &ring_table(&place, "quotes", "");
    let (program, address) = start(&place, &text);
    let producer =
        Producer::connect(place.dir().join("orders.sock"), ProducerOptions::default().name("p")).unwrap();
    for number in 0..50 {
        producer.append(&[format!("{number}"), "other".to_owned()]).unwrap().wait().unwrap();
    }
    let (body, scrape) = metrics(&address);
    let value = |metric: &str| value(&scrape, metric, "orders").unwrap_or_else(|| panic!("{metric}"));
    assert_eq!(value("waldo_producers_records_total"), 100.0);
    assert_eq!(value("waldo_producers_batches_total"), 50.0);
    assert_eq!(value("waldo_producers_connected"), 1.0);
    assert_eq!(value("waldo_producers_names"), 1.0);
    assert_eq!(value("waldo_ring_up"), 1.0);
    assert_eq!(self::value(&scrape, "waldo_producers_records_total", "quotes"), Some(0.0));
    // An empty ring has no last record, so there is no such sample.
    assert_eq!(self::value(&scrape, "waldo_ring_tip_seq_no", "quotes"), None);

    // The writer is idle now, so the status of the ring is that of the metrics.
    let status = Ring::attach(place.dir().join("orders")).unwrap().status().unwrap();
    assert_eq!(value("waldo_ring_tip_seq_no") as u64, status.tip_seq_no.unwrap());
    assert_eq!(value("waldo_ring_pages_max") as u32, status.ring_size);
    assert_eq!(value("waldo_ring_durable_lag_bytes") as u64, status.durable_lag_bytes());
    for (name, wanted) in &status.counters {
        let found = ["", "_total"].iter().find_map(|end| {
            let metric = format!("waldo_writer_{name}{end}");
            self::value(&scrape, &metric, "orders")
        });
        match *name {
            // In seconds, and only when somebody sets the clock.
            "time_ahead_ns" => {}
            _ => assert_eq!(found.map(|value| value as u64), Some(*wanted), "{name}"),
        }
    }
    agrees_with_waldo_stat(&place.dir().join("orders"), &scrape);
    check_by_promtool(&body);
    // All samples of a metric stand together, behind its help and its type.
    let mut order: Vec<&str> = body
        .lines()
        .filter(|line| !line.starts_with('#'))
        .map(|line| line.split(['{', ' ']).next().unwrap())
        .collect();
    order.dedup();
    let number = order.len();
    order.sort_unstable();
    order.dedup();
    assert_eq!(order.len(), number);
    producer.close().unwrap();
    program.stop();
}

/// The command, where it has been built.
fn agrees_with_waldo_stat(home: &Path, scrape: &Scrape) {
    let command = Path::new(env!("CARGO_BIN_EXE_waldo-service")).with_file_name("waldo");
    if !command.is_file() {
        println!("left out: {} is not there, `cargo build -p waldo-cli` builds it", command.display());
        return;
    }
    let output = Command::new(command).args(["stat", "--json"]).arg(home).output().unwrap();
    let stat: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    for (metric, wanted) in [
        ("waldo_ring_tip_seq_no", &stat["tip_seq_no"]),
        ("waldo_ring_oldest_seq_no", &stat["oldest_seq_no"]),
        ("waldo_ring_pages", &stat["pages"]),
        ("waldo_ring_pages_max", &stat["ring_size"]),
        ("waldo_ring_page_bytes", &stat["page_len"]),
        ("waldo_ring_epoch", &stat["epoch"]),
        ("waldo_ring_durable_lag_bytes", &stat["durable_lag_bytes"]),
        ("waldo_ring_index_entries", &stat["index_entries"]),
        ("waldo_writer_records_total", &stat["counters"]["records"]),
        ("waldo_writer_payload_bytes_total", &stat["counters"]["payload_bytes"]),
        ("waldo_writer_disk_bytes", &stat["counters"]["disk_bytes"]),
    ] {
        assert_eq!(value(scrape, metric, "orders"), wanted.as_f64(), "{metric}");
    }
}

/// Prometheus' own judgement, where it is at hand.
fn check_by_promtool(body: &str) {
    let started = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn();
    let Ok(mut promtool) = started else {
        println!("left out: there is no promtool");
        return;
    };
    promtool.stdin.take().unwrap().write_all(body.as_bytes()).unwrap();
    let output = promtool.wait_with_output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn errors_are_counted_by_their_code() {
    let place = Place::new();
    let (program, address) = start(&place, &ring_table(&place, "orders", ""));
    let mut raw = crate::raw::Raw::connect(&place.dir().join("orders.sock"));
    raw.send(b"GET / HTTP/1.1\r\n\r\n");
    raw.error();
    let by_code = || {
        let (_, scrape) = metrics(&address);
        let errors = scrape.samples.iter().filter(|one| one.metric == "waldo_producers_errors_total");
        let count = |value: &Value| match value {
            Value::Counter(count) => *count as u64,
            other => panic!("{other:?}"),
        };
        let all: HashMap<String, u64> =
            errors.map(|one| (one.labels.get("code").unwrap().to_owned(), count(&one.value))).collect();
        all
    };
    wait_until("the error is counted", || by_code().values().sum::<u64>() == 1);
    assert!(by_code().len() > 10, "codes without errors are there, too");
    program.stop();
}

#[test]
fn a_port_in_use_is_told_at_the_start_and_nothing_else_has_begun() {
    let place = Place::new();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let output = waldo_service().args(small(&place)).args(["--http", &address]).output().unwrap();
    let err = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(4));
    assert!(
        err.contains(&format!("cannot serve metrics on {address}: another program has this port")),
        "{err}"
    );
    assert!(!place.home().exists());
}

#[test]
fn other_paths_and_methods_are_refused_and_head_has_no_body() {
    let place = Place::new();
    let (program, address) = start(&place, &ring_table(&place, "orders", ""));
    assert_eq!(get(&address, "GET /etc/passwd").0, 404);
    assert_eq!(get(&address, "POST /metrics").0, 405);
    let (code, _, body) = get(&address, "HEAD /metrics");
    assert_eq!((code, body.as_str()), (200, ""));
    let mut stream = connect(&address);
    stream.write_all(&vec![b'x'; 64 << 10]).unwrap();
    let mut text = Vec::new();
    let _ = stream.read_to_end(&mut text);
    assert!(text.is_empty() || text.starts_with(b"HTTP/1.1 4"), "{}", String::from_utf8_lossy(&text));
    append(&place.dir().join("orders.sock"), "one");
    program.stop();
}

#[test]
fn connections_that_say_nothing_do_not_take_the_port_from_the_others_for_ever() {
    let place = Place::new();
    let (program, address) = start(&place, &ring_table(&place, "orders", ""));
    let idle: Vec<TcpStream> = (0..80).map(|_| connect(&address)).collect();
    // Those beyond the limit are told so and closed at once.
    let mut told = String::new();
    idle.last().unwrap().read_to_string(&mut told).unwrap();
    assert!(told.starts_with("HTTP/1.1 503 ") && told.ends_with("too many connections\n"), "{told}");
    drop(idle);
    wait_until("there is room again", || {
        let mut stream = connect(&address);
        let _ = write!(stream, "GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
        let mut text = String::new();
        stream.read_to_string(&mut text).is_ok() && text.ends_with("ok\n")
    });
    program.stop();
}

#[test]
fn pages_that_are_left_open_do_not_keep_out_who_asks_for_health() {
    let place = Place::new();
    let (program, address) = start(&place, &ring_table(&place, "orders", ""));
    let open = || {
        let mut stream = connect(&address);
        write!(stream, "GET /events HTTP/1.1\r\nHost: {address}\r\n\r\n").unwrap();
        let mut line = String::new();
        BufReader::new(&stream).read_line(&mut line).unwrap();
        (line.contains(" 200 "), stream)
    };
    let pages: Vec<TcpStream> =
        (0..100).map_while(|_| Some(open()).filter(|page| page.0)).map(|page| page.1).collect();
    assert_eq!(pages.len(), 16);
    let (code, head, why) = get(&address, "GET /events");
    assert!(code == 503 && head.contains("retry-after: 10") && why.contains("close one of them"), "{why}");
    assert_eq!(get(&address, "HEAD /events").0, 200);
    assert_eq!(get(&address, "GET /healthz").0, 200);
    drop(pages);
    wait_until("there is room again", || open().0);
    program.stop();
}

#[test]
fn the_page_moves() {
    let place = Place::new();
    let (program, address) = start(&place, &ring_table(&place, "orders", ""));
    let (code, head, page) = get(&address, "GET /");
    assert!(code == 200 && head.contains("content-type: text/html") && head.contains("default-src 'none'"));
    for elsewhere in ["http://", "https://", "src=\"//", "@import"] {
        assert!(!page.replace("http://www.w3.org/2000/svg", "").contains(elsewhere), "{elsewhere}");
    }
    let mut stream = connect(&address);
    write!(stream, "GET /events HTTP/1.1\r\nHost: {address}\r\n\r\n").unwrap();
    let mut lines = BufReader::new(stream).lines();
    let mut event = || loop {
        let line = lines.next().unwrap().unwrap();
        if let Some(data) = line.strip_prefix("data: ") {
            let event: serde_json::Value = serde_json::from_str(data).unwrap();
            return event["rings"][0].clone();
        }
    };
    let first = event();
    assert_eq!((first["name"].as_str(), first["state"].as_str()), (Some("orders"), Some("serving")));
    // Each field that the page uses is there.
    let script = page.split_once("const FIELDS").unwrap().1.split_once("];").unwrap().0;
    let mut fields = 0;
    for rest in script.split("(r.").chain(script.split(" r.")).skip(1) {
        let field = rest.split(|c: char| !c.is_ascii_lowercase() && c != '_').next().unwrap();
        assert!(field.is_empty() || first.get(field).is_some(), "{field}");
        fields += 1;
    }
    assert!(fields > 10, "{fields}");
    append(&place.dir().join("orders.sock"), "one");
    wait_until("the record is shown", || event()["records"] == 1);
    // A stream that is open does not hold up the end.
    program.stop();
}

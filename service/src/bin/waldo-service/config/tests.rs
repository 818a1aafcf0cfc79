//! What a file may say, and how a person is told what is wrong with it.

use super::read::parse;
use super::*;
use std::time::Duration;

fn faults(text: &str) -> String {
    parse(Path::new("service.toml"), text).unwrap_err().to_string()
}

#[test]
fn a_file_says_everything_that_can_be_said() {
    let text = r#"
        [log]
        level = "debug"
        format = "json"
        [http]
        listen = "127.0.0.1:9464"
        [[ring]]
        name = "orders"
        home = "/nowhere/orders"
        socket = "/nowhere/orders.sock"
        socket_mode = "0620"
        socket_group = "0"
        ring_size = 4
        page_size = "1M"
        on_full = "drop-oldest"
        keep_for = "6h"
        mode = "0644"
        group = "54321"
        control = "/dev/shm/orders"
        durability = "interval"
        sync_interval = "20ms"
        producers_max = 7
        connections_per_user = 5
        lanes_max = 5
        lane_bytes = "64K"
        frame_len_max = 65536
        window_batches = 2
        window_bytes = "1M"
        queue_bytes = "2M"
        hello_timeout = "1s"
        stall_timeout = "2s"
        drain_timeout = "3s"
        names_max = 9
        names_kept = "1day"
        journal_growth = "8K"
    "#;
    let config = parse(Path::new("service.toml"), text).unwrap();
    assert_eq!(config.log.format, Some(LogFormat::Json));
    let ring = &config.rings[0];
    let writer = ring.writer_options();
    assert_eq!((writer.ring_size, writer.page_len, writer.index_capacity), (4, 1 << 20, 1024));
    assert_eq!((writer.mode, writer.group), (Some(0o644), Some(54321)));
    assert_eq!((writer.on_full, writer.keep_for.unwrap().as_secs()), (OnFull::DropOldest, 6 * 3600));
    assert_eq!(writer.durability, Durability::Interval(Duration::from_millis(20)));
    assert_eq!(writer.control, ControlPlace::Path("/dev/shm/orders".into()));
    let service = ring.service_options();
    assert_eq!((service.mode, service.group.as_deref()), (0o620, Some("0")));
    assert_eq!((service.producers_max, service.frame_len_max, service.window_batches), (7, 65536, 2));
    assert_eq!(service.connections_per_user, Some(5));
    assert_eq!((service.lanes_max, service.lane_bytes), (5, 65536));
    assert_eq!((service.window_bytes, service.queue_bytes, service.names_max), (1 << 20, 2 << 20, 9));
    assert_eq!(service.names_kept, Duration::from_secs(24 * 3600));
    assert_eq!(service.hello_timeout + service.stall_timeout, service.drain_timeout);
    assert_eq!(service.journal_growth, 8192);
    // A reload tells every key that has changed.
    let keys = text.split_once("[[ring]]").unwrap().1.matches(" = ").count();
    assert_eq!(ring.changed_keys(&RingConfig::at("/elsewhere".into(), None)).len(), keys);
    assert!(ring.changed_keys(ring).is_empty());
    // Also of those that do not go together with these.
    let mut other = ring.clone();
    (other.size, other.keep, other.rate) = (Some(Bytes(1)), Some(Time(Duration::MAX)), Some(Rate(1)));
    assert_eq!(ring.changed_keys(&other), ["size", "keep", "rate"]);
}

#[test]
fn what_cannot_be_a_socket_a_name_or_a_time_is_told() {
    let ring = |more: &str| faults(&format!("[[ring]]\nhome = \"/nowhere\"\n{more}\n"));
    for socket in ["", "@orders", "/run/", &"x".repeat(108)] {
        assert!(
            ring(&format!("socket = \"{socket}\"")).contains("service.toml:2: ring nowhere: "),
            "{socket}"
        );
    }
    for name in ["", "a\\nb"] {
        assert!(ring(&format!("name = \"{name}\"")).contains("holds a control character"), "{name}");
    }
    assert!(ring("names_kept = \"500000000years\"").contains("service.toml:3: "));
    assert!(ring("stall_timeout = \"99999999999999999999s\"").contains("service.toml:3: "));
}

#[test]
fn an_unknown_key_is_told_with_its_line_and_with_what_may_have_been_meant() {
    let text = "[log]\nlevel = \"info\"\n[[ring]]\nhome = \"/a\"\nsokcet = \"/b\"\n";
    assert_eq!(faults(text), "service.toml:5: unknown key `sokcet`: did you mean `socket`?");
    assert_eq!(faults("[[rings]]\n"), "service.toml:1: unknown key `rings`: did you mean `ring`?");
    let text = "[http]\nport = 1\n";
    assert_eq!(faults(text), "service.toml:2: unknown key `port`: here may be listen, remote");
    let text = "[[ring]]\nhome = \"/a\"\ndurability = \"synk\"\n";
    assert_eq!(faults(text), "service.toml:3: unknown value `synk`: did you mean `sync`?");
}

#[test]
fn a_value_of_the_wrong_kind_is_told_with_its_line_and_with_the_right_kind() {
    for (line, wanted) in [
        ("page_size = \"12Q\"", "use K, M, G or T"),
        ("page_size = -1", "a size"),
        ("socket_mode = 660", "a string like \"0660\""),
        ("mode = \"999\"", "write them as for chmod"),
        ("stall_timeout = 5", "a string like \"100ms\""),
        ("stall_timeout = \"5 parsecs\"", "write it like 100ms"),
    ] {
        let told = faults(&format!("[[ring]]\nhome = \"/a\"\n{line}\n"));
        assert!(told.starts_with("service.toml:3: ") && told.contains(wanted), "{line}: {told}");
    }
    assert!(faults("[[ring]]\nhome = \"/a\n").starts_with("service.toml:2: "));
    assert!(faults("[[ring]]\nsocket = \"/a\"\n").contains("missing field `home`"));
}

#[test]
fn rings_that_are_in_each_others_way_are_told() {
    let dir = tempfile::tempdir().unwrap();
    let home = dir.path().join("ring");
    std::fs::create_dir(&home).unwrap();
    std::os::unix::fs::symlink(&home, dir.path().join("link")).unwrap();
    let text = |home: &str, socket: &str| {
        let dir = dir.path().display();
        format!(
            "[[ring]]\nname = \"one\"\nhome = \"{dir}/ring\"\nsocket = \"/s\"\n[[ring]]\nhome = \"{dir}/{home}\"\nsocket = \
             \"{socket}\"\n"
        )
    };
    assert!(faults(&text("link", "/t")).contains(":6: home"), "{}", faults(&text("link", "/t")));
    assert!(faults(&text("ring/../ring", "/t")).contains("belongs to the ring one already"));
    assert!(faults(&text("other", "/s")).contains(":7: socket /s belongs to the ring one already"));
    assert!(faults(&text("one", "/t")).contains(":6: two rings are called \"one\""));
    assert!(parse(Path::new("service.toml"), &text("other", "/t")).is_ok());
}

#[test]
fn values_that_cannot_work_are_told_before_anything_is_opened() {
    let ring = |line: &str| faults(&format!("[[ring]]\nhome = \"/nowhere/a\"\n{line}\n"));
    assert!(ring("ring_size = 0").contains("ring_size is 0"));
    assert!(ring("page_size = 5000").contains("page_len must be"));
    assert!(ring("mode = \"0044\"").contains("0600"));
    assert!(ring("window_batches = 65").contains("window_batches"));
    assert!(ring("sync_interval = \"1s\"").contains("durability = \"interval\""));
    assert!(ring("socket_group = \"no such group\"").contains("there is no group"));
    assert!(ring("group = \"no such group\"").contains(":3: there is no group \"no such group\""));
    assert!(ring("group = 4").contains("with its name or its number"));
    assert!(ring("group = \"4294967295\"").contains("there is no group"));
    assert!(faults("").contains("no ring is named"));
    let http = "[http]\nlisten = \"0.0.0.0:1\"\n[[ring]]\nhome = \"/nowhere/a\"\n";
    assert!(faults(http).contains("remote = true"));
    // All faults at once.
    assert_eq!(faults("[[ring]]\nhome = \"/a\"\nring_size = 0\nnames_max = 0\n").lines().count(), 2);
}

#[test]
fn a_ring_that_is_there_keeps_what_the_file_does_not_name() {
    let dir = tempfile::tempdir().unwrap();
    let home = dir.path().join("ring");
    let options = WriterOptions::default().ring_size(3).page_len_with_fitting_index(1 << 20);
    let options = options.control(ControlPlace::Path(dir.path().join("control")));
    waldo::writer::Writer::open(&home, options).unwrap().close().unwrap();
    let mut ring = RingConfig::at(home, None);
    let opened = ring.writer_options_for(ring.meta().as_ref());
    assert_eq!((opened.ring_size, opened.page_len, opened.index_capacity), (3, 1 << 20, 1024));
    assert!(ring.describe().contains("is there: 3 pages of 1.00 MiB"), "{}", ring.describe());
    ring.ring_size = Some(5);
    assert_eq!(ring.writer_options_for(ring.meta().as_ref()).ring_size, 5);
}

/// Every key is in the reference and every key of the reference is one, as serde itself lists them.
#[test]
fn the_reference_names_every_key_and_no_other() {
    let reference =
        std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/OPERATIONS.md")).unwrap();
    for (table, text) in
        [("[log]", "[log]\nx = 1"), ("[http]", "[http]\nx = 1"), ("[[ring]]", "[[ring]]\nx = 1")]
    {
        let error = toml::from_str::<Config>(text).unwrap_err();
        let mut known: Vec<&str> = error.message().split('`').skip(1).step_by(2).skip(1).collect();
        let section = reference.split_once(&format!("### `{table}`\n")).unwrap().1;
        let section = section.split("\n#").next().unwrap();
        let row = |line: &'_ str| {
            line.strip_prefix("| `").and_then(|rest| rest.split('`').next().map(str::to_owned))
        };
        let mut told: Vec<String> = section.lines().filter_map(row).collect();
        known.sort_unstable();
        told.sort_unstable();
        assert_eq!(told, known, "{table}");
    }
}

/// The defaults of the reference are those of the code.
#[test]
fn the_reference_names_the_defaults() {
    let reference =
        std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/OPERATIONS.md")).unwrap();
    let section = reference.split_once("### `[[ring]]`\n").unwrap().1.split("\n## ").next().unwrap();
    let mut text = "[[ring]]\n".to_owned();
    for line in section.lines().filter(|line| line.starts_with("| `")) {
        let mut cells = line.split('|').map(|cell| cell.trim().trim_matches('`'));
        let (key, default) = (cells.nth(1).unwrap(), cells.next().unwrap());
        match key {
            "home" => text.push_str("home = \"/nowhere/a\"\n"),
            // It goes with another durability.
            "sync_interval" => assert_eq!(
                default,
                format!("{:?}", humantime::format_duration(value::SYNC_INTERVAL).to_string())
            ),
            _ if default.starts_with('"') || default.parse::<u64>().is_ok() => {
                text.push_str(&format!("{key} = {default}\n"));
            }
            _ => {}
        }
    }
    assert!(text.lines().count() > 15, "{text}");
    let told = &parse(Path::new("reference"), &text).unwrap().rings[0];
    let own = RingConfig::at("/nowhere/a".into(), None);
    assert_eq!(told.writer_options(), own.writer_options());
    assert_eq!(format!("{:?}", told.service_options()), format!("{:?}", own.service_options()));
}

//! `--check`, and wrong usage.

use crate::ring::Place;
use crate::support::*;

fn run(args: &[String]) -> (i32, String, String) {
    let output = waldo_service().args(args).output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
}

#[test]
fn a_file_that_is_in_order_is_described_and_nothing_is_made() {
    let place = Place::new();
    let file = config_file(&place, &ring_table(&place, "orders", ""));
    let (code, out, err) = run(&["--config".into(), path(&file), "--check".into()]);
    assert_eq!(code, 0, "{err}");
    assert!(out.contains("ring orders: ") && out.contains("will be made: 4 pages of 1.00 MiB"), "{out}");
    assert!(!place.dir().join("orders").exists());
}

#[test]
fn the_name_of_a_ring_does_nothing_to_a_terminal() {
    let place = Place::new();
    // A name that is told by itself may hold no control character.
    let table = ring_table(&place, "a\\u001b[2J\\u202eb", "name = \"orders\"");
    let file = config_file(&place, &table);
    let (code, out, err) = run(&["--config".into(), path(&file), "--check".into()]);
    assert_eq!(code, 0, "{err}");
    assert!(
        out.contains("a\\x1b[2J\\u{202e}b (will be made") && !out.contains(['\x1b', '\u{202e}']),
        "{out:?}"
    );
}

#[test]
fn a_file_that_is_not_in_order_is_refused_with_lines_whether_checked_or_run() {
    let place = Place::new();
    let file = config_file(&place, &ring_table(&place, "orders", "sockt = \"/x\""));
    for more in [&["--check".to_owned()][..], &[]] {
        let args = [&["--config".into(), path(&file)], more].concat();
        let (code, _, err) = run(&args);
        assert_eq!(code, 2, "{err}");
        assert!(err.contains("service.toml:8: unknown key `sockt`: did you mean `socket`?"), "{err}");
    }
    let missing = path(&place.dir().join("none.toml"));
    let (code, _, err) = run(&["--config".into(), missing]);
    assert!(code == 2 && err.contains("cannot be read"), "{err}");
}

#[test]
fn what_is_missing_or_contradicts_itself_is_wrong_usage() {
    for (args, wanted) in [
        (&[][..], "name a ring"),
        (&["ring", "--config", "file"], "cannot be used with"),
        (&["--config", "file", "--ring-size", "4"], "cannot be used with"),
        (&["ring", "--page-size", "5000", "--socket", "s"], "page_len must be"),
        (&["ring", "--size", "1M", "--socket", "s"], "smallest ring has one page of 64.0 MiB"),
        (
            &["ring", "--size", "1G", "--ring-size", "3", "--socket", "s"],
            "the size says 16: give one of the two",
        ),
        (&["ring", "--keep", "1h", "--socket", "s"], "--rate"),
        (&["ring", "--socket", "s", "--socket-mode", "rw"], "write them as for chmod"),
        (&["ring", "--socket", "s", "--group", "no such group"], "there is no group \"no such group\""),
        (&["ring", "--socket", "s", "--mode", "0750"], "it must be 0600 plus"),
        (&["ring", "--socket", "s", "--log-level", "loud"], "log level"),
        (&["ring", "--socket", "s", "--http", "0.0.0.0:1"], "other machines"),
    ] {
        let args: Vec<String> = args.iter().chain(&["--check"]).map(|arg| (*arg).to_owned()).collect();
        let (code, _, err) = run(&args);
        assert!(code == 2 && err.contains(wanted), "{args:?}: {code} {err}");
    }
}

#[test]
fn a_size_in_bytes_and_a_time_at_a_rate_are_taken_and_explained() {
    for (keys, wanted) in [
        ("size = \"10G\"", "will be made: 160 pages of 64.0 MiB"),
        ("size = 100000000", "1 pages are taken"),
        ("keep = \"6h\"\nrate = \"10MB\"", "6h at 10.0 MiB/s are 211 GiB: 3,382 pages of 64.0 MiB"),
    ] {
        let place = Place::new();
        let table = format!("[[ring]]\nhome = \"{}\"\nsocket = \"/s\"\n{keys}\n", place.home().display());
        let file = config_file(&place, &table);
        let (code, out, err) = run(&["--config".into(), path(&file), "--check".into()]);
        assert!(code == 0 && out.contains(wanted), "{keys}: {out}{err}");
    }
}

#[test]
fn the_environment_names_the_file_and_counts_for_more_than_it() {
    let place = Place::new();
    let file = config_file(&place, &ring_table(&place, "orders", ""));
    let run = |name: &str, value: &str| {
        let mut command = waldo_service();
        command.arg("--check").env("WALDO_SERVICE_CONFIG", &file).env(name, value);
        let output = command.output().unwrap();
        (output.status.code(), String::from_utf8([output.stdout, output.stderr].concat()).unwrap())
    };
    let (code, text) = run("WALDO_SERVICE_HTTP", "127.0.0.1:9999");
    assert!(code == Some(0) && text.contains("http://127.0.0.1:9999/"), "{text}");
    for (name, value) in
        [("WALDO_SERVICE_HTTP", "nine"), ("WALDO_SERVICE_LOG_FORMAT", "xml"), ("RUST_LOG", "loud")]
    {
        let (code, text) = run(name, value);
        assert!(code == Some(2) && text.contains(value), "{name}: {text}");
    }
}

#[test]
fn a_start_that_cannot_be_is_a_failure_that_says_why() {
    let place = Place::new();
    let _first = Program::start(&place, &small(&place));
    let (code, _, err) = run(&small(&place));
    assert!(code == 4 && err.contains("there can be only one writer"), "{err}");
    // Another ring on the same socket.
    let other = path(&place.dir().join("other"));
    let args: Vec<String> = vec![other, "--socket".into(), path(&place.socket()), "--no-sync".into()];
    let (code, _, err) = run(&[args, vec!["--control".into(), path(&place.dir().join("c"))]].concat());
    assert!(code == 4 && err.contains("is held by a live service"), "{err}");
    let none: Vec<String> = vec![path(&place.dir().join("third")), "--no-sync".into()];
    let (code, _, err) = run(&[none, vec!["--control".into(), path(&place.dir().join("d"))]].concat());
    assert!(code == 2 && err.contains("has no socket"), "{err}");
}

/// Needs root, to have a user who may do less.
#[test]
fn a_start_that_needs_a_person_has_a_code_of_its_own() {
    let place = Place::new();
    std::fs::create_dir(place.home()).unwrap();
    std::fs::write(place.home().join("ring.meta"), "not a ring").unwrap();
    let (code, _, err) = run(&small(&place));
    assert!(code == 3 && err.contains("cannot open the ring"), "{code} {err}");
    std::fs::remove_dir_all(place.home()).unwrap();
    std::fs::write(place.socket(), "a file").unwrap();
    let (code, _, err) = run(&small(&place));
    assert!(code == 3 && err.contains("is no socket"), "{code} {err}");

    let other = Place::new();
    let mut command = std::process::Command::new("setpriv");
    command.args(["--reuid", "65534", "--regid", "65534", "--clear-groups"]);
    let output = command.arg(waldo_service().get_program()).args(small(&other)).output().unwrap();
    let err = String::from_utf8(output.stderr).unwrap();
    if err.contains("setpriv: ") {
        println!("left out: this user cannot become another (not root?)");
        return;
    }
    assert!(output.status.code() == Some(3) && err.contains("Permission denied"), "{err}");
    // The group is not that user's to give.
    std::os::unix::fs::chown(other.dir(), Some(65534), None).unwrap();
    let mut command = std::process::Command::new("setpriv");
    command.args(["--reuid", "65534", "--regid", "65534", "--clear-groups"]);
    command.arg(waldo_service().get_program()).args(small(&other)).args(["--group", "54322"]);
    let output = command.output().unwrap();
    let err = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.code() == Some(3) && err.contains("is no member of group 54322"), "{err}");
}

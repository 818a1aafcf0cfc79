//! The screen without a terminal.

use super::*;
use crate::lag::readers::{ReaderOrigin, ReaderRow};
use crate::lag::standing::{Fit, Standing};
use crate::top::crew::Delay;
use crate::top::figures::Figures;
use crate::top::growth::{Amount, Growth};
use crate::top::keys::Action;
use crate::top::readers::RankedReaders;
use crate::top::view::ScreenPart;
use ratatui::Terminal;
use ratatui::backend::TestBackend;
use ratatui::buffer::Buffer;
use ratatui::style::Color;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use waldo::reader::{ProcessState, Ring};
use waldo::writer::{Writer, WriterOptions};

/// A ring with three records, and what is known of it.
struct Shown {
    _place: tempfile::TempDir,
    home: PathBuf,
    status: waldo::reader::RingStatus,
}

impl Shown {
    fn new() -> Shown {
        let place = tempfile::Builder::new().prefix("waldo-top-").tempdir().unwrap();
        let home = place.path().join("ring");
        let options = WriterOptions::default().page_len(1 << 20).ring_size(4).remove_control(true);
        let mut writer = Writer::open(&home, options).unwrap();
        writer.append_payloads(&["one", "two", "three"]).unwrap();
        writer.close().unwrap();
        let status = Ring::attach(&home).unwrap().status().unwrap();
        Shown { _place: place, home, status }
    }

    fn figures(&self, readers: Vec<ReaderRow>) -> Figures {
        let mut figures = Figures::without_status("live", None);
        figures.status = Some(self.status.clone());
        figures.growth = Growth {
            smooth: Amount { records: 1234, bytes: 5 << 20 },
            last: Some((Amount { records: 50, bytes: 0 }, Duration::from_millis(500))),
            history: (0..100).collect(),
        };
        figures.disk_bytes = 3 << 20;
        figures.newest_ns = Some(1_000_000_000_000);
        figures.oldest_ns = Some(0);
        figures.readers = Some(Arc::new(RankedReaders::sorted(readers, 0, false)));
        figures
    }

    fn row(&self, figures: Figures) -> RingRow {
        RingRow { home: self.home.clone(), figures: Some(Arc::new(figures)), rights: None, delay: None }
    }
}

fn reader(name: &str, behind: u64) -> ReaderRow {
    ReaderRow {
        name: name.to_owned(),
        position: 10,
        standing: Standing { fit: Fit::Good, behind: Some(behind), waiting: None },
        reported: None,
        process: Some(ReaderOrigin { state: ProcessState::Live, pid: 4711, user: 1000 }),
    }
}

fn bare(home: &str, state: &'static str, note: Option<&str>) -> RingRow {
    let figures = Figures::without_status(state, note.map(str::to_owned));
    RingRow { home: home.into(), figures: Some(Arc::new(figures)), rights: None, delay: None }
}

fn scene(rows: &[RingRow]) -> Scene<'_> {
    Scene {
        rows,
        trouble: None,
        searched: true,
        now: SystemTime::UNIX_EPOCH + Duration::from_secs(1009),
        interval: Duration::from_secs(1),
        paint: Paint { colours: true },
    }
}

fn drawn(width: u16, height: u16, scene: &Scene<'_>, view: &mut View) -> Buffer {
    let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
    terminal.draw(|frame| view.extents = draw(frame, scene, view)).unwrap();
    terminal.backend().buffer().clone()
}

fn text(buffer: &Buffer) -> Vec<String> {
    let width = usize::from(buffer.area.width);
    let line = |cells: &[ratatui::buffer::Cell]| {
        let line: String = cells.iter().map(|cell| cell.symbol()).collect();
        line.trim_end().to_owned()
    };
    buffer.content.chunks(width).map(line).collect()
}

#[test]
fn a_ring_is_a_line_with_everything_that_there_is_room_for() {
    let shown = Shown::new();
    let rows = [shown.row(shown.figures(vec![reader("far", 77), reader("near", 1)]))];
    let lines = text(&drawn(200, 10, &scene(&rows), &mut View::default()));
    assert_eq!(lines[0], "waldo top: 1 ring, by path");
    assert_eq!(
        lines[1].split_whitespace().collect::<Vec<_>>().join(" "),
        "STATE RECORD RECORDS/S BYTES/S NOT DURABLE PAGES ON DISK OLDEST NEWEST READERS BEHIND RING"
    );
    let home = shown.home.display();
    assert_eq!(
        lines[2].split_whitespace().collect::<Vec<_>>().join(" "),
        format!("live 3 1,234 5.00 MiB 0 B 1/4 3.00 MiB 16m 49s 9s 2 77 {home}")
    );
    let narrow = text(&drawn(60, 10, &scene(&rows), &mut View::default()));
    assert!(narrow[1].contains("RECORDS/S") && !narrow[1].contains("OLDEST"), "{narrow:?}");
    assert!(narrow[2].ends_with("/ring") && narrow[2].contains("live") && narrow[2].contains('…'));
}

#[test]
fn what_is_the_matter_stands_in_the_line_and_nothing_of_it_is_obeyed() {
    let mut rows = [
        bare("/a\x1b[2J\t\u{202e}", "unreadable", Some("/a\x1b[2J\t\u{202e}: no\nsuch \x1b]0;thing\x07")),
        bare("/b", "removed", None),
        bare("/c", "live", None),
    ];
    rows[2].delay = Some(Delay::Answer(Duration::from_secs(12)));
    let lines = text(&drawn(120, 10, &scene(&rows), &mut View::default()));
    assert_eq!(lines[0], "waldo top: 3 rings, by path, 3 to look at");
    assert!(lines[2].starts_with("unreadable"), "{lines:?}");
    assert!(lines[2].ends_with("/a\\x1b[2J\\t\\u{202e}: no\\nsuch \\x1b]0;thing\\x07"), "{lines:?}");
    assert!(lines[3].starts_with("removed") && lines[3].ends_with("/b"), "{lines:?}");
    assert!(lines[4].starts_with("no answer") && lines[4].contains("12.00 s"), "{lines:?}");
    rows[2].delay = Some(Delay::Thread(Duration::from_secs(12)));
    let lines = text(&drawn(120, 10, &scene(&rows), &mut View::default()));
    assert!(lines[4].starts_with("waiting") && lines[4].contains("not looked at for 12.00 s"), "{lines:?}");
}

#[test]
fn the_pane_says_what_stat_says_and_shows_readers_by_lag() {
    let shown = Shown::new();
    let hostile = reader("\x1b[2Jevil\t", 5);
    let rows = [shown.row(shown.figures(vec![reader("near", 1), hostile, reader("far", 77)]))];
    let mut view = View::default();
    view.apply(Action::Pane, &mut rows.to_vec());
    let lines = text(&drawn(120, 40, &scene(&rows), &mut view));
    for (name, value) in crate::stat::rows(&shown.status, None) {
        let line = crate::stat::to_line(name, &value);
        assert!(lines.iter().any(|shown| shown == line.trim_end()), "{line} in {lines:?}");
    }
    assert!(lines.iter().any(|line| line == "now            100 records/s, 0 B/s"), "{lines:?}");
    assert!(lines.iter().any(|line| line.starts_with("records/s: 1,234 now, 99 at most")), "{lines:?}");
    assert!(lines.iter().any(|line| line.contains('█')), "{lines:?}");
    let at = |name: &str| lines.iter().position(|line| line.starts_with(name)).unwrap();
    assert!(at("far") < at("\\x1b[2Jevil\\t") && at("\\x1b[2Jevil\\t") < at("near"), "{lines:?}");
}

#[test]
fn readers_are_scrolled_and_the_part_with_the_keys_has_the_room() {
    let shown = Shown::new();
    let readers = (0..500).map(|n| reader(&format!("r{n}"), 1000 - n)).collect();
    let rows = [shown.row(shown.figures(readers))];
    let mut view = View::default();
    view.apply(Action::Next, &mut rows.to_vec());
    assert_eq!(view.part, ScreenPart::Figures);
    let count = |lines: &[String]| lines.iter().filter(|line| line.contains("4711")).count();
    let figures_first = text(&drawn(100, 30, &scene(&rows), &mut view));
    view.apply(Action::Next, &mut rows.to_vec());
    let readers_first = text(&drawn(100, 30, &scene(&rows), &mut view));
    assert!(count(&figures_first) >= 2 && count(&readers_first) > count(&figures_first));
    view.apply(Action::Last, &mut rows.to_vec());
    let lines = text(&drawn(100, 30, &scene(&rows), &mut view));
    assert!(lines.iter().any(|line| line.starts_with("r499 ")), "{lines:?}");
    assert!(lines.iter().any(|line| line.contains("READERS (4") && line.contains("of 500)")), "{lines:?}");
    view.apply(Action::Lines(-1), &mut rows.to_vec());
    let lines = text(&drawn(100, 30, &scene(&rows), &mut view));
    assert!(!lines.iter().any(|line| line.starts_with("r499 ")), "{lines:?}");
}

/// Whatever is open, however small or wide the terminal.
#[test]
fn no_terminal_is_too_small() {
    let shown = Shown::new();
    let readers = || (0..9).map(|n| reader(&format!("漢字{n}"), n)).collect();
    let full = [
        shown.row(shown.figures(readers())),
        bare("/漢字/漢字", "unreadable", Some("why")),
        RingRow { home: "/new".into(), figures: None, rights: None, delay: None },
    ];
    for rows in [&full[..], &[]] {
        for (pane, help, part) in [
            (false, false, ScreenPart::Rings),
            (true, false, ScreenPart::Rings),
            (true, false, ScreenPart::Figures),
            (true, false, ScreenPart::Readers),
            (true, true, ScreenPart::Rings),
        ] {
            for row in 0..3 {
                let mut view = View { pane, help, part, row, ..View::default() };
                for width in (0..12).chain([40, 90, 300]) {
                    for height in 0..32 {
                        drawn(width, height, &scene(rows), &mut view);
                    }
                }
            }
        }
    }
}

#[test]
fn without_colours_there_are_none() {
    let shown = Shown::new();
    let mut rows = vec![
        shown.row(shown.figures(vec![reader("far", 77)])),
        bare(Path::new("/b").to_str().unwrap(), "removed", None),
    ];
    let mut view = View::default();
    view.apply(Action::Pane, &mut rows);
    let colours = |colours: bool, view: &mut View| {
        let scene = Scene { paint: Paint { colours }, ..scene(&rows) };
        let buffer = drawn(120, 40, &scene, view);
        buffer.content.iter().filter(|cell| (cell.fg, cell.bg) != (Color::Reset, Color::Reset)).count()
    };
    assert_eq!(colours(false, &mut view), 0);
    assert!(colours(true, &mut view) > 0);
}

#[test]
fn the_help_names_the_keys() {
    let mut view = View { help: true, ..View::default() };
    let lines = text(&drawn(100, 30, &scene(&[]), &mut view)).join("\n");
    for key in ["Enter", "Tab", "Esc", "PgUp", "WALDO"] {
        assert_eq!(lines.contains(key), key != "WALDO", "{lines}");
    }
}

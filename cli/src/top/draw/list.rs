//! The list of rings.

use super::Scene;
use super::table::{Column, Cut, TableRow, cut, lines, one_line};
use crate::top::crew::Delay;
use crate::top::figures::Figures;
use crate::top::rings::RingRow;
use crate::top::view::{Extent, View};
use ratatui::Frame;
use ratatui::layout::Rect;
use ratatui::text::Line;
use std::time::{Duration, SystemTime};
use waldo_terminal::units;

const COLUMNS: [Column; 12] = [
    Column::text("STATE", 0),
    Column::number("RECORD", 4),
    Column::number("RECORDS/S", 1),
    Column::number("BYTES/S", 2),
    Column::number("NOT DURABLE", 7),
    Column::number("PAGES", 8),
    Column::number("ON DISK", 9),
    Column::number("OLDEST", 10),
    Column::number("NEWEST", 6),
    Column::number("READERS", 5),
    Column::number("BEHIND", 3),
    Column::text("RING", 0),
];

/// The path of a ring is cut to this many columns before others are left out.
const PATH_MIN: usize = 24;

/// Draws the list, and gives what is seen of it.
pub fn draw(frame: &mut Frame<'_>, area: Rect, scene: &Scene<'_>, view: &View) -> Extent {
    let (width, room) = (usize::from(area.width), usize::from(area.height).saturating_sub(1));
    let extent = view.extents.rings.around(view.row, scene.rows.len(), room);
    if scene.rows.is_empty() {
        let text = match scene.searched {
            false => "looking for rings ...",
            true => "no rings with a control segment; name rings to see others: waldo top /var/lib/app/ring",
        };
        frame.render_widget(Line::styled(text, scene.paint.faint()), area);
        return extent;
    }
    let shown = &scene.rows[extent.shown()];
    let rows: Vec<TableRow> = shown.iter().map(|row| table_row(row, scene.now)).collect();
    let texts = lines(&COLUMNS, &rows, width, PATH_MIN);
    for (n, (text, y)) in texts.into_iter().zip(area.y..area.bottom()).enumerate() {
        let line_area = Rect { y, height: 1, ..area };
        let Some(row) = n.checked_sub(1).and_then(|n| shown.get(n)) else {
            frame.render_widget(Line::styled(text, scene.paint.title()), line_area);
            continue;
        };
        frame.render_widget(Line::raw(text), line_area);
        let state = state(row);
        let state_width = u16::try_from(state.len()).unwrap_or(u16::MAX);
        let state_area = Rect { width: state_width.min(area.width), ..line_area };
        frame.buffer_mut().set_style(state_area, scene.paint.state(state));
        if extent.first + n - 1 == view.row {
            frame.buffer_mut().set_style(line_area, scene.paint.chosen());
        }
    }
    extent
}

/// A word for how the ring is.
pub fn state(row: &RingRow) -> &'static str {
    match &row.figures {
        _ if matches!(row.delay, Some(Delay::Answer(_))) => "no answer",
        _ if row.delay.is_some() => "waiting",
        Some(figures) => figures.state,
        None => "",
    }
}

/// What is the matter with a ring, escaped; empty if nothing is.
pub fn note(row: &RingRow) -> String {
    match row.delay {
        Some(Delay::Answer(time)) => {
            return format!("a file of it has not answered for {}", units::duration(time));
        }
        Some(Delay::Thread(time)) => {
            return format!(
                "not looked at for {}: all threads have other rings to look at",
                units::duration(time)
            );
        }
        None => {}
    }
    let note = row.figures.as_ref().and_then(|figures| figures.note.as_deref()).unwrap_or_default();
    // The path is there already.
    let home = row.home.display();
    let note = note.replace(&format!("{home}: "), "").replace(&format!("{home}/"), "");
    one_line(&note)
}

fn table_row(row: &RingRow, now: SystemTime) -> TableRow {
    let home = one_line(&row.home.display().to_string());
    let (state, note) = (state(row).to_owned(), note(row));
    match row.figures.as_deref().filter(|figures| figures.status.is_some()) {
        None if note.is_empty() => TableRow::Words(state, home),
        None => TableRow::Words(state, format!("{home}: {note}")),
        Some(figures) => {
            let mut cells = vec![state];
            cells.extend(figure_cells(figures, now));
            if note.is_empty() {
                cells.push(home);
                return TableRow::CutAtPath(cells);
            }
            cells.push(format!("{}: {note}", cut(&home, PATH_MIN, Cut::Beginning)));
            TableRow::Cells(cells)
        }
    }
}

fn figure_cells(figures: &Figures, now: SystemTime) -> [String; 10] {
    let status = figures.status.as_ref();
    let smooth = figures.growth.smooth;
    let readers = figures.readers.as_deref();
    let told = |text: Option<String>| text.unwrap_or_else(|| "-".to_owned());
    [
        told(status.and_then(|status| status.tip_seq_no).map(|tip| tip.to_string())),
        units::count(smooth.records),
        units::bytes(smooth.bytes),
        told(status.map(|status| units::bytes(status.durable_lag_bytes()))),
        told(status.map(|status| format!("{}/{}", status.pages, status.ring_size))),
        units::bytes(figures.disk_bytes),
        told(figures.oldest_ns.map(|time_ns| age(time_ns, now))),
        told(figures.newest_ns.map(|time_ns| age(time_ns, now))),
        told(readers.filter(|readers| readers.trouble.is_none()).map(|readers| {
            let more = if readers.cut_short { "+" } else { "" };
            format!("{}{more}", units::count(readers.rows.len() as u64))
        })),
        told(readers.and_then(|readers| readers.worst())),
    ]
}

/// How long ago a record was appended. Whole seconds, and no more than two units: it changes all the time.
fn age(time_ns: u64, now: SystemTime) -> String {
    let then = SystemTime::UNIX_EPOCH + Duration::from_nanos(time_ns);
    let age = now.duration_since(then).unwrap_or_default().as_secs();
    match age {
        0..120 => format!("{age}s"),
        120..7200 => format!("{}m {}s", age / 60, age % 60),
        7200..172_800 => format!("{}h {}m", age / 3600, age % 3600 / 60),
        _ => format!("{}d {}h", age / 86400, age % 86400 / 3600),
    }
}

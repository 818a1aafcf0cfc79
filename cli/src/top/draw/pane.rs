//! The pane of the chosen ring: what `waldo stat` says, how fast the ring has grown, its readers.

use super::table::{Column, Cut, TableRow, cut, fold, lines};
use super::{Scene, list};
use crate::lag::readers::ReaderRow;
use crate::lag::table::{HEADER, cells};
use crate::stat;
use crate::top::figures::Figures;
use crate::top::readers::RankedReaders;
use crate::top::rings::RingRow;
use crate::top::view::{Extent, Extents, ScreenPart, View};
use ratatui::Frame;
use ratatui::layout::Rect;
use ratatui::text::Line;
use ratatui::widgets::Sparkline;
use std::time::Duration;
use waldo_terminal::escape::harmless_lines;
use waldo_terminal::units;

/// Columns of the readers that are left out first have the highest number.
const SPARE: [u8; 8] = [0, 0, 2, 1, 3, 4, 5, 6];

/// Lines of the picture, where there is room.
const BARS: u16 = 3;

/// Lines that the part without the keys keeps.
const LEAST: u16 = 4;

/// Draws the pane of the ring in `row`, and notes what is seen of it.
pub fn draw(
    frame: &mut Frame<'_>,
    area: Rect,
    scene: &Scene<'_>,
    view: &View,
    row: &RingRow,
    seen: &mut Extents,
) {
    let figures = row.figures.as_deref();
    let texts = figure_lines(row, usize::from(area.width));
    let readers = figures.and_then(|figures| figures.readers.as_deref());
    let [above, bars, below] = split(area, view.part, texts.len(), readers);
    let extent = view.extents.figures.fit(texts.len(), usize::from(above.height).saturating_sub(1));
    title(frame, above, scene, view.part == ScreenPart::Figures, "RING", extent);
    for (text, y) in texts[extent.shown()].iter().zip(above.y + 1..above.bottom()) {
        frame.render_widget(Line::raw(text.as_str()), Rect { y, height: 1, ..above });
    }
    seen.figures = extent;
    if let Some(figures) = figures.filter(|figures| figures.status.is_some()) {
        draw_bars(frame, bars, scene, figures);
    }
    seen.readers = draw_readers(frame, below, scene, view, readers);
}

/// Areas of figures, picture and readers. The part that has the keys gets what it needs, if that can be.
fn split(area: Rect, part: ScreenPart, figures: usize, readers: Option<&RankedReaders>) -> [Rect; 3] {
    let bars = if area.height > 3 * LEAST { BARS } else { 0 };
    let left = area.height - bars;
    let lines = |count: usize| u16::try_from(count).unwrap_or(u16::MAX);
    // Titles, and a line for who has none.
    let for_readers = lines(readers.map_or(0, |readers| readers.rows.len()).max(1)).saturating_add(2);
    let for_figures = lines(figures).saturating_add(1);
    let above = match part {
        ScreenPart::Readers => for_figures.min(left.saturating_sub(for_readers).max(left.min(LEAST))),
        _ => for_figures.min(left.saturating_sub(for_readers.min(LEAST))),
    };
    let at = |y: u16, height: u16| Rect { y: area.y + y, height, ..area };
    [at(0, above), at(above, bars), at(above + bars, left - above)]
}

fn title(frame: &mut Frame<'_>, area: Rect, scene: &Scene<'_>, has_keys: bool, text: &str, extent: Extent) {
    if area.height == 0 {
        return;
    }
    let shown = extent.shown();
    let part = if shown.len() < extent.lines {
        format!(" ({} to {} of {})", shown.start + 1, shown.end, units::count(extent.lines as u64))
    } else {
        String::new()
    };
    let text = format!("── {text}{part} ");
    let rule = "─".repeat(usize::from(area.width).saturating_sub(super::table::text_width(&text)));
    let style = if has_keys { scene.paint.title() } else { scene.paint.faint() };
    frame.render_widget(Line::styled(text + &rule, style), Rect { height: 1, ..area });
}

/// What `waldo stat` says, and what is the matter.
fn figure_lines(row: &RingRow, width: usize) -> Vec<String> {
    let mut texts = Vec::new();
    let note = list::note(row);
    if !note.is_empty() {
        texts.extend(fold(&stat::to_line("note", &note), width));
    }
    let Some(figures) = row.figures.as_deref() else { return texts };
    let mut rows = figures
        .status
        .as_ref()
        .map(|status| stat::rows(status, figures.rights.as_deref()))
        .unwrap_or_default();
    if let Some((amount, time)) = figures.growth.last.filter(|_| figures.status.is_some()) {
        rows.push(("now", stat::rate(amount.records, amount.bytes, time)));
    }
    for (name, value) in rows {
        texts.push(stat::to_line(name, &value));
    }
    let texts = texts.iter().map(|text| harmless_lines(text.trim_end()).replace('\t', "\\t"));
    texts.map(|text| cut(&text, width, Cut::End)).collect()
}

fn draw_bars(frame: &mut Frame<'_>, area: Rect, scene: &Scene<'_>, figures: &Figures) {
    if area.height < 2 {
        return;
    }
    let history = &figures.growth.history;
    let shown = &history[history.len().saturating_sub(usize::from(area.width))..];
    let most = shown.iter().max().copied().unwrap_or(0);
    let time = scene.interval.saturating_mul(u32::try_from(shown.len()).unwrap_or(u32::MAX));
    let time = Duration::from_secs(time.as_secs_f64().round() as u64);
    let text = format!(
        "records/s: {} now, {} at most in the last {}",
        units::count(figures.growth.smooth.records),
        units::count(most),
        humantime::format_duration(time)
    );
    frame.render_widget(Line::styled(text, scene.paint.faint()), Rect { height: 1, ..area });
    let bars = Rect { y: area.y + 1, height: area.height - 1, ..area };
    frame.render_widget(Sparkline::default().data(shown).style(scene.paint.bars()), bars);
}

fn draw_readers(
    frame: &mut Frame<'_>,
    area: Rect,
    scene: &Scene<'_>,
    view: &View,
    readers: Option<&RankedReaders>,
) -> Extent {
    let rows = readers.map_or(&[][..], |readers| &readers.rows);
    let extent = view.extents.readers.fit(rows.len(), usize::from(area.height).saturating_sub(2));
    let heading = format!("READERS{}", readers.map(left_out).unwrap_or_default());
    title(frame, area, scene, view.part == ScreenPart::Readers, &heading, extent);
    let below = Rect { y: area.y + area.height.min(1), height: area.height.saturating_sub(1), ..area };
    if below.height == 0 {
        return extent;
    }
    if rows.is_empty() {
        let text = match readers.and_then(|readers| readers.trouble.as_deref()) {
            Some(trouble) => harmless_lines(trouble),
            None => "no reader says where it is: `waldo tail --name NAME` does".to_owned(),
        };
        frame.render_widget(Line::styled(text, scene.paint.faint()), Rect { height: 1, ..below });
        return extent;
    }
    let columns: Vec<Column> = (0..HEADER.len())
        .map(|n| if (2..=6).contains(&n) { Column::number } else { Column::text }(HEADER[n], SPARE[n]))
        .collect();
    let shown = &rows[extent.shown()];
    let cells: Vec<TableRow> = shown.iter().map(table_row).collect();
    let texts = lines(&columns, &cells, usize::from(area.width), 12);
    for (n, (text, y)) in texts.into_iter().zip(below.y..below.bottom()).enumerate() {
        let style = match n.checked_sub(1).and_then(|n| shown.get(n)) {
            None => scene.paint.title(),
            Some(row) if row.standing.is_lost() || row.state() == "dead" => scene.paint.alarm(),
            Some(_) => scene.paint.state(""),
        };
        frame.render_widget(Line::styled(text, style), Rect { y, height: 1, ..below });
    }
    extent
}

/// As `waldo lag` tells it.
fn left_out(readers: &RankedReaders) -> String {
    let mut text = String::new();
    if readers.unusable > 0 {
        text.push_str(&format!(", {} files left out that are no reports", units::count(readers.unusable)));
    }
    if readers.cut_short {
        text.push_str(", not all shown");
    }
    text
}

fn table_row(row: &ReaderRow) -> TableRow {
    TableRow::Cells(cells(row).map(|cell| cell.replace('\t', "\\t")).to_vec())
}

//! Draws the screen, from the known figures and the chosen view alone.

mod help;
mod list;
pub mod paint;
mod pane;
mod table;
#[cfg(test)]
mod tests;

use super::rings::RingRow;
use super::view::{Extents, View};
use paint::Paint;
use ratatui::Frame;
use ratatui::layout::Rect;
use ratatui::text::Line;
use std::time::{Duration, SystemTime};

/// What is known.
pub struct Scene<'a> {
    /// The rings, in order.
    pub rows: &'a [RingRow],
    /// Why rings cannot be looked for.
    pub trouble: Option<&'a str>,
    /// Whether all rings have been found that there were.
    pub searched: bool,
    /// When that was.
    pub now: SystemTime,
    /// Time between two looks.
    pub interval: Duration,
    /// How things look.
    pub paint: Paint,
}

/// Lines that the list keeps beside an open pane, title included.
const LIST_MIN: u16 = 4;

/// Draws the screen. Gives what is seen of each part.
pub fn draw(frame: &mut Frame<'_>, scene: &Scene<'_>, view: &View) -> Extents {
    let area = frame.area();
    let mut seen = view.extents;
    if area.height == 0 || area.width == 0 {
        return seen;
    }
    // A screen of a few lines has the rings, and nothing around them.
    let around = u16::from(area.height >= 5);
    let inner = Rect { y: area.y + around, height: area.height - 2 * around, ..area };
    if around > 0 {
        draw_edges(frame, area, scene, view);
    }
    if view.help {
        help::draw(frame, inner, scene);
        return seen;
    }
    let row = scene.rows.get(view.row).filter(|_| view.pane);
    let wanted = u16::try_from(scene.rows.len()).unwrap_or(u16::MAX).saturating_add(1);
    let list_height = match row {
        Some(_) => wanted.min((inner.height / 4).max(LIST_MIN)).min(inner.height),
        None => inner.height,
    };
    seen.rings = list::draw(frame, Rect { height: list_height, ..inner }, scene, view);
    if let Some(row) = row {
        let below = Rect { y: inner.y + list_height, height: inner.height - list_height, ..inner };
        pane::draw(frame, below, scene, view, row, &mut seen);
    }
    seen
}

fn draw_edges(frame: &mut Frame<'_>, area: Rect, scene: &Scene<'_>, view: &View) {
    let alarming = scene.rows.iter().filter(|row| {
        row.delay.is_some() || row.figures.as_ref().is_some_and(|figures| figures.is_alarming())
    });
    let count = match scene.rows.len() {
        1 => "1 ring".to_owned(),
        count => format!("{count} rings"),
    };
    let mut text = format!("waldo top: {count}, by {}", view.sort.word());
    let alarming = alarming.count();
    if alarming > 0 {
        text.push_str(&format!(", {alarming} to look at"));
    }
    let top = Rect { height: 1, ..area };
    match scene.trouble {
        Some(trouble) => frame.render_widget(Line::styled(trouble, scene.paint.alarm()), top),
        None => frame.render_widget(Line::styled(text, scene.paint.title()), top),
    }
    let keys = match (view.help, view.pane) {
        (true, _) => "any key: go on  q: leave",
        (false, true) => "q: leave  Enter: close  Tab: next part  arrows: move  s: sort  ?: help",
        (false, false) => "q: leave  Enter: open  arrows: choose  s: sort  ?: help",
    };
    let bottom = Rect { y: area.bottom() - 1, height: 1, ..area };
    frame.render_widget(Line::styled(keys, scene.paint.faint()), bottom);
}

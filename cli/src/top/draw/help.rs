//! The help: the keys, and the meaning of the columns.

use super::Scene;
use ratatui::Frame;
use ratatui::layout::Rect;
use ratatui::text::Line;

const TEXT: &str = "\
Keys
  up, down, j, k      choose a ring, or scroll the part that has the keys
  PgUp, PgDn, g, G    a page; to the first, to the last
  Enter               open and close what is known of the chosen ring
  Tab, Shift-Tab      list, figures, readers: which of them the keys move
  s                   another order: path, records/s, bytes/s, behind
  Ctrl-L, Ctrl-Z      draw all again; suspend
  q, Esc              leave

Columns
  RECORD       number of the newest record
  RECORDS/S    mean of the last three seconds; so is BYTES/S, of payload
  NOT DURABLE  what a power cut would take
  PAGES        in the ring, of how many
  OLDEST       how long ago the oldest record was appended; so is NEWEST
  READERS      those that make themselves seen; BEHIND: how far the worst is";

/// Draws it over all of `area`.
pub fn draw(frame: &mut Frame<'_>, area: Rect, scene: &Scene<'_>) {
    for (text, y) in TEXT.lines().zip(area.y..area.bottom()) {
        let style = if text.starts_with(' ') { ratatui::style::Style::new() } else { scene.paint.title() };
        frame.render_widget(Line::styled(text, style), Rect { y, height: 1, ..area });
    }
}

//! The chosen view: which ring, in which order, and which part of the screen has the keys.

use super::keys::Action;
use super::rings::RingRow;
use std::cmp::Reverse;
use std::path::{Path, PathBuf};

/// The order of the rings.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Sort {
    /// By path.
    #[default]
    Path,
    /// Those that take most records a second first.
    Records,
    /// Those that take most bytes a second first.
    Bytes,
    /// Those first whose worst reader is furthest behind.
    Behind,
}

/// Parts of the screen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ScreenPart {
    /// The list of rings.
    #[default]
    Rings,
    /// What `waldo stat` says of the chosen one.
    Figures,
    /// Its readers.
    Readers,
}

/// How much there was to show of a part, and room for it, when it was drawn last.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Extent {
    /// Lines that there are.
    pub lines: usize,
    /// Lines that there is room for.
    pub room: usize,
    /// The first line that was shown.
    pub first: usize,
}

/// Those of all parts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Extents {
    /// The list.
    pub rings: Extent,
    /// The figures.
    pub figures: Extent,
    /// The readers.
    pub readers: Extent,
}

/// What is looked at.
#[derive(Debug, Default)]
pub struct View {
    /// The chosen ring.
    pub chosen: Option<PathBuf>,
    /// Its line.
    pub row: usize,
    /// The first line that is shown of each part.
    pub extents: Extents,
    /// The chosen ring's pane is open.
    pub pane: bool,
    /// What the keys move. The list, if there is no pane.
    pub part: ScreenPart,
    /// The order of the rings.
    pub sort: Sort,
    /// The keys are explained.
    pub help: bool,
}

impl View {
    /// Puts the rings in order, and finds the chosen one again. Where that has gone, the one in its place is
    /// chosen.
    pub fn arrange(&mut self, rows: &mut [RingRow]) {
        rows.sort_by_cached_key(|row| (Reverse(self.sort.rank(row)), row.home.clone()));
        let same = rows.iter().position(|row| Some(&row.home) == self.chosen.as_ref());
        self.choose(same.unwrap_or(self.row), rows);
    }

    /// Does what a key asks for. `false`: it asks to leave.
    pub fn apply(&mut self, action: Action, rows: &mut [RingRow]) -> bool {
        if self.help {
            // Whatever it is, it was pressed to get on.
            self.help = false;
            return action != Action::Leave;
        }
        match action {
            Action::Leave | Action::Escape => return false,
            Action::Help => self.help = true,
            Action::Sort => {
                self.sort = self.sort.next();
                self.arrange(rows);
            }
            Action::Pane => {
                self.pane = !self.pane;
                self.part = ScreenPart::Rings;
            }
            Action::Next => self.switch([ScreenPart::Figures, ScreenPart::Readers, ScreenPart::Rings]),
            Action::Back => self.switch([ScreenPart::Readers, ScreenPart::Rings, ScreenPart::Figures]),
            Action::Lines(by) => self.go(rows, |extent| step(extent, by)),
            Action::Pages(by) => {
                self.go(rows, |extent| {
                    step(extent, by.saturating_mul(i32::try_from(extent.room).unwrap_or(i32::MAX)))
                });
            }
            Action::First => self.go(rows, |_| 0),
            Action::Last => self.go(rows, |_| usize::MAX),
            Action::Interrupt | Action::Suspend | Action::Redraw => {}
        }
        true
    }

    /// The ring whose pane is open.
    pub fn opened(&self) -> Option<&Path> {
        self.chosen.as_deref().filter(|_| self.pane)
    }

    /// To the part that follows the present one; `after` has those that follow list, figures, readers.
    fn switch(&mut self, after: [ScreenPart; 3]) {
        self.pane = true;
        self.part = after[self.part as usize];
    }

    fn go(&mut self, rows: &[RingRow], to: impl Fn(Extent) -> usize) {
        match self.part {
            ScreenPart::Rings => {
                let row = to(Extent { first: self.row, ..self.extents.rings });
                self.choose(row, rows);
            }
            ScreenPart::Figures => scroll(&mut self.extents.figures, to),
            ScreenPart::Readers => scroll(&mut self.extents.readers, to),
        }
    }

    fn choose(&mut self, row: usize, rows: &[RingRow]) {
        self.row = row.min(rows.len().saturating_sub(1));
        let chosen = rows.get(self.row).map(|row| row.home.clone());
        if chosen != self.chosen {
            self.chosen = chosen;
            (self.extents.figures.first, self.extents.readers.first) = (0, 0);
        }
    }
}

impl Extent {
    /// The part of `lines` lines that is shown with this much room: as before, if that can be.
    pub fn fit(self, lines: usize, room: usize) -> Extent {
        Extent { lines, room, first: self.first.min(lines.saturating_sub(room)) }
    }

    /// The same, so that the line `row` is seen.
    pub fn around(self, row: usize, lines: usize, room: usize) -> Extent {
        let first = self.first.clamp((row + 1).saturating_sub(room.max(1)), row);
        Extent { first, ..self }.fit(lines, room)
    }

    /// The lines that are shown.
    pub fn shown(self) -> std::ops::Range<usize> {
        self.first..self.lines.min(self.first.saturating_add(self.room))
    }
}

fn step(extent: Extent, by: i32) -> usize {
    let amount = usize::try_from(by.unsigned_abs()).unwrap_or(usize::MAX);
    if by < 0 { extent.first.saturating_sub(amount) } else { extent.first.saturating_add(amount) }
}

fn scroll(extent: &mut Extent, to: impl Fn(Extent) -> usize) {
    extent.first = to(*extent);
    *extent = extent.fit(extent.lines, extent.room);
}

impl Sort {
    /// A word for it.
    pub fn word(self) -> &'static str {
        match self {
            Sort::Path => "path",
            Sort::Records => "records/s",
            Sort::Bytes => "bytes/s",
            Sort::Behind => "behind",
        }
    }

    fn next(self) -> Sort {
        match self {
            Sort::Path => Sort::Records,
            Sort::Records => Sort::Bytes,
            Sort::Bytes => Sort::Behind,
            Sort::Behind => Sort::Path,
        }
    }

    fn rank(self, row: &RingRow) -> (bool, u64) {
        let Some(figures) = &row.figures else { return (false, 0) };
        match self {
            Sort::Path => (false, 0),
            Sort::Records => (false, figures.growth.smooth.records),
            Sort::Bytes => (false, figures.growth.smooth.bytes),
            Sort::Behind => figures.readers.as_ref().map_or((false, 0), |readers| readers.rank()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::top::figures::Figures;
    use crate::top::growth::{Amount, Growth};
    use std::sync::Arc;

    fn row(home: &str, records: u64) -> RingRow {
        let smooth = Amount { records, bytes: 1000 - records };
        let mut figures = Figures::without_status("live", None);
        figures.growth = Growth { smooth, ..Growth::default() };
        RingRow { home: home.into(), figures: Some(Arc::new(figures)), rights: None, delay: None }
    }

    fn order(rows: &[RingRow]) -> Vec<&str> {
        rows.iter().map(|row| row.home.to_str().unwrap()).collect()
    }

    #[test]
    fn the_chosen_ring_stays_chosen_wherever_it_goes() {
        let mut rows = vec![row("b", 3), row("a", 2), row("c", 1)];
        let mut view = View::default();
        view.arrange(&mut rows);
        assert_eq!((order(&rows), view.row), (vec!["a", "b", "c"], 0));
        assert!(view.apply(Action::Sort, &mut rows));
        assert_eq!((order(&rows), view.row), (vec!["b", "a", "c"], 1));
        assert!(view.apply(Action::Sort, &mut rows));
        assert_eq!((order(&rows), view.row), (vec!["c", "a", "b"], 1));
        // Its neighbour takes its place when it goes.
        rows.remove(1);
        view.arrange(&mut rows);
        assert_eq!((view.row, view.chosen.as_deref()), (1, Some("b".as_ref())));
        view.arrange(&mut []);
        assert_eq!((view.row, view.chosen.as_deref()), (0, None));
    }

    #[test]
    fn keys_move_the_part_that_has_them_and_no_further_than_there_is() {
        let mut rows = vec![row("a", 1), row("b", 2), row("c", 3)];
        let mut view = View::default();
        view.arrange(&mut rows);
        view.apply(Action::Lines(-1), &mut rows);
        assert_eq!(view.row, 0);
        for _ in 0..9 {
            view.apply(Action::Lines(1), &mut rows);
        }
        assert_eq!(view.row, 2);
        view.apply(Action::First, &mut rows);
        view.apply(Action::Back, &mut rows);
        assert_eq!((view.pane, view.part), (true, ScreenPart::Readers));
        view.extents.readers = Extent { lines: 30, room: 10, first: 0 };
        for (action, first) in [
            (Action::Lines(2), 2),
            (Action::Pages(1), 12),
            (Action::Last, 20),
            (Action::Lines(1), 20),
            (Action::Pages(-1), 10),
            (Action::First, 0),
        ] {
            view.apply(action, &mut rows);
            assert_eq!((view.extents.readers.first, view.row), (first, 0), "{action:?}");
        }
        view.apply(Action::Last, &mut rows);
        view.apply(Action::Next, &mut rows);
        view.apply(Action::Lines(1), &mut rows);
        assert_eq!((view.part, view.row, view.extents.readers.first), (ScreenPart::Rings, 1, 0));
        view.apply(Action::Pane, &mut rows);
        assert!(!view.pane);
    }

    #[test]
    fn escape_leaves_what_is_open_first() {
        let mut view = View::default();
        assert!(view.apply(Action::Help, &mut []) && view.help);
        assert!(view.apply(Action::Escape, &mut []) && !view.help);
        assert!(!view.apply(Action::Escape, &mut []) && !view.apply(Action::Leave, &mut []));
        view.help = true;
        assert!(!view.apply(Action::Leave, &mut []));
    }

    #[test]
    fn the_chosen_line_is_always_seen() {
        for lines in 0..12 {
            for room in 0..12 {
                for first in 0..12 {
                    for row in 0..lines {
                        let extent = Extent { first, ..Extent::default() }.around(row, lines, room);
                        assert!(room == 0 || extent.shown().contains(&row), "{lines} {room} {first} {row}");
                    }
                }
            }
        }
    }
}

//! Tables that leave out columns where there is no room for all of them.

use ratatui::text::Span;
use waldo_terminal::escape::harmless;

/// Between two columns.
const GAP: usize = 2;

/// A column.
#[derive(Clone, Copy, Debug)]
pub struct Column {
    /// What it is called.
    pub title: &'static str,
    /// Numbers are at the right.
    pub right: bool,
    /// Columns with a higher number are left out first; 0 never is.
    pub spare: u8,
}

/// What stands in a line.
#[derive(Clone, Debug)]
pub enum TableRow {
    /// A cell in each column.
    Cells(Vec<String>),
    /// The same; of the last one the beginning is cut if it is too long: that of a path tells least.
    CutAtPath(Vec<String>),
    /// One in the first column, and a text behind it that takes the place of all others.
    Words(String, String),
}

impl TableRow {
    fn cell(&self, n: usize) -> Option<&str> {
        match self {
            TableRow::Cells(cells) | TableRow::CutAtPath(cells) => cells.get(n).map(String::as_str),
            TableRow::Words(first, _) => (n == 0).then_some(first),
        }
    }
}

/// What of a text goes that there is no room for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cut {
    /// Its end.
    End,
    /// Its beginning: that of a path tells least.
    Beginning,
}

impl Column {
    /// Text at the left.
    pub const fn text(title: &'static str, spare: u8) -> Column {
        Column { title, right: false, spare }
    }

    /// Text at the right.
    pub const fn number(title: &'static str, spare: u8) -> Column {
        Column { title, right: true, spare }
    }
}

/// The title's line and one for each row, none wider than `width`. Columns that are never left out keep
/// `elastic_min` at least of what they need, until there are no others.
pub fn lines(columns: &[Column], rows: &[TableRow], width: usize, elastic_min: usize) -> Vec<String> {
    let needed = |n: usize| {
        let cells = rows.iter().filter_map(|row| row.cell(n));
        cells.map(text_width).chain([text_width(columns[n].title)]).max().unwrap_or(0)
    };
    let mut kept: Vec<(usize, usize)> = (0..columns.len()).map(|n| (n, needed(n))).collect();
    let least = |(n, width): &(usize, usize)| {
        let title = text_width(columns[*n].title);
        if columns[*n].spare == 0 { (*width).min(elastic_min.max(title)) } else { *width }
    };
    let total = |kept: &[(usize, usize)]| kept.iter().map(|column| least(column) + GAP).sum::<usize>();
    while total(&kept) > width + GAP {
        let sparest = kept.iter().enumerate().max_by_key(|(_, (n, _))| columns[*n].spare);
        match sparest.map(|(at, (n, _))| (at, columns[*n].spare)) {
            Some((at, 1..)) => kept.remove(at),
            _ => break,
        };
    }
    // What is left goes to those that may need more, the first of them first.
    let mut left = (width + GAP).saturating_sub(total(&kept));
    for column in &mut kept {
        let more = (column.1 - least(column)).min(left);
        column.1 = least(column) + more;
        left -= more;
    }
    let titles = TableRow::Cells(columns.iter().map(|column| column.title.to_owned()).collect());
    std::iter::once(&titles).chain(rows).map(|row| line(columns, &kept, row, width)).collect()
}

/// A row, in columns of these widths.
fn line(columns: &[Column], kept: &[(usize, usize)], row: &TableRow, width: usize) -> String {
    let pad = |n: usize, room: usize| {
        let is_path = matches!(row, TableRow::CutAtPath(_)) && n + 1 == columns.len();
        let how = if is_path { Cut::Beginning } else { Cut::End };
        let text = cut(row.cell(n).unwrap_or_default(), room, how);
        let space = " ".repeat(room.saturating_sub(text_width(&text)));
        if columns[n].right { space + &text } else { text + &space }
    };
    let gap = " ".repeat(GAP);
    let line = match (row, kept.first()) {
        (TableRow::Words(_, words), Some((n, room))) => pad(*n, *room) + &gap + words,
        _ => kept.iter().map(|(n, room)| pad(*n, *room)).collect::<Vec<_>>().join(&gap),
    };
    cut(line.trim_end(), width, Cut::End)
}

/// Other people's text for a line: nothing in it is obeyed, and a tab takes as many columns as are counted.
pub fn one_line(text: &str) -> String {
    harmless(&text.replace('\t', "\\t"))
}

/// How many columns of a terminal the text takes.
pub fn text_width(text: &str) -> usize {
    Span::raw(text).width()
}

/// The text, or as much of it as `width` columns hold, with a sign for what is left out.
pub fn cut(text: &str, width: usize, cut: Cut) -> String {
    if text_width(text) <= width {
        return text.to_owned();
    }
    let Some(room) = width.checked_sub(1) else { return String::new() };
    let fits = |chars: &mut dyn Iterator<Item = char>| {
        let mut taken = 0;
        chars
            .map_while(|char| {
                taken += text_width(char.encode_utf8(&mut [0; 4]));
                (taken <= room).then_some(char)
            })
            .collect::<Vec<_>>()
    };
    match cut {
        Cut::End => fits(&mut text.chars()).into_iter().chain(['…']).collect(),
        Cut::Beginning => {
            std::iter::once('…').chain(fits(&mut text.chars().rev()).into_iter().rev()).collect()
        }
    }
}

/// The text in lines of at most `width` columns, broken where there is a space if that can be.
pub fn fold(text: &str, width: usize) -> Vec<String> {
    let (mut lines, mut line) = (Vec::new(), String::new());
    for word in text.split(' ') {
        let mut word = word.to_owned();
        if !line.is_empty() && text_width(&line) + 1 + text_width(&word) > width {
            lines.push(std::mem::take(&mut line));
        }
        while line.is_empty() && text_width(&word) > width.max(2) {
            let mut head = String::new();
            for char in word.chars() {
                if text_width(&head) + text_width(char.encode_utf8(&mut [0; 4])) > width.max(2) {
                    break;
                }
                head.push(char);
            }
            word = word[head.len()..].to_owned();
            lines.push(head);
        }
        if !line.is_empty() {
            line.push(' ');
        }
        line.push_str(&word);
    }
    lines.push(line);
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    const COLUMNS: [Column; 4] = [
        Column::text("STATE", 0),
        Column::number("RECORD", 2),
        Column::number("DISK", 9),
        Column::text("RING", 0),
    ];

    fn shown(width: usize) -> Vec<String> {
        let row = ["live", "1,234", "64.0 MiB", "/var/lib/app/ring"].map(str::to_owned).to_vec();
        lines(&COLUMNS, &[TableRow::CutAtPath(row)], width, 8)
    }

    #[test]
    fn what_matters_least_is_left_out_first() {
        assert_eq!(
            shown(80),
            ["STATE  RECORD      DISK  RING", "live    1,234  64.0 MiB  /var/lib/app/ring"]
        );
        assert_eq!(shown(36), ["STATE  RECORD      DISK  RING", "live    1,234  64.0 MiB  …b/app/ring"]);
        assert_eq!(shown(28), ["STATE  RECORD  RING", "live    1,234  …lib/app/ring"]);
        assert_eq!(shown(16), ["STATE  RING", "live   …app/ring"]);
        for width in 0..80 {
            assert!(shown(width).iter().all(|line| text_width(line) <= width), "{width}");
        }
    }

    /// They need no columns, and make none wider.
    #[test]
    fn words_take_the_place_of_columns() {
        let row = ["live", "1", "2", "/ring"].map(str::to_owned).to_vec();
        let words = TableRow::Words("unreadable".to_owned(), "/other: there is no such thing".to_owned());
        assert_eq!(
            lines(&COLUMNS, &[TableRow::Cells(row), words], 40, 8)[1..],
            ["live             1     2  /ring", "unreadable  /other: there is no such th…"]
        );
    }

    #[test]
    fn text_is_cut_by_what_it_takes_on_the_screen() {
        assert_eq!(cut("漢字漢字", 5, Cut::End), "漢字…");
        assert_eq!(cut("漢字漢字", 4, Cut::Beginning), "…字");
        assert_eq!((cut("ab", 2, Cut::End), cut("ab", 0, Cut::End)), ("ab".to_owned(), String::new()));
        assert_eq!(fold("one two three", 7), ["one two", "three"]);
        assert_eq!(fold("/a/very/long/path: no", 8), ["/a/very/", "long/pat", "h: no"]);
        assert!(fold("漢字漢字", 0).iter().all(|line| text_width(line) <= 2));
    }
}

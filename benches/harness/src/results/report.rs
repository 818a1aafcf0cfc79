//! Results: tables on the terminal, the same with plots as a page of HTML, and everything as JSON.

mod html;
mod plot;

use super::machine::Machine;
use anyhow::Context;
use comfy_table::{CellAlignment, presets};
use serde::Serialize;
use serde_json::{Value, json};
use std::fs::Permissions;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use waldo_terminal::failure::{Usage, output_error};

/// What was measured, where and how.
#[derive(Clone, Debug)]
pub struct Report {
    /// What was measured, in a few words.
    pub title: String,
    /// The command line that gives this report again.
    pub command: String,
    /// Where it was measured.
    pub machine: Machine,
    /// What a reader has to know to understand the figures.
    pub notes: Vec<String>,
    /// Figures for people.
    pub tables: Vec<Table>,
    /// Only in the HTML.
    pub plots: Vec<Plot>,
    /// Figures for programs, only in the JSON.
    pub data: Value,
}

/// Figures in rows.
#[derive(Clone, Debug, Serialize)]
pub struct Table {
    /// What the rows are.
    pub caption: String,
    /// One for each column.
    pub head: Vec<String>,
    /// As many cells as the head has. The first one is a name, the others are figures, aligned to the right.
    pub rows: Vec<Vec<String>>,
}

/// Curves over one pair of axes.
#[derive(Clone, Debug, Serialize)]
pub struct Plot {
    /// What is to be seen.
    pub title: String,
    /// To the right.
    pub x: Axis,
    /// Upwards.
    pub y: Axis,
    /// Points that are not finite, or not positive on a logarithmic axis, are left out.
    pub series: Vec<Series>,
}

/// One axis of a plot.
#[derive(Clone, Debug, Serialize)]
pub struct Axis {
    /// Quantity and unit.
    pub label: String,
    /// Whether it is logarithmic.
    pub log: bool,
}

/// One curve. If its name ends with `floor`, it has the colour of the one before it, only weaker.
#[derive(Clone, Debug, Serialize)]
pub struct Series {
    /// For the legend.
    pub name: String,
    /// In the order in which they are connected.
    pub points: Vec<(f64, f64)>,
}

impl Axis {
    /// For the points of [`super::histogram::Latency::percentile_points`]: ticks say 90 %, 99 %, 99.9 % and
    /// so on.
    pub fn percentiles() -> Axis {
        Axis { label: plot::PERCENTILES.to_owned(), log: true }
    }
}

impl Table {
    /// As it looks on a terminal.
    pub fn to_text(&self) -> String {
        let mut table = comfy_table::Table::new();
        table.load_style(presets::UTF8_FULL_CONDENSED);
        table.set_header(&self.head);
        for row in &self.rows {
            table.add_row(row);
        }
        for column in table.column_iter_mut().skip(1) {
            column.set_cell_alignment(CellAlignment::Right);
        }
        let caption = if self.caption.is_empty() { String::new() } else { format!("{}\n", self.caption) };
        format!("{caption}{table}\n")
    }
}

impl Report {
    /// Prints machine, tables and notes to standard output.
    pub fn print(&self) -> anyhow::Result<()> {
        let mut text = String::new();
        for (name, value) in self.machine.lines() {
            text.push_str(&format!("{name:<12} {value}\n"));
        }
        for table in &self.tables {
            text.push('\n');
            text.push_str(&table.to_text());
        }
        if !self.notes.is_empty() {
            text.push('\n');
        }
        for note in &self.notes {
            text.push_str(&format!("- {note}\n"));
        }
        print(&text)
    }

    /// Everything, the points of the plots included.
    pub fn json(&self) -> Value {
        json!({
            "title": self.title,
            "command": self.command,
            "machine": self.machine,
            "notes": self.notes,
            "tables": self.tables,
            "plots": self.plots,
            "data": self.data,
        })
    }

    /// Prints everything as JSON to standard output.
    pub fn print_json(&self) -> anyhow::Result<()> {
        print(&format!("{:#}\n", self.json()))
    }

    /// Writes STEM.json and STEM.html, each as a whole or not at all, replacing what has these names; gives
    /// their paths.
    pub fn write(&self, stem: &Path) -> anyhow::Result<Vec<PathBuf>> {
        let files = [("json", format!("{:#}\n", self.json())), ("html", html::page(self)?)];
        files.into_iter().map(|(extension, text)| replace(with_extension(stem, extension), &text)).collect()
    }
}

/// Whether a report can be written there, to be asked before measuring for a long time.
pub fn check_stem(stem: &Path) -> anyhow::Result<()> {
    if stem.file_name().is_none() {
        return Err(Usage(format!(
            "{} names no file: --report takes a path without extension, as in results/today",
            stem.display()
        ))
        .into());
    }
    let dir = directory(stem);
    tempfile::tempfile_in(dir)
        .map(drop)
        .with_context(|| format!("cannot write a report into {}: name another place", dir.display()))
}

fn directory(path: &Path) -> &Path {
    path.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// Unlike the method of that name, this keeps what looks like an extension but is part of a name, as in
/// `v1.2`.
fn with_extension(stem: &Path, extension: &str) -> PathBuf {
    let mut name = stem.as_os_str().to_owned();
    name.push(".");
    name.push(extension);
    name.into()
}

fn replace(path: PathBuf, text: &str) -> anyhow::Result<PathBuf> {
    let write = || -> std::io::Result<()> {
        let mut file = tempfile::Builder::new()
            .prefix(".waldo-report-")
            // As the umask allows; a temporary file would be readable for its owner alone.
            .permissions(Permissions::from_mode(0o666))
            .tempfile_in(directory(&path))?;
        file.write_all(text.as_bytes())?;
        file.persist(&path)?;
        Ok(())
    };
    write().with_context(|| format!("cannot write {}", path.display()))?;
    Ok(path)
}

fn print(text: &str) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    out.write_all(text.as_bytes()).and_then(|()| out.flush()).map_err(output_error)
}

#[cfg(test)]
mod tests;

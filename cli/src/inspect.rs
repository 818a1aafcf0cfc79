//! `waldo inspect`: shows the files of a ring field by field, damaged or not. Never writes.

mod control;
mod fields;
mod meta;
mod page;

use crate::plain_file;
use anyhow::{Context, bail};
use std::fmt::Write as _;
use std::fs::File;
use std::io::Write as _;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use waldo_shm_protocol::{format, meta as meta_layout, names, page as page_layout, segment};
use waldo_terminal::escape::{harmless, harmless_lines};
use waldo_terminal::failure::{Outcome, Usage, output_error};

/// Decode the files of a ring, damaged or not.
///
/// Prints every field, and says what is wrong with it. Never writes anything.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  waldo inspect /var/tmp/ring                       metadata, control segment, and the pages there are
  waldo inspect /var/tmp/ring page 3 --records 20   page 3 and its first twenty records
  waldo inspect /var/tmp/ring control               the shared memory of the writer
  waldo inspect /some/where/page-0000000000000003   one file, wherever it is
  waldo inspect layout                              offset and size of every field of the format")]
pub struct Args {
    /// Directory of the ring, or a file; or the word `layout`.
    #[arg(value_name = "HOME|FILE|layout")]
    target: PathBuf,
    /// Which part of the ring.
    #[arg(value_enum)]
    part: Option<Part>,
    /// Id of the page, decimal or 0x-hexadecimal.
    #[arg(value_parser = parse_id, required_if_eq("part", "page"))]
    id: Option<u64>,
    /// How many records of a page to show.
    #[arg(long, value_name = "N", default_value_t = 5)]
    records: u64,
}

#[derive(Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Part {
    /// `ring.meta`.
    Meta,
    /// The control segment.
    Control,
    /// One page.
    Page,
}

fn parse_id(text: &str) -> Result<u64, String> {
    let parsed = match text.strip_prefix("0x") {
        Some(digits) => u64::from_str_radix(digits, 16),
        None => text.parse(),
    };
    parsed.map_err(|_| format!("`{text}` is no page id: write it like 12 or 0xc"))
}

/// Runs the command.
pub fn run(args: Args) -> anyhow::Result<Outcome> {
    let mut out = String::new();
    if args.target.as_os_str() == "layout" && args.part.is_none() {
        layouts(&mut out);
    } else if args.target.is_dir() {
        home(&args, &mut out)?;
    } else if args.part.is_some() {
        bail!(Usage(format!(
            "{} is not a directory, so it has no parts: name the file alone",
            args.target.display()
        )));
    } else {
        file(&args.target, plain_file::open_named(&args.target), args.records, &mut out)?;
    }
    std::io::stdout().write_all(harmless_lines(&out).as_bytes()).map_err(output_error)?;
    Ok(Outcome::Done)
}

fn layouts(out: &mut String) {
    for table in format::tables() {
        let _ = writeln!(out, "## {}, {} bytes\n\n{}", table.title, table.size, table.to_markdown());
    }
}

fn home(args: &Args, out: &mut String) -> anyhow::Result<()> {
    let home = &args.target;
    match (args.part, args.id) {
        (Some(Part::Meta), _) => file_in(home, names::META, 0, out),
        (Some(Part::Control), _) => control::linked(home, out),
        (Some(Part::Page), Some(id)) => file_in(home, &names::page(id), args.records, out),
        _ => overview(home, out),
    }
}

fn overview(home: &Path, out: &mut String) -> anyhow::Result<()> {
    let mut pages = Vec::new();
    let mut others = Vec::new();
    for entry in std::fs::read_dir(home).with_context(|| format!("cannot list {}", home.display()))? {
        let name = entry?.file_name().to_string_lossy().into_owned();
        match names::parse_page(&name) {
            Some(id) => pages.push((id, name)),
            None => others.push(name),
        }
    }
    pages.sort();
    others.sort();
    if pages.is_empty() && !others.iter().any(|name| name == names::META) {
        bail!("{} is not a ring: it has neither a {} nor pages", home.display(), names::META);
    }
    for part in [file_in(home, names::META, 0, out), control::linked(home, out)] {
        // One part that cannot be read is no reason not to show the others.
        if let Err(error) = part {
            let _ = writeln!(out, "! {error:#}\n");
        }
    }
    let _ = writeln!(out, "{} pages", pages.len());
    for (id, name) in &pages {
        let _ = writeln!(out, "  {name}  {}", page::one_line(&home.join(name), *id));
    }
    let _ = writeln!(out, "\nother files: {}", harmless(&others.join(", ")));
    Ok(())
}

/// Decodes a file of the ring in `home`.
fn file_in(home: &Path, name: &str, records: u64, out: &mut String) -> anyhow::Result<()> {
    let path = home.join(name);
    file(&path, plain_file::open(&path), records, out)
}

/// Decodes one file, whatever it is.
fn file(path: &Path, opened: std::io::Result<File>, records: u64, out: &mut String) -> anyhow::Result<()> {
    let file = opened.with_context(|| format!("cannot open {}", path.display()))?;
    let len = file.metadata().with_context(|| format!("cannot examine {}", path.display()))?.len();
    let mut magic = [0; 8];
    let got = read_up_to(&file, &mut magic).with_context(|| format!("cannot read {}", path.display()))?;
    let _ = writeln!(out, "{} ({len} bytes)", path.display());
    let name = path.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
    match &magic[..got] {
        m if *m == meta_layout::META_MAGIC || name == names::META => meta::show(path, &file, out),
        m if *m == page_layout::PAGE_MAGIC || *m == page_layout::PAGE_MAGIC_RETIRED => {
            page::show(path, &file, len, records, out)
        }
        m if *m == segment::SEGMENT_MAGIC.to_le_bytes() => control::show(path, file, out),
        b"waldo-co" => control::show_link(path, &file, out),
        _ if name.starts_with(names::PAGE_PREFIX) || name.starts_with(names::SCRATCH_PREFIX) => {
            page::show(path, &file, len, records, out)
        }
        _ => bail!(
            "{} is no file of a ring: it begins with none of their magic numbers ({})",
            path.display(),
            magic[..got].escape_ascii()
        ),
    }
}

/// Fills `buffer` as far as the file goes, from its beginning.
fn read_up_to(file: &File, buffer: &mut [u8]) -> std::io::Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match file.read_at(&mut buffer[filled..], filled as u64) {
            Ok(0) => break,
            Ok(n) => filled += n,
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}

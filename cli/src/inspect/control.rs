//! Decoding the control segment, from a private copy of its bytes, and the link that leads to it.

use super::fields;
use crate::plain_file;
use anyhow::{Context, bail};
use nix::fcntl::OFlag;
use nix::sys::mman::shm_open;
use nix::sys::stat::Mode;
use std::fmt::Write;
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;
use waldo_shm_protocol::layout::Table;
use waldo_shm_protocol::limits::SEGMENT_LEN_MAX;
use waldo_shm_protocol::link::{LINK_LEN_MAX, Link};
use waldo_shm_protocol::names;
use waldo_shm_protocol::segment::{
    COMMITTED_OFFSET, COUNTERS_OFFSET, CommittedLine, Counter, Counters, DURABLE_OFFSET, DurableLine,
    PageSlot, SEGMENT_MAGIC, SLOTS_OFFSET, STATUS_OFFSET, SegmentHeader, StatusLine,
};

/// Decodes the control segment that the link in `home` names.
pub fn linked(home: &Path, out: &mut String) -> anyhow::Result<()> {
    let path = home.join(names::LINK);
    let content = plain_file::open(&path)
        .and_then(|file| plain_file::beginning(&file, LINK_LEN_MAX))
        .with_context(|| format!("no control segment: cannot read {}", path.display()))?;
    match Link::parse(&content).with_context(|| format!("{} is damaged", path.display()))? {
        Link::Path(path) => {
            let file = plain_file::open(Path::new(&path))
                .with_context(|| format!("cannot open the control segment {path}"))?;
            show(Path::new(&path), file, out)
        }
        Link::Posix(name) => {
            let flags = OFlag::O_RDONLY | OFlag::O_CLOEXEC | OFlag::O_NONBLOCK | OFlag::O_NOFOLLOW;
            let file = shm_open(name.as_str(), flags, Mode::empty())
                .map_err(io::Error::from)
                .and_then(|fd| plain_file::plain(fd.into()))
                .with_context(|| format!("cannot open the control segment {name}"))?;
            let _ = writeln!(out, "shared memory {name}");
            decode(file, out)
        }
    }
}

/// Prints a link file.
pub fn show_link(path: &Path, file: &File, out: &mut String) -> anyhow::Result<()> {
    let bytes = plain_file::beginning(file, LINK_LEN_MAX)
        .with_context(|| format!("cannot read {}", path.display()))?;
    let _ = match Link::parse(&bytes) {
        Ok(link) => writeln!(out, "  {link:?}"),
        Err(fault) => writeln!(out, "  ! {fault}"),
    };
    Ok(())
}

/// Decodes the control segment in a file.
pub fn show(path: &Path, file: File, out: &mut String) -> anyhow::Result<()> {
    let _ = writeln!(out, "control segment {}", path.display());
    decode(file, out)
}

fn decode(file: File, out: &mut String) -> anyhow::Result<()> {
    let len = file.metadata().context("cannot examine the control segment")?.len();
    if len > SEGMENT_LEN_MAX {
        bail!("{len} bytes are too long for a control segment");
    }
    // The index slots, by far the largest part, are not shown and need not be read.
    let slots_end = SLOTS_OFFSET as u64 + 4096 * PageSlot::TABLE.size as u64;
    let mut bytes = Vec::new();
    file.take(slots_end).read_to_end(&mut bytes).context("cannot read the control segment")?;
    if bytes.get(..8) != Some(&SEGMENT_MAGIC.to_le_bytes()) {
        let _ = writeln!(out, "  ! wrong magic number: not a control segment, or not complete yet");
    }
    let at = |offset: usize| bytes.get(offset..).unwrap_or_default();
    fields::show(&SegmentHeader::TABLE, at(0), out);
    fields::show(&CommittedLine::TABLE, at(COMMITTED_OFFSET), out);
    fields::show(&DurableLine::TABLE, at(DURABLE_OFFSET), out);
    fields::show(&StatusLine::TABLE, at(STATUS_OFFSET), out);
    counters(at(COUNTERS_OFFSET), out);
    let page_slots = field(&SegmentHeader::TABLE, "page_slots", &bytes).unwrap_or(0);
    for slot in 0..page_slots.min(4096) as usize {
        let bytes = at(SLOTS_OFFSET + slot * PageSlot::TABLE.size);
        // A slot that was never used says nothing.
        if field(&PageSlot::TABLE, "page_id", bytes).unwrap_or(0) != 0 {
            let _ = writeln!(out, "  slot {slot}");
            fields::show(&PageSlot::TABLE, bytes, out);
        }
    }
    out.push('\n');
    Ok(())
}

fn counters(bytes: &[u8], out: &mut String) {
    let _ = writeln!(out, "  {} ({} bytes)", Counters::TABLE.title, Counters::TABLE.size);
    for (counter, name) in Counter::ALL {
        let word = bytes.get(counter as usize * 8..).and_then(|rest| rest.first_chunk::<8>());
        let value =
            word.map_or_else(|| "(beyond the end)".to_owned(), |w| u64::from_le_bytes(*w).to_string());
        let _ = writeln!(out, "    {name:<22} {value}");
    }
}

/// The number in a field of four or eight bytes.
fn field(table: &Table, name: &str, bytes: &[u8]) -> Option<u64> {
    let field = table.fields.iter().find(|field| field.name == name)?;
    let mut word = [0; 8];
    word.get_mut(..field.size)?.copy_from_slice(bytes.get(field.offset..field.offset + field.size)?);
    Some(u64::from_le_bytes(word))
}

//! Decoding `ring.meta`.

use super::fields;
use crate::plain_file;
use anyhow::Context;
use std::fmt::Write;
use std::fs::File;
use std::path::Path;
use waldo_shm_protocol::meta::{META_LEN, META_SLOT_LEN, Meta, RawMeta};

/// Prints both slots and which of them counts.
pub fn show(path: &Path, file: &File, out: &mut String) -> anyhow::Result<()> {
    let bytes =
        plain_file::beginning(file, META_LEN).with_context(|| format!("cannot read {}", path.display()))?;
    let _ = match Meta::check(&bytes) {
        Ok(meta) => writeln!(out, "  good; slot {} counts", meta.counter % 2),
        Err(fault) => writeln!(out, "  ! {fault}"),
    };
    for slot in 0..2 {
        let _ = writeln!(out, "  slot {slot}");
        fields::show(&RawMeta::TABLE, bytes.get(slot * META_SLOT_LEN..).unwrap_or_default(), out);
    }
    out.push('\n');
    Ok(())
}

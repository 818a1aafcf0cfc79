//! Checks before anything is made whether this machine can run the requested measurement.

use super::super::Args;
use super::super::payload::LEN_MIN;
use anyhow::{Context, bail};
use waldo_harness::processes::work_dir::WorkDir;
use waldo_harness::results::report;
use waldo_terminal::failure::Usage;
use waldo_terminal::units;

/// Pages that a ring takes beyond its size.
const EXTRA_PAGES: u64 = 3;

pub(super) fn check(args: &Args) -> anyhow::Result<()> {
    if args.size < LEN_MIN as u64 {
        return Err(
            Usage(format!("--size is {}, a record here has at least {LEN_MIN} bytes", args.size)).into()
        );
    }
    if args.size > args.page_size / 16 {
        return Err(Usage(format!(
            "--size is {}, too much for pages of {}: make --page-size at least 16 times as large",
            args.size,
            units::bytes(args.page_size)
        ))
        .into());
    }
    if args.sync_interval.is_zero() {
        return Err(
            Usage("a --sync-interval of 0 means that every append is durable: use --sync".into()).into()
        );
    }
    args.report.as_deref().map_or(Ok(()), report::check_stem)
}

pub(super) fn check_room(args: &Args, stage: &WorkDir) -> anyhow::Result<()> {
    let space = nix::sys::statvfs::statvfs(stage.place())
        .with_context(|| format!("cannot tell how much room there is in {}", stage.place().display()))?;
    let free = space.blocks_available().saturating_mul(space.fragment_size());
    let needed = (u64::from(args.ring_size) + EXTRA_PAGES).saturating_mul(args.page_size);
    if needed > free {
        bail!(
            "a ring of {} pages of {} takes {}, {} has {} left: name another place with --dir, or choose a smaller \
             --ring-size or --page-size",
            args.ring_size,
            units::bytes(args.page_size),
            units::bytes(needed),
            stage.place().display(),
            units::bytes(free)
        );
    }
    Ok(())
}

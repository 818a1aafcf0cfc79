//! `waldo tail`: prints the records of a ring, or hands them to a command.

mod args;
pub mod escape;
mod exec;
mod filter;
mod follow;
mod format;
mod outlet;
pub mod paint;
mod progress;
pub mod range;
mod seen;
mod start;
mod template;
mod watch;
mod words;

pub use args::Args;

use crate::attach::{Patience, attach, is_missing};
use crate::output::Output;
use exec::{Exec, Handful};
use filter::Filter;
use follow::Follower;
use format::{Format, Renderer};
use jiff::tz::TimeZone;
use outlet::Outlet;
use progress::Progress;
use range::Lines;
use seen::Seen;
use start::Start;
use std::io::IsTerminal;
use std::sync::Arc;
use std::time::Duration;
use waldo::reader::{AttachOptions, ReadError, ReaderOptions, Ring, Visibility};
use waldo_terminal::failure::{Outcome, Usage};
use waldo_terminal::interrupt::Interrupt;
use waldo_terminal::notice;
use watch::Watch;
use words::Overtaken;

/// How often a follower that continues with a new ring checks whether there is one.
const RETRY: Duration = Duration::from_secs(1);

/// Looks, and the time between them, whether an error comes of a ring that is being removed.
const REMOVAL_LOOKS: u32 = 10;
const REMOVAL_PAUSE: Duration = Duration::from_millis(100);

/// Runs the command.
pub fn run(args: Args) -> anyhow::Result<Outcome> {
    let terminal = args.printing.exec.is_none() && std::io::stdout().is_terminal();
    let filter = check(&args, terminal)?;
    let interrupt = Arc::new(Interrupt::install()?);
    let renderer = Renderer {
        format: args.printing.format.clone(),
        escapes: args.printing.escape.escapes(terminal),
        colours: args.printing.color.colours(terminal),
        highlight: filter.highlight(),
        zone: TimeZone::system(),
    };
    let (outlet, output) = match &args.printing.exec {
        Some(command) => (to_command(&args, command.clone(), &interrupt), None),
        None => {
            let out = Output::stdout(&interrupt)?;
            let output = out.descriptor()?;
            (Outlet::Stdout(out), Some(output))
        }
    };
    let following = args.following.follow || args.following.retry;
    let seen = Seen::new(args.following.name.clone());
    let watch = following.then(|| Watch::start(Arc::clone(&interrupt), output, seen.farewell()));
    let watch = watch.transpose()?;
    let progress = args.following.checkpoint.as_deref();
    let progress = progress.map(|path| Progress::new(path, args.following.checkpoint_every));
    let mut follower = Follower {
        outlet,
        renderer,
        filter,
        progress,
        seen,
        watch: watch.as_ref(),
        interrupt: &interrupt,
        until: args.which.until,
        left: args.which.count,
    };
    let result = follow_rings(&args, &mut follower, &interrupt);
    // What was read before an error is still printed, and counts.
    let finished = follower.finish();
    let outcome = result?;
    finished?;
    Ok(outcome)
}

/// What clap cannot see.
fn check(args: &Args, terminal: bool) -> anyhow::Result<Filter> {
    let which = &args.which;
    if matches!(which.lines, Some(Lines::From(_))) && (which.from.is_some() || which.since.is_some()) {
        return Err(
            Usage("`--lines +N` says where to begin, and so does --from or --since".to_owned()).into()
        );
    }
    if args.printing.format == Format::Raw && terminal && args.printing.escape.escapes(terminal) {
        return Err(Usage(
            "`--format raw` is binary, which a terminal may obey: send it into a pipe or a file (or say \
             --escape never)"
                .to_owned(),
        )
        .into());
    }
    Filter::new(which.grep.as_deref(), which.ignore_case, which.invert_match)
}

fn to_command<'a>(args: &Args, command: std::ffi::OsString, interrupt: &'a Interrupt) -> Outlet<'a> {
    Outlet::Command {
        exec: Exec { command, home: args.home.clone() },
        interrupt,
        input: Vec::new(),
        handful: Handful::default(),
        records_max: args.printing.exec_batch.unwrap_or(u64::MAX),
    }
}

/// Follows the ring, and with `--retry` those that take its place.
fn follow_rings(args: &Args, follower: &mut Follower<'_>, interrupt: &Interrupt) -> anyhow::Result<Outcome> {
    let retry = args.following.retry;
    let patience = args.following.wait.or(retry.then_some(Patience::Forever));
    let attaching = match retry {
        true => AttachOptions::default().check_interval(RETRY),
        false => AttachOptions::default(),
    };
    let options = ReaderOptions::default()
        .visibility(if args.which.durable { Visibility::Durable } else { Visibility::Committed })
        .integrity(args.checking.integrity())
        .on_lapped(args.following.on_lapped.into());
    let mut start = Start { args, options: &options, anew: false, waited: false };
    loop {
        let attached = attach(&args.home, &attaching, patience, interrupt, || follower.check_output())?;
        start.waited = attached.waited;
        let error = match follower.follow(&attached.ring, &start) {
            Err(error) if follower.follows() => explain_removal(&attached.ring, error, interrupt)?,
            other => return other,
        };
        if !matches!(error.downcast_ref(), Some(ReadError::Gone { .. } | ReadError::Replaced { .. })) {
            return Err(error);
        }
        if !retry {
            return Err(error);
        }
        follower.finish()?;
        notice!(
            "waldo: {}: the ring has been removed or replaced; waiting for the next one",
            args.home.display()
        );
        start.anew = true;
    }
}

/// The error, or, if it comes of the ring being removed, that. The files of a ring go one after the other,
/// and what a reader meets in between may look like damage.
fn explain_removal(
    ring: &Ring,
    error: anyhow::Error,
    interrupt: &Interrupt,
) -> anyhow::Result<anyhow::Error> {
    use ReadError::{Diverged, ForeignCheckpoint, Gone, Replaced};
    let home = ring.home().to_path_buf();
    let clear = match error.downcast_ref() {
        Some(Gone { .. } | Replaced { .. } | ForeignCheckpoint { .. } | Diverged { .. }) => true,
        Some(_) => false,
        None => !error.is::<Overtaken>(),
    };
    if clear {
        return Ok(error);
    }
    for _ in 0..REMOVAL_LOOKS {
        match Ring::attach(&home) {
            Ok(now) if now.ring_id() != ring.ring_id() => {
                let (ring_id, found) = (ring.ring_id(), now.ring_id());
                return Ok(ReadError::Replaced { home, ring_id, found }.into());
            }
            Err(error) if is_missing(&error) => return Ok(ReadError::Gone { home }.into()),
            _ => {}
        }
        if interrupt.sleep(REMOVAL_PAUSE)?.is_some() {
            break;
        }
    }
    Ok(error)
}

//! `waldo top`: rings and their readers, live on the whole screen.

mod crew;
mod discovery;
mod draw;
mod figures;
mod group;
mod growth;
mod keys;
mod readers;
mod rings;
mod screen;
mod stops;
mod turn;
mod view;
mod watched;

use crate::descriptors::raise_limit;
use crate::lag::report_directory;
use crate::repeat::parse_interval;
use crate::tail::paint::When;
use draw::paint::Paint;
use draw::{Scene, draw};
use group::{stop_group, stop_process};
use keys::Action;
use rings::{RingRow, Rings};
use screen::{Screen, Typed};
use std::io::{IsTerminal, stdin, stdout};
use std::path::PathBuf;
use std::time::{Duration, Instant, SystemTime};
use stops::Stops;
use view::View;
use waldo_terminal::failure::{Outcome, Usage};
use waldo_terminal::interrupt::{Interrupt, Ready};

/// Time between two frames, so that figures which come one after the other are drawn together.
const FRAME: Duration = Duration::from_millis(50);

/// Time between two frames that say of a ring how long it has not answered.
const SLOW: Duration = Duration::from_millis(500);

/// How long an escape is waited for more: those of a key come together, but for a slow line.
const KEY: Duration = Duration::from_millis(50);

/// Watch rings and their readers, live on the whole screen.
///
/// Without arguments, shows the rings that `waldo ls` would list: those with a writer, and those whose writer
/// was killed. Looks for new rings every two seconds, whatever --interval is. A named ring is shown whether
/// it exists or not.
///
/// Like any reader, the command needs only permission to read the files, and affects neither writer nor
/// readers. A ring that cannot be read says so in its line, and holds up no other ring.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  waldo top                                   the rings of this machine
  waldo top /var/tmp/ring /var/lib/app/ring   these
  waldo top --interval 0.2

Keys: up, down, j, k choose a ring; Enter opens what `waldo stat` says of it, its records a second and its readers, the
worst first; Tab goes on to the next part of the screen, so that the arrows scroll there; s sorts by path, records/s,
bytes/s, or how far the worst reader is behind; ? or h helps; Ctrl-Z suspends; q or Esc leaves.

Columns: RECORD is the newest record's number; RECORDS/S and BYTES/S, of payload, are means of three seconds, or of one
interval if that is longer; NOT DURABLE is how far durability is behind; PAGES those in the ring, of how many; OLDEST and
NEWEST how long ago these records were appended; READERS those that make themselves seen, and BEHIND how far the worst of
them is (`waldo lag`). A column for which there is no room is left out.

States: those of `waldo ls` (live, recovering, closed, failed, stalled, absent, unreadable), removed, no answer (a file
of the ring is being waited for), and waiting (all of 32 threads look at other rings).

Not for scripts: use `waldo stat --json`, `waldo lag --json` and `waldo ls --json`. The variable WALDO_READERS names
another place for the files of readers; with NO_COLOR there are no colours.

Exit codes: 0 left with q or Esc; 1 failure; 2 wrong usage, or no terminal; 128 + n ended by signal n (130 after Ctrl-C).")]
pub struct Args {
    /// Directories of rings.
    #[arg(value_name = "RING")]
    rings: Vec<PathBuf>,
    /// Seconds between two looks.
    #[arg(long, value_name = "SECONDS", default_value_t = 1.0, value_parser = parse_interval)]
    interval: f64,
}

/// Runs the command.
pub fn run(args: Args) -> anyhow::Result<Outcome> {
    require_terminal()?;
    // Each ring is an open directory.
    raise_limit();
    let interrupt = Interrupt::install()?;
    let stops = Stops::install()?;
    let interval = Duration::from_secs_f64(args.interval);
    let rings = Rings::new(&args.rings, report_directory(), interval)?;
    let mut screen = Screen::enter(&interrupt)?;
    let paint = Paint { colours: When::Auto.colours(true) };
    let top = Top {
        interrupt: &interrupt,
        stops: &stops,
        rings,
        rows: Vec::new(),
        view: View::default(),
        paint,
        interval,
    };
    let shown = top.show(&mut screen);
    // Before anything is said about an error.
    screen.leave();
    shown
}

fn require_terminal() -> anyhow::Result<()> {
    let instead = "for anything else there are `waldo stat --watch`, `waldo lag --watch` and `waldo ls`";
    for (name, is_terminal) in [("input", stdin().is_terminal()), ("output", stdout().is_terminal())] {
        if !is_terminal {
            return Err(Usage(format!("standard {name} is no terminal, which `top` needs; {instead}")).into());
        }
    }
    if std::env::var_os("TERM").is_some_and(|term| term == "dumb") {
        return Err(Usage(format!("`top` cannot draw on this terminal (TERM=dumb); {instead}")).into());
    }
    Ok(())
}

/// All that is shown.
struct Top<'a> {
    interrupt: &'a Interrupt,
    stops: &'a Stops,
    rings: Rings,
    rows: Vec<RingRow>,
    view: View,
    paint: Paint,
    interval: Duration,
}

/// What comes after a key.
enum Next {
    GoOn,
    End(Outcome),
}

impl Top<'_> {
    fn show(mut self, screen: &mut Screen<'_>) -> anyhow::Result<Outcome> {
        let (mut look, mut frame) = (Instant::now(), Instant::now());
        let mut key = None;
        loop {
            let now = Instant::now();
            if now >= look {
                self.rings.ask();
                look = now + self.interval;
                frame = frame.min(now + FRAME);
            }
            self.rings.search();
            self.rings.open(self.view.opened());
            if now >= frame {
                self.draw(screen)?;
                // The next one when there is something new.
                frame = look + FRAME;
            }
            if self.rings.is_looking() {
                frame = frame.min(now + SLOW);
            }
            let wakes = [Some(look), Some(frame), key, self.rings.search_due()];
            let wake = wakes.into_iter().flatten().min().unwrap_or(look);
            let inputs = [screen.input(), self.rings.bell(), self.stops.wake()];
            let timeout = wake.saturating_duration_since(Instant::now());
            if let Ready::Signal(signal) = self.interrupt.wait_any(&inputs, Some(timeout))? {
                return Ok(Outcome::Interrupted(signal));
            }
            if self.rings.take() {
                frame = frame.min(now + FRAME);
            }
            let mut actions = match screen.typed()? {
                Typed::Actions(actions) => actions,
                Typed::Nobody => return Ok(Outcome::Interrupted(signal_hook::consts::SIGHUP)),
            };
            if key.is_some_and(|key| Instant::now() >= key) {
                actions.extend(screen.end_key());
            }
            key = match screen.is_key_begun() {
                true => Some(key.filter(|_| actions.is_empty()).unwrap_or(Instant::now() + KEY)),
                false => None,
            };
            // Whichever signal it was: after SIGWINCH nothing else says that the size is another one.
            if self.stops.drain() || !actions.is_empty() {
                frame = Instant::now();
            }
            if self.stops.take_went_on() {
                screen.reclaim()?;
            }
            let stopped = if self.stops.take_stop() { self.suspend(stop_process, screen)? } else { None };
            if let Some(signal) = stopped {
                return Ok(Outcome::Interrupted(signal));
            }
            for action in actions {
                if let Next::End(outcome) = self.act(action, screen)? {
                    return Ok(outcome);
                }
            }
        }
    }

    fn act(&mut self, action: Action, screen: &mut Screen<'_>) -> anyhow::Result<Next> {
        match action {
            Action::Interrupt => {
                return Ok(Next::End(Outcome::Interrupted(signal_hook::consts::SIGINT)));
            }
            Action::Suspend => {
                if let Some(signal) = self.suspend(stop_group, screen)? {
                    return Ok(Next::End(Outcome::Interrupted(signal)));
                }
            }
            Action::Redraw => screen.redraw()?,
            action if !self.view.apply(action, &mut self.rows) => return Ok(Next::End(Outcome::Done)),
            _ => {}
        }
        Ok(Next::GoOn)
    }

    /// Gives the terminal back for as long as this process is stopped. Gives the number of a signal that
    /// ends it.
    fn suspend(
        &self,
        stop: fn() -> anyhow::Result<()>,
        screen: &mut Screen<'_>,
    ) -> anyhow::Result<Option<i32>> {
        if !self.stops.can_stop() {
            return Ok(None);
        }
        // The shell has to find the terminal as it was.
        screen.leave();
        let signal = self.stops.stop(stop, self.interrupt)?;
        if signal.is_none() {
            screen.come_back()?;
        }
        Ok(signal)
    }

    fn draw(&mut self, screen: &mut Screen<'_>) -> anyhow::Result<()> {
        self.rows = self.rings.rows();
        self.view.arrange(&mut self.rows);
        let scene = Scene {
            rows: &self.rows,
            trouble: self.rings.trouble(),
            searched: self.rings.has_searched(),
            now: SystemTime::now(),
            interval: self.interval,
            paint: self.paint,
        };
        let view = &self.view;
        let seen = screen.draw(|frame| draw(frame, &scene, view))?;
        self.view.extents = seen;
        Ok(())
    }
}

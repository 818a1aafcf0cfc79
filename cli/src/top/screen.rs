//! The terminal: taken over, drawn on, and restored, whatever happens.

#[cfg(test)]
mod tests;

use super::keys::{Action, Keys};
use crate::output::Output;
use anyhow::Context;
use ratatui::backend::CrosstermBackend;
use ratatui::layout::Rect;
use ratatui::{Frame, Terminal, TerminalOptions, Viewport};
use rustix::termios::{OptionalActions, Termios, tcgetattr, tcgetwinsize, tcsetattr};
use std::cell::RefCell;
use std::io::{self, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::rc::Rc;
use std::sync::{Mutex, Once, PoisonError};
use waldo_terminal::failure::Ended;
use waldo_terminal::interrupt::{Interrupt, is_readable};

/// The other screen, so that what was there comes back; and no cursor.
const ENTER: &str = "\x1b[?1049h\x1b[?25l\x1b[2J";
const LEAVE: &str = "\x1b[0m\x1b[?25h\x1b[?1049l";

/// Takes the place of a size that the terminal does not tell.
const SIZE: (u16, u16) = (80, 24);

/// How the terminal was; `None` while it is not taken over. For a panic, which has nothing else to go by.
static BEFORE: Mutex<Option<Termios>> = Mutex::new(None);

/// A terminal that is drawn on.
pub struct Screen<'a> {
    out: Output<'a>,
    input: OwnedFd,
    keys: Keys,
    terminal: Terminal<CrosstermBackend<Bytes>>,
    bytes: Bytes,
    size: (u16, u16),
}

/// What has come from the keys.
#[derive(Debug, PartialEq, Eq)]
pub enum Typed {
    /// This, in order.
    Actions(Vec<Action>),
    /// The terminal has gone.
    Nobody,
}

/// What is to be written to the terminal. The library that draws could only wait for a terminal that takes
/// nothing.
#[derive(Clone, Debug, Default)]
struct Bytes(Rc<RefCell<Vec<u8>>>);

impl Write for Bytes {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.borrow_mut().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> Screen<'a> {
    /// Takes the terminal over that standard input and output are.
    ///
    /// # Errors
    /// If that cannot be done; [`Ended`](waldo_terminal::failure::Ended).
    pub fn enter(interrupt: &'a Interrupt) -> anyhow::Result<Screen<'a>> {
        restore_at_panic();
        let input = io::stdin().as_fd().try_clone_to_owned().context("cannot use standard input")?;
        let bytes = Bytes::default();
        let terminal = terminal(&bytes, SIZE)?;
        let out = Output::stdout(interrupt)?;
        let mut screen = Screen { out, input, keys: Keys::default(), terminal, bytes, size: SIZE };
        screen.take_over().map_err(of_terminal)?;
        Ok(screen)
    }

    /// Takes the terminal over, if that is not so: as it is now it will be given back.
    fn take_over(&mut self) -> anyhow::Result<()> {
        let now = tcgetattr(&self.input).context("cannot ask how the terminal is set up")?;
        before().get_or_insert(now);
        self.set_up()
    }

    /// Sets the terminal up anew, as after this process was stopped and somebody else had the terminal.
    ///
    /// # Errors
    /// As [`Screen::enter`].
    pub fn reclaim(&mut self) -> anyhow::Result<()> {
        self.set_up().map_err(of_terminal)
    }

    fn set_up(&mut self) -> anyhow::Result<()> {
        let mut raw = tcgetattr(&self.input).context("cannot ask how the terminal is set up")?;
        raw.make_raw();
        tcsetattr(&self.input, OptionalActions::Now, &raw).context("cannot set up the terminal")?;
        self.out.print(ENTER)?;
        self.begin_anew()
    }

    /// Has the next frame be drawn on an empty screen.
    ///
    /// # Errors
    /// As [`Screen::enter`].
    pub fn redraw(&mut self) -> anyhow::Result<()> {
        self.begin_anew().map_err(of_terminal)
    }

    fn begin_anew(&mut self) -> anyhow::Result<()> {
        self.size = size();
        self.terminal = terminal(&self.bytes, self.size)?;
        self.out.print("\x1b[0m\x1b[2J")
    }

    /// Draws a frame.
    ///
    /// # Errors
    /// As [`Screen::enter`].
    pub fn draw<T>(&mut self, draw: impl FnOnce(&mut Frame<'_>) -> T) -> anyhow::Result<T> {
        anyhow::ensure!(before().is_some(), "the terminal has been given back");
        if self.size != size() {
            self.redraw()?;
        }
        let mut drawn = None;
        self.terminal.draw(|frame| drawn = Some(draw(frame))).context("cannot draw")?;
        let bytes = std::mem::take(&mut *self.bytes.0.borrow_mut());
        self.out.buffer().extend_from_slice(&bytes);
        self.out.flush().map_err(of_terminal)?;
        drawn.context("nothing was drawn")
    }

    /// Readable when a key has been pressed.
    pub fn input(&self) -> BorrowedFd<'_> {
        self.input.as_fd()
    }

    /// The keys that have been pressed.
    ///
    /// # Errors
    /// If the terminal cannot be read.
    pub fn typed(&mut self) -> anyhow::Result<Typed> {
        let mut actions = Vec::new();
        while is_readable(self.input.as_fd()) {
            let mut bytes = [0; 256];
            match rustix::io::read(&self.input, &mut bytes) {
                Ok(0) | Err(rustix::io::Errno::IO) => return Ok(Typed::Nobody),
                Ok(read) => actions.extend(self.keys.take(&bytes[..read])),
                Err(rustix::io::Errno::INTR | rustix::io::Errno::AGAIN) => break,
                Err(errno) => return Err(errno).context("cannot read from the terminal"),
            }
        }
        Ok(Typed::Actions(actions))
    }

    /// Whether more bytes may come of the last key.
    pub fn is_key_begun(&self) -> bool {
        self.keys.is_waiting()
    }

    /// No more have come for a while.
    pub fn end_key(&mut self) -> Option<Action> {
        self.keys.give_up()
    }

    /// Takes the terminal again after [`Screen::leave`].
    ///
    /// # Errors
    /// As [`Screen::enter`].
    pub fn come_back(&mut self) -> anyhow::Result<()> {
        self.take_over().map_err(of_terminal)
    }

    /// Gives the terminal back, if that has not been done.
    pub fn leave(&mut self) {
        if let Some(before) = before().take() {
            // A terminal that has gone needs nothing, and one that takes nothing is not waited for.
            let _ = self.out.print(LEAVE);
            let _ = tcsetattr(&self.input, OptionalActions::Now, &before);
        }
    }
}

impl Drop for Screen<'_> {
    fn drop(&mut self) {
        self.leave();
    }
}

/// What an error of the terminal means. One that has gone says so at whatever is done with it first, and that
/// is the same as SIGHUP, which only those get whose controlling terminal it was.
fn of_terminal(error: anyhow::Error) -> anyhow::Error {
    let eio = rustix::io::Errno::IO.raw_os_error();
    let has_gone = error.chain().any(|cause| {
        let of_write = cause.downcast_ref::<io::Error>().and_then(io::Error::raw_os_error);
        let of_setting = cause.downcast_ref::<rustix::io::Errno>().map(|errno| errno.raw_os_error());
        of_write.or(of_setting) == Some(eio)
    });
    if has_gone { Ended(signal_hook::consts::SIGHUP).into() } else { error }
}

fn terminal(bytes: &Bytes, size: (u16, u16)) -> anyhow::Result<Terminal<CrosstermBackend<Bytes>>> {
    bytes.0.borrow_mut().clear();
    // The size is asked of standard output here, and not of whatever terminal the process belongs to.
    let viewport = Viewport::Fixed(Rect::new(0, 0, size.0, size.1));
    Terminal::with_options(CrosstermBackend::new(bytes.clone()), TerminalOptions { viewport })
        .context("cannot set up the terminal")
}

fn size() -> (u16, u16) {
    match tcgetwinsize(io::stdout()) {
        Ok(size) if size.ws_col > 0 && size.ws_row > 0 => (size.ws_col, size.ws_row),
        _ => SIZE,
    }
}

fn before() -> std::sync::MutexGuard<'static, Option<Termios>> {
    // Replaced as a whole.
    BEFORE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What a panic says is to be read, on the screen that stays.
fn restore_at_panic() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let tell = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            // Held by this very thread, it would be waited for for ever.
            if let Some(before) = BEFORE.try_lock().ok().and_then(|mut before| before.take()) {
                let _ = rustix::io::write(io::stdout(), LEAVE.as_bytes());
                let _ = tcsetattr(io::stdin(), OptionalActions::Now, &before);
            }
            tell(panic);
        }));
    });
}

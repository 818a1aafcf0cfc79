//! Where printed records go: standard output, or a command.

use crate::output::Output;
use crate::tail::exec::{BYTES, Exec, Handful};
use waldo_terminal::interrupt::Interrupt;

/// Takes what is printed, in pieces.
pub enum Outlet<'a> {
    /// Standard output.
    Stdout(Output<'a>),
    /// A command, run for each batch.
    Command {
        /// The command.
        exec: Exec,
        /// Signals.
        interrupt: &'a Interrupt,
        /// The batch so far, and what is in it.
        input: Vec<u8>,
        /// See `input`.
        handful: Handful,
        /// Most records of a batch.
        records_max: u64,
    },
}

impl Outlet<'_> {
    /// Prints record `seq_no` by way of `render`.
    #[inline]
    pub fn put(&mut self, seq_no: u64, render: impl FnOnce(&mut Vec<u8>)) {
        match self {
            Outlet::Stdout(out) => render(out.buffer()),
            Outlet::Command { input, handful, .. } => {
                render(input);
                if handful.records == 0 {
                    handful.first = seq_no;
                }
                (handful.last, handful.records) = (seq_no, handful.records + 1);
            }
        }
    }

    /// Whether it is time to [`Outlet::flush`].
    #[inline]
    pub fn is_full(&self) -> bool {
        match self {
            Outlet::Stdout(out) => out.is_full(),
            Outlet::Command { input, handful, records_max, .. } => {
                input.len() >= BYTES || handful.records >= *records_max
            }
        }
    }

    /// Whether every flush is a success that counts by itself.
    pub fn is_command(&self) -> bool {
        matches!(self, Outlet::Command { .. })
    }

    /// Whether records wait for the next run of a command. What waits for standard output is as good as
    /// printed.
    pub fn holds_back(&self) -> bool {
        matches!(self, Outlet::Command { handful, .. } if handful.records > 0)
    }

    /// Hands on what has been put. When it returns, that has been taken.
    ///
    /// # Errors
    /// As [`Output::flush`] and [`Exec::run`].
    pub fn flush(&mut self) -> anyhow::Result<()> {
        match self {
            Outlet::Stdout(out) => out.flush(),
            Outlet::Command { exec, interrupt, input, handful, .. } => {
                if handful.records == 0 {
                    return Ok(());
                }
                let result = exec.run(input, *handful, interrupt);
                input.clear();
                *handful = Handful::default();
                result
            }
        }
    }

    /// Whether no process takes the output any more.
    pub fn is_closed(&self) -> bool {
        match self {
            Outlet::Stdout(out) => out.is_closed(),
            Outlet::Command { .. } => false,
        }
    }
}

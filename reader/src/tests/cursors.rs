//! Cursors beyond the log, laps, and both at once.

//! The error after which a writer must not go on.

use std::fmt;
use std::io;
use std::sync::{Arc, OnceLock};

/// An I/O error with the action that failed, in a form that can be given to every waiting caller.
#[derive(Clone, Debug)]
pub struct Failure(Arc<FailureCause>);

#[derive(Debug)]
struct FailureCause {
    action: String,
    source: io::Error,
}

impl Failure {
    pub(crate) fn new(action: impl Into<String>, source: io::Error) -> Failure {
        Failure(Arc::new(FailureCause { action: action.into(), source }))
    }

    /// The system's error.
    pub fn io_error(&self) -> &io::Error {
        &self.0.source
    }

    /// The same error, as a value of its own.
    pub fn to_io_error(&self) -> io::Error {
        io::Error::new(self.0.source.kind(), self.to_string())
    }

    /// The system's error number; EIO if there was none.
    pub fn errno(&self) -> i32 {
        self.0.source.raw_os_error().unwrap_or(libc::EIO)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.0.action, self.0.source)
    }
}

/// Holds the first final error, if there was one.
#[derive(Debug, Default)]
pub(crate) struct Poison(OnceLock<Failure>);

impl Poison {
    /// Stores `failure` unless there was an earlier one; returns the first.
    pub(crate) fn set(&self, failure: Failure) -> Failure {
        self.0.get_or_init(|| failure).clone()
    }

    pub(crate) fn get(&self) -> Option<&Failure> {
        self.0.get()
    }
}

//! `--grep`: which payloads are wanted.

use regex::bytes::{Regex, RegexBuilder};
use waldo_terminal::failure::Usage;

/// Tells wanted payloads from others.
pub struct Filter {
    regex: Option<Regex>,
    invert: bool,
}

impl Filter {
    /// # Errors
    /// [`Usage`] if `pattern` is no regular expression.
    pub fn new(pattern: Option<&str>, ignore_case: bool, invert: bool) -> anyhow::Result<Filter> {
        let build = |pattern: &str| {
            let regex = RegexBuilder::new(pattern).case_insensitive(ignore_case).build();
            regex.map_err(|error| Usage(format!("`--grep`: {error}")))
        };
        Ok(Filter { regex: pattern.map(build).transpose()?, invert })
    }

    /// Whether this payload is wanted.
    #[inline]
    pub fn wants(&self, payload: &[u8]) -> bool {
        self.regex.as_ref().is_none_or(|regex| regex.is_match(payload) != self.invert)
    }

    /// What is to be seen in the payloads that are wanted.
    pub fn highlight(&self) -> Option<Regex> {
        self.regex.clone().filter(|_| !self.invert)
    }
}

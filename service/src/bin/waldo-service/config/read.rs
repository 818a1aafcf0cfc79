//! Reading the file, and saying where it is wrong.

use super::{Config, check};
use std::fmt;
use std::ops::Range;
use std::path::{Path, PathBuf};

/// What is wrong with a configuration, and where.
#[derive(Debug, PartialEq, Eq)]
pub struct ConfigError {
    /// The file; `None` for the command line.
    file: Option<PathBuf>,
    /// Its lines, counted from 1, and what is wrong there.
    faults: Vec<(Option<usize>, String)>,
}

impl ConfigError {
    /// The command line is wrong.
    pub fn of_arguments(faults: Vec<String>) -> ConfigError {
        ConfigError { file: None, faults: faults.into_iter().map(|text| (None, text)).collect() }
    }

    fn of_file(path: &Path, faults: Vec<(Option<usize>, String)>) -> ConfigError {
        ConfigError { file: Some(path.to_owned()), faults }
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, (line, text)) in self.faults.iter().enumerate() {
            if index > 0 {
                f.write_str("\n")?;
            }
            match (&self.file, line) {
                (Some(file), Some(line)) => write!(f, "{}:{line}: {text}", file.display())?,
                (Some(file), None) => write!(f, "{}: {text}", file.display())?,
                (None, _) => f.write_str(text)?,
            }
        }
        Ok(())
    }
}

impl std::error::Error for ConfigError {}

/// Reads and checks a file.
pub fn read(path: &Path) -> Result<Config, ConfigError> {
    let text = std::fs::read_to_string(path)
        .map_err(|error| ConfigError::of_file(path, vec![(None, format!("cannot be read: {error}"))]))?;
    parse(path, &text)
}

/// Reads and checks a file's text.
pub fn parse(path: &Path, text: &str) -> Result<Config, ConfigError> {
    let config: Config = toml::from_str(text).map_err(|error| {
        let line = error.span().map(|span| line_of(text, &span));
        ConfigError::of_file(path, vec![(line, explain(error.message()))])
    })?;
    let faults = check(&config);
    if faults.is_empty() {
        return Ok(config);
    }
    // What was not written anywhere is at no line.
    let place = |span: Range<usize>| (span != (0..0)).then(|| line_of(text, &span));
    Err(ConfigError::of_file(path, faults.into_iter().map(|(span, text)| (place(span), text)).collect()))
}

fn line_of(text: &str, span: &Range<usize>) -> usize {
    1 + text.bytes().take(span.start).filter(|byte| *byte == b'\n').count()
}

/// Adds to serde's "unknown field" which one may have been meant.
fn explain(message: &str) -> String {
    let Some((what, rest)) = ["key", "value"]
        .into_iter()
        .zip(["unknown field ", "unknown variant "])
        .find_map(|(what, prefix)| message.strip_prefix(prefix).map(|rest| (what, rest)))
    else {
        return message.to_owned();
    };
    let mut quoted = rest.split('`').skip(1).step_by(2);
    let Some(unknown) = quoted.next() else { return message.to_owned() };
    let known: Vec<&str> = quoted.collect();
    let nearest = known.iter().map(|name| (strsim::damerau_levenshtein(unknown, name), name)).min();
    match nearest {
        // At most every third letter is wrong.
        Some((distance, name)) if distance <= 1 + name.len() / 3 => {
            format!("unknown {what} `{unknown}`: did you mean `{name}`?")
        }
        _ => format!("unknown {what} `{unknown}`: here may be {}", known.join(", ")),
    }
}

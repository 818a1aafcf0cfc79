//! Arguments of a child process: names and values, carried in one environment variable.

use std::collections::BTreeMap;
use std::fmt::Display;

#[derive(Clone, Debug, Default)]
pub struct Args(BTreeMap<String, String>);

impl Args {
    pub fn new() -> Args {
        Args::default()
    }

    pub fn with(mut self, name: &str, value: impl Display) -> Args {
        self.0.insert(name.to_owned(), value.to_string());
        self
    }

    pub fn render(&self) -> String {
        self.0.iter().map(|(name, value)| format!("{name}={value}\n")).collect()
    }

    pub fn parse(text: &str) -> Args {
        Args(text.lines().filter_map(|l| l.split_once('=')).map(|(n, v)| (n.into(), v.into())).collect())
    }

    /// A value that must be there.
    pub fn get(&self, name: &str) -> &str {
        self.0.get(name).unwrap_or_else(|| panic!("no argument {name}"))
    }

    /// A number; 0 if it is not given.
    pub fn number(&self, name: &str) -> u64 {
        self.0.get(name).map_or(0, |value| value.parse().unwrap())
    }

    pub fn has(&self, name: &str) -> bool {
        self.0.contains_key(name)
    }
}

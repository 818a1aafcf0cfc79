//! Whether output is coloured and escaped, and the colours.

/// What a regular expression has found.
pub const MATCH: &str = "\x1b[1;31m";
/// Escapes, and what is not payload.
pub const DIM: &str = "\x1b[2m";
/// Sequence numbers and times of a template.
pub const FIELD: &str = "\x1b[36m";
/// As the terminal's owner likes it.
pub const RESET: &str = "\x1b[0m";

/// When to do something that suits terminals.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum When {
    /// If standard output is a terminal.
    Auto,
    /// For pipes and files as well.
    Always,
    /// Never, not even on a terminal.
    Never,
}

impl When {
    /// Whether to escape what goes to a terminal, or not.
    pub fn escapes(self, terminal: bool) -> bool {
        match self {
            When::Auto => terminal,
            When::Always => true,
            When::Never => false,
        }
    }

    /// The same for colours: not on a terminal without, nor for somebody who has set `NO_COLOR`.
    pub fn colours(self, terminal: bool) -> bool {
        match self {
            When::Auto => {
                let set = |name| std::env::var_os(name).filter(|value| !value.is_empty());
                let plain = set("NO_COLOR").is_some() || set("TERM").is_none_or(|term| term == "dumb");
                terminal && !plain
            }
            When::Always => true,
            When::Never => false,
        }
    }
}

//! Colours, or none.

use ratatui::style::{Color, Modifier, Style};

/// How things look. Without colours, what has to stand out is bold, dim or reversed.
#[derive(Clone, Copy, Debug)]
pub struct Paint {
    /// Colours are wanted.
    pub colours: bool,
}

impl Paint {
    fn coloured(self, colour: Color) -> Style {
        if self.colours { Style::new().fg(colour) } else { Style::new() }
    }

    /// What explains the rest.
    pub fn faint(self) -> Style {
        Style::new().add_modifier(Modifier::DIM)
    }

    /// Titles of columns, and of the part that has the keys.
    pub fn title(self) -> Style {
        Style::new().add_modifier(Modifier::BOLD)
    }

    /// The chosen line.
    pub fn chosen(self) -> Style {
        Style::new().add_modifier(Modifier::REVERSED)
    }

    /// The picture.
    pub fn bars(self) -> Style {
        self.coloured(Color::Cyan)
    }

    /// What a person should look at.
    pub fn alarm(self) -> Style {
        self.coloured(Color::Red).add_modifier(Modifier::BOLD)
    }

    /// The state of a writer or reader.
    pub fn state(self, word: &str) -> Style {
        match word {
            "live" => self.coloured(Color::Green),
            "recovering" | "restarted" | "absent" | "unknown" | "waiting" => self.coloured(Color::Yellow),
            "failed" | "stalled" | "unreadable" | "removed" | "no answer" => self.alarm(),
            "dead" | "overtaken" | "rewound" | "diverged" => self.alarm(),
            _ => Style::new(),
        }
    }
}

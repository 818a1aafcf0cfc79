//! What keys mean. The terminal sends them as bytes, the longer ones perhaps in pieces.

/// What a key asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Leave.
    Leave,
    /// Leave, as at SIGINT.
    Interrupt,
    /// Give the terminal back for a while.
    Suspend,
    /// Draw all of it again.
    Redraw,
    /// Leave what is open, or leave.
    Escape,
    /// Move by so many lines.
    Lines(i32),
    /// Move by so many pages.
    Pages(i32),
    /// To the first line.
    First,
    /// To the last one.
    Last,
    /// Open the pane, or close it.
    Pane,
    /// Go on to the next part.
    Next,
    /// Go back to the part before.
    Back,
    /// Sort in another way.
    Sort,
    /// Show what the keys are, or do not any more.
    Help,
}

const ESC: u8 = 0x1b;

/// The longest sequence that a key sends. What is longer is no key.
const SEQUENCE_MAX: usize = 16;

/// Bytes that have come, and do not make a key yet.
#[derive(Debug, Default)]
pub struct Keys {
    pending: Vec<u8>,
}

impl Keys {
    /// Takes bytes, and gives what they mean.
    pub fn take(&mut self, bytes: &[u8]) -> Vec<Action> {
        self.pending.extend_from_slice(bytes);
        let mut actions = Vec::new();
        let mut rest = &self.pending[..];
        while let Some(len) = key_len(rest) {
            let (key, after) = rest.split_at(len);
            actions.extend(meaning(key));
            rest = after;
        }
        self.pending = rest.to_vec();
        actions
    }

    /// Whether more bytes may decide what those mean that have come.
    pub fn is_waiting(&self) -> bool {
        !self.pending.is_empty()
    }

    /// No more have come: an escape is the key of that name.
    pub fn give_up(&mut self) -> Option<Action> {
        let alone = self.pending == [ESC];
        self.pending.clear();
        alone.then_some(Action::Escape)
    }
}

/// How many bytes the first key has; `None` if it is not whole.
fn key_len(bytes: &[u8]) -> Option<usize> {
    match bytes {
        [] | [ESC] => None,
        // A sequence ends with its first byte that is neither a digit nor punctuation.
        [ESC, b'[', rest @ ..] => match rest.iter().position(|byte| (0x40..=0x7e).contains(byte)) {
            Some(at) => Some(at + 3),
            None => (bytes.len() >= SEQUENCE_MAX).then_some(bytes.len()),
        },
        [ESC, b'O'] => None,
        [ESC, b'O', _, ..] => Some(3),
        [ESC, ESC, ..] => Some(1),
        // Pressed with Alt.
        [ESC, _, ..] => Some(2),
        _ => Some(1),
    }
}

fn meaning(key: &[u8]) -> Option<Action> {
    Some(match key {
        b"q" | b"Q" => Action::Leave,
        [3] => Action::Interrupt,
        [26] => Action::Suspend,
        [12] => Action::Redraw,
        [ESC] => Action::Escape,
        b"k" | b"\x1b[A" | b"\x1bOA" => Action::Lines(-1),
        b"j" | b"\x1b[B" | b"\x1bOB" => Action::Lines(1),
        b"\x1b[5~" | [2] => Action::Pages(-1),
        b"\x1b[6~" | [6] | b" " => Action::Pages(1),
        b"g" | b"\x1b[H" | b"\x1bOH" | b"\x1b[1~" | b"\x1b[7~" => Action::First,
        b"G" | b"\x1b[F" | b"\x1bOF" | b"\x1b[4~" | b"\x1b[8~" => Action::Last,
        b"\r" | b"\n" => Action::Pane,
        b"\t" => Action::Next,
        b"\x1b[Z" => Action::Back,
        b"s" => Action::Sort,
        b"?" | b"h" | b"H" => Action::Help,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_told_apart() {
        let mut keys = Keys::default();
        let actions = keys.take(b"j\x1b[A\x1bOBs\x1b[6~x\x1b[200~\xc3\xa4\t\x1b[Zq\x03");
        use Action::*;
        let expected = [Lines(1), Lines(-1), Lines(1), Sort, Pages(1), Next, Back, Leave, Interrupt];
        assert_eq!(actions, expected);
        assert!(!keys.is_waiting());
    }

    /// Over a slow line: an arrow that counted as the escape key would end the program.
    #[test]
    fn a_key_may_come_in_pieces() {
        let mut keys = Keys::default();
        for piece in [&b"\x1b"[..], b"["] {
            assert!(keys.take(piece).is_empty() && keys.is_waiting());
        }
        assert_eq!(keys.take(b"B"), [Action::Lines(1)]);
        assert!(keys.take(b"\x1b").is_empty());
        assert_eq!(keys.give_up(), Some(Action::Escape));
        assert!(keys.take(b"\x1b[1").is_empty());
        assert_eq!((keys.give_up(), keys.is_waiting()), (None, false));
        assert_eq!(keys.take(b"\x1b\x1b[A"), [Action::Escape, Action::Lines(-1)]);
    }

    #[test]
    fn no_bytes_are_kept_for_ever() {
        let mut keys = Keys::default();
        for byte in 0..=255 {
            keys.take(&[ESC, b'[', byte]);
            keys.take(&[b'1'; 64]);
            assert!(keys.pending.len() < SEQUENCE_MAX, "{byte}");
        }
    }
}

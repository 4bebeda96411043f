//! How far the listener may send on `bulk`.

use serde::{Deserialize, Serialize};

/// `BULK_WINDOW::`, on `control`: the listener may send up to this many bytes on `bulk`, counted
/// in whole messages since the lane opened.
///
/// All lanes share one receive window below, so a file that nobody takes would hold up commands.
/// An end that knows this word stops sending file bytes here instead; to one that does not, it is
/// an unknown prefix. It is handled by the connection itself and never reaches an application.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct BulkWindow {
    /// Never less than said before.
    pub bytes: u64,
}

impl BulkWindow {
    const PREFIX: &'static str = "BULK_WINDOW::";

    /// The text frame.
    pub fn encode(self) -> String {
        format!("{}{{\"bytes\":{}}}", Self::PREFIX, self.bytes)
    }

    /// Reads a text frame; `None` if it is another message, or not a window.
    pub fn decode(text: &str) -> Option<Self> {
        serde_json::from_str(text.strip_prefix(Self::PREFIX)?).ok()
    }

    /// Whether a text frame claims to be a window, well-formed or not.
    pub fn is(text: &str) -> bool {
        text.starts_with(Self::PREFIX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_words_are_pinned() {
        let window = BulkWindow { bytes: 16_777_216 };
        assert_eq!(window.encode(), r#"BULK_WINDOW::{"bytes":16777216}"#);
        assert_eq!(BulkWindow::decode(&window.encode()), Some(window));
    }

    #[test]
    fn other_messages_are_left_alone() {
        assert_eq!(BulkWindow::decode("HELLO::{}"), None);
        assert_eq!(BulkWindow::decode(r#"BULK_WINDOW::{"bytes":-1}"#), None);
        assert!(BulkWindow::is("BULK_WINDOW::"));
    }
}

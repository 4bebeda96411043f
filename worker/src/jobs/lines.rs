//! A program's output in lines, with carriage-return progress kept as progress.

/// Longest line; a longer one is cut into several.
const MOST_BYTES: usize = 8 * 1024;

/// Cuts one stream into lines.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Lines {
    waiting: Vec<u8>,
    /// Bytes of the stream up to the end of what was taken as lines.
    to: u64,
    /// The last byte was a carriage return: what it means shows with the next.
    returned: bool,
}

/// One line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// Without its end. What is not UTF-8 is replaced.
    pub text: String,
    /// It ended in a carriage return.
    pub progress: bool,
    /// Bytes of the stream up to its end.
    pub to: u64,
}

impl Lines {
    /// Begins at this byte of the stream.
    pub fn from(to: u64) -> Self {
        Self { to, ..Self::default() }
    }

    /// Takes what came, gives back what is whole.
    pub fn push(&mut self, bytes: &[u8]) -> Vec<Line> {
        let mut lines = Vec::new();
        for &byte in bytes {
            if std::mem::take(&mut self.returned) {
                // `\r\n` is one end of a line, `\r` before anything else is progress.
                self.end(byte != b'\n', u64::from(byte == b'\n') + 1, &mut lines);
                if byte == b'\n' {
                    continue;
                }
            }
            match byte {
                b'\n' => self.end(false, 1, &mut lines),
                b'\r' => self.returned = true,
                byte => {
                    self.waiting.push(byte);
                    if self.waiting.len() >= MOST_BYTES {
                        self.end(false, 0, &mut lines);
                    }
                }
            }
        }
        lines
    }

    /// The stream is over: what waits is a line.
    pub fn finish(&mut self) -> Option<Line> {
        let mut lines = Vec::new();
        let returned = std::mem::take(&mut self.returned);
        if returned || !self.waiting.is_empty() {
            self.end(returned, u64::from(returned), &mut lines);
        }
        lines.pop()
    }

    fn end(&mut self, progress: bool, end_bytes: u64, lines: &mut Vec<Line>) {
        self.to += self.waiting.len() as u64 + end_bytes;
        let text = String::from_utf8_lossy(&self.waiting).into_owned();
        self.waiting.clear();
        // A return at the beginning of a line shows nothing.
        if !(progress && text.is_empty()) {
            lines.push(Line { text, progress, to: self.to });
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn shown(lines: &[Line]) -> Vec<(&str, bool)> {
        lines.iter().map(|line| (line.text.as_str(), line.progress)).collect()
    }

    #[test]
    fn lines_and_progress_are_told_apart() {
        let mut lines = Lines::default();
        let out = lines.push(b"one\r\n 10%\r 20%\r100%\ntwo");
        assert_eq!(shown(&out), [("one", false), (" 10%", true), (" 20%", true), ("100%", false)]);
        assert_eq!(out.iter().map(|line| line.to).collect::<Vec<_>>(), [5, 10, 15, 20]);
        assert_eq!(lines.finish(), Some(Line { text: "two".into(), progress: false, to: 23 }));
        assert_eq!(lines.finish(), None);
    }

    #[test]
    fn a_line_without_end_is_cut_and_bytes_that_are_no_text_are_replaced() {
        let mut lines = Lines::default();
        let out = lines.push(&vec![b'x'; 20_000]);
        assert_eq!(out.iter().map(|line| line.text.len()).collect::<Vec<_>>(), [8192, 8192]);
        assert_eq!(Lines::default().push(b"\xff\n")[0].text, "\u{fffd}");
    }

    proptest! {
        #[test]
        fn how_the_bytes_are_cut_changes_nothing(
            bytes in prop::collection::vec(prop::sample::select(b"ab\r\n".to_vec()), 0..60),
            at in 0_usize..60,
        ) {
            let at = at.min(bytes.len());
            let (mut whole, mut cut) = (Lines::default(), Lines::default());
            let mut first = whole.push(&bytes);
            let mut second = cut.push(&bytes[..at]);
            second.extend(cut.push(&bytes[at..]));
            first.extend(whole.finish());
            second.extend(cut.finish());
            prop_assert_eq!(&first, &second);
            prop_assert!(first.iter().all(|line| line.to <= bytes.len() as u64));
        }
    }
}

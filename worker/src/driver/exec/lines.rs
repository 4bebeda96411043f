//! Lines of a program's output, never longer than they may be.

use tokio::io::{AsyncBufRead, AsyncBufReadExt};

/// One line, or what came instead.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Line {
    /// Without its end.
    Whole(Vec<u8>),
    /// It was longer than allowed and is thrown away up to its end; here is how it began. Told once
    /// for each such line.
    TooLong(Vec<u8>),
    /// There will be no more.
    End,
}

/// Reads lines. Holds no more than one line of the allowed length, however long they are.
#[derive(Debug)]
pub(super) struct Lines<R> {
    reader: R,
    line: Vec<u8>,
    longest: usize,
    /// The rest of a line that was too long is passed over.
    skips: bool,
}

impl<R: AsyncBufRead + Unpin> Lines<R> {
    pub(super) fn new(reader: R, longest: usize) -> Self {
        Self { reader, line: Vec::new(), longest, skips: false }
    }

    /// The next one. Cancel safe: what was read stays here.
    pub(super) async fn next(&mut self) -> Line {
        loop {
            let Ok(bytes) = self.reader.fill_buf().await else { return Line::End };
            if bytes.is_empty() {
                return Line::End;
            }
            let end = bytes.iter().position(|byte| *byte == b'\n');
            let part = &bytes[..end.unwrap_or(bytes.len())];
            let used = part.len() + usize::from(end.is_some());
            let room = self.longest.saturating_sub(self.line.len());
            let too_long = !self.skips && part.len() > room;
            if !self.skips {
                self.line.extend_from_slice(&part[..part.len().min(room)]);
            }
            self.reader.consume(used);
            if too_long {
                self.skips = end.is_none();
                return Line::TooLong(std::mem::take(&mut self.line));
            }
            if end.is_some() && !std::mem::take(&mut self.skips) {
                return Line::Whole(std::mem::take(&mut self.line));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use tokio::io::BufReader;

    use super::*;

    async fn all(bytes: &[u8], longest: usize) -> Vec<Line> {
        // Small pieces, as pipes give them.
        let mut lines = Lines::new(BufReader::with_capacity(7, bytes), longest);
        let mut found = Vec::new();
        loop {
            match lines.next().await {
                Line::End => return found,
                line => found.push(line),
            }
        }
    }

    #[tokio::test]
    async fn a_line_that_is_too_long_is_told_once_and_costs_no_other() {
        let text = [&b"one\n"[..], &vec![b'x'; 1_000_000], b"\ntwo\n"].concat();
        let found = all(&text, 10).await;
        assert_eq!(
            found,
            [
                Line::Whole(b"one".to_vec()),
                Line::TooLong(b"xxxxxxxxxx".to_vec()),
                Line::Whole(b"two".to_vec())
            ]
        );
    }

    proptest! {
        #[test]
        fn short_lines_come_apart_as_they_were_joined(
            lines in proptest::collection::vec("[a-z]{0,12}", 0..10)
        ) {
            let text: String = lines.iter().flat_map(|line| [line.as_str(), "\n"]).collect();
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            let found = runtime.block_on(all(text.as_bytes(), 12));
            let wanted: Vec<_> =
                lines.iter().map(|line| Line::Whole(line.clone().into_bytes())).collect();
            prop_assert_eq!(found, wanted);
        }
    }
}

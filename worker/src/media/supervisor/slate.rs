//! What is shown while a source has no picture: that there is none, why, since when, and a clock that
//! runs, so that nobody takes it for a frozen picture.
//!
//! It carries no latency strip: a strip says that what is seen is the machine's, and how old.

use std::sync::{Arc, Mutex, PoisonError};

use crate::media::{
    painted::{PaintedSource, Painter, Stamp},
    picture::{Color, Picture, Size},
    text::{Font, clock},
};

/// Pictures a second: enough for a clock, and little work.
const FPS: u32 = 10;

/// The band along the upper edge.
pub const BAND: u32 = 0xE0_9A1A;

/// Everything below it.
pub const GROUND: u32 = 0x1B_2430;

/// The band's part of the height.
const BAND_PART: i32 = 8;

/// Lines of the reason; what does not fit is cut off with dots.
const LINES: usize = 4;

/// What the slate says now.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Words {
    /// Why there is no picture.
    pub reason: String,
    /// When that began, in Unix milliseconds.
    pub since_ms: u64,
    /// How often the source was tried since.
    pub attempts: u32,
}

/// The words, changed while the slate is shown.
pub type Shown = Arc<Mutex<Words>>;

/// A slate of a size. Narrower than 640 it would be hard to read, so it is no smaller.
pub fn source(words: &Shown, size: Size) -> PaintedSource {
    let size = Size { width: size.width.clamp(640, 1280), height: size.height.clamp(360, 720) };
    let words = words.clone();
    let make = move |size| Box::new(Slate::new(words.clone(), size)) as Box<dyn Painter>;
    PaintedSource::sized("slate", size, make).at_fps(FPS).without_strip()
}

struct Slate {
    words: Shown,
    title: Font,
    text: Font,
    ground: Picture,
}

impl Slate {
    fn new(words: Shown, size: Size) -> Self {
        let mut ground = Picture::new(size);
        let (width, height) = (size.width as i32, size.height as i32);
        ground.blend_rect((0, 0), (width, height), Color::rgb(GROUND), 256);
        ground.blend_rect((0, 0), (width, height / BAND_PART), Color::rgb(BAND), 256);
        let text = if size.width >= 1_000 { Font::large() } else { Font::small() };
        Self { words, title: Font::large(), text, ground }
    }
}

impl Painter for Slate {
    fn paint(&mut self, picture: &mut Picture, stamp: Stamp) {
        picture.copy_from(&self.ground);
        let Size { width, height } = picture.size();
        let (width, height) = (width as i32, height as i32);
        let band = height / BAND_PART;
        let left = width / 20;
        let at = (left, (band - self.title.height()) / 2);
        self.title.draw(picture, "NO PICTURE", at, Color::rgb(GROUND));

        let Words { reason, since_ms, attempts } =
            self.words.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let across = ((width - 2 * left) / self.text.width(" ")) as usize;
        let mut lines = wrapped(&reason, across, LINES);
        lines.push(String::new());
        lines.push(format!("since {} UTC", &clock(since_ms)[..8]));
        if attempts > 0 {
            lines.push(format!("tried again: {attempts}"));
        }
        let mut y = band + self.text.height();
        for line in &lines {
            self.text.draw(picture, line, (left, y), Color::WHITE);
            y += self.text.height() * 5 / 4;
        }

        let now = format!("{} UTC", clock(stamp.unix_ms));
        let y = height - self.text.height() * 2;
        self.text.draw(picture, &now, (left, y), Color::rgb(BAND));
        // Once across in two seconds.
        let x = (stamp.elapsed.as_millis() % 2_000) as i32 * width / 2_000;
        picture.blend_rect((x, height - 8), (width / 20, 8), Color::rgb(BAND), 256);
    }
}

/// Breaks a text into lines of so many characters at most, at spaces where there are any.
fn wrapped(text: &str, across: usize, most: usize) -> Vec<String> {
    let across = across.max(4);
    let mut lines = vec![String::new()];
    let room = |lines: &Vec<String>| across - lines.last().map_or(0, |line| line.chars().count());
    for word in text.split_whitespace() {
        let mut word: Vec<char> = word.chars().collect();
        let space = usize::from(lines.last().is_some_and(|line| !line.is_empty()));
        if word.len() + space > room(&lines) && space > 0 {
            lines.push(String::new());
        } else if space > 0
            && let Some(line) = lines.last_mut()
        {
            line.push(' ');
        }
        while !word.is_empty() {
            let rest = word.split_off(word.len().min(room(&lines)));
            if let Some(line) = lines.last_mut() {
                line.extend(&word);
            }
            word = rest;
            if !word.is_empty() {
                lines.push(String::new());
            }
        }
    }
    if lines.len() > most {
        lines.truncate(most);
        if let Some(line) = lines.last_mut() {
            let kept: String = line.chars().take(across - 3).collect();
            *line = format!("{}...", kept.trim_end());
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use openh264::formats::YUVSource;
    use proptest::prelude::*;

    use super::*;

    fn painted(words: &Words, size: Size, unix_ms: u64) -> Picture {
        let mut picture = Picture::new(size);
        let mut slate = Slate::new(Arc::new(Mutex::new(words.clone())), size);
        let elapsed = std::time::Duration::from_millis(unix_ms % 10_000);
        slate.paint(&mut picture, Stamp { unix_ms, number: 0, elapsed });
        picture
    }

    #[test]
    fn the_slate_shows_its_reason_and_a_clock_that_runs() {
        let words = Words { reason: "the camera is gone".to_owned(), since_ms: 5, attempts: 0 };
        let first = painted(&words, Size::HD, 1_000);
        assert_eq!(first.y()[0], Color::rgb(BAND).y);
        assert_eq!(first.y()[700 * 1280 + 1279], Color::rgb(GROUND).y);
        let later = painted(&words, Size::HD, 1_100);
        assert_ne!(first.bytes(), later.bytes(), "the clock");
        let other = Words { reason: "the camera is back".to_owned(), ..words };
        assert_ne!(first.bytes(), painted(&other, Size::HD, 1_000).bytes(), "the reason");
    }

    #[test]
    fn a_long_reason_is_broken_at_spaces_and_cut_off_with_dots() {
        assert_eq!(wrapped("one two three", 7, 4), ["one two", "three"]);
        assert_eq!(wrapped("abcdefghij", 4, 4), ["abcd", "efgh", "ij"]);
        assert_eq!(wrapped("a b c d e f g h", 4, 2), ["a b", "c..."]);
        assert_eq!(wrapped("", 10, 4), [""]);
    }

    proptest! {
        #[test]
        fn no_reason_leaves_its_lines(text in ".{0,300}", across in 0usize..60) {
            let lines = wrapped(&text, across, LINES);
            prop_assert!(lines.len() <= LINES);
            prop_assert!(lines.iter().all(|line| line.chars().count() <= across.max(4)), "{lines:?}");
            painted(&Words { reason: text, since_ms: 0, attempts: 1 }, Size { width: 640, height: 360 }, 0);
        }
    }
}

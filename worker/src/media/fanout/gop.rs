//! The pictures since the last key frame, kept for newcomers where no key frame can be asked for.
//!
//! Bounded: [`MAX_FRAMES`] and [`MAX_BYTES`]. A longer group of pictures is not kept at all, and a
//! newcomer then waits for the next key frame. The bounds hold what ffmpeg and x264 send by default,
//! a key frame every 250 pictures, at up to 7 Mbit/s.

use crate::media::frame::EncodedFrame;

/// Most pictures that are kept: 17 s at 30 frames a second.
pub const MAX_FRAMES: usize = 512;

/// Most bytes that are kept.
pub const MAX_BYTES: usize = 8 * 1024 * 1024;

/// The current group of pictures, as far as it is decodable from its start.
#[derive(Debug, Default)]
pub struct GopCache {
    frames: Vec<EncodedFrame>,
    bytes: usize,
}

impl GopCache {
    /// One more picture.
    pub fn push(&mut self, frame: EncodedFrame) {
        if frame.is_key {
            self.clear();
        } else if self.frames.is_empty() {
            // Not decodable without the ones before.
            return;
        }
        self.bytes += frame.data.len();
        self.frames.push(frame);
        if self.frames.len() > MAX_FRAMES || self.bytes > MAX_BYTES {
            self.clear();
        }
    }

    /// What a newcomer needs, oldest first: a key frame and all since, or nothing.
    pub fn frames(&self) -> impl Iterator<Item = &EncodedFrame> {
        self.frames.iter()
    }

    fn clear(&mut self) {
        self.frames.clear();
        self.bytes = 0;
    }
}

//! One viewer's queue: short, never waited for, always decodable.
//!
//! What comes out can always be decoded: it begins with a key frame, and after a loss it goes on
//! with one. What does not fit is lost together with everything that waits, since pictures in the
//! middle of a group are of no use and old ones of little. Of several renditions one comes out at a time,
//! and another one begins with a key frame of its own. Until that comes a lower one goes on; a better one
//! ends at once, since more of it would only wait in front of what the path carries.

use std::{collections::VecDeque, time::Instant};

use crate::media::frame::EncodedFrame;

/// Pictures that may wait: half a second at 30 frames a second. Who is further behind than that
/// drives by an old picture, and is better served by a gap.
pub const ROOM: usize = 15;

/// What waits for one viewer.
#[derive(Debug)]
pub struct Queue {
    frames: VecDeque<EncodedFrame>,
    /// The rendition that he is sent, and the one that he is to be sent.
    rendition: usize,
    wanted: usize,
    /// How many of the waiting ones were kept from before he came.
    kept: usize,
    /// [`ROOM`], and as much again as was kept when he came.
    room: usize,
    /// Nothing but a key frame can be decoded now.
    needs_key: bool,
    /// That is so because of a loss.
    lost: bool,
    /// Whether he was told to ask for a key frame because of it.
    told: bool,
    dropped: u64,
    ended: bool,
}

/// What [`Queue::take`] found.
#[derive(Debug)]
pub enum Taken {
    /// The next picture.
    Frame {
        /// It.
        frame: EncodedFrame,
        /// Whether it is one of those kept from before.
        catching_up: bool,
    },
    /// The next picture is one of those kept from before; it may go then.
    NotBefore(Instant),
    /// Nothing waits.
    Empty {
        /// And nothing will come before the next key frame, because of a loss: ask for
        /// one. Said once per loss.
        wants_keyframe: bool,
    },
    /// Nothing waits and nothing will.
    Ended,
}

impl Queue {
    /// For a newcomer who waits for a key frame of the best rendition.
    pub fn waiting() -> Self {
        Self {
            frames: VecDeque::new(),
            rendition: 0,
            wanted: 0,
            kept: 0,
            room: ROOM,
            needs_key: true,
            lost: false,
            told: false,
            dropped: 0,
            ended: false,
        }
    }

    /// For a newcomer who is given the pictures since the last key frame, if there was one.
    pub fn catching_up<'a>(kept: impl Iterator<Item = &'a EncodedFrame>) -> Self {
        let frames: VecDeque<_> = kept.cloned().collect();
        let needs_key = frames.is_empty();
        Self { kept: frames.len(), room: frames.len() + ROOM, frames, needs_key, ..Self::waiting() }
    }

    /// He is to be sent this rendition, from its next key frame on.
    pub fn want(&mut self, rendition: usize) {
        self.wanted = rendition;
        if self.rendition < rendition {
            self.rendition = rendition;
            self.lose();
        }
    }

    /// The rendition that he is to be sent.
    pub fn wanted(&self) -> usize {
        self.wanted
    }

    /// Whether pictures of this rendition are of use to him.
    pub fn takes(&self, rendition: usize) -> bool {
        rendition == self.wanted || rendition == self.rendition
    }

    /// One more picture from the source.
    pub fn push(&mut self, frame: EncodedFrame) {
        if self.ended || !self.takes(frame.rendition) {
            return;
        }
        if frame.rendition != self.rendition {
            if !frame.is_key {
                return;
            }
            self.rendition = frame.rendition;
        }
        if self.frames.len() >= self.room {
            self.lose();
        }
        if self.needs_key && !frame.is_key {
            // Lost already, or from before the newcomer's first key frame.
            self.dropped += u64::from(self.lost);
            return;
        }
        self.needs_key = false;
        self.lost = false;
        self.frames.push_back(frame);
    }

    /// Loses what waits and goes on at the next key frame.
    pub fn lose(&mut self) {
        self.dropped += self.frames.len() as u64;
        self.frames.clear();
        self.kept = 0;
        self.room = ROOM;
        self.needs_key = true;
        self.lost = true;
        self.told = false;
    }

    /// The next picture for the viewer. Kept ones go no earlier than `not_before`.
    pub fn take(&mut self, not_before: Option<Instant>, now: Instant) -> Taken {
        let catching_up = self.kept > 0;
        if catching_up
            && let Some(then) = not_before
            && now < then
        {
            return Taken::NotBefore(then);
        }
        match self.frames.pop_front() {
            Some(frame) => {
                self.kept -= usize::from(catching_up);
                Taken::Frame { frame, catching_up }
            }
            None if self.ended => Taken::Ended,
            None => {
                let wants_keyframe = self.lost && !self.told;
                self.told = true;
                Taken::Empty { wants_keyframe }
            }
        }
    }

    /// No picture comes any more. What waits can still be taken.
    pub fn end(&mut self) {
        self.ended = true;
    }

    /// Pictures lost because the viewer was slow.
    pub fn dropped(&self) -> u64 {
        self.dropped
    }
}

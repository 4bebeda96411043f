//! One encode follows the network of those who watch it.
//!
//! Every viewer's connection estimates what its path carries; [`policy`] makes one rate of that,
//! [`ladder`] a size and a number of pictures a second that this rate is enough for, and [`brake`] holds
//! the encoder for a moment where even that is too much already. Whom the picture does not follow and who
//! cannot be sent all of it is shown less by [`patience`]. Where a picture is to be had in several renditions,
//! [`choice`] says which one each viewer is sent, and the rest is done for each of them. All of it is pure logic; the
//! [fan-out](super::fanout) looks at the viewers a few times a second and tells the source.

pub mod brake;
pub mod choice;
pub mod ladder;
pub mod patience;
pub mod policy;

use std::time::{Duration, Instant};

use self::{
    brake::Brake,
    ladder::{Ladder, Shape},
    policy::Policy,
};

/// How often viewers are looked at.
pub const EVERY: Duration = Duration::from_millis(100);

/// How one viewer is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reading {
    /// Bits a second that its path carries for this picture.
    pub bitrate: u32,
    /// Bits a second of this picture that arrive, where the viewer reports it.
    pub delivered: Option<u32>,
    /// Whether that was measured, and is not only a guess.
    pub is_measured: bool,
    /// Whether it drives.
    pub drives: bool,
    /// How long what waits for it takes to leave.
    pub backlog: Duration,
}

/// What an encoder is to aim at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Aim {
    /// Bits a second.
    pub bitrate: u32,
    /// The most that this may ever be.
    pub most: u32,
    /// The size of pictures and how many of them.
    pub shape: Shape,
    /// No picture is to be encoded for now: what was encoded has not left yet.
    pub hold: bool,
}

impl Aim {
    /// So many bits a second, of all pictures in their full size.
    pub fn of(bitrate: u32) -> Self {
        Self { bitrate, most: bitrate, shape: Shape::FULL, hold: false }
    }
}

/// From how viewers are to what is encoded. Time is an argument.
#[derive(Debug)]
pub struct Follow {
    policy: Policy,
    ladder: Ladder,
    brake: Brake,
    told: Option<Aim>,
}

impl Follow {
    /// Never more than so many bits a second, of pictures of so many pixels.
    pub fn new(most: u32, pixels: u64) -> Self {
        let policy = Policy::new(most);
        Self { policy, ladder: Ladder::new(pixels), brake: Brake::default(), told: None }
    }

    /// Another upper limit.
    pub fn set_most(&mut self, most: u32) {
        self.policy.set_most(most);
    }

    /// Nobody watches any more: whoever comes next begins anew.
    pub fn reset(&mut self) {
        self.policy.reset();
    }

    /// The pictures have another size by themselves.
    pub fn set_pixels(&mut self, pixels: u64) {
        self.ladder.set_pixels(pixels);
    }

    /// What was decided last.
    pub fn told(&self) -> Option<Aim> {
        self.told
    }

    /// Viewers are like this now. What the source is to be told, where it is something new.
    pub fn decide(&mut self, now: Instant, viewers: &[Reading]) -> Option<Aim> {
        let bitrate = self.policy.decide(now, viewers);
        let aim = Aim {
            bitrate,
            most: self.policy.most(),
            shape: self.ladder.choose(now, bitrate),
            hold: self.brake.holds(self.policy.leaders(viewers)),
        };
        let is_new = self.told != Some(aim);
        self.told = Some(aim);
        is_new.then_some(aim)
    }
}

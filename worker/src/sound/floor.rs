//! Who speaks through the machine's speaker. One at a time.
//!
//! Voices are not mixed: a machine that speaks with two voices at once is understood by nobody near it,
//! and does not say whose orders are heard. Who presses first has the floor until letting go; whose
//! sound stops coming loses it.
//!
//! Pure logic: time is an argument.

use std::time::{Duration, Instant};

use halyard_protocol::ids::PeerId;

/// Sound that did not come for this long does not come any more: a network that is away for longer
/// has cut the sentence anyway.
pub const SILENT: Duration = Duration::from_secs(3);

/// Somebody else speaks.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{by} is speaking; wait until they let go")]
pub struct Taken {
    /// Who.
    pub by: PeerId,
}

/// Who has the floor.
#[derive(Debug, Default)]
pub struct Floor {
    talker: Option<(PeerId, Instant)>,
}

impl Floor {
    /// Who speaks.
    pub fn talker(&self) -> Option<&PeerId> {
        self.talker.as_ref().map(|(peer, _)| peer)
    }

    /// Somebody wants to speak.
    pub fn ask(&mut self, peer: &PeerId, now: Instant) -> Result<(), Taken> {
        self.lapse(now);
        match &self.talker {
            Some((by, _)) if by != peer => Err(Taken { by: by.clone() }),
            _ => {
                self.talker = Some((peer.clone(), now));
                Ok(())
            }
        }
    }

    /// Somebody lets go, or is gone.
    pub fn release(&mut self, peer: &PeerId) {
        if self.talker() == Some(peer) {
            self.talker = None;
        }
    }

    /// Sound came from somebody: whether it is to be played.
    pub fn hears(&mut self, peer: &PeerId, now: Instant) -> bool {
        match &mut self.talker {
            Some((talker, heard)) if talker == peer => {
                *heard = now;
                true
            }
            _ => false,
        }
    }

    /// Takes the floor from somebody whose sound does not come any more.
    pub fn lapse(&mut self, now: Instant) {
        if let Some((_, heard)) = self.talker
            && now.saturating_duration_since(heard) >= SILENT
        {
            self.talker = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(name: &str) -> PeerId {
        PeerId::new(name).expect("a good name")
    }

    #[test]
    fn who_presses_first_speaks_until_letting_go() {
        let (mut floor, now) = (Floor::default(), Instant::now());
        let (ann, bob) = (peer("ann"), peer("bob"));
        assert!(!floor.hears(&ann, now), "nobody is heard without the floor");
        assert_eq!(floor.ask(&ann, now), Ok(()));
        assert_eq!(floor.ask(&bob, now), Err(Taken { by: ann.clone() }));
        assert_eq!(floor.ask(&ann, now), Ok(()), "pressing again changes nothing");
        assert!(floor.hears(&ann, now) && !floor.hears(&bob, now));
        floor.release(&bob);
        assert_eq!(floor.talker(), Some(&ann), "nobody lets go for another");
        floor.release(&ann);
        assert_eq!(floor.ask(&bob, now), Ok(()));
    }

    #[test]
    fn who_is_not_heard_any_more_loses_the_floor() {
        let (mut floor, now) = (Floor::default(), Instant::now());
        let (ann, bob) = (peer("ann"), peer("bob"));
        floor.ask(&ann, now).expect("free");
        floor.hears(&ann, now + Duration::from_secs(2));
        assert!(floor.ask(&bob, now + Duration::from_secs(4)).is_err());
        assert_eq!(floor.ask(&bob, now + Duration::from_secs(5)), Ok(()));
        floor.lapse(now + Duration::from_secs(9));
        assert_eq!(floor.talker(), None);
    }
}

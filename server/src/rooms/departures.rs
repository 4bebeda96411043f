//! Who is in any room of this node, and who has just left the last one for good.
//!
//! Identities that cost something to keep (users of a pool) are deleted when their peer is gone.
//! Each member holds a [`Presence`]; whatever ends the membership drops it, so nobody is forgotten
//! on some rare path. What does not fit the queue is left to the sweeper of the identity provider.

use std::{
    collections::{HashMap, VecDeque},
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use crate::identity::Subject;

/// Departures that wait to be dealt with. More at once is a mass departure (a drain, a network that
/// broke), and the sweeper is slower but surer.
const MAX_WAITING: usize = 10_000;

/// Counts memberships by identity.
#[derive(Debug, Default)]
pub struct Departures {
    inside: Mutex<Inside>,
}

#[derive(Debug, Default)]
struct Inside {
    present: HashMap<Subject, usize>,
    gone: VecDeque<Subject>,
}

impl Departures {
    fn lock(&self) -> MutexGuard<'_, Inside> {
        self.inside.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Somebody became a member of a room.
    pub fn arrive(self: &Arc<Self>, subject: &Subject) -> Presence {
        *self.lock().present.entry(subject.clone()).or_default() += 1;
        Presence(Some(Box::new((Arc::clone(self), subject.clone()))))
    }

    /// Whether an identity is a member of any room here, away or not.
    pub fn is_present(&self, subject: &Subject) -> bool {
        self.lock().present.contains_key(subject)
    }

    /// Takes identities that left and did not come back meanwhile.
    pub fn take(&self, most: usize) -> Vec<Subject> {
        let mut inside = self.lock();
        let mut taken = Vec::new();
        while taken.len() < most
            && let Some(subject) = inside.gone.pop_front()
        {
            if !inside.present.contains_key(&subject) {
                taken.push(subject);
            }
        }
        taken
    }

    fn leave(&self, subject: &Subject, told: bool) {
        let mut inside = self.lock();
        let Some(count) = inside.present.get_mut(subject) else { return };
        *count -= 1;
        if *count > 0 {
            return;
        }
        inside.present.remove(subject);
        if told {
            if inside.gone.len() == MAX_WAITING {
                inside.gone.pop_front();
            }
            inside.gone.push_back(subject.clone());
        }
    }
}

/// One membership. Dropping it is leaving for good.
#[derive(Default)]
pub struct Presence(Option<Box<(Arc<Departures>, Subject)>>);

impl Presence {
    /// Ends the membership without a departure: the peer goes on elsewhere, on another node.
    pub fn hand_over(mut self) {
        if let Some(watched) = self.0.take() {
            watched.0.leave(&watched.1, false);
        }
    }
}

impl Drop for Presence {
    fn drop(&mut self) {
        if let Some(watched) = self.0.take() {
            watched.0.leave(&watched.1, true);
        }
    }
}

impl fmt::Debug for Presence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() { "Presence(watched)" } else { "Presence" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_left_the_last_room_has_departed_and_who_came_back_has_not() {
        let departures = Arc::new(Departures::default());
        let (ann, bob) = (Subject::new("ann"), Subject::new("bob"));
        let first = departures.arrive(&ann);
        let second = departures.arrive(&ann);
        let other = departures.arrive(&bob);
        drop(first);
        assert!(departures.take(9).is_empty());
        drop(second);
        drop(other);
        let _again = departures.arrive(&bob);
        assert_eq!(departures.take(9), [ann]);
        assert!(departures.is_present(&bob) && departures.take(9).is_empty());
    }

    #[test]
    fn who_goes_on_elsewhere_has_not_departed() {
        let departures = Arc::new(Departures::default());
        departures.arrive(&Subject::new("ann")).hand_over();
        Presence::default().hand_over();
        assert!(departures.take(9).is_empty() && !departures.is_present(&Subject::new("ann")));
    }

    #[test]
    fn a_mass_departure_is_bounded() {
        let departures = Arc::new(Departures::default());
        for number in 0..MAX_WAITING + 5 {
            drop(departures.arrive(&Subject::new(number.to_string())));
        }
        let taken = departures.take(usize::MAX);
        assert_eq!((taken.len(), taken[0].as_str()), (MAX_WAITING, "5"));
    }
}

//! Who gets one of a worker's places. Pure.
//!
//! A peer that has offered a connection and never comes to one holds its place for half a minute.
//! So that nobody can keep a machine's operators out that way, some places are for operators alone,
//! and a place that nobody uses goes to somebody who may need it more.

use std::time::Duration;

use halyard_protocol::{access::Access, ids::PeerId};

/// The part of all places that viewers leave free for operators: one in eight, and at least one
/// where there are several.
const KEPT_ONE_IN: usize = 8;

/// A connection is up within a second or two where it can be at all. Whoever needs longer may be
/// displaced by somebody with the same rights.
const SLOW_AFTER: Duration = Duration::from_secs(10);

/// A place that is taken.
#[derive(Debug, Clone, Copy)]
pub(super) struct Taken<'a> {
    pub(super) who: &'a PeerId,
    pub(super) access: Access,
    /// It was connected at least once.
    pub(super) connected: bool,
    /// Since its offer.
    pub(super) age: Duration,
}

/// Where to put a newcomer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place<'a> {
    /// Anywhere.
    Free,
    /// In this one's place.
    Of(&'a PeerId),
    /// Nowhere.
    None,
}

/// Finds a place for somebody with these rights.
pub(super) fn place<'a>(
    taken: impl Iterator<Item = Taken<'a>>,
    most: usize,
    access: Access,
) -> Place<'a> {
    let kept = if most < 2 || access.may_operate() { 0 } else { most.div_ceil(KEPT_ONE_IN) };
    let mut count = 0;
    let mut worst: Option<Taken<'a>> = None;
    for one in taken {
        count += 1;
        let displaced = !one.connected && (one.access < access || one.age >= SLOW_AFTER);
        // An operator that is slow to connect is never displaced by a viewer.
        if displaced
            && one.access <= access
            && worst.is_none_or(|worst| (one.access, worst.age) < (worst.access, one.age))
        {
            worst = Some(one);
        }
    }
    if count < most - kept {
        return Place::Free;
    }
    worst.map_or(Place::None, |one| Place::Of(one.who))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(name: &str) -> PeerId {
        PeerId::new(name).expect("a good name")
    }

    fn taken(who: &PeerId, access: Access, connected: bool, seconds: u64) -> Taken<'_> {
        Taken { who, access, connected, age: Duration::from_secs(seconds) }
    }

    #[test]
    fn viewers_that_never_connect_do_not_keep_an_operator_out() {
        let names: Vec<PeerId> = (0..8).map(|n| id(&n.to_string())).collect();
        let viewers: Vec<Taken<'_>> = names
            .iter()
            .enumerate()
            .map(|(n, who)| taken(who, Access::Viewer, n == 0, n as u64))
            .collect();
        let full = || viewers.iter().copied();
        assert_eq!(place(full(), 8, Access::Operator), Place::Of(&names[7]), "the oldest of them");
        assert_eq!(place(full(), 8, Access::Viewer), Place::None, "they have some time to connect");
        let slow = full().map(|one| Taken { age: SLOW_AFTER, ..one });
        assert_ne!(place(slow, 8, Access::Viewer), Place::None);
    }

    #[test]
    fn the_last_places_are_for_operators() {
        let names: Vec<PeerId> = (0..7).map(|n| id(&n.to_string())).collect();
        let there = || names.iter().map(|who| taken(who, Access::Viewer, true, 60));
        assert_eq!(place(there(), 8, Access::Viewer), Place::None);
        assert_eq!(place(there(), 8, Access::Operator), Place::Free);
        assert_eq!(place(there().take(6), 8, Access::Viewer), Place::Free);
        assert_eq!(place(std::iter::empty(), 1, Access::Viewer), Place::Free);
    }

    #[test]
    fn who_is_connected_keeps_its_place_and_a_viewer_never_takes_an_operators() {
        let (ann, bob) = (id("ann"), id("bob"));
        let there =
            [taken(&ann, Access::Operator, false, 20), taken(&bob, Access::Viewer, true, 60)];
        assert_eq!(place(there.into_iter(), 2, Access::Viewer), Place::None);
        assert_eq!(place(there.into_iter(), 2, Access::Operator), Place::Of(&ann));
        assert_eq!(place(there.into_iter(), 2, Access::Admin), Place::Of(&ann));
    }
}

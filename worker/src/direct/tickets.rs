//! Tickets: what stands in an address where a token must not. One opens one picture, once, and soon.
//!
//! An `<img>` sends no headers of its own, and an address is seen by proxies, logs and histories. So
//! a page asks for a ticket with its token in a header, and puts that into the address: whoever
//! finds it there later has found nothing.

use std::{
    collections::HashMap,
    fmt::Write,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use super::door::Pass;

/// From a page's question to its `<img>` it is a round trip.
pub(super) const TICKET_LIVES: Duration = Duration::from_secs(30);

/// Tickets that wait to be used. The oldest goes when there are more: who asks for many is not
/// waiting for all of them.
const MOST: usize = 256;

/// Those that were given out.
#[derive(Debug, Default)]
pub(super) struct Tickets(Mutex<HashMap<u128, Given>>);

#[derive(Debug)]
struct Given {
    pass: Pass,
    until: Instant,
}

impl Tickets {
    /// A new one for somebody who was let in.
    pub(super) fn give(&self, pass: Pass, now: Instant) -> String {
        let mut given = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        given.retain(|_, one| now < one.until);
        if given.len() >= MOST
            && let Some(oldest) = given.iter().min_by_key(|(_, one)| one.until).map(|(id, _)| *id)
        {
            given.remove(&oldest);
        }
        let id = rand::random::<u128>();
        given.insert(id, Given { pass, until: now + TICKET_LIVES });
        let mut text = String::with_capacity(32);
        let _ = write!(text, "{id:032x}");
        text
    }

    /// Takes one back, for whom it was given to; nothing where it was used, is over, or never was.
    pub(super) fn take(&self, ticket: &str, now: Instant) -> Option<Pass> {
        let is_ours = ticket.len() == 32 && ticket.bytes().all(|byte| byte.is_ascii_hexdigit());
        let id = is_ours.then(|| u128::from_str_radix(ticket, 16).ok()).flatten()?;
        let given = self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&id)?;
        (now < given.until).then_some(given.pass)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ticket_opens_once_and_soon() {
        let (tickets, now) = (Tickets::default(), Instant::now());
        let pass = || Pass::for_tests();
        let ticket = tickets.give(pass(), now);
        assert!(tickets.take(&ticket, now + Duration::from_secs(29)).is_some());
        assert!(tickets.take(&ticket, now).is_none(), "twice");
        let late = tickets.give(pass(), now);
        assert!(tickets.take(&late, now + TICKET_LIVES).is_none());
        for nonsense in
            ["", "x", &"0".repeat(32), &"+".repeat(32), &"ä".repeat(16), &"f".repeat(99)]
        {
            assert!(tickets.take(nonsense, now).is_none(), "{nonsense}");
        }
    }

    #[test]
    fn who_asks_for_many_has_the_newest() {
        let (tickets, now) = (Tickets::default(), Instant::now());
        let given: Vec<String> = (0..MOST as u64 + 10)
            .map(|n| tickets.give(Pass::for_tests(), now + Duration::from_millis(n)))
            .collect();
        assert_eq!(tickets.0.lock().expect("not poisoned").len(), MOST);
        assert!(tickets.take(&given[9], now).is_none());
        assert!(tickets.take(&given[10], now).is_some());
    }
}

//! How long each peer may be served without the broker. Pure: time and chance are arguments.
//!
//! The broker decides about rights, and connections do not need it once they are up. So every
//! session has a lease that the broker renews by confirming the peer's [`Grant`]: what is not
//! confirmed ends at once, and what could not be confirmed ends with the lease. A broker that is
//! away for less than that disturbs nobody; a worker that is cut off serves nobody for longer.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    time::{Duration, Instant},
};

use halyard_protocol::{
    ids::{PeerId, RoomId},
    limits::{CONFIRM_RIGHTS_EVERY, MAX_GRANTS},
    signal::Grant,
};

/// Questions of one round. A worker with more peers than fit asks for those first whose leases end
/// first, and for the rest in the next round: the broker answers some two questions a second.
const QUESTIONS_AT_ONCE: usize = 4;

/// Questions whose answers may still come.
const MOST_ASKED: usize = 32;

/// The shortest time between two rounds that nobody asked for.
const SOONEST: Duration = Duration::from_secs(1);

/// What to ask the broker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Question {
    /// Comes back in the answer.
    pub seq: u64,
    /// Whose rights.
    pub grants: Vec<Grant>,
}

#[derive(Debug)]
struct Lease {
    /// An older broker tells none: then nothing can be confirmed.
    grant: Option<Grant>,
    /// The room in which it was granted. Another room's broker knows nothing of it.
    room: RoomId,
    until: Instant,
    /// The question whose answer counted last.
    seq: u64,
}

#[derive(Debug)]
struct Asked {
    grants: BTreeSet<Grant>,
    at: Instant,
}

/// All leases of a worker.
#[derive(Debug)]
pub struct Leases {
    term: Duration,
    held: HashMap<PeerId, Lease>,
    asked: BTreeMap<u64, Asked>,
    last_seq: u64,
    /// When the next round begins.
    next: Instant,
}

impl Leases {
    /// No leases yet. `term` is how long each lasts.
    pub fn new(term: Duration, now: Instant) -> Self {
        Self {
            term,
            held: HashMap::new(),
            asked: BTreeMap::new(),
            last_seq: 0,
            next: now + term / 3,
        }
    }

    /// A lease begins: the broker just introduced this peer. Whoever has one already keeps its end,
    /// so that coming again does not lengthen it.
    pub fn hold(&mut self, peer: PeerId, grant: Option<Grant>, room: RoomId, now: Instant) {
        let until = now + self.term;
        match self.held.get_mut(&peer) {
            Some(lease) if lease.grant == grant && lease.room == room => {}
            _ => {
                self.held.insert(peer, Lease { grant, room, until, seq: self.last_seq });
            }
        }
    }

    /// The session is over.
    pub fn release(&mut self, peer: &PeerId) {
        self.held.remove(peer);
    }

    /// The broker says something new of a peer: it is here with this grant, in this room.
    pub fn regranted(&mut self, peer: &PeerId, grant: Option<&Grant>, room: &RoomId, now: Instant) {
        if self.held.contains_key(peer) {
            self.hold(peer.clone(), grant.cloned(), room.clone(), now);
        }
    }

    /// Rights were changed, or the broker is back: ask now.
    pub fn hurry(&mut self, now: Instant) {
        self.next = now;
    }

    /// The link is gone, and answers with it.
    pub fn link_lost(&mut self) {
        self.asked.clear();
    }

    /// What to ask in this room now. `chance` is uniform in `0.0..1.0`, so that the workers of a
    /// broker that restarted do not ask together for ever.
    pub fn questions(&mut self, room: &RoomId, now: Instant, chance: f64) -> Vec<Question> {
        if now < self.next {
            return Vec::new();
        }
        let mut due: Vec<(Instant, &Grant)> = self
            .held
            .values()
            .filter(|lease| lease.room == *room)
            .filter_map(|lease| Some((lease.until, lease.grant.as_ref()?)))
            .collect();
        due.sort_unstable();
        let mut seen = BTreeSet::new();
        let grants: Vec<Grant> =
            due.into_iter().map(|(_, grant)| grant).filter(|g| seen.insert(*g)).cloned().collect();
        let all = grants.len() <= QUESTIONS_AT_ONCE * MAX_GRANTS;
        let mut questions = Vec::new();
        for grants in grants.chunks(MAX_GRANTS).take(QUESTIONS_AT_ONCE) {
            self.last_seq += 1;
            let asked = Asked { grants: grants.iter().cloned().collect(), at: now };
            self.asked.insert(self.last_seq, asked);
            questions.push(Question { seq: self.last_seq, grants: grants.to_vec() });
        }
        while self.asked.len() > MOST_ASKED {
            self.asked.pop_first();
        }
        let soonest = self.held.values().map(|lease| lease.until).min();
        let wait = if all { self.round(now, soonest) } else { SOONEST * 3 };
        self.next = now + wait.mul_f64(0.8 + 0.4 * chance.clamp(0.0, 1.0));
        questions
    }

    /// Three rounds in a lease; more while one is about to end, because an answer may be missing.
    fn round(&self, now: Instant, soonest: Option<Instant>) -> Duration {
        let usual = CONFIRM_RIGHTS_EVERY.min(self.term / 3);
        match soonest.map(|until| until.saturating_duration_since(now)) {
            Some(left) if left < usual + usual / 2 => (left / 3).max(SOONEST.min(usual)),
            _ => usual,
        }
    }

    /// The broker answered: leases of these grants are renewed for `valid_for` from the question,
    /// and at most for the term. Who was asked for and is not in the answer has no rights any more;
    /// its lease is gone.
    pub fn answered(&mut self, seq: u64, good: &[Grant], valid_for: Duration) -> Vec<PeerId> {
        let Some(asked) = self.asked.remove(&seq) else { return Vec::new() };
        let until = asked.at + valid_for.min(self.term);
        let mut revoked = Vec::new();
        for (peer, lease) in &mut self.held {
            let Some(grant) = lease.grant.as_ref().filter(|grant| asked.grants.contains(grant))
            else {
                continue;
            };
            if good.contains(grant) {
                // An answer to an older question may come late.
                if seq > lease.seq {
                    (lease.seq, lease.until) = (seq, until);
                }
            } else {
                revoked.push(peer.clone());
            }
        }
        revoked.sort_unstable();
        for peer in &revoked {
            self.held.remove(peer);
        }
        revoked
    }

    /// Leases that were not renewed in time. They are gone.
    pub fn run_out(&mut self, now: Instant) -> Vec<PeerId> {
        let mut over: Vec<PeerId> = self
            .held
            .iter()
            .filter(|(_, lease)| lease.until <= now)
            .map(|(peer, _)| peer.clone())
            .collect();
        over.sort_unstable();
        for peer in &over {
            self.held.remove(peer);
        }
        over
    }

    /// All rights are over: the room is.
    pub fn end_all(&mut self) -> Vec<PeerId> {
        self.held.drain().map(|(peer, _)| peer).collect()
    }

    /// When to look again: at the next round, where there is anybody to ask (`linked`), and when the
    /// next lease runs out.
    pub fn next_look(&self, linked: bool) -> Option<Instant> {
        let end = self.held.values().map(|lease| lease.until).min()?;
        Some(if linked { end.min(self.next) } else { end })
    }

    /// Whether anybody holds this.
    pub fn holds(&self, peer: &PeerId) -> bool {
        self.held.contains_key(peer)
    }

    /// How long a lease lasts.
    pub fn term(&self) -> Duration {
        self.term
    }
}

#[cfg(test)]
mod tests {
    use halyard_protocol::access::Access;
    use proptest::prelude::*;

    use super::*;

    const S: Duration = Duration::from_secs(1);
    const TERM: Duration = Duration::from_mins(1);

    fn peer(name: &str) -> PeerId {
        PeerId::new(name).expect("a good name")
    }

    fn grant(name: &str) -> Grant {
        Grant::new(Access::Operator, Some(&[1; 32]), name).expect("short")
    }

    fn room(name: &str) -> RoomId {
        RoomId::new(name).expect("a good name")
    }

    fn leases(names: &[&str], start: Instant) -> Leases {
        let mut leases = Leases::new(TERM, start);
        for name in names {
            leases.hold(peer(name), Some(grant(name)), room("lab"), start);
        }
        leases
    }

    fn ask(leases: &mut Leases, now: Instant) -> Vec<Question> {
        leases.questions(&room("lab"), now, 0.5)
    }

    #[test]
    fn a_confirmed_lease_goes_on_and_is_asked_for_three_times_in_its_term() {
        let start = Instant::now();
        let mut leases = leases(&["ann"], start);
        let mut asked = 0;
        for second in 0..600 {
            let now = start + S * second;
            for Question { seq, grants } in ask(&mut leases, now) {
                asked += 1;
                assert_eq!(leases.answered(seq, &grants, TERM), []);
            }
            assert_eq!(leases.run_out(now), [], "after {second} s");
        }
        assert!((28..=32).contains(&asked), "{asked} rounds in ten minutes");
    }

    #[test]
    fn what_is_not_confirmed_ends_at_once_and_the_rest_goes_on() {
        let start = Instant::now();
        let mut leases = leases(&["ann", "eve"], start);
        assert_eq!(ask(&mut leases, start + S), [], "it is not time yet");
        leases.hurry(start + S);
        let questions = ask(&mut leases, start + S);
        assert_eq!(questions.len(), 1);
        assert_eq!(leases.answered(questions[0].seq, &[grant("ann")], TERM), [peer("eve")]);
        assert!(leases.holds(&peer("ann")) && !leases.holds(&peer("eve")));
        assert_eq!(leases.answered(questions[0].seq, &[], TERM), [], "an answer counts once");
    }

    #[test]
    fn who_cannot_be_confirmed_is_served_for_the_term_and_not_longer() {
        let start = Instant::now();
        let mut leases = leases(&["ann"], start);
        leases.hurry(start + S * 5);
        let asked = ask(&mut leases, start + S * 5);
        leases.answered(asked[0].seq, &asked[0].grants, TERM);
        leases.link_lost();
        // From the question, not from its answer: that is when the broker looked, at the earliest.
        let end = start + S * 65;
        assert_eq!(leases.next_look(false), Some(end));
        let just_before = end.checked_sub(Duration::from_millis(1)).expect("after the start");
        assert_eq!(leases.run_out(just_before), []);
        assert_eq!(leases.run_out(end), [peer("ann")]);
        assert_eq!(leases.next_look(false), None);
    }

    #[test]
    fn a_broker_that_is_back_in_time_is_asked_at_once_and_disturbs_nobody() {
        let start = Instant::now();
        let mut leases = leases(&["ann"], start);
        leases.link_lost();
        let back = start + S * 50;
        assert_eq!(leases.run_out(back), []);
        leases.hurry(back);
        let asked = ask(&mut leases, back);
        assert_eq!(leases.answered(asked[0].seq, &asked[0].grants, TERM), []);
        assert_eq!(leases.next_look(false), Some(back + TERM));
    }

    #[test]
    fn while_answers_are_missing_it_asks_oftener() {
        let start = Instant::now();
        let mut leases = leases(&["ann"], start);
        let asked = (0..60).filter(|second| !ask(&mut leases, start + S * *second).is_empty());
        assert!(asked.count() > 5, "a broker whose store fails for a moment has several chances");
    }

    #[test]
    fn nothing_is_valid_beyond_what_the_broker_says_or_the_owner_wants() {
        let start = Instant::now();
        let mut leases = leases(&["ann"], start);
        leases.hurry(start);
        let asked = ask(&mut leases, start);
        leases.answered(asked[0].seq, &asked[0].grants, S * 10);
        assert_eq!(leases.next_look(false), Some(start + S * 10), "the room ends then");
        leases.hurry(start);
        let asked = ask(&mut leases, start);
        leases.answered(asked[0].seq, &asked[0].grants, TERM * 100);
        assert_eq!(leases.next_look(false), Some(start + TERM));
    }

    #[test]
    fn a_late_answer_to_an_older_question_does_not_shorten_or_lengthen_anything() {
        let start = Instant::now();
        let mut leases = leases(&["ann"], start);
        leases.hurry(start);
        let first = ask(&mut leases, start);
        leases.hurry(start + S);
        let second = ask(&mut leases, start + S);
        leases.answered(second[0].seq, &second[0].grants, TERM);
        leases.answered(first[0].seq, &first[0].grants, S);
        assert_eq!(leases.next_look(false), Some(start + S * 61));
    }

    #[test]
    fn another_room_is_not_asked_about_rights_of_this_one() {
        let start = Instant::now();
        let mut leases = leases(&["ann"], start);
        leases.hurry(start);
        assert_eq!(leases.questions(&room("new"), start, 0.5), []);
        assert_eq!(leases.run_out(start + TERM), [peer("ann")], "and so they run out");
    }

    #[test]
    fn coming_again_does_not_lengthen_a_lease_and_new_rights_begin_another() {
        let start = Instant::now();
        let mut leases = leases(&["ann"], start);
        leases.hold(peer("ann"), Some(grant("ann")), room("lab"), start + S * 30);
        assert_eq!(leases.next_look(false), Some(start + TERM));
        let ann = PeerId::new("ann").expect("a good name");
        leases.regranted(&ann, Some(&grant("ann 2")), &room("lab"), start + S * 30);
        assert_eq!(leases.next_look(false), Some(start + S * 90));
        let bob = PeerId::new("bob").expect("a good name");
        leases.regranted(&bob, Some(&grant("bob")), &room("lab"), start);
        assert!(!leases.holds(&bob), "without a session there is no lease");
    }

    #[test]
    fn a_thousand_peers_are_all_asked_for_within_their_term() {
        let start = Instant::now();
        let names: Vec<String> = (0..1000).map(|n| format!("p{n}")).collect();
        let mut leases = leases(&names.iter().map(String::as_str).collect::<Vec<_>>(), start);
        for second in 0..300 {
            let now = start + S * second;
            for Question { seq, grants } in ask(&mut leases, now) {
                assert!(grants.len() <= MAX_GRANTS);
                leases.answered(seq, &grants, TERM);
            }
            assert_eq!(leases.run_out(now), [], "after {second} s");
        }
    }

    proptest! {
        /// Whatever happens, nobody is served for longer than the term after the last question that
        /// was answered in its favour.
        #[test]
        fn nobody_outlives_the_last_confirmation_by_more_than_the_term(
            steps in prop::collection::vec((0u64..30, 0u8..6, any::<bool>()), 1..80)
        ) {
            let start = Instant::now();
            let mut leases = leases(&["ann"], start);
            let (mut now, mut vouched) = (start, start);
            let mut open: Vec<(Question, Instant)> = Vec::new();
            for (later, what, good) in steps {
                now += S * u32::try_from(later).expect("small");
                match what {
                    0 => leases.hurry(now),
                    1 => {
                        leases.link_lost();
                        open.clear();
                    }
                    2 => leases.hold(peer("ann"), Some(grant("ann")), room("lab"), vouched),
                    3 => if let Some((question, at)) = open.pop() {
                        let grants = if good { question.grants.clone() } else { Vec::new() };
                        let gone = leases.answered(question.seq, &grants, TERM);
                        if good { vouched = vouched.max(at) } else { prop_assert!(gone.len() <= 1) }
                    },
                    _ => open.extend(ask(&mut leases, now).into_iter().map(|q| (q, now))),
                }
                leases.run_out(now);
                if leases.holds(&peer("ann")) {
                    prop_assert!(now < vouched + TERM);
                }
            }
        }
    }
}

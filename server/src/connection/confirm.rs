//! A socket's questions about rights.
//!
//! The answer may wait for a database, and meanwhile the socket goes on reading and writing: a
//! worker whose broker's store is slow must still hear offers.

use std::{
    collections::VecDeque,
    pin::Pin,
    sync::Arc,
    time::{Duration, Instant},
};

use halyard_protocol::{
    ids::RoomId,
    signal::{ErrorCode, Grant},
};

use crate::{
    broker::Broker,
    rights,
    rooms::{Refusal, Text},
    time::Now,
};

/// One question costs one look into the store, so a socket may ask this often on average…
const EVERY: Duration = Duration::from_millis(500);
/// …after a burst of as many as this allows: a worker with a thousand peers asks for all of them.
const AHEAD: Duration = Duration::from_secs(4);
/// Questions that wait for the one under way.
const MOST_WAITING: usize = 8;

/// Questions of one socket, answered one after the other.
#[derive(Default)]
pub(super) struct Confirming {
    under_way: Option<Pin<Box<dyn Future<Output = Text> + Send>>>,
    waiting: VecDeque<(RoomId, u64, Vec<Grant>)>,
    pace: Pace,
}

/// How often may be asked. Pure: a clock that runs ahead by [`EVERY`] for each question.
#[derive(Default)]
struct Pace(Option<Instant>);

impl Pace {
    fn allows(&mut self, now: Instant) -> bool {
        let ahead = self.0.map_or(now, |ahead| ahead.max(now)) + EVERY;
        let allowed = ahead.duration_since(now) <= AHEAD;
        if allowed {
            self.0 = Some(ahead);
        }
        allowed
    }
}

impl Confirming {
    /// Somebody in this room asks.
    pub(super) fn ask(
        &mut self,
        broker: &Arc<Broker>,
        room: &RoomId,
        seq: u64,
        grants: Vec<Grant>,
        now: Instant,
    ) -> Result<(), Refusal> {
        if self.waiting.len() >= MOST_WAITING || !self.pace.allows(now) {
            return Err(Refusal::new(
                ErrorCode::LimitExceeded,
                "Rights are confirmed at most twice a second; ask for several grants at once",
            )
            .retry_after(EVERY));
        }
        self.waiting.push_back((room.clone(), seq, grants));
        self.begin(broker);
        Ok(())
    }

    fn begin(&mut self, broker: &Arc<Broker>) {
        if self.under_way.is_some() {
            return;
        }
        if let Some((room, seq, grants)) = self.waiting.pop_front() {
            let broker = Arc::clone(broker);
            self.under_way = Some(Box::pin(async move {
                match rights::confirm(&*broker.store, &room, seq, grants, Now::read()).await {
                    Ok(answer) => answer.to_json().into(),
                    Err(refusal) => refusal.to_text(),
                }
            }));
        }
    }

    /// The next answer; never while nothing was asked.
    pub(super) async fn next(this: &mut Option<Box<Self>>, broker: &Arc<Broker>) -> Text {
        let Some(confirming) = this else { return std::future::pending().await };
        let Some(under_way) = &mut confirming.under_way else {
            return std::future::pending().await;
        };
        let text = under_way.await;
        confirming.under_way = None;
        confirming.begin(broker);
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn after_a_burst_of_eight_two_questions_a_second_are_answered() {
        let (mut pace, start) = (Pace::default(), Instant::now());
        let burst = (0..20).filter(|_| pace.allows(start)).count();
        assert_eq!(burst, 8);
        let minute: usize = (1..=600)
            .filter(|tenth| pace.allows(start + Duration::from_millis(100) * *tenth))
            .count();
        assert_eq!(minute, 120);
    }
}

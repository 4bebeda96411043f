//! When to connect, restart, start anew or give up: the decisions alone.
//!
//! No socket and no clock: what happened and the time go in, what to do comes out. The session
//! carries it out.
//!
//! ```text
//!             worker here              ready
//!  Waiting ───────────────▶ Connecting ──────▶ Up ◀──────────┐
//!     ▲                        │   ▲           │ silent      │ heard again
//!     │ worker not here        │   │           ▼             │
//!     └──────────── Pausing ◀──┴───┼──────── Shaky ──▶ Restarting
//!                      │   failed  │           failed      │
//!                      └───────────┘◀──────────────────────┘
//! ```
//! The signaling socket may come and go at any time without disturbing a connection that is up; it
//! is only needed to make or to restart one.

use std::time::Duration;

use crate::signaling::{Backoff, BackoffPolicy};

/// Counts peer connections, so that late news of an old one is told apart.
pub(crate) type Generation = u64;

/// How patient the session is.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Patience {
    /// From the offer until the other end has said hello.
    pub(crate) connect: Duration,
    /// A silent connection may recover by itself for this long before an ICE restart.
    pub(crate) grace: Duration,
    /// From the ICE restart until something is heard again.
    pub(crate) restart: Duration,
    /// Without a worker in the room, since the start or since the connection was last up.
    pub(crate) worker: Duration,
    /// Without a connection although a worker is here.
    pub(crate) outage: Duration,
    /// Instead of these two, once a connection was up.
    pub(crate) back: Option<Duration>,
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(15),
            // ICE itself needs five seconds of silence to say "disconnected".
            grace: Duration::from_millis(500),
            restart: Duration::from_secs(8),
            worker: Duration::from_secs(20),
            outage: Duration::from_mins(1),
            back: None,
        }
    }
}

/// Something happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Input {
    /// A worker registered in the room, perhaps again: a process that was started anew does not
    /// know the old connection.
    WorkerCame,
    /// No worker is in the room any more.
    WorkerLeft,
    /// The signaling socket is registered.
    SignalUp,
    /// It is not.
    SignalDown,
    /// The other end said hello on the control lane.
    Ready(Generation),
    /// Packets are heard (again).
    Heard(Generation),
    /// None are.
    Silent(Generation),
    /// The connection will not recover by itself, or an offer could not be made or delivered.
    Failed(Generation),
    /// The other end closed it.
    Closed(Generation),
    /// Time passed; see [`Recovery::wake`].
    Tick,
}

/// What to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Action {
    /// Make a new peer connection and offer it.
    Connect(Generation),
    /// Offer an ICE restart on the connection that is there.
    Restart(Generation),
    /// Close this connection; nothing more is expected of it.
    Close(Generation),
    /// Nobody is coming: tell the user.
    GiveUp(GiveUp),
}

/// Why it is no use any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum GiveUp {
    /// There is no worker in the room.
    NoWorker,
    /// There is one, but no connection to it can be made.
    NoConnection,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Waiting,
    Connecting { until: Duration },
    Up,
    Shaky { restart_at: Duration },
    Restarting { until: Duration },
    Pausing { until: Duration },
    GivenUp,
}

/// The decisions.
#[derive(Debug)]
pub(crate) struct Recovery {
    patience: Patience,
    state: State,
    generation: Generation,
    backoff: Backoff,
    worker_here: bool,
    /// A worker came after the present connection was made: an ICE restart would reach a process
    /// that does not know it.
    worker_is_new: bool,
    signal_up: bool,
    was_up: bool,
    /// Since when there is no connection.
    down_since: Duration,
    /// Since when there is a worker, or none.
    worker_since: Duration,
}

impl Recovery {
    /// Registered a moment ago; nobody is known yet.
    pub(crate) fn new(patience: Patience, now: Duration) -> Self {
        Self {
            patience,
            state: State::Waiting,
            generation: 0,
            backoff: Backoff::new(BackoffPolicy {
                first: Duration::from_millis(400),
                most: Duration::from_secs(8),
                steady: Duration::from_secs(5),
            }),
            worker_here: false,
            worker_is_new: false,
            signal_up: true,
            was_up: false,
            down_since: now,
            worker_since: now,
        }
    }

    /// The connection that counts, if there is one.
    pub(crate) fn generation(&self) -> Option<Generation> {
        self.has_connection().then_some(self.generation)
    }

    /// When to come back with [`Input::Tick`] if nothing else happens.
    pub(crate) fn wake(&self) -> Option<Duration> {
        let step = match self.state {
            State::Connecting { until }
            | State::Restarting { until }
            | State::Pausing { until } => Some(until),
            // Without signaling a restart cannot be offered: its return wakes us.
            State::Shaky { restart_at } if self.signal_up => Some(restart_at),
            State::Shaky { .. } | State::Waiting | State::Up | State::GivenUp => None,
        };
        step.into_iter().chain(self.gives_up_at()).min()
    }

    /// One step. `chance` is uniform in `0.0..1.0`.
    pub(crate) fn step(&mut self, now: Duration, input: Input, chance: f64) -> Vec<Action> {
        let mut actions = Vec::new();
        self.note(now, input);
        if self.is_old(input) {
            return actions;
        }
        self.react(now, input, chance, &mut actions);
        self.advance(now, chance, &mut actions);
        if self.gives_up_at().is_some_and(|at| at <= now) {
            if self.has_connection() {
                actions.push(Action::Close(self.generation));
            }
            self.state = State::GivenUp;
            actions.push(Action::GiveUp(if self.worker_here {
                GiveUp::NoConnection
            } else {
                GiveUp::NoWorker
            }));
        }
        actions
    }

    /// Takes down who is here.
    fn note(&mut self, now: Duration, input: Input) {
        match input {
            Input::WorkerCame => {
                if !self.worker_here {
                    self.worker_since = now;
                }
                self.worker_here = true;
                self.worker_is_new = true;
            }
            Input::WorkerLeft if self.worker_here => {
                self.worker_here = false;
                self.worker_since = now;
            }
            Input::SignalUp => self.signal_up = true,
            Input::SignalDown => self.signal_up = false,
            _ => {}
        }
    }

    /// News of a connection that does not count any more.
    fn is_old(&self, input: Input) -> bool {
        match input {
            Input::Ready(of)
            | Input::Heard(of)
            | Input::Silent(of)
            | Input::Failed(of)
            | Input::Closed(of) => of != self.generation || !self.has_connection(),
            _ => false,
        }
    }

    fn react(&mut self, now: Duration, input: Input, chance: f64, actions: &mut Vec<Action>) {
        match (input, self.state) {
            (Input::Ready(_), State::Connecting { .. }) => {
                self.state = State::Up;
                self.was_up = true;
                self.backoff.connected(now);
            }
            (Input::Heard(_), State::Shaky { .. } | State::Restarting { .. }) => {
                self.state = State::Up;
            }
            (Input::Silent(_), State::Up) => {
                self.down_since = now;
                self.state = State::Shaky { restart_at: now + self.patience.grace };
            }
            // It is beyond recovering by itself: no grace.
            (Input::Failed(_), State::Up) => {
                self.down_since = now;
                self.state = State::Shaky { restart_at: now };
            }
            (Input::Failed(_), State::Shaky { .. }) => {
                self.state = State::Shaky { restart_at: now };
            }
            (Input::Closed(_), State::Up) => {
                self.down_since = now;
                self.drop_connection(now, chance, actions);
            }
            (
                Input::Failed(_) | Input::Closed(_),
                State::Connecting { .. } | State::Restarting { .. } | State::Shaky { .. },
            ) => self.drop_connection(now, chance, actions),
            _ => {}
        }
    }

    /// What is due, whatever happened.
    fn advance(&mut self, now: Duration, chance: f64, actions: &mut Vec<Action>) {
        match self.state {
            State::Connecting { until } | State::Restarting { until } if until <= now => {
                self.drop_connection(now, chance, actions);
            }
            // Nobody there knows this connection: start anew without waiting for it to fail.
            State::Connecting { .. } | State::Shaky { .. } | State::Restarting { .. }
                if self.worker_here && self.worker_is_new =>
            {
                self.drop_connection(now, 0.0, actions);
            }
            State::Shaky { restart_at } if restart_at <= now && self.signal_up => {
                if self.worker_here {
                    self.state = State::Restarting { until: now + self.patience.restart };
                    actions.push(Action::Restart(self.generation));
                } else {
                    self.drop_connection(now, 0.0, actions);
                }
            }
            _ => {}
        }
        if let State::Pausing { until } = self.state
            && until <= now
        {
            self.state = State::Waiting;
        }
        if self.state == State::Waiting && self.worker_here && self.signal_up {
            self.generation += 1;
            self.worker_is_new = false;
            self.state = State::Connecting { until: now + self.patience.connect };
            actions.push(Action::Connect(self.generation));
        }
    }

    fn drop_connection(&mut self, now: Duration, chance: f64, actions: &mut Vec<Action>) {
        actions.push(Action::Close(self.generation));
        self.state = State::Pausing { until: now + self.backoff.failed(now, chance) };
    }

    fn has_connection(&self) -> bool {
        matches!(
            self.state,
            State::Connecting { .. } | State::Up | State::Shaky { .. } | State::Restarting { .. }
        )
    }

    fn gives_up_at(&self) -> Option<Duration> {
        let patience = match self.state {
            State::Up | State::GivenUp => return None,
            _ if self.worker_here => self.patience.outage,
            _ => self.patience.worker,
        };
        let patience = self.patience.back.filter(|_| self.was_up).unwrap_or(patience);
        Some(self.down_since.max(self.worker_since) + patience)
    }
}

#[cfg(test)]
mod tests;

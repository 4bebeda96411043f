//! The machine's task: fifty turns a second, and asks in between.

use std::{
    collections::HashMap,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use futures_util::FutureExt;
use halyard_protocol::{
    channel::{Ack, Command},
    ids::PeerId,
};
use tokio::{
    sync::{broadcast, mpsc, oneshot, watch},
    task::{JoinError, JoinSet},
    time::MissedTickBehavior,
};
use tokio_util::sync::CancellationToken;

use serde_json::{Value, json};

use super::{
    Ask, Asker, Entry, News, Standing, Telemetry, Values,
    budget::Budget,
    ledger::{Known, Ledger},
    reliable::Reliable,
};
use crate::{
    drive::{Event, Gate, Input, LeaseRefused, Rule, Rules, Velocity},
    driver::{Action, Driver},
};

/// Between two turns of the gate: fifty a second, well inside every rule's time.
const TURN: Duration = Duration::from_millis(20);

/// Telemetry goes out once in this long: twenty a second.
const TELL: Duration = Duration::from_millis(50);

/// Commands that run at a time.
const MOST_COMMANDS: usize = 16;

/// Answers that may wait for one running command: its first asker and a few impatient repeats.
const MOST_WAITERS: usize = 8;

/// No command of a machine takes longer than this; what does has hung.
const COMMAND_TIME: Duration = Duration::from_mins(1);

/// Longest id and name of a command that are looked at, in bytes.
const MOST_WORD_BYTES: usize = 128;

pub(super) struct Task {
    gate: Gate,
    driver: Hands,
    drivable: bool,
    actions: Vec<Action>,
    ledger: Ledger,
    running: JoinSet<(PeerId, Ack)>,
    waiting: HashMap<(PeerId, String), Vec<oneshot::Sender<Ack>>>,
    /// Of those whose commands move the machine: why what they began is called off, once it is.
    hands: HashMap<PeerId, watch::Sender<&'static str>>,
    /// Who left, and how often, while asks of theirs may still wait: those are not done any more.
    /// Negative where the end of their asks came before the urgent word that they left.
    leaving: HashMap<PeerId, i64>,
    reliable: Reliable,
    fault: Option<String>,
    budget: Budget,
    out: Out,
    told: u64,
}

/// Whom the machine tells.
pub(super) struct Out {
    pub(super) news: broadcast::Sender<News>,
    pub(super) journal: broadcast::Sender<Entry>,
    pub(super) standing: watch::Sender<Standing>,
    pub(super) telemetry: watch::Sender<Telemetry>,
    pub(super) reliable: watch::Sender<Values>,
}

/// The driver. Whatever the way out, a panic among them, the machine stands still afterwards.
struct Hands(Box<dyn Driver>);

impl Hands {
    fn halt(&mut self) {
        self.0.set_velocity(Velocity::ZERO);
        self.0.stop();
    }
}

impl Drop for Hands {
    fn drop(&mut self) {
        self.halt();
    }
}

impl Task {
    pub(super) fn new(driver: Box<dyn Driver>, rules: Rules, born: Instant, out: Out) -> Self {
        Self {
            gate: Gate::new(rules, born),
            drivable: driver.limits().is_some(),
            actions: driver.actions(),
            reliable: Reliable::new(&driver.fields()),
            driver: Hands(driver),
            ledger: Ledger::default(),
            running: JoinSet::new(),
            waiting: HashMap::new(),
            hands: HashMap::new(),
            leaving: HashMap::new(),
            fault: None,
            budget: Budget::new(born),
            out,
            told: 0,
        }
    }

    /// Runs until stopped. Whatever the way out, the machine stands still afterwards.
    pub(super) async fn run(
        mut self,
        mut asks: mpsc::Receiver<Ask>,
        mut urgent: mpsc::Receiver<Ask>,
        stop: CancellationToken,
    ) {
        let mut turn = tokio::time::interval(TURN);
        turn.set_missed_tick_behavior(MissedTickBehavior::Skip);
        let mut tell = tokio::time::interval(TELL);
        tell.set_missed_tick_behavior(MissedTickBehavior::Skip);
        loop {
            tokio::select! {
                // Stopping first; the gate's turn, which is over in no time, before any wish, so
                // that a flood of them, urgent ones included, cannot hold off the watchdog.
                biased;

                () = stop.cancelled() => break,
                _ = turn.tick() => self.turn(),
                Some(ask) = urgent.recv() => self.ask(ask),
                _ = tell.tick() => self.tell(),
                Some(ended) = self.running.join_next() => self.ended(ended),
                Some(ask) = asks.recv() => self.waited(ask),
            }
        }
        self.driver.halt();
        self.running.shutdown().await;
        self.driver.0.close().await;
        tracing::info!(driver = self.driver.0.name(), "the machine stands still");
    }

    /// Something that waited for its turn, meanwhile overtaken by what is urgent.
    fn waited(&mut self, ask: Ask) {
        match ask {
            Ask::Gone(peer) => self.leaves(peer, -1),
            ask if ask.peer().and_then(|peer| self.leaving.get(peer)).is_some_and(|n| *n > 0) => {
                tracing::debug!(?ask, "not done: who asked has left");
            }
            ask => self.ask(ask),
        }
    }

    fn leaves(&mut self, peer: PeerId, more: i64) {
        let times = self.leaving.get(&peer).copied().unwrap_or(0) + more;
        if times == 0 {
            self.leaving.remove(&peer);
        } else {
            self.leaving.insert(peer, times);
        }
    }

    fn ask(&mut self, ask: Ask) {
        match ask {
            Ask::Gate(asker, input) => self.gate_input(&asker, input),
            Ask::Command { asker, command, arrived, reply } => {
                self.command(&asker, command, arrived, reply);
            }
            Ask::Picture(trouble) => {
                let events = self.gate.fault(Rule::Picture, trouble);
                self.publish(events);
            }
            // Nothing is urgent about it.
            Ask::Gone(_) => {}
        }
    }

    fn gate_input(&mut self, asker: &Asker, input: Input) {
        if !self.drivable && matches!(input, Input::Drive(_) | Input::Lease(_)) {
            tracing::debug!(peer = %asker.peer, "this machine cannot be driven");
            return;
        }
        let events = self.gate.input(Instant::now(), &asker.peer, asker.access, input);
        let pressed =
            events.iter().any(|event| matches!(event, Event::Estop { latched: true, .. }));
        if pressed {
            // The hardware first, the words after.
            self.driver.0.stop();
            self.call_off("called off by the emergency stop", |_| true);
            self.turn();
        }
        if input == Input::Left {
            self.leaves(asker.peer.clone(), 1);
            let why = "called off, since your connection was lost while the machine moved";
            self.call_off(why, |peer| *peer == asker.peer);
        }
        // Two do not move one machine.
        for event in &events {
            if let Event::Lease { holder: Some(holder), .. } = event {
                self.call_off("called off, since somebody else drives now", |peer| peer != holder);
            }
        }
        self.publish(events);
    }

    /// Calls off what moves the machine and was begun by these.
    fn call_off(&mut self, why: &'static str, by: impl Fn(&PeerId) -> bool) {
        for (_, hands) in self.hands.extract_if(|peer, _| by(peer)) {
            hands.send_replace(why);
        }
    }

    fn turn(&mut self) {
        let fault = self.driver.0.fault();
        if fault != self.fault {
            if let Some(why) = &fault {
                tracing::error!(%why, "the machine does not follow");
            } else {
                tracing::info!("the machine follows again");
            }
            self.note(json!({ "event": "fault", "rule": Rule::Driver, "why": fault }));
            let events = self.gate.fault(Rule::Driver, fault.clone());
            self.fault = fault;
            self.publish(events);
        }
        let step = self.gate.step(Instant::now());
        self.driver.0.set_velocity(step.velocity);
        if step.halt {
            self.driver.0.stop();
        }
        self.publish(step.events);
    }

    fn tell(&mut self) {
        self.told += 1;
        let told = self.telemetry();
        self.rely(&told);
        self.out.telemetry.send_replace(told);
    }

    fn telemetry(&mut self) -> Telemetry {
        let time = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Telemetry {
            seq: self.told,
            time_ms: time.as_millis() as u64,
            stamp: self.gate.stamp(Instant::now()),
            state: self.driver.0.state(),
            estop: self.gate.latched().is_some(),
            stopped: self.gate.stopped_by(),
            driver: self.gate.lease().holder().cloned(),
            fault: self.fault.clone(),
            counts: *self.gate.counts(),
        }
    }

    fn rely(&mut self, told: &Telemetry) {
        let values = self.reliable.values(told);
        self.out.reliable.send_if_modified(|known| {
            let changed = **known != values;
            if changed {
                *known = values.into();
            }
            changed
        });
    }

    /// Every event goes to the log with its rule, to the journal, and to people where it concerns
    /// them; as many as anybody can read.
    fn publish(&mut self, events: Vec<Event>) {
        if events.is_empty() {
            return;
        }
        for event in events {
            let cleared = match &event {
                Event::Estop { latched: false, by } => Some(by.clone()),
                _ => None,
            };
            self.out.standing.send_if_modified(|standing| {
                let now = Standing {
                    holder: self.gate.lease().holder().cloned(),
                    number: self.gate.lease().number(),
                    latched_by: self.gate.latched().cloned(),
                    cleared_by: cleared.or_else(|| standing.cleared_by.clone()),
                };
                let changed = now != *standing;
                *standing = now;
                changed
            });
            // The e-stop is always said.
            let unsaid = match (self.budget.take(Instant::now()), &event) {
                (Some(unsaid), _) => unsaid,
                (None, Event::Estop { .. }) => 0,
                (None, _) => continue,
            };
            if unsaid > 0 {
                tracing::warn!(unsaid, "drive gate: more happened than is said");
            }
            tracing::info!(rule = %event.rule(), ?event, "drive gate");
            self.note(json!(event));
            if let Some(notice) = event.notice() {
                let _ = self.out.news.send(News { to: event.concerns().cloned(), notice });
            }
        }
        // What must not be missed does not wait for the next report.
        let told = self.telemetry();
        self.rely(&told);
    }

    fn note(&self, what: Value) {
        // Nobody writing it down is no error.
        let _ = self.out.journal.send(Entry { at: Instant::now(), what });
    }

    fn command(
        &mut self,
        asker: &Asker,
        command: Command,
        arrived: Instant,
        reply: oneshot::Sender<Ack>,
    ) {
        if let Err(refusal) = words_fit(&command) {
            let _ = reply.send(refusal);
            return;
        }
        // Before what is remembered, so that a name that somebody else has by now opens nothing.
        let action = match self.known(asker, &command) {
            Ok(action) => action.clone(),
            Err(refusal) => {
                let _ = reply.send(refusal);
                return;
            }
        };
        match self.ledger.begin(&asker.peer, &command) {
            Known::Other => {
                let text = "this id was another command; every command has an id of its own";
                let _ = reply.send(Ack::failed(command.id, "id_reused", text));
            }
            Known::Done(ack) => {
                let _ = reply.send(ack);
            }
            Known::Running => {
                let key = (asker.peer.clone(), command.id);
                let waiters = self.waiting.entry(key).or_default();
                if waiters.len() < MOST_WAITERS {
                    waiters.push(reply);
                }
            }
            Known::New => {
                let key = (asker.peer.clone(), command.id.clone());
                self.waiting.insert(key, vec![reply]);
                match self.admit(asker, &command, arrived, action.moves) {
                    Ok(()) => self.start(asker.peer.clone(), command, action.moves),
                    Err(refusal) => self.answer(&asker.peer, refusal),
                }
            }
        }
    }

    /// What a command asks for, where there is that and the asker may.
    fn known(&self, asker: &Asker, command: &Command) -> Result<&Action, Ack> {
        let refuse = |code: &str, message: String| Ack::failed(&command.id, code, message);
        let Some(action) = self.actions.iter().find(|a| a.spec.name == command.name) else {
            let mut known: Vec<_> = self.actions.iter().map(|a| a.spec.name.as_str()).collect();
            known.sort_unstable();
            let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
            return Err(refuse(
                "unknown_command",
                format!("there is no command {:?} here; known are: {known}", command.name),
            ));
        };
        if asker.access < action.spec.access {
            return Err(refuse(
                "forbidden",
                format!(
                    "{} needs {} access and you have {}; join with the operator's link",
                    command.name, action.spec.access, asker.access
                ),
            ));
        }
        Ok(action)
    }

    /// Whether a command may be done now.
    fn admit(
        &self,
        asker: &Asker,
        command: &Command,
        arrived: Instant,
        moves: bool,
    ) -> Result<(), Ack> {
        let refuse = |code: &str, message: String| Ack::failed(&command.id, code, message);
        if let Some(deadline) = command.deadline_ms
            && self.age(command, arrived) > Duration::from_millis(deadline)
        {
            return Err(refuse(
                "late",
                format!("it was not begun within {deadline} ms, and is not done any more"),
            ));
        }
        if let Some(fault) = &self.fault {
            return Err(refuse("failed", fault.clone()));
        }
        if moves && let Some(by) = self.gate.latched() {
            return Err(refuse(
                "stopped",
                format!("{by} pressed the emergency stop; an operator has to clear it first"),
            ));
        }
        if moves && let Some(holder) = self.gate.lease().holder().filter(|one| **one != asker.peer)
        {
            let held = LeaseRefused::Held { holder: holder.clone() };
            return Err(refuse("not_driver", held.to_string()));
        }
        if self.running.len() >= MOST_COMMANDS {
            return Err(refuse(
                "failed",
                format!("{MOST_COMMANDS} commands are running already; try again later"),
            ));
        }
        Ok(())
    }

    /// How long ago a command was given: by the stamp that it echoes, or else since it arrived.
    fn age(&self, command: &Command, arrived: Instant) -> Duration {
        let here = arrived.elapsed();
        let stamp = self.gate.stamp(Instant::now());
        // A stamp that was never told is of another life of this worker, or nonsense.
        let echoed = command.echo.and_then(|echo| stamp.checked_sub(echo));
        echoed.map_or(here, |ms| here.max(Duration::from_millis(ms)))
    }

    fn start(&mut self, peer: PeerId, command: Command, moves: bool) {
        tracing::info!(%peer, id = %command.id, name = %command.name, "command");
        self.note(json!({
            "event": "command", "peer": peer, "id": command.id, "name": command.name,
            "args": command.args,
        }));
        // A driver that panics loses its command, not its asker's patience.
        let work = self.driver.0.command(&command.name, command.args);
        let work = std::panic::AssertUnwindSafe(work).catch_unwind();
        let mut hands = moves.then(|| self.hands.entry(peer.clone()).or_default().subscribe());
        self.running.spawn(async move {
            let id = command.id;
            let ack = tokio::select! {
                biased;

                why = called_off(hands.as_mut()) => Ack::failed(id, "stopped", why),
                ended = tokio::time::timeout(COMMAND_TIME, work) => match ended {
                    Ok(Ok(Ok(result))) => Ack::done(id, result),
                    Ok(Ok(Err(error))) => Ack::failed(id, error.code(), error.to_string()),
                    Ok(Err(_panic)) => {
                        Ack::failed(id, "failed", "the driver failed, see the worker's log")
                    }
                    Err(_) => {
                        let seconds = COMMAND_TIME.as_secs();
                        Ack::failed(id, "failed", format!("not done within {seconds} s"))
                    }
                },
            };
            (peer, ack)
        });
    }

    fn ended(&mut self, ended: Result<(PeerId, Ack), JoinError>) {
        match ended {
            Ok((peer, ack)) => self.answer(&peer, ack),
            Err(error) => tracing::error!(%error, "a command's task ended badly"),
        }
    }

    fn answer(&mut self, peer: &PeerId, ack: Ack) {
        if let Some(waiters) = self.waiting.remove(&(peer.clone(), ack.id.clone())) {
            for waiter in waiters {
                let _ = waiter.send(ack.clone());
            }
        }
        self.note(json!({
            "event": "ack", "peer": peer, "id": ack.id, "ok": ack.ok, "error": ack.error,
        }));
        self.ledger.end(peer, ack);
    }
}

/// Waits until a command is called off, and says why. For ever for one that moves nothing.
async fn called_off(hands: Option<&mut watch::Receiver<&'static str>>) -> &'static str {
    if let Some(hands) = hands
        && hands.changed().await.is_ok()
    {
        return *hands.borrow();
    }
    std::future::pending().await
}

fn words_fit(command: &Command) -> Result<(), Ack> {
    for (what, word) in [("id", &command.id), ("name", &command.name)] {
        if word.is_empty() || word.len() > MOST_WORD_BYTES {
            // The id is echoed as far as it goes, so that its sender can tell which.
            let id: String = command.id.chars().take(MOST_WORD_BYTES).collect();
            let bytes = word.len();
            return Err(Ack::failed(
                id,
                "bad_arguments",
                format!("the {what} has {bytes} bytes, accepted are 1 to {MOST_WORD_BYTES}"),
            ));
        }
    }
    Ok(())
}

#[cfg(test)]
#[path = "task_tests.rs"]
mod tests;

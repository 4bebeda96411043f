//! All rules in their order.

use std::time::{Duration, Instant};

use halyard_protocol::{
    access::Access,
    channel::{Drive, EstopAction, LeaseRequest},
    ids::PeerId,
};

use super::{
    Counts, Event, Lease, LeaseChange, LeaseRefused, Limits, Rule, Rules, Velocity,
    refusals::Refusals, sight::Sight, stops::Stops,
};

/// What a peer asks of the gate.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Input {
    /// `DRIVE::`.
    Drive(Drive),
    /// `CONTROL_LEASE::`.
    Lease(LeaseRequest),
    /// `ESTOP::`.
    Estop(EstopAction),
    /// The peer left, or its connection is lost.
    Left,
}

/// What the machine shall do from now on.
#[derive(Debug, Clone, PartialEq)]
pub struct Step {
    /// How fast.
    pub velocity: Velocity,
    /// Whether this is the moment to stop at once, without slew.
    pub halt: bool,
    /// What happened.
    pub events: Vec<Event>,
}

/// The last message that was followed.
#[derive(Debug, Clone, Copy)]
struct Hand {
    at: Instant,
    held: bool,
    target: Velocity,
}

/// The gate of one machine.
///
/// It starts with nobody at the controls, standing still. The e-stop is latched apart from
/// everything else: no lease, no reconnect and no restart of a session clears it. Whatever stopped
/// the machine, a hand that stays on the controls does not start it again.
#[derive(Debug)]
pub struct Gate {
    rules: Rules,
    /// Where [`stamps`](Self::stamp) count from.
    born: Instant,
    lease: Lease,
    latched: Option<PeerId>,
    /// What keeps the machine from being driven, whoever drives it.
    faults: Faults,
    sight: Sight,
    /// The newest number heard under this lease.
    heard: Option<u64>,
    hand: Option<Hand>,
    stops: Stops,
    applied: Velocity,
    stepped: Option<Instant>,
    /// Whether the machine does less than asked, by [`Rule::Limits`] and by [`Rule::Slew`].
    limited: bool,
    slewing: bool,
    refusals: Refusals,
    counts: Counts,
}

/// Standing reasons, in words.
#[derive(Debug, Default)]
struct Faults {
    picture: Option<String>,
    driver: Option<String>,
}

impl Gate {
    /// Nobody drives, nothing moves. Stamps count from `born`.
    pub fn new(rules: Rules, born: Instant) -> Self {
        Self {
            rules,
            born,
            lease: Lease::default(),
            latched: None,
            faults: Faults::default(),
            sight: Sight::new(rules.max_picture_age),
            heard: None,
            hand: None,
            stops: Stops::default(),
            applied: Velocity::ZERO,
            stepped: None,
            limited: false,
            slewing: false,
            refusals: Refusals::default(),
            counts: Counts::default(),
        }
    }

    /// What the machine can do at most.
    pub fn limits(&self) -> &Limits {
        &self.rules.limits
    }

    /// Who drives.
    pub fn lease(&self) -> &Lease {
        &self.lease
    }

    /// Who pressed the e-stop, while it is latched.
    pub fn latched(&self) -> Option<&PeerId> {
        self.latched.as_ref()
    }

    /// What the machine was last told to do.
    pub fn applied(&self) -> Velocity {
        self.applied
    }

    /// How often each rule did something.
    pub fn counts(&self) -> &Counts {
        &self.counts
    }

    /// The machine's own clock in milliseconds, as it is told in `TELEMETRY::` and echoed by drivers.
    pub fn stamp(&self, now: Instant) -> u64 {
        now.saturating_duration_since(self.born).as_millis() as u64
    }

    /// The rule by which nothing moves now, however hard somebody presses; `None` when it would.
    pub fn stopped_by(&self) -> Option<Rule> {
        self.standing_cause().map(|(rule, _)| rule).or_else(|| self.hand_must_come_off())
    }

    /// The rule that stopped whoever drives now, until the controls were let go.
    fn hand_must_come_off(&self) -> Option<Rule> {
        self.stops.of(self.lease.holder()?)
    }

    /// Something beside the drivers keeps the machine from being driven ([`Rule::Picture`] or
    /// [`Rule::Driver`]), or does not any more.
    pub fn fault(&mut self, rule: Rule, why: Option<String>) -> Vec<Event> {
        let fault = match rule {
            Rule::Picture if self.rules.max_picture_age.is_none() => return Vec::new(),
            Rule::Picture => &mut self.faults.picture,
            Rule::Driver => &mut self.faults.driver,
            _ => return Vec::new(),
        };
        fault.clone_from(&why);
        why.map_or_else(Vec::new, |why| self.trip(rule, why))
    }

    /// A peer asks for something. Its rights are the caller's word: they come from the broker,
    /// never from the peer.
    pub fn input(
        &mut self,
        now: Instant,
        peer: &PeerId,
        access: Access,
        input: Input,
    ) -> Vec<Event> {
        match input {
            Input::Drive(drive) => self.drive(now, peer, access, drive),
            Input::Lease(request) => self.lease_request(now, peer, access, request),
            Input::Estop(action) => self.estop(now, peer, access, action),
            Input::Left => self.left(peer),
        }
    }

    /// The machine's turn: called some fifty times a second, and once after every e-stop.
    pub fn step(&mut self, now: Instant) -> Step {
        let mut events = Vec::new();
        let dt = self.stepped.map_or(Duration::ZERO, |last| now.saturating_duration_since(last));
        self.stepped = Some(now);

        if self.latched.is_some() {
            let halt = !self.applied.is_zero();
            self.applied = Velocity::ZERO;
            self.slewing = false;
            return Step { velocity: Velocity::ZERO, halt, events };
        }
        let target = self.target(now, &mut events);
        let next = self.rules.limits.slew(self.applied, target, dt);
        // Told when it begins; a stop that takes its time is no news.
        let slewing = next != target && !target.is_zero();
        if slewing && !self.slewing {
            events.extend(self.clamped(now, Rule::Slew, target, next));
        }
        self.slewing = slewing;
        let halt = next.is_zero() && !self.applied.is_zero();
        self.applied = next;
        Step { velocity: next, halt, events }
    }

    /// What the followed message asks for at this moment: nothing without one, nothing after the
    /// watchdog's time, nothing without a hand on the controls.
    fn target(&mut self, now: Instant, events: &mut Vec<Event>) -> Velocity {
        let Some(hand) = self.hand.filter(|hand| hand.held) else { return Velocity::ZERO };
        let Some(driver) = self.lease.holder() else { return Velocity::ZERO };
        let watchdog = self.rules.limits.watchdog;
        if now.saturating_duration_since(hand.at) >= watchdog {
            let why = format!(
                "nothing that counts was heard from {driver} for {} ms",
                watchdog.as_millis()
            );
            events.extend(self.trip(Rule::Watchdog, why));
            return Velocity::ZERO;
        }
        hand.target
    }

    /// Stops the machine. That is news while a hand is on the controls.
    fn trip(&mut self, rule: Rule, why: String) -> Vec<Event> {
        let held = self.hand.is_some_and(|hand| hand.held);
        self.let_go();
        let Some(driver) = self.lease.holder().filter(|_| held).cloned() else {
            return Vec::new();
        };
        self.counts.trip(rule);
        self.stops.add(driver.clone(), rule);
        vec![Event::Tripped { rule, driver, why }]
    }

    fn drive(&mut self, now: Instant, peer: &PeerId, access: Access, drive: Drive) -> Vec<Event> {
        if let Err(why) = self.may_drive(peer, access, drive.lease) {
            return self.refuse(now, peer, Rule::Lease, why);
        }
        // The lane neither orders nor repeats, so late ones are normal and nobody's fault.
        if self.heard.is_some_and(|heard| drive.seq <= heard) {
            self.counts.refusal(Rule::Sequence);
            tracing::trace!(%peer, seq = drive.seq, rule = %Rule::Sequence, "not followed");
            return Vec::new();
        }
        self.heard = Some(drive.seq);
        // Letting go is followed however late it comes.
        let fresh = self.is_fresh(now, drive.echo);
        if drive.held
            && let Err(why) = &fresh
        {
            return self.refuse(now, peer, Rule::Stale, format!("not followed: {why}"));
        }
        if fresh.is_ok() {
            let age = drive.picture_ms.map(|ms| Duration::from_millis(ms.into()));
            self.sight.report(now, age);
        }
        let asked = Velocity { linear: drive.linear, angular: drive.angular };
        if !asked.is_finite() {
            // Whoever sends nonsense does not get to keep moving on the last sense they made.
            let why = "a speed is not a finite number".to_owned();
            let mut events = self.trip(Rule::NotFinite, why.clone());
            if events.is_empty() {
                events = self.refuse(now, peer, Rule::NotFinite, format!("not followed: {why}"));
            }
            return events;
        }
        if !drive.held {
            self.let_go();
            return self.released();
        }
        self.press(now, peer, asked)
    }

    fn may_drive(&self, peer: &PeerId, access: Access, lease: u64) -> Result<(), String> {
        if !access.may_operate() {
            // It may have held the lease with other rights; it does not drive on with these.
            return Err(LeaseRefused::Viewer.to_string());
        }
        if !self.lease.is_held_by(peer) {
            return Err(match self.lease.holder() {
                Some(holder) => format!("not followed: {holder} drives"),
                None => "not followed: request control first".to_owned(),
            });
        }
        if lease != self.lease.number() {
            return Err(format!(
                "not followed: said under lease {lease}, the present one is {}",
                self.lease.number()
            ));
        }
        Ok(())
    }

    /// By the machine's own clock alone: the driver echoes a stamp of it.
    fn is_fresh(&self, now: Instant, echo: Option<u64>) -> Result<(), String> {
        let echo = echo.ok_or("it echoes no stamp of TELEMETRY, so nobody knows how old it is")?;
        let stamp = self.stamp(now);
        let max = self.rules.max_age.as_millis() as u64;
        match stamp.checked_sub(echo) {
            None => Err(format!("it echoes the stamp {echo}, which was never told")),
            Some(age) if age > max => {
                Err(format!("it is about the machine of {age} ms ago, at most {max} ms count"))
            }
            Some(_) => Ok(()),
        }
    }

    /// A hand is on the controls.
    fn press(&mut self, now: Instant, peer: &PeerId, asked: Velocity) -> Vec<Event> {
        if let Some((rule, why)) = self.standing_cause() {
            let mut events = self.trip(rule, why.clone());
            // Even where nothing moved: a key that is held until the cause is gone starts nothing.
            self.stops.add(peer.clone(), rule);
            if events.is_empty() {
                events = self.refuse(now, peer, rule, format!("not followed: {why}"));
            }
            return events;
        }
        if let Some(rule) = self.hand_must_come_off() {
            self.let_go();
            let why = format!("not followed: let go of the controls once after a stop ({rule})");
            return self.refuse(now, peer, Rule::DeadMan, why);
        }
        let target = self.rules.limits.clamp(asked);
        self.hand = Some(Hand { at: now, held: true, target });
        let limited = target != asked;
        let news = limited && !self.limited;
        self.limited = limited;
        if news { self.clamped(now, Rule::Limits, asked, target) } else { Vec::new() }
    }

    /// What lasts and lets nothing move, the gravest first.
    fn standing_cause(&self) -> Option<(Rule, String)> {
        if let Some(by) = &self.latched {
            let why = format!("{by} pressed the emergency stop; an operator has to clear it first");
            return Some((Rule::Estop, why));
        }
        if let Some(why) = &self.faults.driver {
            return Some((Rule::Driver, why.clone()));
        }
        if let Some(why) = &self.faults.picture {
            return Some((Rule::Picture, why.clone()));
        }
        self.sight.blind().map(|why| (Rule::Picture, why.to_owned()))
    }

    /// The controls were let go: after a stop they count again, as soon as its cause is gone.
    fn released(&mut self) -> Vec<Event> {
        let Some(driver) = self.lease.holder().cloned() else { return Vec::new() };
        match self.stops.let_go(&driver) {
            Some(rule) if self.standing_cause().is_none() => vec![Event::Ready { rule, driver }],
            _ => Vec::new(),
        }
    }

    fn let_go(&mut self) {
        if let Some(hand) = &mut self.hand {
            hand.held = false;
            hand.target = Velocity::ZERO;
        }
        self.limited = false;
    }

    fn lease_request(
        &mut self,
        now: Instant,
        peer: &PeerId,
        access: Access,
        request: LeaseRequest,
    ) -> Vec<Event> {
        let before = self.lease.holder().cloned();
        let (result, change) = match request {
            LeaseRequest::Request => (self.lease.request(peer, access), LeaseChange::Granted),
            LeaseRequest::Take if before.is_some() => {
                (self.lease.take(peer, access), LeaseChange::Taken)
            }
            LeaseRequest::Take => (self.lease.take(peer, access), LeaseChange::Granted),
            LeaseRequest::Release => (self.lease.release(peer), LeaseChange::Released),
        };
        match result {
            Ok(true) => vec![self.lease_changed(change, before)],
            Ok(false) => Vec::new(),
            Err(refused) => self.refuse(now, peer, Rule::Lease, refused.to_string()),
        }
    }

    /// Nothing of the old driver's outlives the lease: neither speed nor sequence nor picture. Who
    /// lost it with a hand on the controls was stopped.
    fn lease_changed(&mut self, change: LeaseChange, before: Option<PeerId>) -> Event {
        self.counts.lease_changes += 1;
        let lost = matches!(change, LeaseChange::Lost | LeaseChange::Taken);
        if let Some(driver) = before.filter(|_| lost && self.hand.is_some_and(|hand| hand.held)) {
            self.stops.add(driver, Rule::Lease);
        }
        self.heard = None;
        self.hand = None;
        self.limited = false;
        self.sight.forget();
        Event::Lease { holder: self.lease.holder().cloned(), number: self.lease.number(), change }
    }

    fn estop(
        &mut self,
        now: Instant,
        peer: &PeerId,
        access: Access,
        action: EstopAction,
    ) -> Vec<Event> {
        match action {
            EstopAction::Press if self.latched.is_some() => Vec::new(),
            EstopAction::Press => {
                self.counts.trip(Rule::Estop);
                self.latched = Some(peer.clone());
                let driver = self.lease.holder().filter(|_| self.hand.is_some_and(|h| h.held));
                if let Some(driver) = driver.cloned() {
                    self.stops.add(driver, Rule::Estop);
                }
                self.let_go();
                vec![Event::Estop { latched: true, by: peer.clone() }]
            }
            EstopAction::Clear if !access.may_operate() => {
                let message = "clearing the emergency stop needs the operator's link; \
                               pressing it is open to everybody";
                self.refuse(now, peer, Rule::Estop, message.to_owned())
            }
            EstopAction::Clear => match self.latched.take() {
                Some(_) => vec![Event::Estop { latched: false, by: peer.clone() }],
                None => Vec::new(),
            },
        }
    }

    fn left(&mut self, peer: &PeerId) -> Vec<Event> {
        self.refusals.forget(peer);
        match self.lease.release(peer) {
            Ok(_) => vec![self.lease_changed(LeaseChange::Lost, Some(peer.clone()))],
            Err(_) => Vec::new(),
        }
    }

    fn refuse(&mut self, now: Instant, peer: &PeerId, rule: Rule, message: String) -> Vec<Event> {
        self.counts.refusal(rule);
        if self.refusals.due(now, peer, rule) {
            vec![Event::Refused { peer: peer.clone(), rule, message }]
        } else {
            Vec::new()
        }
    }

    fn clamped(
        &mut self,
        now: Instant,
        rule: Rule,
        requested: Velocity,
        applied: Velocity,
    ) -> Vec<Event> {
        self.counts.clamp(rule);
        let driver = self.lease.holder().cloned();
        if driver.is_some_and(|driver| self.refusals.due(now, &driver, rule)) {
            vec![Event::Limited { rule, requested, applied }]
        } else {
            Vec::new()
        }
    }
}

#[cfg(test)]
#[path = "gate_tests.rs"]
#[expect(clippy::float_cmp, reason = "the gate gives out its limits, and standing still, exactly")]
mod tests;

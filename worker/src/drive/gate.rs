//! All rules in their order.

use std::time::{Duration, Instant};

use halyard_protocol::{
    access::Access,
    channel::{Drive, EstopAction, LeaseRequest},
    ids::PeerId,
};

use super::{Event, Lease, LeaseChange, LeaseRefused, Limits, Rule, Velocity, refusals::Refusals};

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
    seq: u64,
    held: bool,
    target: Velocity,
    /// The watchdog has stopped the machine since.
    tripped: bool,
}

/// The gate of one machine.
///
/// It starts with nobody at the controls, standing still. The e-stop is latched apart from
/// everything else: no lease, no reconnect and no restart of a session clears it.
#[derive(Debug)]
pub struct Gate {
    limits: Limits,
    lease: Lease,
    latched: Option<PeerId>,
    hand: Option<Hand>,
    /// After an e-stop the controls must be let go once before they count again.
    needs_release: bool,
    applied: Velocity,
    stepped: Option<Instant>,
    /// Whether the machine does less than asked, by [`Rule::Limits`] and by [`Rule::Slew`].
    limited: bool,
    slewing: bool,
    refusals: Refusals,
}

impl Gate {
    /// Nobody drives, nothing moves.
    pub fn new(limits: Limits) -> Self {
        Self {
            limits,
            lease: Lease::default(),
            latched: None,
            hand: None,
            needs_release: false,
            applied: Velocity::ZERO,
            stepped: None,
            limited: false,
            slewing: false,
            refusals: Refusals::default(),
        }
    }

    /// What the machine can do at most.
    pub fn limits(&self) -> &Limits {
        &self.limits
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
        let next = self.limits.slew(self.applied, target, dt);
        // Told when it begins; a stop that takes its time is no news.
        let slewing = next != target && !target.is_zero();
        if slewing && !self.slewing {
            events.push(Event::Limited { rule: Rule::Slew, requested: target, applied: next });
        }
        self.slewing = slewing;
        let halt = next.is_zero() && !self.applied.is_zero();
        self.applied = next;
        Step { velocity: next, halt, events }
    }

    /// What the followed message asks for at this moment: nothing without one, nothing after the
    /// watchdog's time, nothing without a hand on the controls.
    fn target(&mut self, now: Instant, events: &mut Vec<Event>) -> Velocity {
        let (Some(hand), Some(driver)) = (&mut self.hand, self.lease.holder()) else {
            return Velocity::ZERO;
        };
        if !hand.held {
            return Velocity::ZERO;
        }
        if now.saturating_duration_since(hand.at) >= self.limits.watchdog {
            if !hand.tripped {
                hand.tripped = true;
                events.push(Event::Tripped { rule: Rule::Watchdog, driver: driver.clone() });
            }
            return Velocity::ZERO;
        }
        hand.target
    }

    fn drive(&mut self, now: Instant, peer: &PeerId, access: Access, drive: Drive) -> Vec<Event> {
        if !access.may_operate() {
            // It may have held the lease with other rights; it does not drive on with these.
            return self.refuse(now, peer, Rule::Lease, LeaseRefused::Viewer.to_string());
        }
        if !self.lease.is_held_by(peer) {
            let message = match self.lease.holder() {
                Some(holder) => format!("not followed: {holder} drives"),
                None => "not followed: request control first".to_owned(),
            };
            return self.refuse(now, peer, Rule::Lease, message);
        }
        if drive.lease != self.lease.number() {
            let message = format!(
                "not followed: said under lease {}, the present one is {}",
                drive.lease,
                self.lease.number()
            );
            return self.refuse(now, peer, Rule::Lease, message);
        }
        // The lane neither orders nor repeats, so late ones are normal and nobody's fault.
        if self.hand.is_some_and(|hand| drive.seq <= hand.seq) {
            tracing::trace!(%peer, seq = drive.seq, rule = %Rule::Sequence, "not followed");
            return Vec::new();
        }
        let asked = Velocity { linear: drive.linear, angular: drive.angular };
        if !asked.is_finite() {
            // Whoever sends nonsense does not get to keep moving on the last sense they made.
            self.let_go(now, drive.seq);
            let message = "not followed, stopping: a speed is not a finite number".to_owned();
            return self.refuse(now, peer, Rule::NotFinite, message);
        }
        if !drive.held {
            self.needs_release = false;
            self.let_go(now, drive.seq);
            return Vec::new();
        }
        if let Some(by) = &self.latched {
            let message = format!("not followed: {by} pressed the emergency stop; clear it first");
            self.let_go(now, drive.seq);
            self.needs_release = true;
            return self.refuse(now, peer, Rule::Estop, message);
        }
        if self.needs_release {
            // Falling silent counts as letting go: the message that said so may have been lost.
            if self
                .hand
                .is_some_and(|hand| now.saturating_duration_since(hand.at) < self.limits.watchdog)
            {
                self.let_go(now, drive.seq);
                let message =
                    "not followed: let go of the controls once after an emergency stop".to_owned();
                return self.refuse(now, peer, Rule::DeadMan, message);
            }
            self.needs_release = false;
        }
        let target = self.limits.clamp(asked);
        self.hand = Some(Hand { at: now, seq: drive.seq, held: true, target, tripped: false });
        let limited = target != asked;
        let news = limited && !self.limited;
        self.limited = limited;
        if news {
            return vec![Event::Limited { rule: Rule::Limits, requested: asked, applied: target }];
        }
        Vec::new()
    }

    fn let_go(&mut self, now: Instant, seq: u64) {
        let target = Velocity::ZERO;
        self.hand = Some(Hand { at: now, seq, held: false, target, tripped: false });
        self.limited = false;
    }

    fn lease_request(
        &mut self,
        now: Instant,
        peer: &PeerId,
        access: Access,
        request: LeaseRequest,
    ) -> Vec<Event> {
        let held_before = self.lease.holder().is_some();
        let (result, change) = match request {
            LeaseRequest::Request => (self.lease.request(peer, access), LeaseChange::Granted),
            LeaseRequest::Take if held_before => {
                (self.lease.take(peer, access), LeaseChange::Taken)
            }
            LeaseRequest::Take => (self.lease.take(peer, access), LeaseChange::Granted),
            LeaseRequest::Release => (self.lease.release(peer), LeaseChange::Released),
        };
        match result {
            Ok(true) => vec![self.lease_changed(change)],
            Ok(false) => Vec::new(),
            Err(refused) => self.refuse(now, peer, Rule::Lease, refused.to_string()),
        }
    }

    /// Nothing of the old driver's outlives the lease: neither speed nor sequence.
    fn lease_changed(&mut self, change: LeaseChange) -> Event {
        self.hand = None;
        self.needs_release = false;
        self.limited = false;
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
                self.latched = Some(peer.clone());
                self.needs_release = self.hand.is_some_and(|hand| hand.held);
                if let Some(hand) = &mut self.hand {
                    hand.held = false;
                    hand.target = Velocity::ZERO;
                }
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
            Ok(_) => vec![self.lease_changed(LeaseChange::Lost)],
            Err(_) => Vec::new(),
        }
    }

    fn refuse(&mut self, now: Instant, peer: &PeerId, rule: Rule, message: String) -> Vec<Event> {
        if self.refusals.due(now, peer, rule) {
            vec![Event::Refused { peer: peer.clone(), rule, message }]
        } else {
            Vec::new()
        }
    }
}

#[cfg(test)]
#[path = "gate_tests.rs"]
#[expect(clippy::float_cmp, reason = "the gate gives out its limits, and standing still, exactly")]
mod tests;

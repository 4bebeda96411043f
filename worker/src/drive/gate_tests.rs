//! Every rule as a story, then all of them under arbitrary input.

use proptest::prelude::*;

use super::*;

const WATCHDOG: Duration = halyard_protocol::limits::DRIVE_WATCHDOG;
const TICK: Duration = Duration::from_millis(20);

fn peer(name: &str) -> PeerId {
    PeerId::new(name).expect("a good name")
}

/// A gate with a clock of its own.
struct Yard {
    gate: Gate,
    now: Instant,
    seq: u64,
    /// How old the newest telemetry is that drivers have heard, in ms.
    age: u64,
    /// What drivers say of their picture.
    picture: Option<u32>,
}

impl Yard {
    fn new() -> Self {
        let now = Instant::now();
        Self { gate: Gate::new(Rules::default(), now), now, seq: 0, age: 50, picture: Some(80) }
    }

    /// Ann holds the lease.
    fn with_ann() -> Self {
        let mut yard = Self::new();
        yard.lease("ann", LeaseRequest::Request);
        yard
    }

    fn lease(&mut self, name: &str, request: LeaseRequest) -> Vec<Event> {
        self.gate.input(self.now, &peer(name), Access::Operator, Input::Lease(request))
    }

    fn estop(&mut self, name: &str, access: Access, action: EstopAction) -> Vec<Event> {
        self.gate.input(self.now, &peer(name), access, Input::Estop(action))
    }

    fn message(&mut self, linear: f64, held: bool) -> Drive {
        self.seq += 1;
        let lease = self.gate.lease().number();
        let echo = Some(self.gate.stamp(self.now).saturating_sub(self.age));
        Drive { lease, seq: self.seq, linear, angular: 0.0, held, echo, picture_ms: self.picture }
    }

    fn drive(&mut self, name: &str, linear: f64, held: bool) -> Vec<Event> {
        let drive = self.message(linear, held);
        self.say(name, drive)
    }

    fn say(&mut self, name: &str, drive: Drive) -> Vec<Event> {
        self.gate.input(self.now, &peer(name), Access::Operator, Input::Drive(drive))
    }

    /// Time passes without a word; every event on the way.
    fn wait(&mut self, time: Duration) -> Vec<Event> {
        let end = self.now + time;
        let mut events = Vec::new();
        while self.now < end {
            self.now += TICK;
            events.extend(self.gate.step(self.now).events);
        }
        events
    }

    /// Ann holds a key for a second.
    fn drive_for_a_second(&mut self, linear: f64) {
        for _ in 0..20 {
            self.drive("ann", linear, true);
            self.wait(Duration::from_millis(50));
        }
    }

    fn speed(&self) -> f64 {
        self.gate.applied().linear
    }
}

fn rules(events: &[Event]) -> Vec<Rule> {
    events.iter().map(Event::rule).collect()
}

#[test]
fn without_the_lease_nobody_moves_the_machine() {
    let mut yard = Yard::new();
    let events = yard.drive("ann", 1.0, true);
    assert_eq!(rules(&events), [Rule::Lease]);
    assert_eq!(events[0].concerns(), Some(&peer("ann")));
    yard.wait(WATCHDOG);
    assert_eq!(yard.speed(), 0.0);
}

#[test]
fn the_holder_moves_it_and_nobody_else_does() {
    let mut yard = Yard::with_ann();
    yard.drive_for_a_second(1.0);
    assert_eq!(yard.speed(), 1.0);
    let events = yard.drive("bob", -1.0, true);
    assert!(events[0].notice().expect("words").message.contains("ann drives"));
    yard.wait(TICK);
    assert_eq!(yard.speed(), 1.0);
}

#[test]
fn a_holder_who_is_a_viewer_by_now_moves_nothing() {
    let mut yard = Yard::with_ann();
    let drive = yard.message(1.0, true);
    let events = yard.gate.input(yard.now, &peer("ann"), Access::Viewer, Input::Drive(drive));
    assert_eq!(rules(&events), [Rule::Lease]);
    yard.wait(TICK * 5);
    assert_eq!(yard.speed(), 0.0);
}

#[test]
fn an_older_lease_number_is_not_followed() {
    let mut yard = Yard::with_ann();
    let old = yard.message(1.0, true);
    yard.lease("ann", LeaseRequest::Release);
    yard.lease("ann", LeaseRequest::Request);
    let events = yard.say("ann", old);
    assert_eq!(rules(&events), [Rule::Lease]);
    yard.wait(TICK * 5);
    assert_eq!(yard.speed(), 0.0);
}

#[test]
fn late_and_repeated_messages_are_not_followed() {
    let mut yard = Yard::with_ann();
    let forwards = yard.message(1.0, true);
    let stop = yard.message(0.0, false);
    yard.say("ann", stop);
    yard.say("ann", forwards);
    yard.say("ann", forwards);
    yard.wait(TICK * 5);
    assert_eq!(yard.speed(), 0.0, "the stop came later in the driver's order");
}

#[test]
fn silence_stops_the_machine_and_is_told_once() {
    let mut yard = Yard::with_ann();
    yard.drive_for_a_second(1.5);
    let stopping = yard.gate.limits().stopping_time();
    let events = yard.wait(WATCHDOG + stopping + TICK);
    assert_eq!(rules(&events), [Rule::Watchdog]);
    assert_eq!(yard.speed(), 0.0);
    assert_eq!(yard.wait(WATCHDOG * 4), []);
    assert_eq!(yard.gate.counts().trips(Rule::Watchdog), 1);
}

#[test]
fn after_every_stop_the_controls_must_be_let_go_once() {
    let causes: [fn(&mut Yard); 4] = [
        |yard| drop(yard.wait(WATCHDOG)),
        |yard| drop(yard.drive("ann", f64::NAN, true)),
        |yard| {
            yard.gate.fault(Rule::Driver, Some("it hangs".into()));
            yard.gate.fault(Rule::Driver, None);
        },
        |yard| {
            yard.estop("eve", Access::Viewer, EstopAction::Press);
            yard.estop("ann", Access::Operator, EstopAction::Clear);
        },
    ];
    for cause in causes {
        let mut yard = Yard::with_ann();
        yard.drive_for_a_second(1.0);
        cause(&mut yard);
        assert!(yard.gate.stopped_by().is_some());
        yard.drive_for_a_second(1.0);
        assert_eq!(yard.speed(), 0.0, "a hand that stays on the controls starts nothing");
        // Nor does asking for the lease anew.
        yard.lease("ann", LeaseRequest::Release);
        yard.lease("ann", LeaseRequest::Request);
        yard.drive_for_a_second(1.0);
        assert_eq!(yard.speed(), 0.0);
        let events = yard.drive("ann", 0.0, false);
        assert!(matches!(events[..], [Event::Ready { .. }]), "{events:?}");
        assert_eq!(yard.gate.stopped_by(), None);
        yard.drive_for_a_second(1.0);
        assert_eq!(yard.speed(), 1.0);
    }
}

#[test]
fn who_let_go_while_the_stop_was_on_need_not_do_so_again() {
    let mut yard = Yard::with_ann();
    yard.drive_for_a_second(1.0);
    yard.estop("eve", Access::Viewer, EstopAction::Press);
    assert_eq!(yard.drive("ann", 0.0, false), [], "it may not move yet");
    yard.estop("ann", Access::Operator, EstopAction::Clear);
    yard.drive_for_a_second(1.0);
    assert_eq!(yard.speed(), 1.0);
}

#[test]
fn what_stopped_one_driver_does_not_hold_up_the_next() {
    let mut yard = Yard::with_ann();
    yard.drive_for_a_second(1.0);
    yard.wait(WATCHDOG * 2);
    yard.lease("ann", LeaseRequest::Release);
    yard.lease("bob", LeaseRequest::Request);
    yard.drive("bob", 1.0, true);
    yard.wait(WATCHDOG.saturating_sub(TICK));
    assert_eq!(yard.speed(), 1.0);
}

#[test]
fn what_is_about_the_machine_of_long_ago_is_not_followed() {
    let mut yard = Yard::with_ann();
    yard.drive_for_a_second(1.0);
    yard.age = Rules::default().max_age.as_millis() as u64 + 1;
    let events = yard.drive("ann", 1.5, true);
    assert_eq!(rules(&events), [Rule::Stale]);
    assert!(events[0].notice().expect("words").message.contains("at most 500 ms"));
    yard.wait(TICK * 5);
    assert_eq!(yard.speed(), 1.0);
    // Held up on the way, they do not feed the watchdog either.
    let mut events = Vec::new();
    for _ in 0..20 {
        yard.drive("ann", 1.5, true);
        events.extend(yard.wait(Duration::from_millis(50)));
    }
    assert_eq!(rules(&events), [Rule::Watchdog]);
    assert_eq!(yard.speed(), 0.0);
}

#[test]
fn a_stamp_that_was_never_told_and_none_at_all_are_not_followed() {
    for echo in [None, Some(u64::MAX), Some(60_000)] {
        let mut yard = Yard::with_ann();
        let drive = Drive { echo, ..yard.message(1.0, true) };
        assert_eq!(rules(&yard.say("ann", drive)), [Rule::Stale], "{echo:?}");
        yard.wait(TICK * 5);
        assert_eq!(yard.speed(), 0.0);
    }
}

#[test]
fn letting_go_is_followed_however_late_it_comes() {
    let mut yard = Yard::with_ann();
    yard.drive_for_a_second(1.0);
    let late = Drive { echo: Some(0), ..yard.message(0.0, false) };
    assert_eq!(yard.say("ann", late), []);
    yard.wait(yard.gate.limits().stopping_time() + TICK);
    assert_eq!(yard.speed(), 0.0);
}

#[test]
fn an_old_picture_stops_the_machine_until_it_is_good_again() {
    for old in [Some(301), None] {
        let mut yard = Yard::with_ann();
        yard.drive_for_a_second(1.0);
        yard.picture = old;
        let events = yard.drive("ann", 1.0, true);
        assert_eq!(rules(&events), [Rule::Picture], "{old:?}");
        assert!(matches!(events[0], Event::Tripped { .. }));
        yard.wait(yard.gate.limits().stopping_time() + TICK);
        assert_eq!(yard.speed(), 0.0);

        // Letting go does not help while the picture is old.
        yard.drive("ann", 0.0, false);
        yard.drive_for_a_second(1.0);
        assert_eq!((yard.speed(), yard.gate.stopped_by()), (0.0, Some(Rule::Picture)));

        yard.picture = Some(90);
        for _ in 0..10 {
            yard.drive("ann", 0.0, false);
            yard.wait(Duration::from_millis(50));
        }
        yard.drive_for_a_second(1.0);
        assert_eq!(yard.speed(), 1.0);
    }
}

#[test]
fn a_slate_stops_the_machine_however_fresh_it_is() {
    let mut yard = Yard::with_ann();
    yard.drive_for_a_second(1.0);
    let events = yard.gate.fault(Rule::Picture, Some("the camera is unplugged".into()));
    assert_eq!(rules(&events), [Rule::Picture]);
    yard.drive("ann", 0.0, false);
    yard.drive_for_a_second(1.0);
    assert_eq!(yard.speed(), 0.0);
    yard.gate.fault(Rule::Picture, None);
    yard.drive("ann", 0.0, false);
    yard.drive_for_a_second(1.0);
    assert_eq!(yard.speed(), 1.0);
}

#[test]
fn a_machine_that_is_driven_without_a_picture_asks_for_none() {
    let mut yard = Yard::with_ann();
    let rules = Rules { max_picture_age: None, ..Rules::default() };
    yard.gate = Gate::new(rules, yard.now);
    yard.lease("ann", LeaseRequest::Request);
    yard.gate.fault(Rule::Picture, Some("the camera is unplugged".into()));
    yard.picture = None;
    yard.drive_for_a_second(1.0);
    assert_eq!(yard.speed(), 1.0);
}

#[test]
fn refusals_are_counted_each_time_and_told_once_a_second() {
    let mut yard = Yard::with_ann();
    for _ in 0..10 {
        yard.drive("bob", 1.0, true);
    }
    assert_eq!(yard.gate.counts().refusals(Rule::Lease), 10);
}

#[test]
fn letting_go_stops_the_machine_without_a_word() {
    let mut yard = Yard::with_ann();
    yard.drive_for_a_second(1.5);
    assert_eq!(yard.drive("ann", 1.5, false), []);
    assert_eq!(yard.wait(yard.gate.limits().stopping_time() + TICK), []);
    assert_eq!(yard.speed(), 0.0);
}

#[test]
fn a_speed_that_is_no_number_stops_the_machine() {
    for nonsense in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
        let mut yard = Yard::with_ann();
        yard.drive_for_a_second(1.0);
        assert_eq!(rules(&yard.drive("ann", nonsense, true)), [Rule::NotFinite]);
        yard.wait(WATCHDOG);
        assert_eq!(yard.speed(), 0.0);
    }
}

#[test]
fn more_than_it_can_do_is_clamped_and_told_when_it_begins() {
    let mut yard = Yard::with_ann();
    assert_eq!(rules(&yard.drive("ann", 99.0, true)), [Rule::Limits]);
    assert_eq!(yard.drive("ann", 99.0, true), []);
    yard.drive_for_a_second(99.0);
    assert_eq!(yard.speed(), Limits::default().max_linear);
    yard.drive("ann", 1.0, true);
    assert_eq!(rules(&yard.drive("ann", 99.0, true)), [Rule::Limits]);
}

#[test]
fn speed_changes_take_their_time() {
    let mut yard = Yard::with_ann();
    yard.gate.step(yard.now);
    yard.drive("ann", 1.5, true);
    let events = yard.wait(TICK);
    assert_eq!(rules(&events), [Rule::Slew]);
    assert_eq!(events[0].notice(), None, "every start slews, that is no news");
    assert!((yard.speed() - 0.06).abs() < 1e-9, "{}", yard.speed());
}

#[test]
fn a_viewer_stops_everything_and_cannot_undo_it() {
    let mut yard = Yard::with_ann();
    yard.drive_for_a_second(1.5);
    let events = yard.estop("eve", Access::Viewer, EstopAction::Press);
    assert_eq!(events, [Event::Estop { latched: true, by: peer("eve") }]);
    let step = yard.gate.step(yard.now);
    assert_eq!((step.velocity, step.halt), (Velocity::ZERO, true), "at once, without slew");
    assert_eq!(rules(&yard.estop("eve", Access::Viewer, EstopAction::Clear)), [Rule::Estop]);
    assert!(yard.gate.latched().is_some());
}

#[test]
fn the_e_stop_survives_whoever_leaves() {
    let mut yard = Yard::with_ann();
    yard.estop("eve", Access::Viewer, EstopAction::Press);
    for name in ["eve", "ann"] {
        yard.gate.input(yard.now, &peer(name), Access::Operator, Input::Left);
    }
    yard.lease("bob", LeaseRequest::Request);
    let events = yard.drive("bob", 1.0, true);
    assert_eq!(rules(&events), [Rule::Estop]);
    yard.wait(WATCHDOG);
    assert_eq!(yard.speed(), 0.0);
}

#[test]
fn after_an_e_stop_the_controls_must_be_let_go_once() {
    let mut yard = Yard::with_ann();
    yard.drive_for_a_second(1.0);
    yard.estop("eve", Access::Viewer, EstopAction::Press);
    yard.drive("ann", 1.0, true);
    yard.estop("ann", Access::Operator, EstopAction::Clear);
    yard.drive_for_a_second(1.0);
    assert_eq!(yard.speed(), 0.0, "a key that is still held does not start it");
    yard.drive("ann", 0.0, false);
    yard.drive_for_a_second(1.0);
    assert_eq!(yard.speed(), 1.0);
}

#[test]
fn losing_the_driver_stops_the_machine_and_frees_the_lease() {
    let mut yard = Yard::with_ann();
    yard.drive_for_a_second(1.5);
    let events = yard.gate.input(yard.now, &peer("ann"), Access::Operator, Input::Left);
    assert_eq!(events, [Event::Lease { holder: None, number: 2, change: LeaseChange::Lost }]);
    yard.wait(yard.gate.limits().stopping_time() + TICK);
    assert_eq!(yard.speed(), 0.0);
    assert_eq!(yard.gate.input(yard.now, &peer("eve"), Access::Viewer, Input::Left), []);
}

#[test]
fn each_of_several_who_were_stopped_has_to_let_go_once() {
    let mut yard = Yard::with_ann();
    let take = Input::Lease(LeaseRequest::Take);
    yard.drive_for_a_second(1.0);
    yard.gate.input(yard.now, &peer("bob"), Access::Admin, take);
    yard.drive("bob", 1.0, true);
    yard.gate.input(yard.now, &peer("ann"), Access::Admin, take);
    yard.drive_for_a_second(1.0);
    assert_eq!(yard.speed(), 0.0, "she holds her key since before she was stopped");
    yard.drive("ann", 0.0, false);
    yard.drive_for_a_second(1.0);
    assert_eq!(yard.speed(), 1.0);
    yard.gate.input(yard.now, &peer("bob"), Access::Admin, take);
    assert_eq!(yard.gate.stopped_by(), Some(Rule::Lease), "and he holds his");
}

#[test]
fn who_lost_the_lease_with_a_hand_on_the_controls_has_to_let_go_once() {
    let causes: [fn(&mut Yard); 2] = [
        // Its connection was lost, and it is back.
        |yard| drop(yard.gate.input(yard.now, &peer("ann"), Access::Operator, Input::Left)),
        |yard| {
            let take = Input::Lease(LeaseRequest::Take);
            yard.gate.input(yard.now, &peer("bob"), Access::Admin, take);
            yard.lease("bob", LeaseRequest::Release);
        },
    ];
    for cause in causes {
        let mut yard = Yard::with_ann();
        yard.drive_for_a_second(1.0);
        cause(&mut yard);
        yard.lease("ann", LeaseRequest::Request);
        assert_eq!(yard.gate.stopped_by(), Some(Rule::Lease));
        yard.drive_for_a_second(1.0);
        assert_eq!(yard.speed(), 0.0, "a hand that stays on the controls starts nothing");
        yard.drive("ann", 0.0, false);
        yard.drive_for_a_second(1.0);
        assert_eq!(yard.speed(), 1.0);
    }
}

#[test]
fn a_worker_that_was_held_up_does_not_make_up_for_it_with_a_jump() {
    let mut yard = Yard::with_ann();
    yard.wait(TICK);
    yard.drive("ann", 1.5, true);
    yard.now += WATCHDOG.saturating_sub(TICK);
    yard.gate.step(yard.now);
    assert!(yard.speed() < 0.5, "{} m/s in one step", yard.speed());
    // What brakes is not held back.
    yard.drive_for_a_second(1.5);
    yard.drive("ann", 0.0, false);
    yard.now += WATCHDOG;
    yard.gate.step(yard.now);
    assert_eq!(yard.speed(), 0.0);
}

#[test]
fn the_speed_of_one_driver_is_not_the_next_ones() {
    let mut yard = Yard::with_ann();
    yard.drive_for_a_second(1.5);
    yard.gate.input(yard.now, &peer("bob"), Access::Admin, Input::Lease(LeaseRequest::Take));
    yard.wait(yard.gate.limits().stopping_time() + TICK);
    assert_eq!(yard.speed(), 0.0);
}

#[test]
fn a_held_key_of_somebody_else_is_refused_once_a_second() {
    let mut yard = Yard::with_ann();
    let mut told = 0;
    for _ in 0..50 {
        told += yard.drive("bob", 1.0, true).len();
        yard.wait(Duration::from_millis(40));
    }
    assert_eq!(told, 2, "two seconds of a held key");
}

/// One thing that happens. The drivers' own clocks go wherever they like: nothing that a driver
/// says is a time of its own.
#[derive(Debug, Clone)]
enum Move {
    Fault(Rule, bool),
    Delay(u64),
    Say(u8, Access, Input),
    SayNow(u8, f64, bool),
    Wait(u64),
}

fn access() -> impl Strategy<Value = Access> {
    prop_oneof![Just(Access::Viewer), Just(Access::Operator), Just(Access::Admin)]
}

fn any_input() -> impl Strategy<Value = Input> {
    prop_oneof![
        (
            (0..4u64, 0..50u64, any::<f64>(), any::<f64>(), any::<bool>()),
            (proptest::option::of(0..9_000u64), proptest::option::of(0..900u32)),
        )
            .prop_map(|((lease, seq, linear, angular, held), (echo, picture_ms))| {
                Input::Drive(Drive { lease, seq, linear, angular, held, echo, picture_ms })
            }),
        Just(Input::Lease(LeaseRequest::Request)),
        Just(Input::Lease(LeaseRequest::Release)),
        Just(Input::Lease(LeaseRequest::Take)),
        Just(Input::Estop(EstopAction::Press)),
        Just(Input::Estop(EstopAction::Clear)),
        Just(Input::Left),
    ]
}

fn moves() -> impl Strategy<Value = Vec<Move>> {
    let one = prop_oneof![
        2 => (0..3u8, access(), any_input()).prop_map(|(who, a, i)| Move::Say(who, a, i)),
        3 => (0..3u8, -9.0..9.0f64, any::<bool>()).prop_map(|(w, v, h)| Move::SayNow(w, v, h)),
        2 => (0..700u64).prop_map(Move::Wait),
        1 => (prop_oneof![Just(Rule::Picture), Just(Rule::Driver)], any::<bool>())
            .prop_map(|(rule, is_there)| Move::Fault(rule, is_there)),
        1 => (0..1_200u64).prop_map(Move::Delay),
    ];
    proptest::collection::vec(one, 0..80)
}

proptest! {
    #[test]
    fn whatever_happens_the_machine_stays_safe(moves in moves()) {
        let mut yard = Yard::new();
        let limits = *yard.gate.limits();
        let mut number = 0;
        // When the holder last said, with a hand on the controls, what the rules let through.
        let mut followed_at: Option<Instant> = None;
        let mut faults = [false; 2];
        // Since when nothing may move, for whatever lasting reason.
        let mut still_since: Option<Instant> = None;
        for one in moves {
            match one {
                Move::Say(who, access, input) => {
                    let who = peer(&who.to_string());
                    let held = yard.gate.lease().is_held_by(&who);
                    if let Input::Drive(drive) = input
                        && held && drive.held && access.may_operate()
                        && drive.lease == yard.gate.lease().number()
                        && drive.echo.is_some_and(|echo| yard.gate.stamp(yard.now) >= echo)
                        && yard.gate.stamp(yard.now) - drive.echo.unwrap_or(0) <= 500
                    {
                        followed_at = Some(yard.now);
                    }
                    yard.gate.input(yard.now, &who, access, input);
                    if !held && yard.gate.lease().is_held_by(&who) {
                        prop_assert!(access.may_operate(), "a viewer got the lease");
                    }
                }
                Move::SayNow(who, linear, hand) => {
                    let who = who.to_string();
                    let age = yard.age.min(yard.gate.stamp(yard.now));
                    if hand && age <= 500 && yard.gate.lease().is_held_by(&peer(&who)) {
                        followed_at = Some(yard.now);
                    }
                    yard.drive(&who, linear, hand);
                }
                Move::Fault(rule, is_there) => {
                    faults[usize::from(rule == Rule::Driver)] = is_there;
                    yard.gate.fault(rule, is_there.then(|| "broken".to_owned()));
                }
                Move::Delay(ms) => yard.age = ms,
                Move::Wait(ms) => { yard.wait(Duration::from_millis(ms)); }
            }
            let step = yard.gate.step(yard.now);
            prop_assert!(step.velocity.is_finite());
            prop_assert!(step.velocity.linear <= limits.max_linear);
            prop_assert!(step.velocity.linear >= -limits.max_reverse);
            prop_assert!(step.velocity.angular.abs() <= limits.max_angular);
            prop_assert!(yard.gate.lease().number() >= number, "the number went back");
            number = yard.gate.lease().number();
            if yard.gate.latched().is_some() {
                prop_assert!(step.velocity.is_zero(), "it moves under the e-stop");
            }
            let must_stand = yard.gate.lease().holder().is_none()
                || yard.gate.stopped_by().is_some()
                || faults.contains(&true);
            still_since = must_stand.then(|| still_since.unwrap_or(yard.now));
            let braked = limits.stopping_time() + TICK;
            if still_since.is_some_and(|since| yard.now - since > braked) {
                prop_assert!(step.velocity.is_zero(), "it moves without a lease or after a stop");
            }
            let quiet = followed_at.map_or(WATCHDOG * 9, |at| yard.now - at);
            if quiet > WATCHDOG + braked {
                prop_assert!(step.velocity.is_zero(), "it moves without a driver's word");
            }
        }
    }
}

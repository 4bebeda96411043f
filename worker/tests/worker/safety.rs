//! Everything that must not move a machine, over real connections: each is a way in which driving
//! goes wrong outside.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use halyard_client::session::Session;
use halyard_protocol::channel::{Drive, EstopAction, Lane, Message};
use halyard_worker::{config::Settings, drive::Rule};
use serde_json::json;

use crate::world::{Broker, PATIENCE, Stick, World, join, notice, soon, speed, telemetry};

/// From the last word that counted to standing still: the watchdog, the ramp, one report on its
/// way, and a busy machine's manners. The rules themselves allow 0.5 s and a quarter.
const STANDS_WITHIN: Duration = Duration::from_millis(1500);

/// An operator who drives by hand: every word as it stands on the wire.
struct Hand {
    session: Arc<Session>,
    lease: u64,
}

impl Hand {
    async fn new(session: Session) -> Self {
        let session = Arc::new(session);
        let lease = session.request_lease(PATIENCE).await.expect("free");
        Self { session, lease }
    }

    fn stamp(&self) -> u64 {
        let told = self.session.telemetry();
        let stamp = told.borrow().as_ref().and_then(|told| told.value["stamp"].as_u64());
        stamp.expect("telemetry was heard")
    }

    fn word(&self, seq: u64, linear: f64) -> Drive {
        Drive {
            lease: self.lease,
            seq,
            linear,
            angular: 0.0,
            held: true,
            echo: Some(self.stamp()),
            picture_ms: Some(50),
        }
    }

    fn say(&self, drive: Drive) {
        let peer = self.session.peer().expect("connected");
        peer.try_send_lossy(Lane::Drive, &Message::Drive(drive)).expect("sent");
    }
}

/// Until the rover stands, and how long that took.
async fn stands(viewer: &Session, since: Instant) -> Duration {
    telemetry("the stop", viewer, |told| speed(told) == 0.0).await;
    since.elapsed()
}

async fn moves(viewer: &Session) {
    telemetry("motion", viewer, |told| speed(told).abs() > 0.5).await;
}

/// How often the gate did something, as `GET /status` tells it.
fn counts(world: &World) -> halyard_worker::drive::Counts {
    world.shared.machine.telemetry().borrow().counts
}

#[tokio::test(flavor = "multi_thread")]
async fn late_reordered_and_repeated_words_move_nothing() {
    let world = World::new().await;
    let viewer = world.viewer().await;
    let ann = Hand::new(world.operator().await).await;
    telemetry("telemetry", &ann.session, |_| true).await;

    // A word that was let go later in the driver's order overtakes the one that pressed.
    let pressed = ann.word(1, 1.0);
    ann.say(Drive { held: false, linear: 0.0, ..ann.word(2, 0.0) });
    soon("a let go that was followed", async {
        while counts(&world).refusals(Rule::Sequence) < 3 {
            ann.say(pressed);
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
    assert_eq!(speed(&telemetry("telemetry", &viewer, |_| true).await), 0.0);

    // Half a second later the same stamp counts no more, whatever the number.
    let stamp = ann.stamp();
    telemetry("a later stamp", &ann.session, |told| {
        told["stamp"].as_u64().is_some_and(|now| now > stamp + 600)
    })
    .await;
    let mut events = ann.session.events();
    ann.say(Drive { echo: Some(stamp), ..ann.word(10, 1.0) });
    let words = notice("stale", &mut events).await;
    assert!(words.contains("at most 500 ms"), "{words}");
    ann.say(Drive { echo: None, ..ann.word(11, 1.0) });
    ann.say(Drive { echo: Some(u64::MAX), ..ann.word(12, 1.0) });
    soon("three refusals", async {
        while counts(&world).refusals(Rule::Stale) < 3 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    assert_eq!(speed(&telemetry("telemetry", &viewer, |_| true).await), 0.0);
    assert_eq!(counts(&world).trips(Rule::Watchdog), 0, "nothing ever moved");
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn speeds_that_are_no_numbers_and_huge_ones_never_reach_the_machine() {
    let world = World::new().await;
    let viewer = world.viewer().await;
    let ann = Hand::new(world.operator().await).await;
    telemetry("telemetry", &ann.session, |_| true).await;
    let peer = ann.session.peer().expect("connected");
    let mut most: f64 = 0.0;
    let mut seq = 0;
    // JSON has no NaN: what a careless client writes for it is not understood at all.
    let raw = |linear: &str, seq: u64| {
        format!(
            r#"{{"lease":{},"seq":{seq},"linear":{linear},"angular":0,"held":true,"echo":{},"picture_ms":50}}"#,
            ann.lease,
            ann.stamp()
        )
    };
    for linear in ["1e308", "1e999", "NaN", "null", "\"fast\"", "-1e308"] {
        let since = Instant::now();
        while since.elapsed() < Duration::from_millis(300) {
            seq += 1;
            let payload = raw(linear, seq);
            let word = Message::Unknown { prefix: "DRIVE".into(), payload };
            peer.try_send_lossy(Lane::Drive, &word).expect("sent");
            let told = telemetry("telemetry", &viewer, |_| true).await;
            most = most.max(speed(&told).abs());
        }
    }
    let limits = ann.session.hello().expect("a hello").drive.expect("drivable");
    assert!(most <= limits.max_linear, "{most} m/s, at most {}", limits.max_linear);
    assert!(most > 0.0, "what is merely too fast is cut, not dropped");
    assert!(counts(&world).clamps(Rule::Limits) > 0);
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_frozen_network_a_hand_still_on_the_controls_starts_nothing() {
    let world = World::new().await;
    let viewer = world.viewer().await;
    let operator = Arc::new(world.operator().await);
    let lease = operator.request_lease(PATIENCE).await.expect("free");
    let stick = Stick::forward(operator.clone(), lease);
    moves(&viewer).await;
    drop(stick);
    let frozen = Instant::now();
    assert!(stands(&viewer, frozen).await < STANDS_WITHIN, "it took {:?}", frozen.elapsed());
    // The network thaws, the key was never let go.
    let mut events = operator.events();
    let stick = Stick::forward(operator.clone(), lease);
    let words = notice("dead_man", &mut events).await;
    assert!(words.contains("let go") && words.contains("watchdog"), "{words}");
    assert_eq!(speed(&telemetry("telemetry", &viewer, |_| true).await), 0.0);
    drop(stick);
    operator.drive(lease, 0.0, 0.0, false);
    let _stick = Stick::forward(operator.clone(), lease);
    moves(&viewer).await;
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_frozen_picture_stops_the_machine_while_commands_still_flow() {
    let settings = Settings {
        // Wide enough for a debug build on a busy machine; the rule is the same.
        max_picture_age: Some(Duration::from_secs(2)),
        ..Settings::default()
    };
    let world = World::with(settings, Broker::start(None).await).await;
    let viewer = world.viewer().await;
    let operator = Arc::new(join(world.room.join_url.expose(), true).await);
    let hello = operator.hello().expect("a hello");
    assert_eq!(hello.drive.expect("drivable").max_picture_age_ms, Some(2_000));
    soon("a picture", async {
        while operator.picture_age().is_none_or(|age| age > Duration::from_millis(400)) {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
    let ann =
        Hand { lease: operator.request_lease(PATIENCE).await.expect("free"), session: operator };
    let stick = Stick::forward(ann.session.clone(), ann.lease);
    moves(&viewer).await;
    drop(stick);

    // From here on the driver sees a picture that stands still: its age grows, its words go on.
    let mut events = ann.session.events();
    let (froze, mut seq) = (Instant::now(), 1_000_000);
    let mut tick = tokio::time::interval(Duration::from_millis(50));
    let mut report = |age: Option<u32>| {
        seq += 1;
        ann.say(Drive { picture_ms: age, ..ann.word(seq, 1.0) });
    };
    let told = soon("a stop", async {
        let mut telemetry = viewer.telemetry();
        loop {
            tick.tick().await;
            let age = 300 + u32::try_from(froze.elapsed().as_millis()).unwrap_or(u32::MAX);
            report(Some(age));
            let told = telemetry.borrow_and_update().clone().expect("telemetry");
            if speed(&told.value) == 0.0 {
                return told;
            }
        }
    })
    .await;
    assert!(
        froze.elapsed() < Duration::from_millis(1_700) + STANDS_WITHIN,
        "{:?}",
        froze.elapsed()
    );
    assert_eq!(told.value["stopped"], "picture");
    let words = notice("picture", &mut events).await;
    assert!(words.contains("at most 2000 ms"), "{words}");
    let trips = counts(&world);
    assert_eq!((trips.trips(Rule::Picture), trips.trips(Rule::Watchdog)), (1, 0));

    // Who does not report at all does not drive either.
    report(None);
    assert_eq!(speed(&telemetry("telemetry", &viewer, |_| true).await), 0.0);
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operators_clock_that_jumps_changes_nothing() {
    // What a driver says has no time of its own in it: only stamps of the machine, echoed. The
    // library is asked to drive while its stamps are as they are, and again with those of a client
    // that would make up times.
    let world = World::new().await;
    let viewer = world.viewer().await;
    let ann = Hand::new(world.operator().await).await;
    telemetry("telemetry", &ann.session, |_| true).await;
    let now = std::time::SystemTime::now();
    let unix = now.duration_since(std::time::UNIX_EPOCH).expect("after 1970").as_millis();
    let jumps = [0, u64::try_from(unix).expect("64 bits"), u64::MAX];
    for (seq, echo) in (1..).zip(jumps) {
        // Later than half a second after the start even 0 is a stamp of long ago.
        telemetry("half a second", &ann.session, |told| {
            told["stamp"].as_u64().is_some_and(|stamp| stamp > 600)
        })
        .await;
        ann.say(Drive { echo: Some(echo), ..ann.word(seq, 1.0) });
    }
    soon("refusals", async {
        while counts(&world).refusals(Rule::Stale) < 3 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    assert_eq!(speed(&telemetry("telemetry", &viewer, |_| true).await), 0.0);
    let _stick = Stick::forward(ann.session.clone(), ann.lease);
    moves(&viewer).await;
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_press_overtakes_everything_that_waits_and_anybody_may() {
    let world = World::new().await;
    let viewer = world.viewer().await;
    let operator = Arc::new(world.operator().await);
    let lease = operator.request_lease(PATIENCE).await.expect("free");
    let stick = Stick::forward(operator.clone(), lease);
    moves(&viewer).await;
    // As much as the viewer's lane takes waits in front of the press.
    let peer = viewer.peer().expect("connected");
    let long = Message::Unknown { prefix: "CHATTER".into(), payload: "x".repeat(30_000) };
    for _ in 0..200 {
        peer.send(Lane::Control, &long).await.expect("queued");
    }
    let pressed = Instant::now();
    viewer.estop(EstopAction::Press).await.expect("said");
    let took = soon("the e-stop", async {
        let mut standing = world.shared.machine.standing();
        standing.wait_for(|standing| standing.latched_by.is_some()).await.expect("lives");
        pressed.elapsed()
    })
    .await;
    println!("latched {took:?} after the press");
    assert!(stands(&operator, pressed).await < STANDS_WITHIN);
    let mut changed = operator.changed();
    soon("the reliable word", async {
        changed.wait_for(|values| values.get("estop") == Some(&json!(true))).await.expect("lives");
    })
    .await;
    drop(stick);
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn telemetry_is_described_and_what_must_not_be_missed_is_said_reliably() {
    let world = World::new().await;
    let operator = world.operator().await;
    telemetry("telemetry", &operator, |_| true).await;
    let mut changed = operator.changed();
    let all = soon("all of them", changed.wait_for(|values| !values.is_empty())).await;
    let all = all.expect("lives").clone();
    // It comes before them on the same lane; telemetry has another, which may overtake it.
    let schema = operator.schema().expect("described");
    let speed = schema.fields.iter().find(|field| field.name == "speed").expect("speed");
    assert_eq!(speed.unit.as_deref(), Some("m/s"));
    let reliable: Vec<_> = schema.fields.iter().filter(|field| field.reliable).collect();
    assert!(reliable.iter().all(|field| all.contains_key(&field.name)), "{all:?}");
    operator.request_lease(PATIENCE).await.expect("free");
    soon("the driver", async {
        let me = json!(operator.me());
        changed.wait_for(|values| values.get("driver") == Some(&me)).await.expect("lives");
    })
    .await;
    world.end().await;
}

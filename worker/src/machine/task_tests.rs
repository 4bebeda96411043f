//! The machine with a driver that only remembers what it was told.

use std::sync::{Arc, Mutex};

use halyard_protocol::{
    access::Access,
    channel::{ActionSpec, Drive, EstopAction, LeaseRequest},
};
use serde_json::{Value, json};

use super::{super::Machine, *};
use crate::{
    drive::Limits,
    driver::{CommandError, CommandFuture, DriverState},
};

/// What the driver was told, newest last.
#[derive(Debug, Default)]
struct Diary {
    velocity: Velocity,
    stops: usize,
    done: Vec<String>,
    fault: Option<String>,
}

struct Paper(Arc<Mutex<Diary>>);

fn action(name: &str, access: Access, moves: bool) -> Action {
    Action { spec: ActionSpec { name: name.into(), help: String::new(), access }, moves }
}

impl Driver for Paper {
    fn name(&self) -> &'static str {
        "paper"
    }

    fn limits(&self) -> Option<Limits> {
        Some(Limits::default())
    }

    fn actions(&self) -> Vec<Action> {
        vec![
            action("look", Access::Viewer, false),
            action("dance", Access::Operator, true),
            action("break", Access::Operator, false),
        ]
    }

    fn set_velocity(&mut self, velocity: Velocity) {
        self.0.lock().unwrap().velocity = velocity;
    }

    fn stop(&mut self) {
        self.0.lock().unwrap().stops += 1;
    }

    fn state(&mut self) -> DriverState {
        DriverState::default()
    }

    fn fault(&mut self) -> Option<String> {
        self.0.lock().unwrap().fault.clone()
    }

    fn command(&mut self, name: &str, args: Value) -> CommandFuture {
        let diary = self.0.clone();
        let name = name.to_owned();
        Box::pin(async move {
            match name.as_str() {
                "dance" => std::future::pending::<()>().await,
                "break" => panic!("as asked"),
                _ => {}
            }
            diary.lock().unwrap().done.push(name);
            if args.is_null() {
                Ok(json!("seen"))
            } else {
                Err(CommandError::BadArguments("none".into()))
            }
        })
    }
}

struct Yard {
    machine: Machine,
    diary: Arc<Mutex<Diary>>,
}

impl Yard {
    fn new() -> Self {
        let diary = Arc::new(Mutex::new(Diary::default()));
        Self { machine: Machine::start(Box::new(Paper(diary.clone())), Rules::default()), diary }
    }

    async fn command(&self, asker: Asker, id: &str, name: &str, args: Value) -> Ack {
        let command =
            Command { id: id.into(), name: name.into(), args, deadline_ms: None, echo: None };
        self.machine.handle().command(asker, command).await.await.expect("always answered")
    }

    /// Until the standing facts are as wanted.
    async fn until(&self, wanted: impl FnMut(&Standing) -> bool) -> Standing {
        let mut standing = self.machine.handle().standing();
        tokio::time::timeout(Duration::from_secs(5), standing.wait_for(wanted))
            .await
            .expect("in time")
            .expect("the machine runs")
            .clone()
    }

    async fn until_driver(&self, what: &str, mut wanted: impl FnMut(&Diary) -> bool) {
        let mut telemetry = self.machine.handle().telemetry();
        for _ in 0..100 {
            if wanted(&self.diary.lock().unwrap()) {
                return;
            }
            telemetry.changed().await.expect("the machine runs");
        }
        panic!("five seconds of telemetry and still not {what}");
    }
}

fn ann() -> Asker {
    Asker { peer: PeerId::new("ann").unwrap(), access: Access::Operator }
}

fn eve() -> Asker {
    Asker { peer: PeerId::new("eve").unwrap(), access: Access::Viewer }
}

/// Forwards, by somebody who sees and hears everything.
fn hold(handle: &crate::machine::MachineHandle, lease: u64, seq: u64) -> Drive {
    let echo = Some(handle.facts().born.elapsed().as_millis() as u64);
    Drive { lease, seq, linear: 1.0, angular: 0.0, held: true, echo, picture_ms: Some(50) }
}

fn code(ack: &Ack) -> &str {
    ack.error.as_ref().map_or("ok", |error| &error.code)
}

#[tokio::test]
async fn the_driver_moves_stops_by_watchdog_and_says_why() {
    let yard = Yard::new();
    let handle = yard.machine.handle();
    let mut news = handle.news();
    handle.lease(ann(), LeaseRequest::Request).await;
    let standing = yard.until(|s| s.holder == Some(ann().peer)).await;
    for seq in 1..=4 {
        let lease = standing.number;
        handle.drive(ann(), hold(&handle, lease, seq));
    }
    yard.until_driver("moving", |diary| diary.velocity.linear > 0.5).await;
    yard.until_driver("standing", |diary| diary.velocity.is_zero() && diary.stops > 0).await;
    let mut codes = Vec::new();
    while let Ok(one) = news.try_recv() {
        codes.push(one.notice.code);
    }
    assert!(codes.contains(&"watchdog".to_owned()), "{codes:?}");
}

#[tokio::test]
async fn a_command_repeated_is_answered_again_and_not_done_again() {
    let yard = Yard::new();
    let first = yard.command(ann(), "1", "look", Value::Null).await;
    let again = yard.command(ann(), "1", "look", Value::Null).await;
    assert_eq!((&first, first.ok), (&again, true));
    assert_eq!(yard.diary.lock().unwrap().done.len(), 1);
}

#[tokio::test]
async fn commands_are_refused_in_words_that_help() {
    let yard = Yard::new();
    let unknown = yard.command(ann(), "1", "fly", Value::Null).await;
    assert_eq!(code(&unknown), "unknown_command");
    assert!(unknown.error.unwrap().message.contains("break, dance, look"));
    assert_eq!(code(&yard.command(eve(), "1", "dance", Value::Null).await), "forbidden");
    assert_eq!(code(&yard.command(eve(), "2", "look", json!(1)).await), "bad_arguments");
    assert_eq!(code(&yard.command(ann(), "", "look", Value::Null).await), "bad_arguments");
    assert_eq!(code(&yard.command(ann(), "3", "break", Value::Null).await), "failed");
    let handle = yard.machine.handle();
    let late = |id: &str, deadline_ms, echo| {
        let (id, name) = (id.into(), "look".into());
        let command = Command { id, name, args: Value::Null, deadline_ms, echo };
        handle.command(ann(), command)
    };
    assert_eq!(code(&late("4", Some(0), None).await.await.unwrap()), "late");
    // Held up on the way: by the machine's own stamp it was given too long ago.
    yard.until_driver("older than 100 ms", |_| {
        yard.machine.handle().facts().born.elapsed() > Duration::from_millis(200)
    })
    .await;
    assert_eq!(code(&late("5", Some(100), Some(0)).await.await.unwrap()), "late");
    assert!(late("6", Some(60_000), Some(0)).await.await.unwrap().ok);
    // A stamp of another life of the worker says nothing.
    assert!(late("7", Some(60_000), Some(u64::MAX)).await.await.unwrap().ok);
    assert_eq!(yard.diary.lock().unwrap().done.len(), 3, "what is late is not done");
}

#[tokio::test]
async fn who_has_a_name_with_fewer_rights_is_not_told_what_its_last_owner_did() {
    let yard = Yard::new();
    assert!(yard.command(ann(), "1", "look", Value::Null).await.ok);
    assert_eq!(code(&yard.command(ann(), "2", "break", Value::Null).await), "failed");
    let viewer = || Asker { access: Access::Viewer, ..ann() };
    assert_eq!(code(&yard.command(viewer(), "2", "break", Value::Null).await), "forbidden");
    assert!(yard.command(viewer(), "1", "look", Value::Null).await.ok, "a viewer's, too");
    assert_eq!(code(&yard.command(ann(), "2", "break", Value::Null).await), "failed");
}

#[tokio::test]
async fn what_moves_is_the_drivers_alone_while_somebody_drives() {
    let yard = Yard::new();
    let handle = yard.machine.handle();
    let bob = || Asker { peer: PeerId::new("bob").unwrap(), access: Access::Admin };
    let give = |asker: Asker, id: &str, name: &str| {
        let (id, name) = (id.into(), name.into());
        let command = Command { id, name, args: Value::Null, deadline_ms: None, echo: None };
        handle.command(asker, command)
    };
    // Nobody drives: whoever may operate may.
    let dancing = give(bob(), "1", "dance").await;
    handle.lease(ann(), LeaseRequest::Request).await;
    let ended = tokio::time::timeout(Duration::from_secs(5), dancing).await.expect("called off");
    let error = ended.unwrap().error.expect("called off");
    assert_eq!(error.code, "stopped");
    assert!(error.message.contains("somebody else drives"), "{error:?}");

    let error = give(bob(), "2", "dance").await.await.unwrap().error.expect("refused");
    assert_eq!(error.code, "not_driver");
    assert!(error.message.contains("ann drives"), "{error:?}");
    assert!(give(bob(), "3", "look").await.await.unwrap().ok, "looking moves nothing");

    let mut own = give(ann(), "4", "dance").await;
    yard.command(ann(), "5", "look", Value::Null).await;
    assert!((&mut own).now_or_never().is_none(), "hers goes on");
    handle.lease(ann(), LeaseRequest::Release).await;
    yard.until(|s| s.holder.is_none()).await;
    assert!((&mut own).now_or_never().is_none(), "giving the controls back calls nothing off");
    handle.estop(eve(), EstopAction::Press).await;
    assert_eq!(code(&own.await.unwrap()), "stopped");
}

#[tokio::test]
async fn an_id_that_was_another_command_is_refused() {
    let yard = Yard::new();
    assert!(yard.command(ann(), "1", "look", Value::Null).await.ok);
    assert_eq!(code(&yard.command(ann(), "1", "break", Value::Null).await), "id_reused");
}

#[tokio::test]
async fn a_driver_with_a_fault_stops_the_machine_and_says_why() {
    let yard = Yard::new();
    let handle = yard.machine.handle();
    handle.lease(ann(), LeaseRequest::Request).await;
    let lease = yard.until(|s| s.holder == Some(ann().peer)).await.number;
    let mut reliable = handle.reliable();
    handle.drive(ann(), hold(&handle, lease, 1));
    yard.until_driver("moving", |diary| diary.velocity.linear > 0.1).await;
    yard.diary.lock().unwrap().fault = Some("it hangs".into());
    let values = tokio::time::timeout(
        Duration::from_secs(5),
        reliable.wait_for(|values| values.get("stopped") == Some(&json!("driver"))),
    )
    .await
    .expect("in time")
    .expect("the machine runs")
    .clone();
    assert_eq!(values["fault"], "it hangs");
    yard.until_driver("standing", |diary| diary.velocity.is_zero()).await;
    let refused = yard.command(ann(), "1", "look", Value::Null).await;
    assert_eq!(refused.error.expect("refused").message, "it hangs");
    yard.diary.lock().unwrap().fault = None;
    let mut telemetry = handle.telemetry();
    let over =
        telemetry.wait_for(|told| told.fault.is_none() && told.counts.trips(Rule::Driver) == 1);
    let told = tokio::time::timeout(Duration::from_secs(5), over).await.unwrap().unwrap().clone();
    assert_eq!(told.stopped, Some(Rule::Driver), "her hand is still on the controls");
}

#[tokio::test]
async fn the_e_stop_calls_off_what_moves_and_refuses_more() {
    let yard = Yard::new();
    let handle = yard.machine.handle();
    let dance = Command {
        id: "1".into(),
        name: "dance".into(),
        args: Value::Null,
        deadline_ms: None,
        echo: None,
    };
    let dancing = handle.command(ann(), dance).await;
    // Answered after the dance began, since asks are taken in order.
    yard.command(ann(), "2", "look", Value::Null).await;
    handle.estop(eve(), EstopAction::Press).await;
    assert_eq!(code(&dancing.await.unwrap()), "stopped");
    assert_eq!(yard.diary.lock().unwrap().stops, 1);
    assert_eq!(code(&yard.command(ann(), "3", "dance", Value::Null).await), "stopped");
    assert!(yard.command(ann(), "4", "look", Value::Null).await.ok, "looking moves nothing");
}

#[tokio::test]
async fn a_stopped_worker_leaves_the_machine_standing() {
    let yard = Yard::new();
    let stops = yard.diary.lock().unwrap().stops;
    yard.machine.stop().await;
    assert!(yard.diary.lock().unwrap().stops > stops);
}

#[tokio::test]
async fn a_flood_of_urgent_wishes_does_not_keep_the_lease_of_a_driver_who_left() {
    let yard = Yard::new();
    let handle = yard.machine.handle();
    handle.lease(ann(), LeaseRequest::Request).await;
    yard.until(|s| s.holder == Some(ann().peer)).await;
    // The machine has no turn before the queue is full: nothing here waits.
    let clear = || handle.estop(eve(), EstopAction::Clear).now_or_never();
    while clear().is_some() {}
    handle.left(ann());
    yard.until(|s| s.holder.is_none()).await;
}

#[tokio::test]
async fn a_flood_of_urgent_wishes_does_not_hold_off_the_gates_turn() {
    let diary = Arc::new(Mutex::new(Diary::default()));
    diary.lock().unwrap().velocity = Velocity { linear: 1.0, angular: 0.0 };
    let (news, _) = broadcast::channel(4);
    let (standing, _stands) = watch::channel(Standing::default());
    let (telemetry, _tells) = watch::channel(Telemetry::default());
    let (journal, _) = broadcast::channel(4);
    let (reliable, _relies) = watch::channel(Values::default());
    let out = Out { news, journal, standing, telemetry, reliable };
    let driver = Box::new(Paper(diary.clone()));
    let task = Task::new(driver, Rules::default(), Instant::now(), out);
    let (_asks, asked) = mpsc::channel(1);
    // More than a task may take before it has to let others go on.
    let (urgent, urgently) = mpsc::channel(1024);
    let mut running = Box::pin(task.run(asked, urgently, CancellationToken::new()));
    let turn = async {
        while !diary.lock().unwrap().velocity.is_zero() {
            while urgent.try_send(Ask::Gate(eve(), Input::Estop(EstopAction::Clear))).is_ok() {}
            assert!((&mut running).now_or_never().is_none());
            assert!(urgent.capacity() < 1024, "wishes never run out");
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(5), turn).await.expect("the gate has its turn");
}

#[tokio::test]
async fn what_moves_is_called_off_when_its_asker_is_gone() {
    let yard = Yard::new();
    let handle = yard.machine.handle();
    let dance = Command {
        id: "1".into(),
        name: "dance".into(),
        args: Value::Null,
        deadline_ms: None,
        echo: None,
    };
    let dancing = handle.command(ann(), dance.clone()).await;
    // Answered after the dance began, since asks are taken in order.
    yard.command(ann(), "2", "look", Value::Null).await;
    handle.left(eve());
    handle.left(ann());
    let ack = tokio::time::timeout(Duration::from_secs(5), dancing).await.expect("called off");
    assert_eq!(code(&ack.unwrap()), "stopped");
    // Said again after a reconnect, it is answered and not begun once more.
    assert_eq!(code(&handle.command(ann(), dance).await.await.unwrap()), "stopped");
}

#[tokio::test]
async fn what_somebody_asked_for_who_is_gone_is_not_begun_any_more() {
    let yard = Yard::new();
    let handle = yard.machine.handle();
    let dance = Command {
        id: "1".into(),
        name: "dance".into(),
        args: Value::Null,
        deadline_ms: None,
        echo: None,
    };
    // The machine has no turn in between: her asks still wait when the urgent word overtakes them.
    handle.lease(ann(), LeaseRequest::Request).await;
    let dancing = handle.command(ann(), dance).await;
    handle.left(ann());
    // Answered after all of them, since asks are taken in order.
    yard.command(eve(), "1", "look", Value::Null).await;
    assert_eq!(handle.standing().borrow().holder, None, "nobody holds a lease for ever");
    let begun = tokio::time::timeout(Duration::from_millis(100), dancing).await;
    assert!(matches!(begun, Ok(Err(_))), "never begun: {begun:?}");
    // On her next connection she is heard.
    handle.lease(ann(), LeaseRequest::Request).await;
    yard.until(|s| s.holder == Some(ann().peer)).await;
}

#[tokio::test]
async fn who_left_during_a_flood_of_urgent_wishes_is_heard_when_back() {
    let yard = Yard::new();
    let handle = yard.machine.handle();
    let clear = || handle.estop(eve(), EstopAction::Clear).now_or_never();
    while clear().is_some() {}
    // Of her leaving, the urgent word comes after the other one.
    handle.left(ann());
    yard.command(eve(), "1", "look", Value::Null).await;
    yard.until_driver("a moment later", |_| handle.facts().born.elapsed().as_millis() > 200).await;
    handle.lease(ann(), LeaseRequest::Request).await;
    yard.until(|s| s.holder == Some(ann().peer)).await;
}

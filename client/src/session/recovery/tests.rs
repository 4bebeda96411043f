//! Stories and properties of the decisions.

use proptest::prelude::*;

use super::*;

fn ms(n: u64) -> Duration {
    Duration::from_millis(n)
}

fn s(n: u64) -> Duration {
    Duration::from_secs(n)
}

fn fresh() -> Recovery {
    Recovery::new(Patience::default(), s(0))
}

fn up() -> Recovery {
    let mut recovery = fresh();
    assert_eq!(recovery.step(s(1), Input::WorkerCame, 0.5), [Action::Connect(1)]);
    assert_eq!(recovery.step(s(2), Input::Ready(1), 0.5), []);
    assert_eq!(recovery.wake(), None);
    recovery
}

#[test]
fn a_connection_that_comes_back_by_itself_is_left_alone() {
    let mut recovery = up();
    assert_eq!(recovery.step(s(10), Input::Silent(1), 0.5), []);
    assert_eq!(recovery.wake(), Some(ms(10_500)));
    assert_eq!(recovery.step(ms(10_400), Input::Heard(1), 0.5), []);
    assert_eq!(recovery.wake(), None);
}

#[test]
fn a_silent_connection_is_restarted_and_then_replaced() {
    let mut recovery = up();
    recovery.step(s(10), Input::Silent(1), 0.5);
    assert_eq!(recovery.step(ms(10_500), Input::Tick, 0.5), [Action::Restart(1)]);
    assert_eq!(recovery.step(ms(18_500), Input::Tick, 0.5), [Action::Close(1)]);
    assert_eq!(recovery.wake(), Some(ms(18_700)), "half of the first ceiling");
    assert_eq!(recovery.step(ms(18_700), Input::Tick, 0.5), [Action::Connect(2)]);
    assert_eq!(recovery.step(s(20), Input::Heard(1), 0.5), [], "news of the old one");
    assert_eq!(recovery.step(s(20), Input::Ready(2), 0.5), []);
    assert_eq!(recovery.wake(), None);
}

#[test]
fn a_lost_signaling_socket_does_not_disturb_a_connection() {
    let mut recovery = up();
    assert_eq!(recovery.step(s(10), Input::SignalDown, 0.5), []);
    assert_eq!(recovery.step(s(600), Input::Tick, 0.5), []);
    assert_eq!(recovery.step(s(601), Input::SignalUp, 0.5), []);
    assert_eq!(recovery.wake(), None);
}

#[test]
fn a_restart_waits_for_the_signaling_socket() {
    let mut recovery = up();
    recovery.step(s(10), Input::SignalDown, 0.5);
    recovery.step(s(10), Input::Silent(1), 0.5);
    assert_eq!(recovery.step(s(20), Input::Tick, 0.5), []);
    assert_eq!(recovery.step(s(21), Input::SignalUp, 0.5), [Action::Restart(1)]);
}

#[test]
fn a_worker_that_was_started_anew_is_not_asked_for_a_restart() {
    let mut recovery = up();
    recovery.step(s(10), Input::WorkerLeft, 0.5);
    recovery.step(s(11), Input::WorkerCame, 0.5);
    assert_eq!(
        recovery.step(s(15), Input::Silent(1), 0.5),
        [Action::Close(1), Action::Connect(2)],
        "at once and without waiting"
    );
}

#[test]
fn a_worker_that_comes_back_after_its_connection_closed_is_connected_to_at_once() {
    let mut recovery = up();
    assert_eq!(recovery.step(s(10), Input::Closed(1), 0.5), [Action::Close(1)]);
    assert_eq!(recovery.step(s(10), Input::WorkerLeft, 0.5), []);
    assert_eq!(recovery.step(s(11), Input::Tick, 0.5), [], "there is nobody to connect to");
    assert_eq!(recovery.step(s(12), Input::WorkerCame, 0.5), [Action::Connect(2)]);
}

#[test]
fn a_worker_that_leaves_the_room_may_still_be_connected() {
    let mut recovery = up();
    assert_eq!(recovery.step(s(10), Input::WorkerLeft, 0.5), []);
    assert_eq!(recovery.step(s(500), Input::Tick, 0.5), []);
    assert_eq!(recovery.generation(), Some(1));
}

#[test]
fn without_a_worker_it_says_so() {
    let mut recovery = fresh();
    let at = recovery.wake().expect("a limit");
    assert_eq!(at, Patience::default().worker);
    assert_eq!(recovery.step(at, Input::Tick, 0.5), [Action::GiveUp(GiveUp::NoWorker)]);
    assert_eq!(recovery.step(at, Input::WorkerCame, 0.5), [], "it has been told");
}

#[test]
fn a_worker_that_cannot_be_reached_is_tried_several_times_and_then_given_up() {
    let mut recovery = fresh();
    let mut actions = recovery.step(s(1), Input::WorkerCame, 0.5);
    while let Some(at) = recovery.wake() {
        actions.extend(recovery.step(at, Input::Tick, 0.5));
    }
    let tries = actions.iter().filter(|action| matches!(action, Action::Connect(_))).count();
    assert_eq!(tries, 4, "{actions:?}");
    assert_eq!(actions.last(), Some(&Action::GiveUp(GiveUp::NoConnection)));
}

fn any_input() -> impl Strategy<Value = Input> {
    let generation = 0u64..6;
    prop_oneof![
        Just(Input::WorkerCame),
        Just(Input::WorkerLeft),
        Just(Input::SignalUp),
        Just(Input::SignalDown),
        Just(Input::Tick),
        generation.clone().prop_map(Input::Ready),
        generation.clone().prop_map(Input::Heard),
        generation.clone().prop_map(Input::Silent),
        generation.clone().prop_map(Input::Failed),
        generation.prop_map(Input::Closed),
    ]
}

proptest! {
    #[test]
    fn whatever_happens_there_is_one_connection_at_a_time_and_always_a_next_step(
        inputs in prop::collection::vec((any_input(), 0u64..9000, 0.0..1.0f64), 0..120)
    ) {
        let mut recovery = fresh();
        let mut now = s(0);
        let mut open: Option<Generation> = None;
        let mut newest = 0;
        let mut given_up = false;
        for (input, later, chance) in inputs {
            now += ms(later);
            for action in recovery.step(now, input, chance) {
                prop_assert!(!given_up, "{:?} after giving up", action);
                match action {
                    Action::Connect(generation) => {
                        prop_assert_eq!(open, None, "the old one is closed first");
                        prop_assert!(generation > newest);
                        newest = generation;
                        open = Some(generation);
                    }
                    Action::Restart(generation) => prop_assert_eq!(open, Some(generation)),
                    Action::Close(generation) => {
                        prop_assert_eq!(open, Some(generation));
                        open = None;
                    }
                    Action::GiveUp(_) => given_up = true,
                }
            }
            prop_assert_eq!(recovery.generation(), open);
            let settled = given_up || recovery.state == State::Up;
            prop_assert!(settled || recovery.wake().is_some(), "{:?} waits for nothing", recovery);
        }
    }

    #[test]
    fn left_alone_it_always_comes_to_an_end(
        inputs in prop::collection::vec((any_input(), 0u64..9000), 0..40)
    ) {
        let mut recovery = fresh();
        let mut now = s(0);
        for (input, later) in inputs {
            now += ms(later);
            recovery.step(now, input, 0.7);
        }
        for _ in 0..1000 {
            let Some(at) = recovery.wake() else { return Ok(()) };
            now = now.max(at);
            recovery.step(now, Input::Tick, 0.7);
        }
        prop_assert!(false, "{:?} still wants to be woken", recovery);
    }
}

#[test]
fn who_follows_what_takes_hours_waits_longer_once_it_was_connected() {
    let patient = Patience { back: Some(s(86_400)), ..Patience::default() };
    let mut recovery = Recovery::new(patient, s(0));
    assert_eq!(recovery.wake(), Some(Patience::default().worker), "at the start it is a typo");
    recovery.step(s(1), Input::WorkerCame, 0.5);
    recovery.step(s(2), Input::Ready(1), 0.5);
    recovery.step(s(10), Input::WorkerLeft, 0.5);
    recovery.step(s(10), Input::Closed(1), 0.5);
    assert_eq!(recovery.step(s(3600), Input::Tick, 0.5), []);
    assert_eq!(recovery.wake(), Some(s(86_410)));
    assert_eq!(recovery.step(s(7200), Input::WorkerCame, 0.5), [Action::Connect(2)]);
}

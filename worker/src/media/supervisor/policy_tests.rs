//! Whatever happens to a source, it is tried again, and people hear of it once.

use proptest::prelude::*;

use super::*;

fn ms(n: u64) -> Duration {
    Duration::from_millis(n)
}

fn lost(reason: &str) -> Action {
    Action::Lost(reason.to_owned())
}

#[test]
fn a_camera_that_is_unplugged_is_tried_again_until_it_is_back_and_people_hear_of_it_once() {
    let now = Instant::now();
    let mut policy = Policy::new(true, now);
    policy.watch(true, now);
    assert_eq!(policy.picture(true, now + ms(100)), None);
    assert_eq!(
        policy.ended("unplugged".to_owned(), now + ms(200)),
        [lost("unplugged"), Action::Stop]
    );
    assert_eq!(policy.tick(now + ms(699)), []);
    assert_eq!(policy.deadline(now + ms(699)), Some(now + ms(700)));
    assert_eq!(policy.tick(now + ms(700)), [Action::Start]);
    assert_eq!(policy.tick(now + ms(701)), [], "one start at a time");
    assert_eq!(
        policy.ended("no such device".to_owned(), now + ms(710)),
        [Action::Reason("no such device".to_owned()), Action::Stop]
    );
    assert_eq!(policy.tick(now + ms(1_709)), []);
    assert_eq!(policy.tick(now + ms(1_710)), [Action::Start]);
    policy.started(now + ms(1_720));
    assert_eq!(policy.picture(false, now + ms(1_800)), None, "not decodable yet");
    assert!(policy.trouble().is_some());
    assert_eq!(policy.picture(true, now + ms(1_900)), Some(Action::Back));
    assert_eq!(policy.picture(true, now + ms(1_933)), None);
    assert!(policy.trouble().is_none());
}

#[test]
fn pauses_grow_to_the_longest_and_only_a_steady_run_makes_them_short_again() {
    let mut now = Instant::now();
    let mut policy = Policy::new(true, now);
    let mut pauses = Vec::new();
    for _ in 0..7 {
        policy.ended("gone".to_owned(), now);
        let due = policy.deadline(now).unwrap();
        pauses.push(due.duration_since(now).as_millis());
        now = due;
        assert_eq!(policy.tick(now), [Action::Start]);
        policy.started(now);
        // It gives a picture and dies: that is no recovery.
        policy.picture(true, now);
        now += ms(1_000);
        policy.picture(true, now);
    }
    assert_eq!(pauses, [500, 1_000, 2_000, 4_000, 8_000, 10_000, 10_000]);
    now += STEADY;
    policy.picture(true, now);
    policy.ended("gone".to_owned(), now);
    assert_eq!(policy.deadline(now).unwrap().duration_since(now), FIRST_PAUSE);
}

#[test]
fn silence_is_trouble_only_while_somebody_watches_and_ends_in_a_new_start() {
    let now = Instant::now();
    let mut policy = Policy::new(true, now);
    assert_eq!(policy.tick(now + ms(60_000)), [], "nobody watches");
    assert_eq!(policy.deadline(now), None);
    policy.watch(true, now + ms(60_000));
    assert_eq!(policy.tick(now + ms(61_999)), []);
    assert_eq!(policy.tick(now + ms(62_000)), [lost("no picture comes")]);
    assert_eq!(policy.tick(now + ms(62_250)), []);
    let actions = policy.tick(now + ms(68_000));
    assert_eq!(actions[1], Action::Stop);
    assert!(matches!(&actions[0], Action::Reason(reason) if reason.contains("8 s")), "{actions:?}");
}

#[test]
fn a_source_that_explains_its_own_silence_is_left_alone() {
    let now = Instant::now();
    let mut policy = Policy::new(false, now);
    policy.watch(true, now);
    assert_eq!(policy.tick(now + ms(60_000)), []);
    assert_eq!(policy.lost("nothing arrives".to_owned(), now), Some(lost("nothing arrives")));
    assert_eq!(policy.lost("nothing arrives".to_owned(), now), None);
    assert_eq!(policy.tick(now + ms(90_000)), []);
    assert_eq!(policy.picture(true, now + ms(90_000)), Some(Action::Back));
}

#[derive(Debug, Clone)]
enum Step {
    Picture(bool),
    Lost,
    Ended,
    Watch(bool),
    StartWorks(bool),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        any::<bool>().prop_map(Step::Picture),
        Just(Step::Lost),
        Just(Step::Ended),
        any::<bool>().prop_map(Step::Watch),
        any::<bool>().prop_map(Step::StartWorks),
    ]
}

proptest! {
    #[test]
    fn whatever_happens_trouble_is_told_and_ended_in_turns_and_an_ended_source_is_tried_within_its_pause(
        steps in proptest::collection::vec((step(), 0u64..3_000), 0..120),
        hears_silence: bool,
    ) {
        let mut now = Instant::now();
        let mut policy = Policy::new(hears_silence, now);
        let (mut told_lost, mut down, mut starts_work) = (false, None::<Instant>, true);
        for (step, pause) in steps {
            let mut actions = match step {
                Step::Picture(shown) => policy.picture(shown, now).into_iter().collect(),
                Step::Lost => policy.lost("lost".to_owned(), now).into_iter().collect(),
                Step::Ended => policy.ended("ended".to_owned(), now),
                Step::Watch(watched) => { policy.watch(watched, now); Vec::new() }
                Step::StartWorks(works) => { starts_work = works; Vec::new() }
            };
            now += Duration::from_millis(pause);
            actions.extend(policy.tick(now));
            while !actions.is_empty() {
                for action in std::mem::take(&mut actions) {
                    match action {
                        Action::Lost(_) => { prop_assert!(!told_lost); told_lost = true; }
                        Action::Back => { prop_assert!(told_lost); told_lost = false; }
                        Action::Reason(_) => prop_assert!(told_lost),
                        Action::Stop => { prop_assert!(down.is_none()); down = Some(now); }
                        Action::Start => {
                            prop_assert!(down.take().is_some(), "only what is down is started");
                            if starts_work {
                                policy.started(now);
                            } else {
                                actions.extend(policy.ended("no start".to_owned(), now));
                            }
                        }
                    }
                }
            }
            prop_assert_eq!(policy.trouble().is_some(), told_lost);
            if let Some(since) = down {
                let due = policy.deadline(now).expect("the next attempt is due some time");
                prop_assert!(due.saturating_duration_since(since) <= LONGEST_PAUSE);
            }
        }
    }
}

//! What must hold in the simulated world, whatever is commanded.

#![expect(clippy::float_cmp, reason = "zero and limits are exact here")]

use proptest::prelude::*;

use super::*;

const TICK: Duration = Duration::from_millis(10);

fn open_ground() -> World {
    World::new(WorldConfig { obstacles: 0, half_size: 1_000.0, ..WorldConfig::default() })
}

fn drive(world: &mut World, linear: f64, angular: f64, seconds: f64) {
    for _ in 0..(seconds / TICK.as_secs_f64()).round() as usize {
        world.step(TICK, VelocityCommand { linear, angular });
    }
}

#[test]
fn forwards_is_along_the_heading_and_left_is_counter_clockwise() {
    let mut world = open_ground();
    assert_eq!(world.state().pose.compass_degrees(), 0.0, "it starts looking north");
    drive(&mut world, 1.0, 0.0, 2.0);
    let north = world.state().pose;
    assert!(north.y > 1.5 && north.x.abs() < 1e-9, "{north:?}");

    drive(&mut world, 0.0, 0.0, 1.0);
    drive(&mut world, 0.0, 1.0, 1.0);
    let left = world.state().pose;
    assert!(left.heading > north.heading + 0.8, "{left:?}");
    assert!(left.compass_degrees() > 270.0, "left of north is west");
}

#[test]
fn a_full_circle_comes_back_to_where_it_began() {
    let mut world = open_ground();
    drive(&mut world, 1.0, 1.0, 2.0);
    let before = world.state().pose;
    drive(&mut world, 1.0, 1.0, TAU);
    let after = world.state().pose;
    assert!(before.point().distance(after.point()) < 0.02, "{before:?} {after:?}");
}

#[test]
fn it_gains_speed_within_its_acceleration_and_brakes_twice_as_hard() {
    let mut world = open_ground();
    drive(&mut world, 1.5, 0.0, 0.25);
    assert!((world.state().speed - 0.5).abs() < 1e-9);
    drive(&mut world, 1.5, 0.0, 1.0);
    drive(&mut world, 0.0, 0.0, 0.25);
    assert!((world.state().speed - 0.5).abs() < 1e-9);
    drive(&mut world, 0.0, 0.0, 0.2);
    assert_eq!(world.state().speed, 0.0);
}

#[test]
fn a_wall_stops_it_and_it_can_turn_and_leave() {
    let config = WorldConfig { obstacles: 0, half_size: 3.0, ..WorldConfig::default() };
    let mut world = World::new(config);
    drive(&mut world, 1.5, 0.0, 4.0);
    assert!(world.state().blocked);
    assert_eq!(world.state().speed, 0.0);
    let at_wall = world.state().pose;
    assert!((3.0 - ROVER_RADIUS - at_wall.y) < 0.05, "{at_wall:?}");
    drive(&mut world, -0.8, 0.0, 1.0);
    assert!(world.state().pose.y < at_wall.y - 0.3 && !world.state().blocked);
}

#[test]
fn reaching_a_goal_counts_and_moves_it_the_same_way_every_time() {
    let reach = || {
        let mut world = World::new(WorldConfig::default());
        world.set_goal(Point { x: 0.0, y: 1.5 }).unwrap();
        drive(&mut world, 1.0, 0.0, 2.0);
        assert_eq!(world.state().goals_reached, 1);
        world.state().goal
    };
    let goal = reach();
    assert_eq!(goal, reach());
    assert!(goal.distance(Point { x: 0.0, y: 1.5 }) > 3.0);
    let other = World::new(WorldConfig { seed: 8, ..WorldConfig::default() });
    assert_ne!(other.state().obstacles, World::new(WorldConfig::default()).state().obstacles);
}

#[test]
fn an_empty_battery_stops_it() {
    let config = WorldConfig {
        endurance: Duration::from_secs(2),
        half_size: 1_000.0,
        ..WorldConfig::default()
    };
    let mut world = World::new(config);
    drive(&mut world, 0.0, 1.6, 20.0);
    assert_eq!(world.state().battery, 0.0);
    assert_eq!(world.state().angular_speed, 0.0);
}

#[test]
fn what_is_no_number_means_standing_still() {
    let mut world = open_ground();
    for bad in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
        drive(&mut world, bad, bad, 0.5);
        let state = world.state();
        assert_eq!((state.speed, state.angular_speed, state.pose.x), (0.0, 0.0, 0.0));
    }
}

#[test]
fn a_machine_that_slept_wakes_up_where_it_was() {
    let mut world = open_ground();
    drive(&mut world, 1.5, 0.0, 1.0);
    let before = world.state().pose.y;
    world.step(Duration::from_hours(1), VelocityCommand { linear: 1.5, angular: 0.0 });
    assert!(world.state().pose.y - before < 1.0);
}

proptest! {
    #[test]
    fn it_is_never_inside_anything_never_too_fast_and_its_battery_only_falls(
        seed in any::<u64>(),
        commands in proptest::collection::vec((-3.0f64..3.0, -3.0f64..3.0, 1u64..120), 1..80),
    ) {
        let mut world = World::new(WorldConfig { seed, ..WorldConfig::default() });
        let limits = world.config().clone();
        let mut battery = world.state().battery;
        let mut goals = 0;
        for (linear, angular, steps) in commands {
            for _ in 0..steps {
                let before = world.state().clone();
                world.step(TICK, VelocityCommand { linear, angular });
                let state = world.state();
                prop_assert!(state.clearance(state.pose.point()) >= ROVER_RADIUS - 1e-9);
                prop_assert!((-limits.max_reverse..=limits.max_speed).contains(&state.speed));
                prop_assert!(state.angular_speed.abs() <= limits.max_angular);
                prop_assert!(state.speed.abs() - before.speed.abs() <= limits.acceleration * 0.01 + 1e-9);
                prop_assert!(state.battery <= battery && state.battery >= 0.0);
                prop_assert!(state.goals_reached == goals || state.goals_reached == goals + 1);
                prop_assert!(state.clearance(state.goal) >= ROVER_RADIUS, "a goal can be reached");
                prop_assert!(state.pose.heading.abs() <= TAU / 2.0 + 1e-9);
                prop_assert!((0.0..360.0).contains(&state.pose.compass_degrees()));
                prop_assert!(state.distance_to_goal() >= GOAL_RADIUS, "a reached goal moves");
                (battery, goals) = (state.battery, state.goals_reached);
            }
        }
    }
}

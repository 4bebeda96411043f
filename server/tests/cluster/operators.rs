//! What operators see of the bus.

use std::time::{Duration, Instant};

use serde_json::json;

use crate::{
    support::{Broker, SOON, text},
    world::World,
};

/// Scrapes until a sample is as it should be.
async fn until(operators: &Broker, name: &str, good: impl Fn(f64) -> bool) {
    let start = Instant::now();
    loop {
        let scrape = text(&operators.call("GET", "/metrics", None, None).await.body);
        let sample = scrape.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        let value: f64 = sample.expect("it is there").parse().expect("a number");
        if good(value) {
            return;
        }
        assert!(start.elapsed() < SOON, "{name} is {value}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn a_bus_that_is_away_degrades_every_server_and_is_counted_when_it_is_back() {
    let mut world = World::of(2).await;
    for node in &world.nodes {
        let operators = &node.operators;
        until(operators, "halyard_bus_nodes", |nodes| (nodes - 2.0).abs() < 0.5).await;
        until(operators, "halyard_bus_lag_seconds_count", |count| count >= 1.0).await;
        until(operators, "halyard_bus_messages_received_total", |count| count >= 1.0).await;
        until(operators, "halyard_backend_up{backend=\"bus\"}", |up| up > 0.5).await;
        until(operators, "halyard_bus_reconnects_total", |count| count < 0.5).await;
    }
    world.nats.as_mut().expect("a bus").kill();
    for node in &world.nodes {
        until(&node.operators, "halyard_backend_up{backend=\"bus\"}", |up| up < 0.5).await;
        let ready = node.operators.call("GET", "/ready", None, None).await;
        assert_eq!((ready.status, &ready.body["status"]), (200, &json!("degraded")), "{ready:?}");
        assert_eq!(ready.body["backends"]["bus"], "down");
        // Whose room is on one server is served as before.
        node.broker.still_serves().await;
    }
    world.nats.as_mut().expect("a bus").restart();
    for node in &world.nodes {
        until(&node.operators, "halyard_backend_up{backend=\"bus\"}", |up| up > 0.5).await;
        until(&node.operators, "halyard_bus_reconnects_total", |count| count > 0.5).await;
        let ready = node.operators.call("GET", "/ready", None, None).await;
        assert_eq!((ready.status, &ready.body["status"]), (200, &json!("ready")), "{ready:?}");
    }
}

//! IPv6 alone, on the loopback.

use halyard_worker::config::Settings;

use crate::world::{Broker, World, join, telemetry};

#[tokio::test(flavor = "multi_thread")]
async fn a_room_at_an_ipv6_address_is_opened_joined_and_left() {
    let broker = Broker::with(|settings| {
        settings.listen = "[::1]:0".parse().expect("an address");
    });
    let world = World::with(Settings::default(), broker.await).await;
    let link = world.room.join_url.expose().to_owned();
    assert!(link.starts_with("http://[::1]:"), "{link}");
    let (operator, viewer) = (join(&link, true).await, world.viewer().await);
    telemetry("telemetry", &viewer, |_| true).await;
    telemetry("telemetry", &operator, |_| true).await;
    operator.close().await;
    viewer.close().await;
    world.end().await;
}

//! A worker and its peers on different servers, with NATS between them.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use halyard_client::session::{Session, SessionOptions};
use halyard_protocol::{access::Access, link::JoinLink};
use halyard_server::{
    Server, Settings as BrokerSettings,
    identity::EmbeddedIdentity,
    settings::{BusKind, NatsSettings},
    store::MemoryStore,
};
use halyard_worker::config::Settings;
use tokio_util::sync::CancellationToken;
use url::Url;

use crate::{
    nats::Nats,
    world::{Broker, Owner, World, soon, telemetry},
};

/// What is promised.
const AT_ONCE: Duration = Duration::from_secs(1);

#[tokio::test(flavor = "multi_thread")]
async fn who_is_revoked_on_one_server_is_sent_away_by_a_worker_on_another_within_a_second() {
    let nats = Nats::start();
    let store = Arc::new(MemoryStore::default());
    let identity = EmbeddedIdentity::in_memory(Duration::from_hours(1)).expect("a key");
    let identity = Arc::new(identity);
    let mut servers = Vec::new();
    let stop = CancellationToken::new();
    for _ in 0..3 {
        let bus = NatsSettings { servers: vec![nats.url()], credentials: None, token: None };
        let settings = BrokerSettings {
            listen: "127.0.0.1:0".parse().expect("an address"),
            stun_urls: Vec::new(),
            bus: BusKind::Nats(bus),
            ..BrokerSettings::default()
        };
        let server = Server::with(settings, store.clone(), identity.clone()).await.expect("bound");
        let url = Url::parse(&format!("http://{}/", server.local_addr())).expect("an address");
        servers.push((url, tokio::spawn(server.run(stop.clone()))));
    }
    let broker = Broker::elsewhere(servers[0].0.clone());
    let mut world = World::with(Settings::default(), broker).await;
    // By the same token at another server's address.
    let viewer_link = JoinLink::parse(world.viewer_link()).expect("a link");
    let at = |server: &Url| {
        let (room, token) = (viewer_link.room().clone(), viewer_link.token().cloned());
        JoinLink::new(server.clone(), room, token).expect("a link")
    };
    let joining = Session::join(at(&servers[1].0), SessionOptions::default());
    let viewer = soon("joining", joining).await.expect("joined");
    telemetry("telemetry", &viewer, |_| true).await;

    let owner: Owner = world.owner().at(&servers[2].0);
    let since = Instant::now();
    owner.revoke_role(Access::Viewer).await;
    // By its own server's word or by the worker's, whichever comes first.
    let (_, took) = world.sent_away(viewer.me(), since).await;
    println!("a viewer revoked at another server was out after {took:?}");
    assert!(took < AT_ONCE, "{took:?}");
    let ended = soon("the viewer's end", viewer.ended()).await;
    assert!(ended.to_string().contains("access to the room was revoked"), "{ended}");
    world.end().await;
    stop.cancel();
    for (_, running) in servers {
        soon("a server's end", running).await.expect("no panic").expect("no failure");
    }
}

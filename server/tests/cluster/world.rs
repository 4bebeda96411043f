//! Servers that share their rooms, each on threads of its own so that one can end without a word.

use std::{sync::Arc, time::Duration};

use halyard_server::{
    Server, Settings,
    identity::{EmbeddedIdentity, IdentityProvider},
    settings::{BusKind, NatsSettings},
    store::{MemoryStore, RoomStore},
};
use serde_json::{Value, json};
use tokio::{runtime::Runtime, sync::oneshot};
use tokio_util::sync::CancellationToken;

use crate::{
    nats::Nats,
    support::{Broker, Peer, Person, Room, settings},
};

pub(crate) struct Node {
    pub(crate) broker: Broker,
    /// The same server, on its address for operators.
    pub(crate) operators: Broker,
    stop: CancellationToken,
    runtime: Option<Runtime>,
    ended: Option<oneshot::Receiver<()>>,
}

impl Node {
    async fn start(
        settings: Settings,
        store: Arc<dyn RoomStore>,
        identity: Arc<dyn IdentityProvider>,
    ) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .expect("a runtime");
        let stop = CancellationToken::new();
        let (started, starting) = oneshot::channel();
        let (over, ended) = oneshot::channel();
        let until = stop.clone();
        runtime.spawn(async move {
            let server = Server::with(settings, store, identity).await.expect("bound");
            let operators = server.admin_addr().expect("it was asked for");
            let _ = started.send((server.local_addr(), operators));
            server.run(until).await.expect("no failure");
            let _ = over.send(());
        });
        let (addr, operators) = starting.await.expect("started");
        Self {
            broker: Broker::at(addr),
            operators: Broker::at(operators),
            stop,
            runtime: Some(runtime),
            ended: Some(ended),
        }
    }

    /// Asks it to stop, as SIGTERM does.
    pub(crate) fn drain(&self) {
        self.stop.cancel();
    }

    pub(crate) async fn drained(&mut self) {
        self.ended.take().expect("once").await.expect("it stopped by itself");
    }

    /// Ends it as `kill -9` does: its sockets are closed and nobody is told anything.
    pub(crate) fn kill(&mut self) {
        self.runtime.take().expect("it runs").shutdown_background();
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

pub(crate) struct World {
    pub(crate) nodes: Vec<Node>,
    pub(crate) nats: Option<Nats>,
}

impl World {
    /// Servers that know each other. One by itself has no bus.
    pub(crate) async fn of(count: usize) -> Self {
        let nats = (count > 1).then(Nats::start);
        let store: Arc<dyn RoomStore> = Arc::new(MemoryStore::default());
        let identity = EmbeddedIdentity::in_memory(Duration::from_hours(1)).expect("a key");
        let identity: Arc<dyn IdentityProvider> = Arc::new(identity);
        let mut nodes = Vec::new();
        for _ in 0..count {
            let mut settings = settings();
            settings.admin_listen = Some("127.0.0.1:0".parse().expect("an address"));
            settings.limits.messages_per_second = 100_000;
            settings.limits.handshakes_per_minute = 100_000;
            if let Some(nats) = &nats {
                settings.bus = BusKind::Nats(NatsSettings {
                    servers: vec![nats.url()],
                    credentials: None,
                    token: None,
                });
            }
            nodes.push(Node::start(settings, Arc::clone(&store), Arc::clone(&identity)).await);
        }
        let world = Self { nodes, nats };
        world.all_see_each_other().await;
        world
    }

    /// One of the servers; a story names more than there may be.
    pub(crate) fn at(&self, number: usize) -> &Broker {
        &self.nodes[number % self.nodes.len()].broker
    }

    async fn all_see_each_other(&self) {
        let owner = self.at(0).sign_in().await;
        let room = self.at(0).create_room(&owner).await;
        let mut probes = Vec::new();
        for number in 0..self.nodes.len() {
            let name = format!("probe{number}");
            let broker = self.at(number);
            let (peer, welcome) =
                broker.join_as(&room, &room.operator, &owner, &name, json!({})).await;
            let seen = welcome["peer_list"].as_array().expect("a list").len();
            probes.push((peer, seen));
        }
        let others = self.nodes.len() - 1;
        for (peer, seen) in &mut probes {
            while *seen < others {
                peer.next_of("peer_joined").await;
                *seen += 1;
            }
        }
    }

    /// A worker on the first server and a client on the second, who know of each other.
    pub(crate) async fn pair(&self) -> Pair {
        let (ann, bob) = (self.at(0).sign_in().await, self.at(1).sign_in().await);
        let room = self.at(2).create_room(&ann).await;
        let role = json!({ "role": "worker", "metadata": { "tags": ["gpu"] } });
        let (mut worker, _) = self.at(0).join_as(&room, &room.operator, &ann, "worker", role).await;
        let (client, welcome) =
            self.at(1).join_as(&room, &room.viewer, &bob, "bob", json!({})).await;
        assert_eq!(welcome["peer_list"], json!(["worker"]));
        worker.next_of("peer_joined").await;
        let resume = welcome["resume_token"].as_str().expect("a token").to_owned();
        Pair { ann, bob, room, worker, client, resume }
    }
}

pub(crate) struct Pair {
    pub(crate) ann: Person,
    pub(crate) bob: Person,
    pub(crate) room: Room,
    pub(crate) worker: Peer,
    pub(crate) client: Peer,
    pub(crate) resume: String,
}

impl Pair {
    /// The client comes back on this server with its proof; also the answer.
    pub(crate) async fn back(&self, broker: &Broker) -> (Peer, Value) {
        let more = json!({ "resume_token": self.resume });
        broker.join_as(&self.room, &self.room.viewer, &self.bob, "bob", more).await
    }
}

pub(crate) fn offer(target: &str, number: usize) -> Value {
    json!({ "type": "offer", "target": target, "sdp": number.to_string() })
}

/// The numbers of the offers among these messages.
pub(crate) fn numbers(messages: &[Value]) -> Vec<usize> {
    let offers = messages.iter().filter(|message| message["type"] == "offer");
    offers.map(|m| m["sdp"].as_str().expect("text").parse().expect("a number")).collect()
}

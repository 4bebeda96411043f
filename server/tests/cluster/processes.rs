//! The set-up of production: three programs, rooms and users in AWS (moto), NATS between them.
//!
//! What `faults` does to servers inside this process happens here to processes of the system.

use std::{
    net::{Ipv4Addr, SocketAddr, TcpListener},
    time::{Duration, Instant},
};

use futures_util::SinkExt;
use halyard_server::store::create_table;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::Message;

use crate::{
    nats::Nats,
    programs::{
        broker::{Broker as Program, command},
        moto::Moto,
        pool::UserPool,
    },
    support::{Broker, Peer, Person, Room, SOON, text},
    world::{numbers, offer},
};

/// Between two messages of somebody who talks.
const TALKS_EVERY: Duration = Duration::from_millis(10);

struct Node {
    program: Program,
    /// Where its peers are.
    broker: Broker,
}

struct World {
    moto: Moto,
    nats: Nats,
    pool: UserPool,
    ports: Vec<u16>,
    nodes: Vec<Option<Node>>,
}

impl World {
    async fn start() -> Self {
        let moto = Moto::start();
        create_table(&moto.config().await, "rooms").await.expect("a table");
        let pool = UserPool::make(&moto).await;
        let ports = free_ports(3);
        let mut world = Self { moto, nats: Nats::start(), pool, ports, nodes: Vec::new() };
        for number in 0..3 {
            let node = world.run(number);
            world.nodes.push(Some(node));
        }
        for number in 0..3 {
            world.until_known(number, 3).await;
        }
        world
    }

    fn run(&self, number: usize) -> Node {
        let listen = format!("127.0.0.1:{}", self.ports[number]);
        let (url, bus) = (format!("http://{listen}"), self.nats.url());
        let flags = [
            &self.pool.flags()[..],
            &["--listen", &listen, "--node-url", &url, "--admin-listen", "127.0.0.1:0"],
            &["--store", "dynamodb", "--bus", &bus, "--stun-urls", ""],
            &["--messages-per-second", "10000", "--handshakes-per-minute", "10000"],
            &["--max-rooms-per-identity", "1000"],
        ];
        let command = command(&flags.concat(), &self.moto.url, &self.moto.url);
        Node { program: Program::run(command), broker: Broker::at(listen.parse().expect("one")) }
    }

    fn at(&self, number: usize) -> &Broker {
        &self.nodes[number].as_ref().expect("it runs").broker
    }

    /// SIGKILL.
    fn kill(&mut self, number: usize) {
        self.nodes[number].take().expect("it runs").program.program.kill();
    }

    /// SIGTERM.
    fn drain(&self, number: usize) {
        let child = &self.nodes[number].as_ref().expect("it runs").program.program.child;
        kill_process(Pid::from_child(child), Signal::TERM).expect("signalled");
    }

    /// The exit code of one that was asked to stop.
    fn ended(&mut self, number: usize) -> Option<i32> {
        self.nodes[number].take().expect("it runs").program.program.ended().0
    }

    fn run_again(&mut self, number: usize) {
        self.nodes[number] = Some(self.run(number));
    }

    /// Waits until this server counts so many servers, itself included.
    async fn until_known(&self, number: usize, count: usize) {
        let said = &self.nodes[number].as_ref().expect("it runs").program.program;
        let url = said.wait_for("/metrics and /log-level at ");
        let wanted = format!("halyard_bus_nodes {count}");
        let until = Instant::now() + SOON;
        loop {
            let scrape = reqwest::get(format!("{url}/metrics")).await.expect("answered");
            if scrape.text().await.expect("text").lines().any(|line| line == wanted) {
                return;
            }
            assert!(Instant::now() < until, "server {number} never counts {count}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// A worker on the first server, bob on the second, and carol on the third, where the room was
    /// made. All know of each other.
    async fn meeting(&self) -> Meeting {
        let (ann, bob) = (self.at(0).sign_in().await, self.at(1).sign_in().await);
        let carol = self.at(2).sign_in().await;
        let room = self.at(2).create_room_for(&ann, json!({ "ttl_seconds": 600 })).await;
        let role = json!({ "role": "worker" });
        let (mut worker, _) = self.at(0).join_as(&room, &room.operator, &ann, "worker", role).await;
        let (bobs, welcome) = self.at(1).join_as(&room, &room.viewer, &bob, "bob", json!({})).await;
        let resume = text(&welcome["resume_token"]);
        let (mut carols, _) =
            self.at(2).join_as(&room, &room.viewer, &carol, "carol", json!({})).await;
        worker.next_of("peer_joined").await;
        worker.next_of("peer_joined").await;
        carols.heard().await;
        Meeting { ann, bob, room, worker, bobs: Some(bobs), carols, resume }
    }
}

fn free_ports(count: usize) -> Vec<u16> {
    let bind = |_| TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    let listeners: Vec<TcpListener> = (0..count).map(bind).collect();
    let port = |listener: &TcpListener| listener.local_addr().map(|addr: SocketAddr| addr.port());
    listeners.iter().map(|listener| port(listener).expect("an address")).collect()
}

struct Meeting {
    ann: Person,
    bob: Person,
    room: Room,
    worker: Peer,
    /// Until he is gone.
    bobs: Option<Peer>,
    carols: Peer,
    resume: String,
}

impl Meeting {
    async fn bob_back(&self, broker: &Broker) -> (Peer, Value) {
        let more = json!({ "resume_token": self.resume });
        broker.join_as(&self.room, &self.room.viewer, &self.bob, "bob", more).await
    }
}

/// A peer that answers every offer with its number, until its socket ends. What it heard.
async fn answering(mut peer: Peer) -> Vec<Value> {
    let mut heard = Vec::new();
    while let Ok(message) = timeout(SOON, peer.frame()).await.expect("something in time") {
        if message["type"] == "offer" {
            let answer = json!({ "type": "answer", "target": "worker", "sdp": message["sdp"] });
            // Who dies does not say when it stops listening.
            let _ = peer.socket.send(Message::Text(answer.to_string().into())).await;
        }
        heard.push(message);
    }
    heard
}

/// What the worker is told while it talks.
#[derive(Default)]
struct Told {
    answered: usize,
    refused: usize,
    left: Option<Instant>,
    joined: usize,
}

impl Told {
    async fn listen(&mut self, worker: &mut Peer, time: Duration) {
        let until = Instant::now() + time;
        while let Some(left) = until.checked_duration_since(Instant::now()) {
            let Ok(message) = timeout(left, worker.next()).await else { return };
            match message["type"].as_str() {
                Some("answer") => self.answered += 1,
                Some("error") => {
                    assert_eq!(message["target"], "bob", "{message}");
                    self.refused += 1;
                }
                Some("peer_left") => {
                    assert_eq!(message["peer_id"], "bob", "{message}");
                    assert!(self.left.replace(Instant::now()).is_none(), "told twice");
                }
                Some("peer_joined") => self.joined += 1,
                // After a time without the bus, and when a server is gone.
                Some("rights_changed") => {}
                other => panic!("{other:?}: {message}"),
            }
        }
    }
}

/// Makes rooms until the server is no more. Those that it said are made.
async fn make_rooms(url: String, owner: Person) -> Vec<String> {
    let (http, mut rooms) = (reqwest::Client::new(), Vec::new());
    loop {
        let asking = http.post(&url).bearer_auth(&owner.id_token).send();
        let Ok(answer) = asking.await else { return rooms };
        assert_eq!(answer.status(), 200);
        let Ok(body) = answer.json::<Value>().await else { return rooms };
        rooms.push(text(&body["room_id"]));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_killed_under_traffic_takes_nothing_along_that_was_acknowledged() {
    let mut world = World::start().await;
    let mut meeting = world.meeting().await;
    let making = make_rooms(world.at(1).url("/create-room"), meeting.ann.clone());
    let making = tokio::spawn(making);
    let answering = tokio::spawn(answering(meeting.bobs.take().expect("he is here")));
    let (mut told, mut said) = (Told::default(), 0);
    let mut killed: Option<(Instant, usize)> = None;
    while told.left.is_none() {
        for to in ["bob", "carol"] {
            meeting.worker.send(&offer(to, said)).await;
        }
        said += 1;
        told.listen(&mut meeting.worker, TALKS_EVERY).await;
        if killed.is_none() && told.answered >= 50 {
            world.kill(1);
            killed = Some((Instant::now(), said));
        }
    }
    let (killed_at, said_before) = killed.expect("it was killed before bob left");
    let noticed = told.left.expect("told").duration_since(killed_at);
    assert!(noticed < Duration::from_secs(10), "{noticed:?}");

    // Bob heard a beginning of what was said, once and in order, and everything that he answered.
    let heard = numbers(&answering.await.expect("no panic"));
    assert_eq!(heard, (0..heard.len()).collect::<Vec<_>>());
    assert!(told.answered <= heard.len(), "{} of {}", told.answered, heard.len());
    // What was said to him afterwards is answered, each time. Nothing more is on its way.
    while told.refused < said - said_before {
        let before = told.refused;
        told.listen(&mut meeting.worker, Duration::from_secs(2)).await;
        assert!(told.refused > before, "{before} refused, {said} said, {said_before} before");
    }
    // Carol noticed nothing but that he left.
    let mut carol = Vec::new();
    while numbers(&carol).len() < said || !carol.iter().any(|m: &Value| m["type"] == "peer_left") {
        carol.push(meeting.carols.next().await);
    }
    assert_eq!(numbers(&carol), (0..said).collect::<Vec<_>>());
    carol.retain(|message| !matches!(message["type"].as_str(), Some("offer" | "rights_changed")));
    assert_eq!(carol, [json!({ "type": "peer_left", "peer_id": "bob", "reason": "lost" })]);

    // The room lives on: bob comes back elsewhere, somebody new comes, the owner gives it time.
    let (mut bobs, welcome) = meeting.bob_back(world.at(2)).await;
    assert_eq!(welcome["resumed"], false, "something was missed");
    assert_eq!(meeting.worker.next_of("peer_joined").await["peer_id"], "bob");
    meeting.worker.send(&offer("bob", said)).await;
    assert_eq!(bobs.next_of("offer").await["sdp"], said.to_string());
    let path = format!("/rooms/{}", meeting.room.id);
    let owner = Some(meeting.ann.id_token.as_str());
    let before = world.at(0).call("GET", &path, owner, None).await.body["expires_at"].as_u64();
    let wish = json!({ "ttl_seconds": 7000 });
    let extended = world.at(2).call("POST", &format!("{path}/extend"), owner, Some(wish)).await;
    assert_eq!(extended.status, 200, "{extended:?}");
    let shown = world.at(0).call("GET", &path, owner, None).await;
    assert!(shown.body["expires_at"].as_u64() > before, "{shown:?}");
    assert_eq!(shown.body["peers"].as_array().expect("a list").len(), 3, "{shown:?}");
    let dora = world.at(0).sign_in().await;
    world.at(0).join(&meeting.room, &meeting.room.operator, &dora).await;
    // Every room that the dead server said it made is there.
    let made = making.await.expect("no panic");
    assert!(!made.is_empty());
    for id in made {
        let shown = world.at(0).call("GET", &format!("/rooms/{id}"), owner, None).await;
        assert_eq!(shown.status, 200, "{shown:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_starts_again_within_five_seconds_is_not_mistaken_for_its_earlier_run() {
    let mut world = World::start().await;
    let mut meeting = world.meeting().await;
    meeting.worker.send(&offer("bob", 0)).await;
    assert_eq!(meeting.bobs.take().expect("here").next_of("offer").await["sdp"], "0");
    world.kill(1);
    world.run_again(1);
    let (mut bobs, welcome) = meeting.bob_back(world.at(1)).await;
    assert_eq!(welcome["resumed"], false, "what the earlier run kept is gone");
    assert_eq!(meeting.worker.next_of("peer_left").await["peer_id"], "bob");
    assert_eq!(meeting.worker.next_of("peer_joined").await["peer_id"], "bob");
    // The others hear no more of the earlier run, and count it as gone. Bob stays.
    for number in [0, 2] {
        world.until_known(number, 3).await;
    }
    world.until_known(1, 3).await;
    let mut told = meeting.worker.heard().await;
    told.retain(|message| message["type"] != "rights_changed");
    // The one offer that the dead server had, if it had not acknowledged it: told as not delivered.
    if let Some(at) = told.iter().position(|message| message["code"] == "DELIVERY_FAILED") {
        let failed = told.remove(at);
        assert_eq!(failed["target"], "bob", "{failed:?}");
    }
    assert!(told.is_empty(), "{told:?}");
    for number in 1..20 {
        meeting.worker.send(&offer("bob", number)).await;
        assert_eq!(bobs.next_of("offer").await["sdp"], number.to_string());
        bobs.send(&json!({ "type": "answer", "target": "worker", "sdp": "yes" })).await;
        assert_eq!(meeting.worker.next().await["type"], "answer");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn peers_of_a_server_that_gets_sigterm_are_told_where_to_go_and_miss_nothing() {
    let mut world = World::start().await;
    let mut meeting = world.meeting().await;
    let (mut told, mut said) = (Told::default(), 0);
    while said < 100 {
        meeting.worker.send(&offer("bob", said)).await;
        said += 1;
        if said == 50 {
            world.drain(1);
        }
        told.listen(&mut meeting.worker, Duration::from_millis(1)).await;
    }
    let (mut heard, closed) = meeting.bobs.take().expect("here").until_closed().await;
    assert_eq!(closed.code, 1001);
    let draining = heard.iter().find(|m| m["type"] == "draining").expect("told").clone();
    let refuge = text(&draining["reconnect_to"]);
    let at = [0, 2].into_iter().find(|number| refuge == world.at(*number).url("/"));
    let at = at.unwrap_or_else(|| panic!("sent to {refuge}"));
    let drained = Instant::now();
    let (mut bobs, welcome) = meeting.bob_back(world.at(at)).await;
    assert_eq!(welcome["resumed"], true);
    assert!(drained.elapsed() < Duration::from_secs(2), "{:?}", drained.elapsed());
    while said < 150 {
        meeting.worker.send(&offer("bob", said)).await;
        said += 1;
    }
    while numbers(&heard).len() < said {
        heard.push(bobs.next().await);
    }
    assert_eq!(numbers(&heard), (0..said).collect::<Vec<_>>());
    assert_eq!(world.ended(1), Some(0));
    told.listen(&mut meeting.worker, Duration::from_millis(100)).await;
    assert_eq!((told.refused, told.left, told.joined), (0, None, 0), "nobody noticed");
}

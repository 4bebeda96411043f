//! What every [`Bus`] promises, tried with every implementation: a server by itself, and one, two
//! and three over NATS.

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use bytes::Bytes;
use halyard_server::{
    bus::{Bus, Listener, LocalBus, NatsBus, NodeId, NotSent, Worth},
    metrics::Metrics,
    settings::NatsSettings,
};
use tokio::{task::JoinHandle, time::timeout};
use tokio_util::sync::CancellationToken;

use crate::{nats::Nats, support::SOON};

/// Messages of each server for each other.
const MESSAGES: u32 = 500;
/// One message of four is larger than what NATS takes at once.
const LARGE: usize = 3 * 1024 * 1024;

#[derive(Debug, Clone, PartialEq, Eq)]
enum Heard {
    Up(NodeId),
    Down(NodeId),
    Said(NodeId, Bytes),
    Back,
}

/// Everything that a server was told.
#[derive(Default)]
struct Log(Mutex<Vec<Heard>>);

impl Log {
    fn push(&self, heard: Heard) {
        self.0.lock().expect("no panic").push(heard);
    }

    fn all(&self) -> Vec<Heard> {
        self.0.lock().expect("no panic").clone()
    }

    fn said_by(&self, node: NodeId) -> Vec<Bytes> {
        let said = |heard: Heard| match heard {
            Heard::Said(from, message) if from == node => Some(message),
            _ => None,
        };
        self.all().into_iter().filter_map(said).collect()
    }
}

impl Listener for Log {
    fn up(&self, node: NodeId) {
        self.push(Heard::Up(node));
    }

    fn down(&self, node: NodeId) {
        self.push(Heard::Down(node));
    }

    fn heard(&self, from: NodeId, message: Bytes) {
        self.push(Heard::Said(from, message));
    }

    fn undelivered(&self, to: NodeId, message: Bytes) {
        panic!("{} bytes for {to} came back", message.len());
    }

    fn back(&self) {
        self.push(Heard::Back);
    }
}

/// One server's bus, running.
struct Node {
    bus: Arc<dyn Bus>,
    log: Arc<Log>,
    stop: CancellationToken,
    running: JoinHandle<()>,
}

impl Node {
    fn run(bus: Arc<dyn Bus>) -> Self {
        let (log, stop) = (Arc::<Log>::default(), CancellationToken::new());
        let (carried, told, until) = (Arc::clone(&bus), Arc::clone(&log), stop.clone());
        let running = tokio::spawn(async move { carried.run(told, until).await });
        Self { bus, log, stop, running }
    }

    async fn until(&self, what: &str, mut good: impl FnMut(&dyn Bus, &Log) -> bool) {
        let start = Instant::now();
        while !good(&*self.bus, &self.log) {
            assert!(start.elapsed() < SOON, "never {what}: {:?}", self.bus.nodes());
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

fn message(from: NodeId, number: u32) -> Bytes {
    let mut bytes = from.number().to_be_bytes().to_vec();
    bytes.extend(number.to_be_bytes());
    if number == MESSAGES / 2 {
        bytes.resize(LARGE, 7);
    }
    bytes.into()
}

/// The suite. `buses` are all that there are, and nobody else is on them.
async fn a_bus_keeps_its_promises(buses: Vec<Arc<dyn Bus>>) {
    let nodes: Vec<Node> = buses.into_iter().map(Node::run).collect();
    let ids: BTreeSet<NodeId> = nodes.iter().map(|node| node.bus.node()).collect();
    assert_eq!(ids.len(), nodes.len(), "every node has a name of its own");
    let stranger = NodeId::random();
    for node in &nodes {
        // Whoever is there or not, nobody waits for ever at a start.
        timeout(SOON, node.bus.settled()).await.expect("settled");
        let others: BTreeSet<_> = ids.iter().copied().filter(|id| *id != node.bus.node()).collect();
        node.until("knows the others", |bus, _| {
            bus.is_connected() && bus.nodes().into_iter().collect::<BTreeSet<_>>() == others
        })
        .await;
        assert!(node.bus.is_shared() || others.is_empty());
        // Nobody is oneself, and who is not there is not spoken to.
        for nobody in [stranger, node.bus.node()] {
            let sent = node.bus.send(nobody, Bytes::from_static(b"?"), Worth::Peer);
            assert_eq!(sent, Err(NotSent));
        }
    }

    // What each says to each arrives once, whole and in order, behind the beginning of the link.
    for node in &nodes {
        for to in node.bus.nodes() {
            for number in 0..MESSAGES {
                let worth = if number % 2 == 0 { Worth::Peer } else { Worth::Rooms };
                node.bus.send(to, message(node.bus.node(), number), worth).expect("taken");
            }
        }
    }
    for node in &nodes {
        timeout(SOON, node.bus.flushed()).await.expect("everything arrives");
    }
    for node in &nodes {
        for from in node.bus.nodes() {
            node.until("heard", |_, log| log.said_by(from).len() >= MESSAGES as usize).await;
            let expected: Vec<_> = (0..MESSAGES).map(|number| message(from, number)).collect();
            assert!(node.log.said_by(from) == expected, "once, whole and in order");
            let all = node.log.all();
            let ups = all.iter().filter(|heard| **heard == Heard::Up(from)).count();
            let first = all
                .iter()
                .find(|heard| matches!(heard, Heard::Up(id) | Heard::Said(id, _) if *id == from));
            assert_eq!((ups, first), (1, Some(&Heard::Up(from))));
        }
        assert!(!node.log.all().contains(&Heard::Back), "it was never away");
    }

    // One drains: nobody is sent there. It goes: it is gone for all, and at once.
    let mut nodes = nodes;
    let last = nodes.pop().expect("at least one");
    last.bus.drain();
    for node in &nodes {
        let most = nodes.len() - 1;
        node.until("sends nobody there", |bus, _| {
            bus.refuge().is_none_or(|(id, _)| id != last.bus.node())
        })
        .await;
        assert_eq!(node.bus.refuge().is_some(), most > 0);
    }
    assert_eq!(last.bus.refuge().is_some(), !nodes.is_empty(), "it sends peers elsewhere");
    last.stop.cancel();
    timeout(SOON, last.running).await.expect("it ends when it is told to").expect("no panic");
    let gone = last.bus.node();
    for node in &nodes {
        node.until("told of the end", |_, log| log.all().contains(&Heard::Down(gone))).await;
        let sent = node.bus.send(gone, Bytes::from_static(b"?"), Worth::Peer);
        assert_eq!(sent, Err(NotSent));
        assert!(!node.bus.nodes().contains(&gone));
    }
    for node in nodes {
        node.stop.cancel();
        timeout(SOON, node.running).await.expect("it ends when it is told to").expect("no panic");
    }
}

async fn over_nats(count: usize) {
    let nats = Nats::start();
    let settings = NatsSettings { servers: vec![nats.url()], credentials: None, token: None };
    let bus = |_| -> Arc<dyn Bus> {
        let bus = NatsBus::new(&settings, "halyard.contract", None, Arc::new(Metrics::new()));
        Arc::new(bus.expect("no credentials to read"))
    };
    a_bus_keeps_its_promises((0..count).map(bus).collect()).await;
}

#[tokio::test]
async fn a_server_by_itself() {
    a_bus_keeps_its_promises(vec![Arc::new(LocalBus::default())]).await;
}

#[tokio::test]
async fn one_server_over_nats() {
    over_nats(1).await;
}

#[tokio::test]
async fn two_servers_over_nats() {
    over_nats(2).await;
}

#[tokio::test]
async fn three_servers_over_nats() {
    over_nats(3).await;
}

//! One server among the others: who is alive, and a link to each of them. Pure logic; the time is
//! an argument, packets go in and come out.
//!
//! A node is gone when it is not heard for [`DEAD_AFTER`], but only a server that hears itself may
//! judge: its own heartbeat comes back over the bus like everybody's, and while it does not, the
//! silence is its own. When it does again, everybody gets that time anew.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    time::{Duration, Instant},
};

use bytes::Bytes;

use super::{
    NodeId, NotSent, Worth,
    link::{Incoming, Outgoing, Taken},
    packet::{About, Packet},
};

/// How often a node says that it is alive.
const BEAT: Duration = Duration::from_secs(1);
/// Without its own heartbeat for this long, a server is cut off.
const CUT_OFF_AFTER: Duration = Duration::from_millis(2_500);
/// Without its heartbeat for this long, a node is gone.
const DEAD_AFTER: Duration = Duration::from_secs(5);

/// For whom a packet is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum To {
    Everybody,
    Node(NodeId),
}

/// What the rooms should know, in this order.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Event {
    Up(NodeId),
    Down(NodeId),
    Heard(NodeId, Bytes),
    Undelivered(NodeId, Bytes),
    Back,
}

#[derive(Debug)]
struct Node {
    heard: Instant,
    about: About,
    outgoing: Outgoing,
    incoming: Incoming,
}

#[derive(Debug)]
pub(super) struct Cluster {
    me: NodeId,
    about: About,
    nodes: BTreeMap<NodeId, Node>,
    /// Counts the beginnings of all links, so that none is taken for an earlier one.
    epochs: u64,
    beat_at: Instant,
    echo: Option<Instant>,
    connected: bool,
    events: VecDeque<Event>,
    /// Nodes that should be told where our end of their link stands.
    to_ack: BTreeSet<NodeId>,
    answers: Vec<(To, Packet)>,
    turn: usize,
}

impl Cluster {
    pub(super) fn new(me: NodeId, url: Option<String>, now: Instant) -> Self {
        Self {
            me,
            about: About { url, ..About::default() },
            nodes: BTreeMap::new(),
            epochs: 0,
            beat_at: now,
            echo: None,
            connected: false,
            events: VecDeque::new(),
            to_ack: BTreeSet::new(),
            answers: Vec::new(),
            turn: 0,
        }
    }

    #[cfg(test)]
    pub(super) fn me(&self) -> NodeId {
        self.me
    }

    pub(super) fn is_connected(&self) -> bool {
        self.connected
    }

    pub(super) fn nodes(&self) -> Vec<NodeId> {
        self.nodes.keys().copied().collect()
    }

    pub(super) fn is_flushed(&self) -> bool {
        self.nodes.values().all(|node| node.outgoing.is_empty())
    }

    pub(super) fn set_draining(&mut self, now: Instant) {
        self.about.draining = true;
        self.beat_at = now;
    }

    /// The last heartbeat.
    pub(super) fn goodbye(&mut self) -> Packet {
        self.about.leaving = true;
        Packet::Beat(self.about.clone())
    }

    pub(super) fn refuge(&mut self) -> Option<(NodeId, Option<String>)> {
        let open: Vec<_> = self.nodes.iter().filter(|(_, node)| !node.about.draining).collect();
        self.turn = self.turn.wrapping_add(1);
        // One that says where it is reached, if there is any.
        let reached: Vec<_> =
            open.iter().copied().filter(|(_, node)| node.about.url.is_some()).collect();
        let choice = if reached.is_empty() { open } else { reached };
        let (id, node) = choice.get(self.turn.checked_rem(choice.len())?)?;
        Some((**id, node.about.url.clone()))
    }

    pub(super) fn send(
        &mut self,
        to: NodeId,
        message: &Bytes,
        worth: Worth,
    ) -> Result<(), NotSent> {
        let node = self.nodes.get_mut(&to).ok_or(NotSent)?;
        match (node.outgoing.push(message, worth), worth) {
            (Ok(()), _) => Ok(()),
            (Err(full), Worth::Peer) => Err(full),
            (Err(_), Worth::Rooms) => {
                tracing::warn!(node = %to, "the queue to a node is full; the link starts again");
                self.start_again(to);
                // Whether or not it is news that a new beginning tells by itself.
                self.events.push_back(Event::Undelivered(to, message.clone()));
                Ok(())
            }
        }
    }

    fn next_link(&mut self) -> Outgoing {
        self.epochs += 1;
        Outgoing::new(self.epochs)
    }

    fn start_again(&mut self, id: NodeId) {
        let link = self.next_link();
        let Some(node) = self.nodes.get_mut(&id) else { return };
        let old = std::mem::replace(&mut node.outgoing, link);
        self.events.push_back(Event::Up(id));
        self.give_back(id, old);
    }

    fn give_back(&mut self, id: NodeId, link: Outgoing) {
        let undelivered = link.into_undelivered();
        self.events.extend(undelivered.into_iter().map(|message| Event::Undelivered(id, message)));
    }

    fn forget(&mut self, id: NodeId) {
        let Some(node) = self.nodes.remove(&id) else { return };
        self.events.push_back(Event::Down(id));
        self.give_back(id, node.outgoing);
    }

    pub(super) fn receive(&mut self, bytes: Bytes, now: Instant) {
        let Some((from, packet)) = Packet::read(bytes) else { return };
        if from == self.me {
            if matches!(packet, Packet::Beat(_)) {
                self.heard_myself(now);
            }
            return;
        }
        match packet {
            Packet::Beat(about) => self.beat(from, about, now),
            packet => self.linked(from, packet, now),
        }
    }

    fn heard_myself(&mut self, now: Instant) {
        let first = self.echo.replace(now).is_none();
        if self.connected {
            return;
        }
        self.connected = true;
        for node in self.nodes.values_mut() {
            node.heard = now;
            node.outgoing.network_is_back();
        }
        if !first {
            tracing::info!("the bus is back");
            self.events.push_back(Event::Back);
        }
    }

    fn beat(&mut self, from: NodeId, about: About, now: Instant) {
        if about.leaving {
            if self.nodes.contains_key(&from) {
                tracing::info!(node = %from, "a node has left");
                self.forget(from);
            }
            return;
        }
        if let Some(node) = self.nodes.get_mut(&from) {
            node.heard = now;
            node.about = about;
            return;
        }
        tracing::info!(node = %from, url = about.url, "a node is there");
        let outgoing = self.next_link();
        let node = Node { heard: now, about, outgoing, incoming: Incoming::default() };
        self.nodes.insert(from, node);
        self.events.push_back(Event::Up(from));
        // It does not know us either, then.
        self.beat_at = now;
    }

    fn linked(&mut self, from: NodeId, packet: Packet, now: Instant) {
        // Before its first heartbeat a node's packets mean nothing; it sends them again.
        let Some(node) = self.nodes.get_mut(&from) else { return };
        match packet {
            Packet::Data { epoch, number, last, piece } => {
                match node.incoming.take(epoch, number, last, &piece) {
                    Taken::Message(message) => {
                        self.events.push_back(Event::Heard(from, message));
                    }
                    Taken::Nothing => {}
                    Taken::Unknown => {
                        self.answers.push((To::Node(from), Packet::Unknown { epoch }));
                        return;
                    }
                    Taken::Old => return,
                }
                self.to_ack.insert(from);
            }
            Packet::Ack { epoch, next } => node.outgoing.acked(epoch, next, now),
            Packet::Unknown { epoch } => {
                if node.outgoing.epoch() == epoch && node.outgoing.has_begun() {
                    tracing::warn!(node = %from, "a node forgot us; the link starts again");
                    self.start_again(from);
                }
            }
            Packet::Beat(_) => {}
        }
    }

    pub(super) fn next_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// What should be sent now.
    pub(super) fn due(&mut self, now: Instant) -> Vec<(To, Packet)> {
        self.judge(now);
        let mut packets = std::mem::take(&mut self.answers);
        if self.beat_at <= now {
            self.beat_at = now + BEAT;
            packets.push((To::Everybody, Packet::Beat(self.about.clone())));
        }
        for id in std::mem::take(&mut self.to_ack) {
            let Some(node) = self.nodes.get(&id) else { continue };
            let (epoch, next) = node.incoming.position();
            packets.push((To::Node(id), Packet::Ack { epoch, next }));
        }
        for (id, node) in &mut self.nodes {
            let epoch = node.outgoing.epoch();
            for piece in node.outgoing.due(now) {
                let data = Packet::Data {
                    epoch,
                    number: piece.number,
                    last: piece.last,
                    piece: piece.bytes,
                };
                packets.push((To::Node(*id), data));
            }
        }
        packets
    }

    fn judge(&mut self, now: Instant) {
        let silent = |heard: Instant, most| now.saturating_duration_since(heard) >= most;
        if self.connected && self.echo.is_none_or(|echo| silent(echo, CUT_OFF_AFTER)) {
            self.connected = false;
            tracing::warn!("cut off from the bus; rooms go on here by themselves");
        }
        if !self.connected {
            return;
        }
        let dead: Vec<NodeId> = self
            .nodes
            .iter()
            .filter(|(_, node)| silent(node.heard, DEAD_AFTER))
            .map(|(id, _)| *id)
            .collect();
        for id in dead {
            tracing::warn!(node = %id, "a node is not heard any more and counts as gone");
            self.forget(id);
        }
    }

    /// When [`due`](Self::due) should be asked next, if nothing happens before.
    pub(super) fn wake_at(&self) -> Instant {
        let links = self.nodes.values().filter_map(|node| node.outgoing.wake_at());
        links.fold(self.beat_at, Instant::min)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Servers on one bus that carries everything at once, while it is up.
    struct World {
        now: Instant,
        up: bool,
        servers: Vec<Cluster>,
        heard: Vec<Vec<Event>>,
    }

    impl World {
        fn of(count: usize) -> Self {
            let now = Instant::now();
            let server = |number| {
                Cluster::new(NodeId::from_number(number), Some(format!("http://{number}")), now)
            };
            let mut world = Self {
                now,
                up: true,
                servers: (1..=count as u64).map(server).collect(),
                heard: (0..count).map(|_| Vec::new()).collect(),
            };
            world.settle();
            world
        }

        /// Carries until nobody has anything more to say.
        fn settle(&mut self) {
            loop {
                let mut packets = Vec::new();
                for server in &mut self.servers {
                    let me = server.me();
                    packets.extend(server.due(self.now).into_iter().map(|(to, p)| (me, to, p)));
                }
                for (server, heard) in self.servers.iter_mut().zip(&mut self.heard) {
                    heard.extend(std::iter::from_fn(|| server.next_event()));
                }
                if packets.is_empty() {
                    return;
                }
                for (from, to, packet) in packets.into_iter().filter(|_| self.up) {
                    for server in &mut self.servers {
                        if to == To::Everybody || to == To::Node(server.me()) {
                            server.receive(packet.to_bytes(from), self.now);
                        }
                    }
                }
            }
        }

        fn pass(&mut self, time: Duration) {
            let until = self.now + time;
            while self.now < until {
                self.now += Duration::from_millis(100);
                self.settle();
            }
        }

        fn heard(&mut self, server: usize) -> Vec<Event> {
            std::mem::take(&mut self.heard[server])
        }
    }

    fn node(number: u64) -> NodeId {
        NodeId::from_number(number)
    }

    #[test]
    fn servers_find_each_other_at_once() {
        let mut world = World::of(3);
        assert_eq!(world.heard(0), [Event::Up(node(2)), Event::Up(node(3))]);
        assert_eq!(world.servers[2].nodes(), [node(1), node(2)]);
        assert!(world.servers.iter().all(Cluster::is_connected));
    }

    #[test]
    fn a_silent_node_is_gone_after_five_seconds_and_what_was_meant_for_it_comes_back() {
        let mut world = World::of(2);
        let mut gone = world.servers.pop().expect("two");
        world.heard(0);
        let message = Bytes::from_static(b"hello");
        world.servers[0].send(node(2), &message, Worth::Peer).expect("taken");
        world.pass(Duration::from_millis(4_900));
        assert_eq!(world.heard(0), []);
        world.pass(Duration::from_millis(1_200));
        assert_eq!(
            world.heard(0),
            [Event::Down(node(2)), Event::Undelivered(node(2), message.clone())]
        );
        assert_eq!(world.servers[0].send(node(2), &message, Worth::Peer), Err(NotSent));

        // It was only asleep. What it says now is of a link that the other forgot.
        gone.send(node(1), &message, Worth::Peer).expect("taken");
        world.servers.push(gone);
        world.pass(Duration::from_secs(2));
        assert_eq!(world.heard(0), [Event::Up(node(2)), Event::Heard(node(2), message)]);
    }

    #[test]
    fn a_link_that_one_end_forgot_starts_again_and_gives_back_what_was_on_it() {
        let mut world = World::of(2);
        let message = Bytes::from_static(b"hello");
        world.servers[1].send(node(1), &message, Worth::Peer).expect("taken");
        world.settle();
        let mut asleep = world.servers.pop().expect("two");
        world.pass(Duration::from_secs(7));
        asleep.send(node(1), &message, Worth::Peer).expect("taken");
        world.heard(0);
        world.heard(1);
        world.servers.push(asleep);
        world.pass(Duration::from_secs(2));
        assert_eq!(world.heard(0), [Event::Up(node(2))]);
        let heard = world.heard(1);
        assert!(heard.contains(&Event::Up(node(1))), "{heard:?}");
        assert!(heard.contains(&Event::Undelivered(node(1), message.clone())), "{heard:?}");
        world.servers[1].send(node(1), &message, Worth::Peer).expect("taken");
        world.settle();
        assert_eq!(world.heard(0), [Event::Heard(node(2), message)]);
    }

    #[test]
    fn nobody_is_judged_while_the_bus_is_away_and_what_was_said_meanwhile_arrives() {
        let mut world = World::of(2);
        world.heard(0);
        world.heard(1);
        world.up = false;
        let messages: Vec<Bytes> = (0..100_u32).map(|n| n.to_be_bytes().to_vec().into()).collect();
        for message in &messages {
            world.servers[0].send(node(2), message, Worth::Peer).expect("taken");
            world.pass(Duration::from_millis(300));
        }
        assert!(!world.servers[0].is_connected());
        assert_eq!(world.servers[0].nodes(), [node(2)], "30 seconds, and still there");
        world.up = true;
        world.pass(Duration::from_secs(3));
        let expected: Vec<Event> =
            messages.into_iter().map(|message| Event::Heard(node(1), message)).collect();
        let mut heard = world.heard(1);
        heard.retain(|event| *event != Event::Back);
        assert_eq!(heard, expected);
        assert_eq!(world.heard(0), [Event::Back]);
        world.pass(Duration::from_mins(1));
        assert_eq!(world.heard(0), []);
    }

    #[test]
    fn peers_of_a_draining_node_are_sent_to_the_others_in_turn() {
        let mut world = World::of(3);
        let now = world.now;
        world.servers[1].set_draining(now);
        world.settle();
        let mut told = || world.servers[2].refuge();
        assert_eq!(told(), Some((node(1), Some("http://1".to_owned()))));
        assert_eq!(told(), Some((node(1), Some("http://1".to_owned()))));
        let first = world.servers[0].refuge().expect("one is open");
        assert_eq!(first.0, node(3));
        let mut both: Vec<_> = (0..2).filter_map(|_| world.servers[1].refuge()).collect();
        both.sort();
        assert_eq!(both.iter().map(|(node, _)| *node).collect::<Vec<_>>(), [node(1), node(3)]);
    }

    #[test]
    fn who_says_goodbye_is_gone_at_once() {
        let mut world = World::of(2);
        world.heard(0);
        let bytes = world.servers[1].goodbye().to_bytes(node(2));
        world.servers.pop();
        let now = world.now;
        world.servers[0].receive(bytes, now);
        world.settle();
        assert_eq!(world.heard(0), [Event::Down(node(2))]);
    }

    /// What anybody on the bus may publish, of itself or in another's name.
    fn packets() -> impl Strategy<Value = (u64, Packet)> {
        let small = 0_u64..6;
        let words = (any::<bool>(), any::<bool>(), any::<Option<String>>());
        let packet = prop_oneof![
            words.prop_map(|(draining, leaving, url)| {
                Packet::Beat(About { url, draining, leaving })
            }),
            (
                small.clone(),
                small.clone(),
                any::<bool>(),
                prop::collection::vec(any::<u8>(), 0..40)
            )
                .prop_map(|(epoch, number, last, piece)| {
                    Packet::Data { epoch, number, last, piece: piece.into() }
                }),
            (prop_oneof![small.clone(), any::<u64>()], prop_oneof![small.clone(), any::<u64>()])
                .prop_map(|(epoch, next)| Packet::Ack { epoch, next }),
            small.clone().prop_map(|epoch| Packet::Unknown { epoch }),
        ];
        (1_u64..5, packet)
    }

    proptest! {
        /// Nobody is told of who did not come, nothing is heard of who is not here, and what was
        /// taken is delivered, given back or still waiting, whatever is published.
        #[test]
        fn no_packet_is_a_panic_and_events_stay_in_order(
            heard in prop::collection::vec((packets(), 0_u64..3_000, any::<bool>()), 0..60),
        ) {
            let mut now = Instant::now();
            let mut server = Cluster::new(node(1), None, now);
            let (mut here, mut taken, mut back) = (BTreeSet::new(), 0_usize, 0_usize);
            for ((from, packet), wait, say) in heard {
                now += Duration::from_millis(wait);
                server.receive(packet.to_bytes(node(from)), now);
                server.due(now);
                while let Some(event) = server.next_event() {
                    match event {
                        Event::Up(id) => {
                            here.insert(id);
                        }
                        Event::Down(id) => prop_assert!(here.remove(&id), "{} was not here", id),
                        Event::Heard(id, _) => prop_assert!(here.contains(&id), "{} is not here", id),
                        Event::Undelivered(..) => back += 1,
                        Event::Back => {}
                    }
                    prop_assert!(!here.contains(&server.me()));
                }
                prop_assert_eq!(here.iter().copied().collect::<Vec<_>>(), server.nodes());
                if say && let Some(to) = here.first() {
                    let message = Bytes::from_static(b"hello");
                    taken += usize::from(server.send(*to, &message, Worth::Peer).is_ok());
                }
            }
            prop_assert!(back <= taken, "{} of {} came back", back, taken);
        }
    }
}

//! One room on several servers, whose words to each other a test carries as it likes.

use std::collections::VecDeque;

use super::*;
use crate::{
    bus::NodeId,
    rooms::{
        elsewhere::To,
        words::{Message, Word},
    },
    secret::TokenHash,
};

/// Servers that hold the room, or may.
struct World {
    now: Now,
    rooms: Vec<Room<Desk>>,
    /// What is on its way from one to another, each way in order.
    ways: Vec<((usize, usize), VecDeque<Word>)>,
}

fn node(server: usize) -> NodeId {
    NodeId::from_number(server as u64 + 1)
}

fn server(node: NodeId) -> usize {
    usize::try_from(node.number()).expect("small") - 1
}

impl World {
    /// Servers that have just opened the room and know of each other.
    fn of(servers: usize) -> Self {
        let rooms = (0..servers).map(|server| room().on(node(server))).collect();
        let mut world = Self { now: start(), rooms, ways: Vec::new() };
        for server in 0..servers {
            let others = (0..servers).filter(|other| *other != server).map(node);
            world.rooms[server].ask(others);
        }
        world.settle();
        assert!(world.rooms.iter().all(Room::is_whole));
        world
    }

    /// Puts what every room has said on its way.
    fn send(&mut self) {
        for from in 0..self.rooms.len() {
            for (to, word) in self.rooms[from].take_words() {
                let nodes = match to {
                    To::Holders => self.rooms[from].holders(),
                    To::Node(node) => [node].into(),
                };
                for node in nodes {
                    let way = (from, server(node));
                    let position = self.ways.iter().position(|(known, _)| *known == way);
                    let at = position.unwrap_or_else(|| {
                        self.ways.push((way, VecDeque::new()));
                        self.ways.len() - 1
                    });
                    self.ways[at].1.push_back(word.clone());
                }
            }
        }
    }

    /// Carries one word on one of the ways that have any, chosen by this number.
    fn carry_one(&mut self, choice: usize) -> bool {
        self.send();
        let busy: Vec<usize> =
            (0..self.ways.len()).filter(|&way| !self.ways[way].1.is_empty()).collect();
        let Some(&at) = busy.get(choice.checked_rem(busy.len()).unwrap_or_default()) else {
            return false;
        };
        let (from, to) = self.ways[at].0;
        let word = self.ways[at].1.pop_front().expect("it has one");
        // As it is on the wire.
        let room = RoomId::new("lab").expect("a good id");
        let bytes = Message::Room { room, word }.to_bytes();
        let Some(Message::Room { word, .. }) = Message::read(&bytes) else { panic!("not read") };
        self.rooms[to].heard(node(from), 0, word, self.now);
        true
    }

    fn settle(&mut self) {
        while self.carry_one(0) {}
    }

    fn come(&mut self, server: usize, join: Join) -> Result<Peer, Refusal> {
        come(&mut self.rooms[server], join, self.now)
    }

    fn say(&mut self, server: usize, peer: &Peer, message: &Value) -> Result<(), Refusal> {
        say(&mut self.rooms[server], peer, message)
    }

    /// Takes up a place at another server, everything carried at once.
    fn back(&mut self, server: usize, peer: &str) -> Peer {
        let (identity, proof) = self.claim(server, peer);
        self.settle();
        let back = Join { resume: Some(proof), identity, ..wish(peer) };
        self.come(server, back).expect("in")
    }

    fn claim(&mut self, server: usize, peer: &str) -> (Subject, Token) {
        let identity = Subject::new(format!("{peer}'s identity"));
        let proof = Token::new(format!("{peer}'s resume token"));
        let hash = Some(TokenHash::of(&proof));
        assert!(self.rooms[server].claim(&name(peer), &identity, hash), "there is a place");
        (identity, proof)
    }

    fn who(&self, server: usize) -> Vec<String> {
        let mut who: Vec<String> =
            self.rooms[server].peers().iter().map(|p| p.peer_id.as_str().to_owned()).collect();
        who.sort();
        who
    }
}

fn kinds(news: &[Value]) -> Vec<&str> {
    news.iter().filter_map(|message| message["type"].as_str()).collect()
}

#[test]
fn peers_of_three_servers_see_each_other_and_talk() {
    let mut world = World::of(3);
    let ann = world.come(0, wish("ann")).expect("in");
    world.settle();
    let bob = world.come(1, wish("bob")).expect("in");
    assert_eq!(bob.welcome[0]["peer_list"], json!(["ann"]));
    assert_eq!(bob.welcome[0]["peer_metadata"]["ann"], json!({ "tags": ["ann"] }));
    world.settle();
    assert_eq!(ann.desk.read()[0]["peer_id"], "bob");
    assert_eq!(world.who(2), ["ann", "bob"]);

    world.say(0, &ann, &offer("bob", "hello")).expect("sent");
    world.settle();
    let heard = bob.desk.read();
    assert_eq!((&heard[0]["sdp"], &heard[0]["sender"]), (&json!("hello"), &json!("ann")));

    let update = json!({ "type": "update_metadata", "metadata": { "tags": ["new"] } });
    world.say(1, &bob, &update).expect("accepted");
    world.settle();
    assert_eq!(ann.desk.read()[0]["metadata"]["tags"], json!(["bob", "new"]));

    world.rooms[1].left(&bob.name, bob.session);
    world.settle();
    assert_eq!(ann.desk.read(), [json!({ "type": "peer_left", "peer_id": "bob" })]);
    assert_eq!(world.who(2), ["ann"]);
}

#[test]
fn a_message_to_somebody_who_left_on_another_server_comes_back_as_a_refusal() {
    let mut world = World::of(2);
    let ann = world.come(0, wish("ann")).expect("in");
    let bob = world.come(1, wish("bob")).expect("in");
    world.settle();
    ann.desk.read();
    world.rooms[1].left(&bob.name, bob.session);
    world.say(0, &ann, &offer("bob", "too late")).expect("it seems to be there");
    world.settle();
    let news = ann.desk.read();
    assert_eq!(kinds(&news), ["peer_left", "error"]);
    assert_eq!((&news[1]["code"], &news[1]["target"]), (&json!("PEER_NOT_FOUND"), &json!("bob")));

    let carl = world.come(1, wish("carl")).expect("in");
    world.settle();
    carl.desk.fill();
    ann.desk.read();
    world.say(0, &ann, &offer("carl", "too much")).expect("sent");
    world.settle();
    assert_eq!(carl.desk.closed(), Some(CloseCode::SlowConsumer));
    let news = ann.desk.read();
    assert_eq!(
        news.iter().find(|m| m["type"] == "error").expect("told")["code"],
        "DELIVERY_FAILED"
    );
}

#[test]
fn a_server_that_dies_takes_its_members_along() {
    let mut world = World::of(2);
    let ann = world.come(0, wish("ann")).expect("in");
    world.come(1, wish("bob")).expect("in");
    world.settle();
    ann.desk.read();
    world.rooms[0].released_by(node(1));
    assert_eq!(kinds(&ann.desk.read()), ["peer_left"]);
    let refused = world.say(0, &ann, &offer("bob", "x")).expect_err("nobody");
    assert_eq!(refused.code(), ErrorCode::PeerNotFound);
}

#[test]
fn a_peer_that_resumes_on_another_server_misses_nothing_and_nobody_notices() {
    let mut world = World::of(3);
    let ann = world.come(0, wish("ann")).expect("in");
    let bob = world.come(1, wish("bob")).expect("in");
    world.settle();
    ann.desk.read();
    world.say(0, &ann, &offer("bob", "unread")).expect("sent");
    world.settle();
    world.rooms[1].lost(&bob.name, bob.session, world.now.steady);
    world.say(0, &ann, &offer("bob", "kept")).expect("sent");
    world.settle();

    let bob = world.back(2, "bob");
    assert_eq!(bob.welcome[0]["resumed"], true);
    assert_eq!(bob.welcome[0]["peer_list"], json!(["ann"]));
    let kept: Vec<_> = bob.welcome[1..].iter().map(|m| m["sdp"].clone()).collect();
    assert_eq!(kept, ["unread", "kept"]);
    world.say(2, &bob, &offer("ann", "I am back")).expect("sent");
    world.say(0, &ann, &offer("bob", "welcome")).expect("sent");
    world.settle();
    assert_eq!(kinds(&ann.desk.read()), ["offer"], "and no word of a coming or going");
    assert_eq!(bob.desk.read()[0]["sdp"], "welcome");
    assert!(world.rooms[1].is_empty(), "nothing is left on the old server");
}

#[test]
fn without_its_proof_a_peer_gets_a_new_place_and_the_old_one_is_closed() {
    let mut world = World::of(2);
    let ann = world.come(0, wish("ann")).expect("in");
    let bob = world.come(1, wish("bob")).expect("in");
    world.settle();
    ann.desk.read();
    let identity = Subject::new("bob's identity");
    assert!(world.rooms[0].claim(&bob.name, &identity, None));
    world.settle();
    assert!(!world.rooms[0].is_claiming(&bob.name));
    assert_eq!(bob.desk.closed(), Some(CloseCode::Replaced));
    let again = world.come(0, wish("bob")).expect("in");
    assert_eq!(again.welcome[0]["resumed"], false);
    assert_eq!(kinds(&ann.desk.read()), ["peer_left", "peer_joined"]);
}

#[test]
fn of_one_peer_on_two_servers_the_newest_stay_counts_whatever_their_clocks_say() {
    let mut world = World::of(2);
    let old = world.come(0, wish("bob")).expect("in");
    world.settle();
    // The other server's clock is a minute behind, and the old server does not answer.
    world.now = Now { wall: world.now.wall.saturating_sub(Duration::from_mins(1)), ..world.now };
    let new = world.come(1, wish("bob")).expect("in");
    world.settle();
    assert_eq!(old.desk.closed(), Some(CloseCode::Replaced));
    assert_eq!(new.desk.closed(), None);
    assert_eq!((world.who(0), world.who(1)), (vec!["bob".to_owned()], vec!["bob".to_owned()]));
    assert!(world.rooms[0].is_empty() && !world.rooms[1].is_empty());
}

#[test]
fn of_two_peers_who_take_one_name_at_once_the_first_keeps_it_and_the_other_is_told() {
    let mut world = World::of(3);
    let first = world.come(0, wish("bob")).expect("in");
    world.now = world.now.plus(Duration::from_millis(3));
    let thief = Join { identity: Subject::new("somebody else"), ..wish("bob") };
    let thief = world.come(1, thief).expect("the servers have not heard of each other's yet");
    let watcher = world.come(2, wish("ann")).expect("in");
    world.settle();
    assert_eq!(first.desk.closed(), None);
    assert_eq!(thief.desk.closed(), Some(CloseCode::Replaced));
    let told = thief.desk.read();
    assert!(told.iter().any(|message| message["code"] == "PEER_ID_TAKEN"), "{told:?}");
    for server in 0..3 {
        let peers = world.rooms[server].peers();
        let bob = peers.iter().find(|peer| peer.peer_id.as_str() == "bob").expect("one of them");
        let since = peers_since(&world, "bob");
        assert_eq!(bob.connected_at.to_bits(), since.to_bits(), "server {server}");
    }
    drop(watcher);
}

fn peers_since(world: &World, peer: &str) -> f64 {
    let peers = world.rooms[0].peers();
    peers.iter().find(|p| p.peer_id.as_str() == peer).expect("there").connected_at
}

#[test]
fn who_coordinates_is_the_same_on_every_server() {
    let mut world = World::of(2);
    let admin = |peer: &str| Join { wants_admin: true, ..wish(peer) };
    world.come(0, admin("ann")).expect("in");
    world.settle();
    let bob = world.come(1, admin("bob")).expect("in");
    assert_eq!(bob.welcome[0]["type"], "admin_conflict");
    assert_eq!(bob.welcome[0]["current_admin"], "ann");
    assert_eq!(bob.welcome[1]["admin_peer_id"], "ann");
}

#[test]
fn a_full_room_is_full_on_every_server() {
    let mut world = World::of(2);
    for number in 0..8 {
        world.come(number % 2, wish(&format!("peer{number}"))).expect("in");
        world.settle();
    }
    let refused = world.come(0, wish("one-more")).map(|_| ()).expect_err("full");
    assert_eq!(refused.code(), ErrorCode::LimitExceeded);
}

#[test]
fn a_server_that_tells_everything_again_corrects_what_was_missed() {
    let mut world = World::of(2);
    let ann = world.come(0, wish("ann")).expect("in");
    let bob = world.come(1, wish("bob")).expect("in");
    world.come(1, wish("carl")).expect("in");
    world.settle();
    ann.desk.read();
    // The link broke: nobody hears of this.
    world.rooms[1].left(&bob.name, bob.session);
    world.come(1, wish("dora")).expect("in");
    world.rooms[1].take_words();
    let hold = world.rooms[1].hold(false);
    world.rooms[0].heard(node(1), 1, hold, world.now);
    let news = ann.desk.read();
    assert_eq!(kinds(&news), ["peer_left", "peer_joined"]);
    assert_eq!((&news[0]["peer_id"], &news[1]["peer_id"]), (&json!("bob"), &json!("dora")));
}

#[test]
fn a_place_that_nobody_came_back_to_goes_on_at_another_server_until_its_time_is_over() {
    let mut world = World::of(3);
    let ann = world.come(0, wish("ann")).expect("in");
    let bob = world.come(1, wish("bob")).expect("in");
    world.settle();
    ann.desk.read();
    world.rooms[1].lost(&bob.name, bob.session, world.now.steady);
    world.now = world.now.plus(WINDOW / 2);
    world.rooms[1].give(&bob.name, node(2), world.now);
    world.say(0, &ann, &offer("bob", "by way of the old server")).expect("sent");
    world.settle();
    world.say(0, &ann, &offer("bob", "straight")).expect("sent");
    world.settle();
    world.rooms[0].released_by(node(1));
    world.rooms[2].released_by(node(1));
    assert!(ann.desk.read().is_empty(), "nobody noticed");
    let later = world.now.plus(WINDOW.mul_f64(0.4));
    world.rooms[2].tick(later.steady);
    assert_eq!(world.who(2), ["ann", "bob"]);

    let mut back = Join { resume: Some(Token::new("bob's resume token")), ..wish("bob") };
    back.identity = Subject::new("bob's identity");
    let bob = world.come(2, back).expect("back");
    assert_eq!(bob.welcome[0]["resumed"], true);
    let kept: Vec<_> = bob.welcome[1..].iter().map(|m| m["sdp"].clone()).collect();
    assert_eq!(kept, ["by way of the old server", "straight"]);

    world.rooms[2].lost(&bob.name, bob.session, later.steady);
    world.rooms[2].tick(later.plus(WINDOW).steady);
    world.settle();
    assert_eq!(kinds(&ann.desk.read()), ["peer_left"]);
}

#[test]
fn a_place_goes_to_a_server_that_did_not_hold_the_room_without_anybody_noticing() {
    for choice in 0..3 {
        let mut world = World::of(2);
        let ann = world.come(0, wish("ann")).expect("in");
        let bob = world.come(1, wish("bob")).expect("in");
        world.settle();
        ann.desk.read();
        world.rooms[1].lost(&bob.name, bob.session, world.now.steady);
        world.rooms[1].give(&bob.name, node(2), world.now);
        // It opens the room because of this, and asks who is there.
        world.rooms.push(room().on(node(2)));
        world.rooms[2].ask([node(0), node(1)]);
        while world.carry_one(choice) {}
        world.rooms[0].released_by(node(1));
        world.rooms[2].released_by(node(1));
        assert!(ann.desk.read().is_empty(), "nobody noticed");
        world.say(0, &ann, &offer("bob", "hello")).expect("sent");
        world.settle();
        let bob = world.back(0, "bob");
        assert_eq!(bob.welcome[0]["resumed"], true);
        assert_eq!(bob.welcome[1]["sdp"], "hello");
    }
}

proptest! {
    /// However the words of three servers cross each other while a peer moves, everybody's
    /// messages to it arrive once and in order, and its own do too.
    #[test]
    fn nothing_is_lost_repeated_or_reordered_by_a_move(
        choices in prop::collection::vec(any::<usize>(), 0..400),
        steps in prop::collection::vec(0..4_usize, 40),
    ) {
        let mut world = World::of(3);
        let senders = [wish("ann"), wish("dan"), wish("eve")];
        let senders: Vec<Peer> = senders
            .into_iter()
            .enumerate()
            .map(|(server, join)| world.come(server, join).expect("in"))
            .collect();
        let bob = world.come(1, wish("bob")).expect("in");
        world.settle();
        for peer in &senders {
            peer.desk.read();
        }
        let mut choices = choices.into_iter();
        let mut said = [0, 0, 0];
        let mut claimed = false;
        for (at, step) in steps.iter().enumerate() {
            if at == 8 {
                // Its own last words on the old server.
                world.say(1, &bob, &offer("ann", "before")).expect("sent");
                world.rooms[1].lost(&bob.name, bob.session, world.now.steady);
            }
            if at == 12 {
                world.claim(2, "bob");
                claimed = true;
            }
            if *step < 3 {
                let number = said[*step];
                world.say(*step, &senders[*step], &offer("bob", &number.to_string())).expect("sent");
                said[*step] += 1;
            }
            for _ in 0..3 {
                world.carry_one(choices.next().unwrap_or_default());
            }
        }
        prop_assert!(claimed);
        world.settle();
        let bob_again = Join {
            resume: Some(Token::new("bob's resume token")),
            ..wish("bob")
        };
        let mut heard = bob.desk.read();
        let back = world.come(2, bob_again).expect("in");
        prop_assert_eq!(&back.welcome[0]["resumed"], &json!(true));
        heard.extend(back.welcome[1..].iter().cloned());
        world.say(2, &back, &offer("ann", "after")).expect("sent");
        world.settle();
        heard.extend(back.desk.read());
        for (sender, said) in senders.iter().zip(said) {
            let from: Vec<String> = heard
                .iter()
                .filter(|m| m["type"] == "offer" && m["sender"] == sender.name.as_str())
                .map(|m| m["sdp"].as_str().expect("text").to_owned())
                .collect();
            let expected: Vec<String> = (0..said).map(|number: usize| number.to_string()).collect();
            prop_assert_eq!(from, expected);
        }
        let own: Vec<Value> = senders[0].desk.read();
        prop_assert_eq!(own.iter().map(|m| m["sdp"].clone()).collect::<Vec<_>>(), ["before", "after"]);
        prop_assert!(senders[1].desk.read().is_empty(), "nobody was told of a coming or going");
    }
}

//! A picture in two renditions: each viewer gets what its path carries.

use std::{
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use halyard_client::peer::{Peer, PeerConfig, PeerEvent, VideoRole};
use halyard_protocol::channel::{Hello, Lane, Message, Stats};
use halyard_worker::{
    config::{DriverSpec, Settings},
    media::SourceSpec,
};
use openh264::{decoder::Decoder, formats::YUVSource};
use serde_json::json;
use tokio::{
    net::UdpSocket,
    sync::{mpsc, watch},
};
use tokio_util::task::AbortOnDropHandle;

use crate::{direct::Robot, world::soon};

/// What waits in front of a slow link; what comes beyond is lost.
const QUEUE: Duration = Duration::from_millis(400);

/// Pictures are encoded and decoded several times here, on whatever machine this is.
const PATIENCE: Duration = Duration::from_secs(90);

async fn in_time<T>(what: &str, future: impl Future<Output = T>) -> T {
    let Ok(value) = tokio::time::timeout(PATIENCE, future).await else {
        panic!("waited {PATIENCE:?} for {what}")
    };
    value
}

/// A path that carries few bits a second from the machine, and everything to it.
struct SlowLink {
    addr: SocketAddr,
    _tasks: [AbortOnDropHandle<()>; 2],
}

impl SlowLink {
    async fn to(machine: SocketAddr, bits_per_second: f64) -> Self {
        let bind = async || {
            let socket = UdpSocket::bind(SocketAddr::new(machine.ip(), 0)).await;
            Arc::new(socket.expect("a socket"))
        };
        let (front, back) = (bind().await, bind().await);
        back.connect(machine).await.expect("a way to the machine");
        let addr = front.local_addr().expect("an address");
        // The viewer is who speaks first.
        let (tell, viewer) = watch::channel(None);
        let (up, down) = ((front.clone(), back.clone()), (front, back));
        let up = tokio::spawn(async move {
            let mut packet = vec![0; 2_048];
            while let Ok((length, from)) = up.0.recv_from(&mut packet).await {
                tell.send_replace(Some(from));
                let _ = up.1.send(&packet[..length]).await;
            }
        });
        let down = tokio::spawn(async move {
            let (queue, mut waiting) = mpsc::channel::<(Instant, Vec<u8>)>(4_096);
            let leave = async {
                while let Some((at, packet)) = waiting.recv().await {
                    tokio::time::sleep_until(at.into()).await;
                    let viewer = *viewer.borrow();
                    if let Some(viewer) = viewer {
                        let _ = down.0.send_to(&packet, viewer).await;
                    }
                }
            };
            let arrive = async {
                let mut packet = vec![0; 2_048];
                let mut free = Instant::now();
                while let Ok(length) = down.1.recv(&mut packet).await {
                    let now = Instant::now();
                    let takes = Duration::from_secs_f64(length as f64 * 8.0 / bits_per_second);
                    let at = free.max(now) + takes;
                    if at - now <= QUEUE + takes {
                        free = at;
                        let _ = queue.send((at, packet[..length].to_vec())).await;
                    }
                }
            };
            tokio::join!(leave, arrive);
        });
        Self { addr, _tasks: [up, down].map(AbortOnDropHandle::new) }
    }
}

struct Viewer {
    peer: Peer,
    hello: Box<Hello>,
    stats: watch::Receiver<Option<Stats>>,
    decoder: Decoder,
    started: bool,
    _link: Option<SlowLink>,
    _events: AbortOnDropHandle<()>,
}

impl Viewer {
    /// Over a link that carries so much, or over loopback.
    async fn join(robot: &Robot, bits_per_second: Option<f64>) -> Self {
        let config = PeerConfig { video: VideoRole::Receive, ..PeerConfig::default() };
        let (peer, mut events) = Peer::offerer(config).await.expect("a peer");
        let offer = peer.create_offer(false).await.expect("an offer");
        let is_way = |line: &&str| line.starts_with("a=candidate:");
        // Who is behind a link is found only through it.
        let hidden = offer.lines().filter(|line| bits_per_second.is_none() || !is_way(line));
        let offer = hidden.collect::<Vec<_>>().join("\r\n") + "\r\n";
        let body = json!({"sdp": offer, "type": "offer"}).to_string();
        let (_, answer) = robot.post("/offer", Some(&robot.viewer()), body).await;
        let answer = answer["sdp"].as_str().expect("an answer").to_owned();
        let (link, answer) = match bits_per_second {
            None => (None, answer),
            Some(bits) => {
                let way = answer.lines().filter(is_way).find_map(|line| {
                    let words: Vec<_> = line.split(' ').collect();
                    let addr: SocketAddr = format!("{}:{}", words[4], words[5]).parse().ok()?;
                    (addr.is_ipv4() && words[2].eq_ignore_ascii_case("udp")).then_some((line, addr))
                });
                let (way, machine) = way.expect("a way to the machine");
                let link = SlowLink::to(machine, bits).await;
                let (old, new) = (machine.port().to_string(), link.addr.port().to_string());
                let through = way.replacen(&format!(" {old} "), &format!(" {new} "), 1);
                let lines = answer.lines().filter(|line| !is_way(line) || *line == way);
                let lines = lines.map(|line| if line == way { through.as_str() } else { line });
                (Some(link), lines.collect::<Vec<_>>().join("\r\n") + "\r\n")
            }
        };
        peer.accept_answer(&answer).await.expect("a good one");
        let hello = soon("HELLO", async {
            loop {
                if let PeerEvent::Text(Lane::Control, text) = events.recv().await.expect("an event")
                    && let Ok(Message::Hello(hello)) = Message::decode(&text)
                {
                    return hello;
                }
            }
        })
        .await;
        let (tell, stats) = watch::channel(None);
        let events = tokio::spawn(async move {
            while let Some(event) = events.recv().await {
                if let PeerEvent::Text(_, text) = event
                    && let Ok(Message::Stats(stats)) = Message::decode(&text)
                {
                    tell.send_replace(Some(stats));
                }
            }
        });
        let events = AbortOnDropHandle::new(events);
        let decoder = Decoder::new().expect("a decoder");
        Self { peer, hello, stats, decoder, started: false, _link: link, _events: events }
    }

    /// Decodes pictures until one has this height.
    async fn sees(&mut self, height: usize) {
        loop {
            let frame = self.peer.next_frame().await.expect("the connection lives");
            self.started = (self.started && !frame.gap_before) || frame.is_key;
            if !self.started {
                // Pictures went by while nobody looked.
                self.peer.request_keyframe();
                continue;
            }
            let decoded = self.decoder.decode(&frame.data).expect("a picture that decodes");
            if decoded.is_some_and(|picture| picture.dimensions().1 == height) {
                return;
            }
        }
    }

    /// Waits until it is told that this rendition is shown.
    async fn is_told(&mut self, rendition: &str) {
        let told = self.stats.wait_for(|stats| {
            stats.as_ref().is_some_and(|stats| stats.rendition.as_deref() == Some(rendition))
        });
        in_time("what is shown", told).await.expect("the connection lives");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_behind_a_slow_link_gets_the_small_picture_and_everybody_else_keeps_the_large_one() {
    let robot = Robot::with(Settings {
        video: SourceSpec::Pattern,
        driver: DriverSpec::None,
        renditions: Some("720p30@2500k,180p15@150k".parse().expect("renditions")),
        ..Settings::default()
    })
    .await;
    let mut near = Viewer::join(&robot, None).await;
    assert_eq!(near.hello.video[0].renditions, ["720p30", "180p15"]);
    in_time("the large picture", near.sees(720)).await;

    let mut far = Viewer::join(&robot, Some(200_000.0)).await;
    in_time("the small picture", far.sees(180)).await;
    far.is_told("180p15").await;
    in_time("the large picture still", near.sees(720)).await;
    near.is_told("720p30").await;
    far.peer.close().await;
    near.peer.close().await;
    robot.end().await;
}

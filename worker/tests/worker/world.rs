//! What the stories share: a broker, a worker, people who join it, and patience with limits.

use std::{
    fmt::Debug,
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use halyard_client::{
    api::{Api, Identity, Revoked, WhomToRevoke},
    session::{Session, SessionEvent, SessionOptions},
};
use halyard_protocol::{access::Access, ids::PeerId, link::JoinLink};
use halyard_server::{Server, Settings as BrokerSettings, settings::TurnSettings};
use halyard_worker::{
    agent::{Agent, AgentError, Held, Plan},
    config::Settings,
    report::{Report, Reports, Room},
    session::Shared,
    wiring::Parts,
};
use serde_json::Value;
use tokio::{
    sync::{broadcast, mpsc},
    task::JoinHandle,
};
use tokio_util::sync::CancellationToken;
use url::Url;

/// How long anything may take on a busy machine before a story has failed.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// Waits for something, and says what it was when it does not come.
pub async fn soon<T>(what: &str, future: impl Future<Output = T>) -> T {
    let Ok(value) = tokio::time::timeout(PATIENCE, future).await else {
        panic!("waited {PATIENCE:?} for {what}")
    };
    value
}

/// The simulated rover, driven by people who do not watch its picture: most stories are about
/// something else, and nothing has to be encoded for them.
pub fn blind() -> Settings {
    Settings { max_picture_age: None, ..Settings::default() }
}

/// A broker of its own, with a worker in it.
pub struct World {
    pub broker: Broker,
    pub room: Room,
    pub shared: Arc<Shared>,
    parts: Option<Parts>,
    stop: CancellationToken,
    agent: JoinHandle<Result<(), AgentError>>,
    /// What the worker's owner is told.
    pub reports: mpsc::Receiver<Report>,
    /// Where the worker keeps who it is.
    state: tempfile::TempDir,
}

impl World {
    /// The simulated rover, without files.
    pub async fn new() -> Self {
        Self::with(blind(), Broker::start(None).await).await
    }

    /// The simulated rover with this folder.
    pub async fn sharing(files: &Path) -> Self {
        let settings = Settings { files: Some(files.to_owned()), ..blind() };
        Self::with(settings, Broker::start(None).await).await
    }

    pub async fn with(settings: Settings, broker: Broker) -> Self {
        let state = tempfile::tempdir().expect("a folder");
        let parts = Parts::start(&settings).await.expect("the worker's parts start");
        let (reports, mut told) = Reports::channel();
        let agent = Agent {
            plan: Plan {
                server: broker.url.clone(),
                given: None,
                state_file: Some(state.path().join("worker.json")),
                ttl: settings.room_ttl,
                metadata: parts.metadata(),
                trust: settings.trust.clone(),
            },
            shared: parts.shared(),
            presence: parts.presence(),
            max_sessions: settings.max_sessions,
            direct: None,
            rights_lease: settings.rights_lease,
            relay_only: settings.relay_only,
            webrtc: settings.webrtc,
            reports,
        };
        let stop = CancellationToken::new();
        let agent = tokio::spawn(agent.run(stop.clone(), |_| {}));
        let room = match soon("the room", told.recv()).await {
            Some(Report::Room(room)) => room,
            other => panic!("the first report is {other:?}"),
        };
        let shared = parts.shared();
        Self { broker, room, shared, parts: Some(parts), stop, agent, reports: told, state }
    }

    pub async fn operator(&self) -> Session {
        join(self.room.join_url.expose(), false).await
    }

    /// The room's owner, who may revoke: it is the worker itself.
    pub fn owner(&self) -> Owner {
        Owner::of(&self.state.path().join("worker.json"))
    }

    /// Waits until this peer is not served any more, and says why and how long that took from
    /// `since`.
    pub async fn sent_away(&mut self, peer: &PeerId, since: Instant) -> (String, Duration) {
        soon("the end of a session", async {
            loop {
                match self.reports.recv().await.expect("the worker lives") {
                    Report::PeerDisconnected { peer_id, reason } if peer_id == *peer => {
                        return (reason, since.elapsed());
                    }
                    _ => {}
                }
            }
        })
        .await
    }

    pub async fn viewer(&self) -> Session {
        join(self.viewer_link(), false).await
    }

    pub fn viewer_link(&self) -> &str {
        self.room.viewer_url.as_ref().expect("our broker has viewer links").expose()
    }

    /// Everything ends in order.
    pub async fn end(mut self) {
        self.stop.cancel();
        let agent = soon("the agent's end", &mut self.agent).await;
        agent.expect("no panic").expect("a clean end");
        drop(self.shared);
        if let Some(parts) = self.parts.take() {
            soon("the parts' end", parts.stop()).await;
        }
        self.broker.end().await;
    }
}

/// Who may take rights back.
pub struct Owner {
    api: Api,
    held: Held,
}

impl Owner {
    /// As a worker's state file says.
    pub fn of(state_file: &Path) -> Self {
        let text = std::fs::read(state_file).expect("a state file");
        let held: Held = serde_json::from_slice(&text).expect("a room");
        let api = Api::new(Url::parse(&held.server).expect("an address")).expect("a client");
        Self { api, held }
    }

    pub async fn revoke_role(&self, role: Access) -> Revoked {
        self.revoke(WhomToRevoke::Role { role }).await
    }

    pub async fn revoke_peer(&self, peer: &PeerId) -> Revoked {
        self.revoke(WhomToRevoke::Peer { peer_id: peer.clone() }).await
    }

    /// The same person at another server of the room.
    pub fn at(self, server: &Url) -> Self {
        Self { api: Api::new(server.clone()).expect("a client"), ..self }
    }

    /// How the room's owner proves to be it, as it stands in the state file.
    pub fn identity(&self) -> &Identity {
        &self.held.identity
    }

    async fn revoke(&self, whom: WhomToRevoke) -> Revoked {
        let revoking = self.api.revoke(&self.held.identity, &self.held.room_id, &whom);
        soon("the answer", revoking).await.expect("revoked")
    }
}

/// A broker that can be stopped and started again on its port.
pub struct Broker {
    pub url: Url,
    settings: BrokerSettings,
    stop: CancellationToken,
    task: Option<JoinHandle<()>>,
}

impl Broker {
    pub async fn start(data_dir: Option<&Path>) -> Self {
        Self::with(|settings| {
            settings.data_dir = data_dir.map(Path::to_owned);
            settings.store = match data_dir {
                Some(_) => halyard_server::settings::StoreKind::Embedded,
                None => halyard_server::settings::StoreKind::Memory,
            };
        })
        .await
    }

    /// One whose peers are told of this relay.
    pub async fn relaying(turn: TurnSettings) -> Self {
        Self::with(|settings| settings.turn = Some(turn)).await
    }

    /// One with settings of its own.
    pub async fn with(change: impl FnOnce(&mut BrokerSettings)) -> Self {
        let mut settings = BrokerSettings {
            listen: "127.0.0.1:0".parse().expect("an address"),
            stun_urls: Vec::new(),
            ..BrokerSettings::default()
        };
        settings.timing.drain_within = Duration::from_secs(1);
        change(&mut settings);
        let url = Url::parse("http://127.0.0.1/").expect("an address");
        let mut broker = Self { url, settings, stop: CancellationToken::new(), task: None };
        broker.begin().await;
        broker
    }

    /// One that the test runs by itself.
    pub fn elsewhere(url: Url) -> Self {
        Self {
            url,
            settings: BrokerSettings::default(),
            stop: CancellationToken::new(),
            task: None,
        }
    }

    pub async fn begin(&mut self) {
        let server = Server::bind(self.settings.clone()).await.expect("the broker takes its port");
        self.settings.listen = server.local_addr();
        let url = format!("{}://{}/", server.scheme(), self.settings.listen);
        self.url = Url::parse(&url).expect("an address");
        self.stop = CancellationToken::new();
        let stop = self.stop.clone();
        self.task = Some(tokio::spawn(async move {
            server.run(stop).await.expect("the broker runs until it is told to stop");
        }));
    }

    /// Takes it away; the port is free afterwards.
    pub async fn end(&mut self) {
        self.stop.cancel();
        if let Some(task) = self.task.take() {
            soon("the broker's end", task).await.expect("no panic");
        }
    }
}

/// Joins by a link, as a program does.
pub async fn join(link: &str, video: bool) -> Session {
    let link = JoinLink::parse(link).expect("a join link");
    let options = SessionOptions { video, ..SessionOptions::default() };
    soon("joining", Session::join(link, options)).await.expect("joined")
}

/// The first event that fits.
pub async fn event<T: Debug>(
    what: &str,
    events: &mut broadcast::Receiver<SessionEvent>,
    mut fits: impl FnMut(SessionEvent) -> Option<T>,
) -> T {
    soon(what, async {
        loop {
            match events.recv().await {
                Ok(event) => {
                    if let Some(found) = fits(event) {
                        return found;
                    }
                }
                Err(broadcast::error::RecvError::Lagged(_)) => {}
                Err(broadcast::error::RecvError::Closed) => {
                    panic!("the session ended before {what}")
                }
            }
        }
    })
    .await
}

/// The first notice of this code.
pub async fn notice(code: &str, events: &mut broadcast::Receiver<SessionEvent>) -> String {
    event(&format!("the notice {code}"), events, |event| match event {
        SessionEvent::Notice(notice) if notice.code == code => Some(notice.message),
        _ => None,
    })
    .await
}

/// The first telemetry that fits.
pub async fn telemetry(
    what: &str,
    session: &Session,
    mut fits: impl FnMut(&Value) -> bool,
) -> Value {
    let mut telemetry = session.telemetry();
    soon(what, async {
        loop {
            if let Some(told) = telemetry.borrow_and_update().as_ref()
                && fits(&told.value)
            {
                return (*told.value).clone();
            }
            telemetry.changed().await.expect("the session lives");
        }
    })
    .await
}

pub fn speed(telemetry: &Value) -> f64 {
    telemetry["speed"].as_f64().expect("a speed")
}

/// Holds the stick forward, twenty times a second, until dropped.
pub struct Stick(JoinHandle<()>);

impl Stick {
    pub fn forward(session: Arc<Session>, lease: u64) -> Self {
        Self(tokio::spawn(async move {
            let mut tick = tokio::time::interval(Duration::from_millis(50));
            loop {
                tick.tick().await;
                session.drive(lease, 1.0, 0.0, true);
            }
        }))
    }
}

impl Drop for Stick {
    fn drop(&mut self) {
        self.0.abort();
    }
}

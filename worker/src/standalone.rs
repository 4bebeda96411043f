//! `standalone`: the robot carries its own broker.
//!
//! The same agent as with any other broker, over a loopback WebSocket to a broker in this very
//! process, and the direct mode beside the broker's own routes.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket},
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use halyard_client::tls::Trust;
use halyard_server::{BindError, Server};
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;
use url::Url;

use crate::{
    agent::{Agent, AgentError, Plan},
    config::Settings,
    direct,
    media::stills::Stills,
    report::Reports,
    wiring::{Parts, StartError},
};

/// Where a standalone worker listens unless told otherwise.
pub const DEFAULT_LISTEN: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 8080);

/// The owner's identity lives as long as the broker's key does, in practice: a robot that runs for
/// months keeps its room.
const IDENTITY_TTL: Duration = Duration::from_hours(365 * 24);

/// Everybody has heard goodbye before the broker drains.
const DRAIN: Duration = Duration::from_secs(2);

/// Direct asks that wait.
const DIRECT: usize = 32;

/// Why `standalone` failed.
#[derive(Debug, thiserror::Error)]
pub enum StandaloneError {
    /// The worker's own parts did not start.
    #[error(transparent)]
    Start(#[from] StartError),
    /// The broker did not start.
    #[error(transparent)]
    Bind(#[from] BindError),
    /// The folder of `--data-dir` cannot be made.
    #[error("cannot make the folder {path}: {source}")]
    DataDir {
        /// Which.
        path: String,
        /// Why not.
        source: io::Error,
    },
    /// The broker inside failed.
    #[error("the broker failed: {0}")]
    Broker(String),
    /// The agent ended without being told to.
    #[error(transparent)]
    Agent(#[from] AgentError),
}

/// Serves until `stop` fires.
pub async fn run(
    settings: Settings,
    reports: Reports,
    stop: CancellationToken,
) -> Result<(), StandaloneError> {
    let started = Instant::now();
    if let Some(dir) = &settings.data_dir {
        make_dir(dir)?;
    }
    // The port first: the rest costs more, and a taken port is the likeliest mistake.
    let server = bind(&settings).await?;
    let address = server.local_addr();
    let parts = Parts::start(&settings).await?;

    let (asks, asked) = mpsc::channel(DIRECT);
    let (room, held) = watch::channel(None);
    let tokens = server.tokens();
    let server_stop = CancellationToken::new();
    let mut stills = Vec::new();
    if settings.stills.viewers > 0 {
        let tracks = parts.shared().tracks.clone();
        stills.extend(tracks.iter().map(|one| Stills::new(one.fanout().clone(), settings.stills)));
    }
    let stills: Arc<[Stills]> = stills.into();
    let server = server.merge_routes(direct::routes(direct::Direct {
        asks,
        room: held,
        tokens,
        shared: parts.shared(),
        trusted_network: settings.trusted_network,
        webrtc: settings.webrtc,
        stills: stills.clone(),
        viewers: settings.stills.viewers,
        public_url: settings.public_url.clone(),
        started,
        stop: server_stop.clone(),
    }));
    let mut broker = tokio::spawn(server.run(server_stop.clone()));

    let agent = Agent {
        plan: Plan {
            server: loopback(address),
            given: None,
            state_file: settings.data_dir.as_ref().map(|dir| dir.join("worker.json")),
            ttl: settings.room_ttl,
            metadata: parts.metadata(),
            // The broker is this process.
            trust: Trust::default(),
        },
        shared: parts.shared(),
        presence: parts.presence(),
        max_sessions: settings.max_sessions,
        direct: Some(asked),
        rights_lease: settings.rights_lease,
        relay_only: settings.relay_only,
        webrtc: settings.webrtc,
        reports,
    };
    let agent_stop = stop.child_token();
    let agent = agent.run(agent_stop.clone(), move |held| {
        room.send_replace(Some(held.clone()));
    });
    tokio::pin!(agent);
    let (result, broker_ended) = tokio::select! {
        result = &mut agent => (result, None),
        // It only ends by itself when something in it broke.
        ended = &mut broker => {
            agent_stop.cancel();
            (agent.await, Some(ended))
        }
    };
    server_stop.cancel();
    let ended = match broker_ended {
        Some(ended) => ended,
        None => broker.await,
    };
    for stills in stills.iter() {
        stills.stop().await;
    }
    parts.stop().await;
    match ended {
        Ok(Ok(())) => Ok(result?),
        Ok(Err(error)) => Err(StandaloneError::Broker(error.to_string())),
        Err(error) => Err(StandaloneError::Broker(error.to_string())),
    }
}

fn make_dir(path: &Path) -> Result<(), StandaloneError> {
    std::fs::create_dir_all(path)
        .map_err(|source| StandaloneError::DataDir { path: path.display().to_string(), source })
}

/// Takes the port that was asked for; the usual one, or any that is free, when none was.
async fn bind(settings: &Settings) -> Result<Server, BindError> {
    let listen = settings.listen.unwrap_or(DEFAULT_LISTEN);
    let usual = broker_settings(settings, listen);
    match Server::bind(usual).await {
        Err(BindError::Listen { addr, source, .. })
            if settings.listen.is_none() && source.kind() == io::ErrorKind::AddrInUse =>
        {
            let server = Server::bind(broker_settings(settings, (addr.ip(), 0).into())).await?;
            let free = server.local_addr();
            tracing::warn!("{addr} is taken, listening on {free} instead; choose with --listen");
            Ok(server)
        }
        other => other,
    }
}

fn broker_settings(settings: &Settings, listen: SocketAddr) -> halyard_server::Settings {
    let standard = halyard_server::Settings::default();
    halyard_server::Settings {
        listen,
        identity_ttl: IDENTITY_TTL,
        store: match settings.data_dir {
            Some(_) => halyard_server::settings::StoreKind::Embedded,
            None => halyard_server::settings::StoreKind::Memory,
        },
        data_dir: settings.data_dir.clone(),
        room_ttl: settings.room_ttl,
        public_url: settings.public_url.clone().or_else(|| on_the_network(listen)),
        stun_urls: settings.stun_urls.clone(),
        timing: halyard_server::settings::Timing { drain_within: DRAIN, ..standard.timing },
        ..standard
    }
}

/// How the agent reaches the broker in its own process.
fn loopback(address: SocketAddr) -> Url {
    let ip = match address.ip() {
        ip if !ip.is_unspecified() => ip,
        IpAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(_) => std::net::Ipv6Addr::LOCALHOST.into(),
    };
    let host = SocketAddr::new(ip, address.port());
    Url::parse(&format!("http://{host}/")).expect("an address and a port make a URL")
}

/// The address that others on the local network see, when every interface is listened on. Links
/// with `0.0.0.0` or `127.0.0.1` would be of no use to them.
fn on_the_network(listen: SocketAddr) -> Option<Url> {
    if !listen.ip().is_unspecified() || listen.port() == 0 {
        return None;
    }
    // Connecting a UDP socket sends nothing; it only asks the system which way it would go. The
    // address is one for documentation (RFC 5737).
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).ok()?;
    socket.connect((Ipv4Addr::new(192, 0, 2, 1), 9)).ok()?;
    let ip = socket.local_addr().ok()?.ip();
    if ip.is_unspecified() || ip.is_loopback() {
        return None;
    }
    Url::parse(&format!("http://{}/", SocketAddr::new(ip, listen.port()))).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_agent_reaches_its_own_broker_whatever_it_listens_on() {
        let reached = |text: &str| loopback(text.parse().expect("an address")).to_string();
        assert_eq!(reached("0.0.0.0:8080"), "http://127.0.0.1:8080/");
        assert_eq!(reached("[::]:8080"), "http://[::1]:8080/");
        assert_eq!(reached("10.0.0.7:81"), "http://10.0.0.7:81/");
    }
}

//! Whether the STUN and TURN servers that the broker names answer, each by itself.

use std::time::{Duration, Instant};

use halyard_protocol::signal::IceServer;
use tokio::net::UdpSocket;

use super::{CliError, Exit, Report, words};
use crate::{
    api::{Api, Identity},
    peer::{Peer, PeerConfig},
};

/// How long a server may take. Far ones answer within a third of a second.
const ANSWER_WITHIN: Duration = Duration::from_secs(3);

/// Questions to a STUN server: UDP may lose one.
const ASKED: u32 = 3;

/// Checks every one of them.
pub(super) async fn check(
    report: &mut Report,
    api: &Api,
    identity: &Identity,
) -> Result<(), CliError> {
    let list = match api.ice_servers(identity).await {
        Ok(list) => list.ice_servers,
        Err(error) => {
            let advice =
                "the server is older, or another one: its STUN and TURN servers are unknown";
            return report.poor("STUN and TURN", &error.to_string(), advice);
        }
    };
    let mut relays = false;
    for server in list {
        for url in &server.urls {
            if url.starts_with("turns:") || url.ends_with("transport=tcp") {
                let detail = format!("{url} was not tried: it is for browsers");
                let advice = "this program and the worker reach relays over UDP alone";
                report.poor("TURN", &detail, advice)?;
            } else if url.starts_with("turn:") {
                relays = true;
                let one = IceServer { urls: vec![url.clone()], ..server.clone() };
                turn(report, url, one).await?;
            } else if let Some(address) = url.strip_prefix("stun:") {
                stun(report, url, address).await?;
            }
        }
    }
    if relays {
        return Ok(());
    }
    report.poor(
        "TURN",
        "the server names no relay",
        "where a firewall blocks UDP between two ends nothing helps but a relay: turn_urls",
    )
}

/// A binding request, and whether anything answers.
async fn stun(report: &mut Report, url: &str, address: &str) -> Result<(), CliError> {
    let started = Instant::now();
    match binding(address).await {
        Ok(()) => {
            report.good("STUN", &format!("{url} answers in {}", words::short(started.elapsed())))
        }
        // Without it peers of one network still find each other, and a relay helps the others.
        Err(why) => report.poor(
            "STUN",
            &format!("{url}: {why}"),
            "a firewall drops UDP to it, or the address is wrong (stun_urls)",
        ),
    }
}

async fn binding(address: &str) -> Result<(), String> {
    let address = if address.rsplit_once(':').is_some_and(|(_, port)| port.parse::<u16>().is_ok()) {
        address.to_owned()
    } else {
        format!("{address}:3478")
    };
    let failed = |error: std::io::Error| error.to_string();
    let found = tokio::net::lookup_host(&address).await.map_err(failed)?.next();
    let remote = found.ok_or("the name has no address")?;
    let local = if remote.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
    let socket = UdpSocket::bind(local).await.map_err(failed)?;
    socket.connect(remote).await.map_err(failed)?;
    // RFC 8489: a binding request without attributes. The answer repeats the transaction's id.
    let id: [u8; 12] = rand::random();
    let mut request = [0; 20];
    request[1] = 1;
    request[4..8].copy_from_slice(&0x2112_A442_u32.to_be_bytes());
    request[8..].copy_from_slice(&id);
    let mut answer = [0; 512];
    for _ in 0..ASKED {
        socket.send(&request).await.map_err(failed)?;
        let received = tokio::time::timeout(ANSWER_WITHIN / ASKED, socket.recv(&mut answer)).await;
        match received {
            Ok(Ok(bytes)) if bytes >= 20 && answer[8..20] == id => return Ok(()),
            Ok(Ok(_)) => return Err("what answers there is no STUN server".to_owned()),
            Ok(Err(error)) => return Err(error.to_string()),
            Err(_) => {}
        }
    }
    Err(format!("no answer within {} s", ANSWER_WITHIN.as_secs()))
}

/// A real allocation, made as for a connection.
async fn turn(report: &mut Report, url: &str, server: IceServer) -> Result<(), CliError> {
    let started = Instant::now();
    let config = PeerConfig {
        ice_servers: vec![server],
        relay_only: true,
        gather_wait: ANSWER_WITHIN,
        ..PeerConfig::default()
    };
    let offered = async {
        let (peer, _events) = Peer::offerer(config).await?;
        let offer = peer.create_offer(false).await;
        peer.close().await;
        offer
    };
    let error = match offered.await {
        Ok(sdp) if sdp.contains("typ relay") => {
            let took = words::short(started.elapsed());
            return report.good("TURN", &format!("{url} gives a relay in {took}"));
        }
        Ok(_) => format!("{url} gave no relay within {} s", ANSWER_WITHIN.as_secs()),
        Err(error) => format!("{url}: {error}"),
    };
    let error = CliError::new(Exit::NoPeer, "TURN", error);
    report.bad(
        "TURN",
        error,
        "check that it runs and can be reached, that its static-auth-secret is the server's \
         turn_secret, and that the clocks of both agree",
    )
}

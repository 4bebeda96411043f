//! `halyard doctor`: why a connection cannot be made, in plain words, one check at a time.

mod servers;

use std::{
    net::UdpSocket,
    time::{Duration, Instant},
};

use halyard_protocol::{access::PeerRole, link::JoinLink};
use serde_json::json;

use super::{
    args::Doctor,
    exit::{CliError, Exit},
    output::{BAD, GOOD, Output, printable},
    session::Context,
    words,
};
use crate::{
    api::{Api, Identity},
    peer::CandidateKind,
    session::{Session, SessionError, SessionOptions},
};

/// Below this, files over fast networks stall for want of room in the socket.
const GOOD_BUFFER: usize = 4 * 1024 * 1024;

/// How long to wait for a worker, and for a connection to it. A doctor's patients wait, too.
const WAIT: Duration = Duration::from_secs(10);

/// How long the connection is watched for a round trip time.
const ROUND_TRIP: Duration = Duration::from_secs(3);

pub(super) async fn run(context: &Context<'_>, mut args: Doctor) -> Result<(), CliError> {
    let named = !args.words.is_empty() || context.settings.room.is_some();
    let link = if named { Some(context.link(&mut args.words)?) } else { None };
    Context::nothing_more(&args.words)?;
    let server = link.as_ref().map(JoinLink::server).or(context.settings.server.as_ref()).cloned();
    let mut report = Report { output: context.output, first: None };
    let work = async {
        receive_buffer(&mut report)?;
        if let Some(server) = server
            && let Some(identity) = reach(&mut report, context.api(server.clone())?).await?
        {
            servers::check(&mut report, &context.api(server)?, &identity).await?;
            if let Some(link) = link {
                connect(&mut report, context, link, identity).await?;
            }
        }
        Ok(())
    };
    context.unless_stopped(work).await?;
    match report.first {
        None => context.output.line(format!("{GOOD}nothing is wrong{GOOD:#}")),
        Some(error) => Err(error),
    }
}

/// Tells each check and remembers the first that went wrong.
struct Report {
    output: Output,
    first: Option<CliError>,
}

impl Report {
    fn good(&self, name: &str, detail: &str) -> Result<(), CliError> {
        self.tell(name, "ok", detail, None)
    }

    /// It works, but not as well as it could.
    fn poor(&self, name: &str, detail: &str, advice: &str) -> Result<(), CliError> {
        self.tell(name, "warning", detail, Some(advice))
    }

    fn bad(&mut self, name: &str, error: CliError, advice: &str) -> Result<(), CliError> {
        self.tell(name, "failed", &error.message, Some(advice))?;
        let words = format!("{name}: {}", error.message);
        self.first.get_or_insert(CliError { message: words, ..error });
        Ok(())
    }

    fn tell(
        &self,
        name: &str,
        state: &str,
        detail: &str,
        advice: Option<&str>,
    ) -> Result<(), CliError> {
        self.output.object(&json!({
            "event": "check", "name": name, "state": state, "detail": detail, "advice": advice,
        }))?;
        let (style, mark) = match state {
            "ok" => (GOOD, "ok    "),
            "warning" => (super::output::STRONG, "poor  "),
            _ => (BAD, "failed"),
        };
        self.output.line(format!("{style}{mark}{style:#}  {name:<16}  {}", printable(detail)))?;
        match advice {
            Some(advice) => self.output.line(format!("{:26}{advice}", "")),
            None => Ok(()),
        }
    }
}

/// What the system gives a UDP socket that asks for much.
fn receive_buffer(report: &mut Report) -> Result<(), CliError> {
    const NAME: &str = "UDP buffer";
    let given = UdpSocket::bind("127.0.0.1:0").and_then(|socket| {
        let socket = socket2::SockRef::from(&socket);
        socket.set_recv_buffer_size(GOOD_BUFFER)?;
        // Linux gives twice what is asked for, and needs the other half itself.
        let halves = if cfg!(target_os = "linux") { 2 } else { 1 };
        Ok(socket.recv_buffer_size()? / halves)
    });
    match given {
        Ok(bytes) if bytes >= GOOD_BUFFER => report.good(NAME, &super::output::bytes(bytes as u64)),
        Ok(bytes) => report.poor(
            NAME,
            &format!("{} of {} wanted", super::output::bytes(bytes as u64), "4 MiB"),
            "files may be slow; as root: sysctl -w net.core.rmem_max=4194304",
        ),
        Err(error) => {
            let error = CliError::new(Exit::NoPeer, "UDP", error.to_string());
            report.bad(NAME, error, "this machine lets programs have no UDP sockets")
        }
    }
}

/// Whether there is a broker, and whether it signs us in.
async fn reach(report: &mut Report, api: Api) -> Result<Option<Identity>, CliError> {
    const NAME: &str = "server";
    let started = Instant::now();
    let server = api.server();
    match api.health().await {
        Ok(health) => {
            let version = health.version.map(|v| format!(", version {v}")).unwrap_or_default();
            let took = words::short(started.elapsed());
            report.good(NAME, &format!("{server} answers in {took}{version}"))?;
        }
        Err(error) => {
            let advice = "check the address, that the server runs, and that a firewall or proxy \
                          lets this machine through";
            report.bad(NAME, error.into(), advice)?;
            return Ok(None);
        }
    }
    match api.sign_in().await {
        Ok(identity) => {
            report.good("sign-in", "an anonymous identity was given")?;
            Ok(Some(identity))
        }
        Err(error) => {
            report.bad("sign-in", error.into(), "the server's identity provider does not work")?;
            Ok(None)
        }
    }
}

/// Whether the token opens the room, a worker is there, and UDP gets through.
async fn connect(
    report: &mut Report,
    context: &Context<'_>,
    link: JoinLink,
    identity: Identity,
) -> Result<(), CliError> {
    let own = if link.token().is_none() { context.options(&link)?.identity } else { None };
    let options = SessionOptions {
        identity: own.or(Some(identity)),
        worker_wait: context.settings.wait.unwrap_or(WAIT),
        connection_wait: WAIT,
        relay_only: context.settings.relay_only,
        trust: context.settings.trust.clone(),
        ..SessionOptions::default()
    };
    let session = match Session::open(link, options).await {
        Ok(session) => session,
        Err(error) => {
            let advice = if error.is_refusal() {
                "ask the room's owner for a new link; rooms end by themselves after some hours"
            } else {
                "the server answers HTTP but no WebSocket: a proxy in between may need to be told"
            };
            return report.bad("token", error.into(), advice);
        }
    };
    report.good("token", &format!("lets us in as {}", session.access()))?;
    let result = connection(report, &session).await;
    session.close().await;
    result
}

async fn connection(report: &mut Report, session: &Session) -> Result<(), CliError> {
    let started = Instant::now();
    let ready = session.ready().await;
    if let Err(error @ (SessionError::NoWorker { .. } | SessionError::NoneFits { .. })) = ready {
        return report.bad("worker", error.into(), "start halyard-worker for this room");
    }
    if let Err(error @ SessionError::ForeignWorker { .. }) = ready {
        return report.bad("worker", error.into(), "see docs/existing-clients.md");
    }
    let peers = session.peers();
    match peers.iter().find(|peer| peer.role == PeerRole::Worker) {
        Some(worker) => report.good("worker", worker.peer_id.as_str())?,
        None => report.poor("worker", "none calls itself one", "an older worker may be here")?,
    }
    match ready {
        Ok(_) => {
            let took = words::short(started.elapsed());
            report.good("peer connection", &format!("up in {took}{}", path(session).await))
        }
        Err(error) => report.bad(
            "peer connection",
            error.into(),
            "a firewall drops UDP between you and the worker: allow outgoing UDP, or give the \
             server a TURN relay (turn_urls)",
        ),
    }
}

/// The path in use and its round trip, as soon as they are known.
async fn path(session: &Session) -> String {
    let measured = async {
        let mut tick = tokio::time::interval(Duration::from_millis(200));
        loop {
            tick.tick().await;
            if let Some(stats) = session.stats().await
                && let (Some(rtt), Some(path)) = (stats.rtt, stats.path)
            {
                return (rtt, path);
            }
        }
    };
    match tokio::time::timeout(ROUND_TRIP, measured).await {
        Ok((rtt, (local, remote))) => {
            let relayed = local == CandidateKind::Relay || remote == CandidateKind::Relay;
            let how = if relayed { "relayed by TURN" } else { "direct" };
            format!(", {how}, round trip {:.1} ms", rtt.as_secs_f64() * 1000.0)
        }
        Err(_) => String::new(),
    }
}

//! Trying what the settings name without serving: ports, files, backends.

use std::{net::SocketAddr, time::Duration};

use tokio::{
    net::{TcpListener, TcpStream},
    time::timeout,
};

use crate::{
    Settings,
    settings::{BusKind, TlsSettings},
    time::Now,
    tls::{Certificate, Standing},
    wiring,
};

/// What does not answer by then does not answer.
const WITHIN: Duration = Duration::from_secs(10);

/// One thing that was tried.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tried {
    /// What.
    pub what: String,
    /// What came of it.
    pub outcome: Outcome,
}

/// What came of a try.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// It works.
    Good,
    /// It works, and will not for long, or not well: why.
    Warning(String),
    /// It does not work: why.
    Failed(String),
}

impl From<Result<(), String>> for Outcome {
    fn from(result: Result<(), String>) -> Self {
        result.map_or_else(Self::Failed, |()| Self::Good)
    }
}

/// Tries everything, one after the other, whatever fails. The data directory, the signing key and
/// the embedded store are made where they are not there yet, as a start would.
pub async fn connect(settings: &Settings) -> Vec<Tried> {
    let mut tried = Vec::new();
    let mut note = |what: String, outcome: Outcome| tried.push(Tried { what, outcome });
    let ports = [
        ("listen", Some(settings.listen)),
        ("rest_listen", settings.rest_listen),
        ("admin_listen", settings.admin_listen),
    ];
    for (key, addr) in ports {
        if let Some(addr) = addr {
            note(format!("{key} {addr} is free"), port(addr).await.into());
        }
    }
    if let Some(tls) = &settings.tls {
        note(format!("the certificate {} is good", tls.cert.display()), certificate(tls));
    }
    if let BusKind::Nats(nats) = &settings.bus {
        for server in &nats.servers {
            note(format!("bus {server} is reached"), reached(server).await.into());
        }
    }
    // The bus was tried by itself: a store behind a bus that is away can be tried all the same.
    let alone = Settings { bus: BusKind::Local, ..settings.clone() };
    let opened = tokio::task::spawn_blocking(|| wiring::open(alone)).await;
    let broker = match opened {
        Ok(Ok(broker)) => broker,
        Ok(Err(error)) => {
            note("identity and store can be opened".to_owned(), Outcome::Failed(error.to_string()));
            return tried;
        }
        Err(error) => {
            note("identity and store can be opened".to_owned(), Outcome::Failed(error.to_string()));
            return tried;
        }
    };
    let probe = within(async { broker.identity.probe().await.map_err(|e| e.to_string()) });
    note(format!("identity {} answers", settings.identity), probe.await.into());
    let now = Now::read().unix();
    let probe = within(async { broker.store.probe(now).await.map_err(|e| e.to_string()) });
    note(format!("store {} answers", settings.store), probe.await.into());
    tried
}

async fn within(trying: impl Future<Output = Result<(), String>>) -> Result<(), String> {
    timeout(WITHIN, trying)
        .await
        .unwrap_or_else(|_| Err(format!("no answer within {} s", WITHIN.as_secs())))
}

async fn port(addr: SocketAddr) -> Result<(), String> {
    TcpListener::bind(addr).await.map(drop).map_err(|error| error.to_string())
}

fn certificate(tls: &TlsSettings) -> Outcome {
    let certificate = match Certificate::open(tls.clone()) {
        Ok(certificate) => certificate,
        Err(error) => return Outcome::Failed(error.to_string()),
    };
    let standing = certificate.validity().map(|validity| validity.at(Now::read().unix()));
    match standing {
        None | Some(Standing::Good) => Outcome::Good,
        Some(soon @ Standing::EndsSoon { .. }) => Outcome::Warning(format!("it {soon}")),
        Some(bad @ (Standing::Over { .. } | Standing::NotYet { .. })) => {
            Outcome::Failed(format!("it {bad}"))
        }
    }
}

/// Whether somebody listens there. What they say is the bus's own matter.
async fn reached(server: &str) -> Result<(), String> {
    let url = url::Url::parse(server).map_err(|error| error.to_string())?;
    let host = url.host_str().ok_or("there is no host in it")?.trim_matches(['[', ']']).to_owned();
    let port = url.port().unwrap_or(4222);
    within(async move {
        TcpStream::connect((host.as_str(), port)).await.map(drop).map_err(|e| e.to_string())
    })
    .await
}

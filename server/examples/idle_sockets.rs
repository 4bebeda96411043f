//! What an idle, registered connection costs.
//!
//! ```text
//! cargo run --release -p halyard-server --example idle_sockets            # 5,000 sockets
//! cargo run --release -p halyard-server --example idle_sockets -- 20000
//! ```
//!
//! Starts the broker as a program of its own beside this one, opens and registers the sockets in
//! rooms of ten, and reads the broker's resident memory before and after. Exits with 1 above the
//! mark. Linux alone: the figure is `VmRSS` of `/proc`.

use std::{
    io::{BufRead, BufReader},
    process::{Child, Command, ExitCode, Stdio},
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use futures_util::{SinkExt, StreamExt};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use serde_json::{Value, json};
use tokio_tungstenite::{
    WebSocketStream, client_async_with_config,
    tungstenite::{Message, client::IntoClientRequest, protocol::WebSocketConfig},
};

/// What one may cost, in KiB.
const MARK_KIB: f64 = 16.0;
const PEERS_PER_ROOM: usize = 10;

struct Broker {
    child: Child,
    addr: String,
}

impl Drop for Broker {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Broker {
    /// Starts this same example as the broker: one program, and the right build of it.
    fn start() -> Result<Self> {
        let mut child = Command::new(std::env::current_exe()?)
            .arg("serve")
            .stdout(Stdio::piped())
            .spawn()
            .context("the broker does not start")?;
        let mut addr = String::new();
        BufReader::new(child.stdout.take().context("no output")?).read_line(&mut addr)?;
        Ok(Self { child, addr: addr.trim().to_owned() })
    }

    fn resident_kib(&self) -> Result<f64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id()))?;
        let line = status.lines().find(|line| line.starts_with("VmRSS:")).context("no VmRSS")?;
        line.split_whitespace().nth(1).context("no figure")?.parse().context("no number")
    }
}

/// As many file descriptors as may be had.
fn raise_limit(needed: u64) -> Result<()> {
    let limit = getrlimit(Resource::Nofile);
    let wanted = limit.maximum.unwrap_or(u64::MAX).min(needed.max(limit.current.unwrap_or(0)));
    setrlimit(Resource::Nofile, Rlimit { current: Some(wanted), maximum: limit.maximum })?;
    ensure!(wanted >= needed, "{needed} files are needed, the system allows {wanted}");
    Ok(())
}

#[tokio::main]
async fn main() -> Result<ExitCode> {
    let argument = std::env::args().nth(1);
    if argument.as_deref() == Some("serve") {
        raise_limit(65_000).or_else(|_| raise_limit(1024))?;
        let limits = halyard_server::settings::Limits {
            max_connections: 60_000,
            max_rooms_per_identity: 10_000,
            ..Default::default()
        };
        let listen = "127.0.0.1:0".parse()?;
        let settings = halyard_server::Settings { listen, limits, ..Default::default() };
        let server = halyard_server::Server::bind(settings).await?;
        println!("{}", server.local_addr());
        server.run(tokio_util::sync::CancellationToken::new()).await?;
        return Ok(ExitCode::SUCCESS);
    }
    let count: usize = argument.map_or(Ok(5_000), |text| text.parse())?;
    raise_limit(count as u64 + 200)?;
    let broker = Broker::start()?;
    let http = reqwest::Client::new();
    let url = format!("http://{}", broker.addr);

    let signed: Value = http.post(format!("{url}/anonymous-signin")).send().await?.json().await?;
    let id_token = signed["id_token"].as_str().context("no id_token")?.to_owned();
    let mut sockets = Vec::with_capacity(count);
    let before = broker.resident_kib()?;
    let mut room = Value::Null;
    for number in 0..count {
        if number % PEERS_PER_ROOM == 0 {
            let made = http.post(format!("{url}/create-room")).bearer_auth(&id_token);
            room = made.send().await?.error_for_status()?.json().await?;
        }
        sockets.push(registered(&broker.addr, &room, &id_token, number).await?);
    }
    // Everything that was sent while they joined is read, so that nothing waits in an outbox.
    tokio::time::sleep(Duration::from_secs(3)).await;
    let after = broker.resident_kib()?;
    let each = (after - before) / count as f64;
    println!(
        "{count} idle registered sockets in rooms of {PEERS_PER_ROOM}: {before:.0} KiB before, \
         {after:.0} KiB after, {each:.1} KiB each (the mark is {MARK_KIB})"
    );
    drop(sockets);
    Ok(if each <= MARK_KIB { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

async fn registered(
    addr: &str,
    room: &Value,
    id_token: &str,
    number: usize,
) -> Result<WebSocketStream<tokio::net::TcpStream>> {
    let stream = tokio::net::TcpStream::connect(addr).await?;
    let request = format!("ws://{addr}/ws").into_client_request()?;
    let config = WebSocketConfig::default().read_buffer_size(2048).write_buffer_size(2048);
    let (mut socket, _) = client_async_with_config(request, stream, Some(config)).await?;
    let register = json!({
        "type": "register", "peer_id": format!("peer-{number}"), "room_id": room["room_id"],
        "token": room["token"], "id_token": id_token, "role": "client",
        "metadata": { "tags": ["idle"], "properties": { "platform": "Linux" } },
    });
    socket.send(Message::Text(register.to_string().into())).await?;
    let answer = socket.next().await.context("no answer")??.into_text()?;
    ensure!(answer.contains("registered_auth"), "refused: {answer}");
    Ok(socket)
}

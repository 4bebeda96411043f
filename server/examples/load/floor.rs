//! The same wire with nothing behind it: what the libraries below cost by themselves.
//!
//! Whoever names a room is in it, queues have no bounds, nothing is verified and nobody is told who
//! came and went. One task for each socket, and a read buffer of 4 KiB, like the broker.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
};

use anyhow::{Context, Result};
use futures_util::{SinkExt, StreamExt};
use serde::Deserialize;
use tokio::{
    net::{TcpListener, TcpStream},
    sync::mpsc::{UnboundedSender, unbounded_channel},
};
use tokio_tungstenite::{
    accept_async_with_config,
    tungstenite::{Message, Utf8Bytes, protocol::WebSocketConfig},
};

use crate::{
    args::{Floor, FloorKind},
    raw_floor,
    target::raise_file_limit,
};

type Room = HashMap<String, UnboundedSender<Utf8Bytes>>;
type Rooms = Arc<Mutex<HashMap<String, Room>>>;

/// Who enters which room.
#[derive(Deserialize)]
pub(crate) struct Register {
    pub(crate) peer_id: String,
    pub(crate) room_id: String,
}

#[derive(Deserialize)]
struct Envelope<'a> {
    #[serde(rename = "type")]
    kind: &'a str,
    #[serde(default)]
    target: Option<&'a str>,
}

/// What is answered to `register`.
pub(crate) const WELCOME: &str = r#"{"type":"registered_auth"}"#;

/// Serves until it is killed. The first line on stdout is the address.
pub(crate) fn serve(args: &Floor) -> Result<()> {
    raise_file_limit();
    if args.kind == FloorKind::Raw {
        return raw_floor::serve(args.listen);
    }
    let parse = args.kind == FloorKind::Json;
    let runtime = tokio::runtime::Runtime::new()?;
    runtime.block_on(async {
        let listener = TcpListener::bind(args.listen).await?;
        println!("{}", listener.local_addr()?);
        let rooms = Rooms::default();
        loop {
            let (stream, _) = listener.accept().await?;
            let rooms = Arc::clone(&rooms);
            tokio::spawn(async move {
                // A peer that goes away is no fault of the floor's.
                let _ = socket(stream, rooms, parse).await;
            });
        }
    })
}

async fn socket(stream: TcpStream, rooms: Rooms, parse: bool) -> Result<()> {
    stream.set_nodelay(true)?;
    let config = WebSocketConfig::default().read_buffer_size(4096).write_buffer_size(4096);
    let mut socket = accept_async_with_config(stream, Some(config)).await?;
    let first = socket.next().await.context("gone")??.into_text()?;
    let Register { peer_id, room_id } = serde_json::from_str(&first)?;
    let (sender, mut outbox) = unbounded_channel();
    let lock = || rooms.lock().expect("nobody panicked");
    lock().entry(room_id.clone()).or_default().insert(peer_id.clone(), sender);
    socket.send(Message::text(WELCOME)).await?;
    loop {
        tokio::select! {
            frame = socket.next() => {
                let Some(Ok(Message::Text(text))) = frame else { break };
                let rooms = lock();
                let room = rooms.get(&room_id).context("no room")?;
                let target = if parse {
                    let envelope: Envelope<'_> = serde_json::from_str(&text)?;
                    if envelope.kind == "leave" {
                        break;
                    }
                    envelope.target.and_then(|target| room.get(target))
                } else {
                    if text.starts_with(r#"{"type":"leave""#) {
                        break;
                    }
                    room.iter().find(|(peer, _)| **peer != peer_id).map(|(_, sender)| sender)
                };
                if let Some(target) = target {
                    let _ = target.send(text);
                }
            }
            Some(text) = outbox.recv() => socket.send(Message::Text(text)).await?,
        }
    }
    if let Some(room) = lock().get_mut(&room_id) {
        room.remove(&peer_id);
    }
    let _ = socket.close(None).await;
    Ok(())
}

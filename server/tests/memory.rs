//! What the broker allocates: for a socket that says nothing, and for a message that passes through.
//!
//! Bytes and blocks are counted by the allocator of this process, so the figures are the same on
//! every machine and however busy it is. The peers are system calls and arrays on the stack: all
//! that is counted is the broker's. One test, because there is one allocator.

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    time::{Duration, Instant},
};

use halyard_server::{Server, Settings, settings::Limits};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

#[global_allocator]
static ALLOCATOR: dhat::Alloc = dhat::Alloc;

const SOCKETS: usize = 300;
const PEERS_PER_ROOM: usize = 10;
/// Of the heap, for each idle socket. It takes 3.5 KiB; a read buffer of 4 KiB would not fit.
const MAX_IDLE_BYTES: usize = 5 * 1024;
const MESSAGES: usize = 1000;
/// Times that memory is asked for to relay one message.
const MAX_RELAY_BLOCKS: f64 = 8.0;
const SOON: Duration = Duration::from_secs(20);

/// A text of at most 64 KiB as a frame of a client, masked with zeros.
fn frame(text: &str) -> Vec<u8> {
    let len = u16::try_from(text.len()).expect("short").to_be_bytes();
    let mut frame = vec![0x81, 0x80 + 126, len[0], len[1], 0, 0, 0, 0];
    frame.extend_from_slice(text.as_bytes());
    frame
}

/// Reads until this word was there.
fn read_until(stream: &mut TcpStream, word: &[u8]) {
    let mut bytes = [0; 16 * 1024];
    let mut filled = 0;
    while !bytes[..filled].windows(word.len()).any(|window| window == word) {
        let read = stream.read(&mut bytes[filled..]).expect("an answer in time");
        assert!(read > 0, "closed: {}", String::from_utf8_lossy(&bytes[..filled]));
        filled += read;
    }
}

/// A registered peer.
fn join(addr: SocketAddr, register: &[u8]) -> TcpStream {
    let mut stream = TcpStream::connect(addr).expect("connected");
    stream.set_read_timeout(Some(SOON)).expect("a time-out");
    stream.set_nodelay(true).expect("no delay");
    stream
        .write_all(
            b"GET /ws HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
              Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
        )
        .expect("asked");
    read_until(&mut stream, b"\r\n\r\n");
    stream.write_all(register).expect("registered");
    read_until(&mut stream, b"registered_auth");
    stream
}

/// Rooms, and what their peers say first: frames made beforehand.
async fn registrations(addr: SocketAddr, rooms: usize, per_room: usize) -> Vec<Vec<u8>> {
    let http = reqwest::Client::new();
    let post = async |path: &str, id_token: Option<&str>| -> Value {
        let mut request = http.post(format!("http://{addr}/{path}"));
        if let Some(id_token) = id_token {
            request = request.bearer_auth(id_token);
        }
        request.send().await.expect("an answer").json().await.expect("JSON")
    };
    let signed = post("anonymous-signin", None).await;
    let id_token = signed["id_token"].as_str().expect("a token");
    let mut frames = Vec::new();
    for _ in 0..rooms {
        let room = post("create-room", Some(id_token)).await;
        for number in 0..per_room {
            let register = json!({
                "type": "register", "peer_id": format!("peer-{number}"), "role": "client",
                "room_id": room["room_id"], "token": room["token"], "id_token": id_token,
                "metadata": { "tags": ["idle"], "properties": { "platform": "Linux" } },
            });
            frames.push(frame(&register.to_string()));
        }
    }
    frames
}

#[test]
fn an_idle_socket_and_a_relayed_message_take_little_memory() {
    let _profiler = dhat::Profiler::builder().testing().build();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .expect("a runtime");
    let limits = Limits {
        max_connections_per_address: 10_000,
        handshakes_per_minute: 1_000_000,
        messages_per_second: 1_000_000,
        max_rooms_per_identity: 1000,
        ..Limits::default()
    };
    let listen = "127.0.0.1:0".parse().expect("an address");
    let settings = Settings { listen, limits, ..Settings::default() };
    let server = runtime.block_on(Server::bind(settings)).expect("bound");
    let addr = server.local_addr();
    let stop = CancellationToken::new();
    let running = runtime.spawn(server.run(stop.clone()));
    let rooms = SOCKETS / PEERS_PER_ROOM + 1;
    let frames = runtime.block_on(registrations(addr, rooms, PEERS_PER_ROOM));
    let (idle, busy) = frames.split_at(SOCKETS);
    let mut sockets = Vec::with_capacity(SOCKETS);
    // What is made once is made by the first.
    let mut sender = join(addr, &busy[0]);
    let mut receiver = join(addr, &busy[1]);

    let before = dhat::HeapStats::get().curr_bytes;
    for frame in idle {
        sockets.push(join(addr, frame));
    }
    let each = || (dhat::HeapStats::get().curr_bytes.saturating_sub(before)) / SOCKETS;
    // What the last ones were told is written, and what is left of their upgrades is gone.
    let deadline = Instant::now() + SOON;
    while each() > MAX_IDLE_BYTES && Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(50));
    }
    println!("{} bytes for each of {SOCKETS} idle sockets", each());
    assert!(each() <= MAX_IDLE_BYTES, "{} bytes for each idle socket", each());

    let candidate = json!({ "type": "candidate", "target": "peer-1", "candidate": {
        "candidate": "c".repeat(100), "sdpMid": "0", "sdpMLineIndex": 0 } });
    let message = frame(&candidate.to_string());
    let mut blocks = 0;
    for number in 0..MESSAGES + 100 {
        if number == 100 {
            blocks = dhat::HeapStats::get().total_blocks;
        }
        sender.write_all(&message).expect("sent");
        read_until(&mut receiver, br#""sdpMid":"0""#);
    }
    let each = (dhat::HeapStats::get().total_blocks - blocks) as f64 / MESSAGES as f64;
    println!("{each} blocks for each relayed message");
    assert!(each <= MAX_RELAY_BLOCKS, "{each} blocks for each relayed message");

    stop.cancel();
    drop((sockets, sender, receiver));
    runtime.block_on(running).expect("no panic").expect("stopped");
}

//! An HTTP/1.1 proxy for one server that spoils what it is told to.

use std::sync::Arc;

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::watch,
    task::JoinSet,
};

/// What happens to requests from now on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// Nothing.
    None,
    /// They are read and never answered.
    Hang,
    /// Those with this in their head are read and never answered.
    HangAt(&'static str),
    /// The connection is closed instead of an answer.
    Close,
    /// The next one with this in its head is carried out, and the connection closed instead of an
    /// answer.
    LoseNext(&'static str),
    /// They are answered with this status and body, and not carried out.
    Answer(u16, &'static str),
}

/// AWS's word for "later", as DynamoDB and Cognito say it.
pub(crate) const THROTTLED: Fault =
    Fault::Answer(400, r#"{"__type":"ThrottlingException","message":"Rate exceeded"}"#);
/// A failure inside AWS.
pub(crate) const BROKEN: Fault =
    Fault::Answer(500, r#"{"__type":"InternalServerError","message":"Internal server error"}"#);

/// A proxy on a free port, until it is dropped.
pub(crate) struct Proxy {
    /// Where it is.
    pub(crate) url: String,
    fault: Arc<watch::Sender<Fault>>,
    _serving: JoinSet<()>,
}

impl Proxy {
    /// A proxy for the server at `upstream` (host and port).
    pub(crate) async fn start(upstream: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let url = format!("http://{}", listener.local_addr().expect("bound"));
        let fault = Arc::new(watch::Sender::new(Fault::None));
        let (upstream, faults) = (upstream.to_owned(), Arc::clone(&fault));
        let mut serving = JoinSet::new();
        serving.spawn(async move {
            // Dropped with this task: nothing outlives the proxy.
            let mut connections = JoinSet::new();
            while let Ok((client, _)) = listener.accept().await {
                connections.spawn(serve(client, upstream.clone(), Arc::clone(&faults)));
                while connections.try_join_next().is_some() {}
            }
        });
        Self { url, fault, _serving: serving }
    }

    /// From now on.
    pub(crate) fn set(&self, fault: Fault) {
        self.fault.send_replace(fault);
    }
}

async fn serve(mut client: TcpStream, upstream: String, fault_of: Arc<watch::Sender<Fault>>) {
    let mut faults = fault_of.subscribe();
    while let Some(request) = message(&mut client).await {
        let fault = *faults.borrow_and_update();
        match fault {
            Fault::LoseNext(mark) if String::from_utf8_lossy(&request).contains(mark) => {
                fault_of.send_replace(Fault::None);
                let _ = forward(&upstream, &request).await;
                return;
            }
            Fault::HangAt(mark) if String::from_utf8_lossy(&request).contains(mark) => {
                hang(&mut client, &mut faults).await;
                return;
            }
            Fault::None | Fault::LoseNext(_) | Fault::HangAt(_) => {
                let Some(answer) = forward(&upstream, &request).await else { return };
                if client.write_all(&answer).await.is_err() {
                    return;
                }
            }
            Fault::Hang => {
                hang(&mut client, &mut faults).await;
                return;
            }
            Fault::Close => return,
            Fault::Answer(status, body) => {
                let length = body.len();
                let answer = format!(
                    "HTTP/1.1 {status} Fault\r\ncontent-type: application/x-amz-json-1.0\r\n\
                     content-length: {length}\r\n\r\n{body}"
                );
                if client.write_all(answer.as_bytes()).await.is_err() {
                    return;
                }
            }
        }
    }
}

/// Until something else is asked for, or the client has had enough.
async fn hang(client: &mut TcpStream, faults: &mut watch::Receiver<Fault>) {
    tokio::select! {
        _ = faults.changed() => {}
        _ = client.read_u8() => {}
    }
}

async fn forward(upstream: &str, request: &[u8]) -> Option<Vec<u8>> {
    let mut server = TcpStream::connect(upstream).await.ok()?;
    server.write_all(request).await.ok()?;
    message(&mut server).await
}

/// One request or answer with its body, whose length stands in its head.
async fn message(stream: &mut TcpStream) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    let head = loop {
        if let Some(at) = bytes.windows(4).position(|end| end == b"\r\n\r\n") {
            break at + 4;
        }
        if stream.read_buf(&mut bytes).await.ok()? == 0 {
            return None;
        }
    };
    let text = String::from_utf8_lossy(&bytes[..head]).to_ascii_lowercase();
    let length = text.lines().find_map(|line| line.strip_prefix("content-length:"));
    let length: usize = length.map_or(0, |length| length.trim().parse().expect("a number"));
    while bytes.len() < head + length {
        if stream.read_buf(&mut bytes).await.ok()? == 0 {
            return None;
        }
    }
    Some(bytes)
}

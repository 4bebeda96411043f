//! The broker's own TLS, over real sockets.

use std::{
    net::SocketAddr,
    path::Path,
    sync::Arc,
    time::{Duration, UNIX_EPOCH},
};

use futures_util::{SinkExt, StreamExt};
use halyard_server::{BindError, RunError, Server, Settings, settings::TlsSettings};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::{ClientConfig, RootCertStore, pki_types::ServerName};
use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    task::JoinHandle,
    time::timeout,
};
use tokio_rustls::{TlsConnector, client::TlsStream};
use tokio_tungstenite::{
    WebSocketStream, client_async,
    tungstenite::{Message, client::IntoClientRequest},
};
use tokio_util::sync::CancellationToken;

use crate::support::{SOON, settings};

/// An authority of our own.
struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).expect("a name");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().expect("a key");
        Self(CertifiedIssuer::self_signed(params, key).expect("an authority"))
    }

    /// A certificate for this machine and its key, in PEM.
    fn issue(&self) -> (String, String) {
        self.issue_until(None)
    }

    /// One that ends then, in seconds since 1970.
    fn issue_until(&self, until: Option<u64>) -> (String, String) {
        let names = vec!["localhost".to_owned(), "127.0.0.1".to_owned()];
        let key = KeyPair::generate().expect("a key");
        let mut params = CertificateParams::new(names).expect("names");
        if let Some(until) = until {
            params.not_after = (UNIX_EPOCH + Duration::from_secs(until)).into();
        }
        let cert = params.signed_by(&key, &self.0).expect("signed");
        (cert.pem(), key.serialize_pem())
    }

    fn client(&self, versions: &[&'static rustls::SupportedProtocolVersion]) -> TlsConnector {
        let mut roots = RootCertStore::empty();
        roots.add(self.0.der().clone()).expect("a root");
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(versions)
            .expect("versions")
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        TlsConnector::from(Arc::new(config))
    }
}

fn write(dir: &Path, (cert, key): &(String, String)) -> TlsSettings {
    let files = TlsSettings { cert: dir.join("cert.pem"), key: dir.join("key.pem") };
    std::fs::write(&files.cert, cert).expect("written");
    std::fs::write(&files.key, key).expect("written");
    files
}

/// A broker with a certificate in a folder.
struct Secure {
    authority: Authority,
    dir: TempDir,
    addr: SocketAddr,
    admin: SocketAddr,
    stop: CancellationToken,
    running: JoinHandle<Result<(), RunError>>,
}

impl Drop for Secure {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

impl Secure {
    async fn start() -> Self {
        let (authority, dir) = (Authority::new(), tempfile::tempdir().expect("a folder"));
        let tls = Some(write(dir.path(), &authority.issue()));
        let admin_listen = Some("127.0.0.1:0".parse().expect("an address"));
        let mut settings = Settings { tls, admin_listen, ..settings() };
        settings.timing.reload_every = Duration::from_millis(20);
        settings.timing.request_within = Duration::from_secs(1);
        let server = Server::bind(settings).await.expect("bound");
        assert_eq!(server.scheme(), "https");
        let (addr, admin) = (server.local_addr(), server.admin_addr().expect("asked for"));
        let stop = CancellationToken::new();
        let running = tokio::spawn(server.run(stop.clone()));
        Self { authority, dir, addr, admin, stop, running }
    }

    async fn connect(&self) -> TlsStream<TcpStream> {
        self.connect_with(rustls::DEFAULT_VERSIONS).await
    }

    async fn connect_with(
        &self,
        versions: &[&'static rustls::SupportedProtocolVersion],
    ) -> TlsStream<TcpStream> {
        let tcp = TcpStream::connect(self.addr).await.expect("connected");
        let name = ServerName::try_from("localhost").expect("a name");
        let connecting = self.authority.client(versions).connect(name, tcp);
        timeout(SOON, connecting).await.expect("in time").expect("trusted")
    }

    /// Asks once and reads the answer.
    async fn ask(&self, path: &str) -> String {
        let mut stream = self.connect().await;
        let request =
            format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.expect("written");
        let mut answer = String::new();
        timeout(SOON, stream.read_to_string(&mut answer)).await.expect("in time").expect("text");
        answer
    }

    async fn socket(&self) -> WebSocketStream<TlsStream<TcpStream>> {
        let url = format!("wss://localhost:{}/ws", self.addr.port());
        let request = url.into_client_request().expect("a URL");
        let upgrading = client_async(request, self.connect().await);
        timeout(SOON, upgrading).await.expect("in time").expect("upgraded").0
    }

    /// The certificate that a new connection is shown.
    async fn shown(&self) -> Vec<u8> {
        let stream = self.connect().await;
        let certificates = stream.get_ref().1.peer_certificates().expect("a chain");
        certificates[0].as_ref().to_vec()
    }

    /// Waits until the metrics have this line.
    async fn until_counted(&self, line: &str) {
        let url = format!("http://{}/metrics", self.admin);
        let counted = async {
            loop {
                let text = reqwest::get(&url).await.expect("answered").text().await.expect("text");
                if text.lines().any(|found| found == line) {
                    return;
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        timeout(SOON, counted).await.unwrap_or_else(|_| panic!("never counted: {line}"));
    }
}

async fn still_answers(socket: &mut WebSocketStream<TlsStream<TcpStream>>) {
    socket.send(Message::Text(r#"{"type":"ping"}"#.into())).await.expect("sent");
    let answer = timeout(SOON, socket.next()).await.expect("in time").expect("open").expect("good");
    assert_eq!(answer, Message::Text(r#"{"type":"pong"}"#.into()));
}

#[tokio::test]
async fn https_and_wss_work_with_both_versions_and_nothing_older() {
    let broker = Secure::start().await;
    for version in rustls::ALL_VERSIONS {
        let stream = broker.connect_with(&[version]).await;
        let session = stream.get_ref().1;
        assert_eq!(session.protocol_version(), Some(version.version));
        assert_eq!(session.alpn_protocol(), Some(b"http/1.1".as_slice()));
    }
    assert!(broker.ask("/health").await.starts_with("HTTP/1.1 200 "));
    still_answers(&mut broker.socket().await).await;
}

#[tokio::test]
async fn links_say_https() {
    let broker = Secure::start().await;
    let client = reqwest::Client::builder()
        .tls_certs_only([reqwest::Certificate::from_der(broker.authority.0.der()).expect("good")])
        .build()
        .expect("a client");
    let base = format!("https://localhost:{}", broker.addr.port());
    let signed = client.post(format!("{base}/anonymous-signin")).send().await.expect("answered");
    let signed: serde_json::Value = signed.json().await.expect("JSON");
    let token = signed["id_token"].as_str().expect("a token");
    let making = client.post(format!("{base}/create-room")).bearer_auth(token).send();
    let room: serde_json::Value = making.await.expect("answered").json().await.expect("JSON");
    let link = room["join_url"].as_str().expect("a link");
    assert!(link.starts_with(&format!("{base}/r/")), "{link}");
}

#[tokio::test]
async fn a_renewed_certificate_is_shown_to_who_comes_and_nobody_is_cut_off() {
    let broker = Secure::start().await;
    let old = broker.shown().await;
    let mut connected = broker.socket().await;
    write(broker.dir.path(), &broker.authority.issue());
    broker.until_counted(r#"halyard_tls_reloads_total{result="ok"} 1"#).await;
    let new = broker.shown().await;
    assert_ne!(old, new);
    still_answers(&mut connected).await;
}

#[tokio::test]
async fn a_broken_certificate_changes_nothing_but_the_count_until_a_good_one_comes() {
    let broker = Secure::start().await;
    let old = broker.shown().await;
    let good = broker.authority.issue();
    std::fs::write(broker.dir.path().join("cert.pem"), "not a certificate").expect("written");
    broker.until_counted(r#"halyard_tls_reloads_total{result="failed"} 1"#).await;
    assert_eq!(broker.shown().await, old);
    // The new certificate is there, and the key is still that of the old one.
    std::fs::write(broker.dir.path().join("cert.pem"), &good.0).expect("written");
    broker.until_counted(r#"halyard_tls_reloads_total{result="failed"} 2"#).await;
    assert_eq!(broker.shown().await, old);
    std::fs::write(broker.dir.path().join("key.pem"), &good.1).expect("written");
    broker.until_counted(r#"halyard_tls_reloads_total{result="ok"} 1"#).await;
    assert_ne!(broker.shown().await, old);
}

#[tokio::test]
async fn operators_see_when_the_certificate_ends_also_after_it_was_renewed() {
    let broker = Secure::start().await;
    let name = "halyard_tls_certificate_not_after_timestamp_seconds";
    for until in [2_000_000_000, 2_100_000_000] {
        write(broker.dir.path(), &broker.authority.issue_until(Some(until)));
        broker.until_counted(&format!("{name} {until}")).await;
    }
    // It has no such end without TLS, and no alert says that it is near.
    let plain = Settings { admin_listen: Some("127.0.0.1:0".parse().expect("one")), ..settings() };
    let server = Server::bind(plain).await.expect("bound");
    let (admin, stop) = (server.admin_addr().expect("asked for"), CancellationToken::new());
    let running = tokio::spawn(server.run(stop.clone()));
    let scrape = reqwest::get(format!("http://{admin}/metrics")).await.expect("answered");
    let scrape = scrape.text().await.expect("text");
    assert!(scrape.lines().all(|line| !line.starts_with(name)), "{scrape}");
    stop.cancel();
    timeout(SOON, running).await.expect("in time").expect("no panic").expect("no failure");
}

#[tokio::test]
async fn who_does_not_finish_the_handshake_is_dropped() {
    let broker = Secure::start().await;
    for start in [&b""[..], &b"\x16\x03\x01\x02\x00\x01"[..], &b"GET / HTTP/1.1\r\n\r\n"[..]] {
        let mut stream = TcpStream::connect(broker.addr).await.expect("connected");
        stream.write_all(start).await.expect("written");
        let mut rest = Vec::new();
        let dropped = timeout(SOON, stream.read_to_end(&mut rest)).await;
        let _ = dropped.unwrap_or_else(|_| panic!("still open after {start:?}"));
    }
    broker.until_counted(r#"halyard_limited_total{limit="slowness"} 2"#).await;
    still_answers(&mut broker.socket().await).await;
}

#[tokio::test]
async fn a_drain_says_goodbye_over_tls_too() {
    let mut broker = Secure::start().await;
    let mut socket = broker.socket().await;
    still_answers(&mut socket).await;
    broker.stop.cancel();
    let closed = async {
        loop {
            if let Some(Ok(Message::Close(frame))) = socket.next().await {
                return frame.expect("a frame").code;
            }
        }
    };
    assert_eq!(u16::from(timeout(SOON, closed).await.expect("in time")), 1001);
    drop(socket);
    let ended = timeout(SOON, &mut broker.running).await.expect("in time");
    ended.expect("no panic").expect("no failure");
}

#[tokio::test]
async fn files_that_are_no_use_stop_the_start_and_say_why() {
    let authority = Authority::new();
    let (mine, other) = (authority.issue(), authority.issue());
    let nothing = String::new;
    for (files, words) in [
        ((mine.0.clone(), other.1.clone()), "is not the key of the certificate"),
        ((nothing(), mine.1.clone()), "holds no certificate chain"),
        ((mine.0.clone(), nothing()), "holds no private key"),
        ((mine.0.replace('M', "!"), mine.1.clone()), "holds no certificate chain"),
    ] {
        let dir = tempfile::tempdir().expect("a folder");
        let tls = Some(write(dir.path(), &files));
        let error = Server::bind(Settings { tls, ..settings() }).await.map(|_| ());
        let error = error.expect_err("no use");
        assert!(matches!(error, BindError::Tls(_)), "{error}");
        assert!(error.to_string().contains(words), "{error}");
    }
    let tls = Some(TlsSettings { cert: "/no/cert.pem".into(), key: "/no/key.pem".into() });
    let error = Server::bind(Settings { tls, ..settings() }).await.map(|_| ()).expect_err("none");
    assert!(error.to_string().contains("/no/cert.pem"), "{error}");
}

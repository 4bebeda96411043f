//! A coturn that ends with the test.

use std::{
    net::{Ipv4Addr, TcpListener, UdpSocket},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use halyard_protocol::token::Token;
use halyard_server::settings::TurnSettings;

/// Longest wait until it answers, on a machine that is busy.
const READY_WITHIN: Duration = Duration::from_secs(30);

/// A STUN binding request without attributes (RFC 8489): the plainest question there is.
const BINDING: [u8; 20] =
    [0, 1, 0, 0, 0x21, 0x12, 0xa4, 0x42, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12];

/// A TURN server on the loopback, over UDP and TCP. Killed when it goes out of scope.
pub(crate) struct Coturn {
    child: Child,
    pub(crate) port: u16,
    pub(crate) secret: Token,
    _home: tempfile::TempDir,
}

impl Coturn {
    /// Starts it and waits until it answers.
    pub(crate) fn start() -> Self {
        let home = tempfile::tempdir().expect("a folder");
        let (port, secret) = (free_port(), Token::new("the secret of both"));
        let file = |name: &str| home.path().join(name).display().to_string();
        let mut command = Command::new("turnserver");
        command.args([
            "-n",
            "--listening-ip=127.0.0.1",
            "--relay-ip=127.0.0.1",
            &format!("--listening-port={port}"),
            "--realm=halyard.test",
            "--use-auth-secret",
            &format!("--static-auth-secret={}", secret.expose()),
            "--fingerprint",
            "--allow-loopback-peers",
            "--no-cli",
            "--no-tls",
            "--no-dtls",
            &format!("--userdb={}", file("turndb")),
            &format!("--pidfile={}", file("turn.pid")),
            "--log-file=stdout",
            "--simple-log",
        ]);
        let child = command
            .current_dir(home.path())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap_or_else(|error| panic!("turnserver: {error}; install the package coturn"));
        let this = Self { child, port, secret, _home: home };
        this.answers();
        this
    }

    /// As the broker is told of it.
    pub(crate) fn settings(&self, transport: &str, ttl: Duration) -> TurnSettings {
        TurnSettings {
            urls: vec![format!("turn:127.0.0.1:{}?transport={transport}", self.port)],
            secret: self.secret.clone(),
            ttl,
            mesh: false,
        }
    }

    fn answers(&self) {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("a socket");
        socket.connect((Ipv4Addr::LOCALHOST, self.port)).expect("an address");
        socket.set_read_timeout(Some(Duration::from_millis(100))).expect("a time-out");
        let until = Instant::now() + READY_WITHIN;
        let mut answer = [0; 512];
        // Nobody listens there at first, and says so.
        while socket.send(&BINDING).is_err() || socket.recv(&mut answer).is_err() {
            assert!(Instant::now() < until, "coturn does not answer on port {}", self.port);
        }
        assert_eq!(answer[..2], [1, 1], "a binding response");
    }
}

impl Drop for Coturn {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Free for UDP and for TCP.
fn free_port() -> u16 {
    loop {
        let tcp = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
        let port = tcp.local_addr().expect("an address").port();
        if UdpSocket::bind((Ipv4Addr::LOCALHOST, port)).is_ok() {
            return port;
        }
    }
}

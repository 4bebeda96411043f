//! A coturn that ends with the test.

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, UdpSocket},
    path::Path,
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
    pub(crate) address: SocketAddr,
    pub(crate) secret: Token,
    home: tempfile::TempDir,
    more: Vec<&'static str>,
}

impl Coturn {
    /// Starts it and waits until it answers.
    pub(crate) fn start() -> Self {
        Self::at(Ipv4Addr::LOCALHOST.into(), &[])
    }

    /// The same at this address, with more flags. Its relays are on the IPv4 loopback.
    pub(crate) fn at(ip: IpAddr, more: &[&'static str]) -> Self {
        let home = tempfile::tempdir().expect("a folder");
        let secret = Token::new("the secret of both");
        let address = SocketAddr::new(ip, free_port());
        let child = run(address, &secret, home.path(), more);
        let this = Self { child, address, secret, home, more: more.to_vec() };
        this.answers();
        this
    }

    /// Another one in its place, which knows nothing of what was relayed.
    pub(crate) fn restart(&mut self) {
        self.end();
        self.child = run(self.address, &self.secret, self.home.path(), &self.more);
        self.answers();
    }

    fn end(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// As the broker is told of it.
    pub(crate) fn settings(&self, transport: &str, ttl: Duration) -> TurnSettings {
        TurnSettings {
            urls: vec![format!("turn:{}?transport={transport}", self.address)],
            secret: self.secret.clone(),
            ttl,
            mesh: false,
        }
    }

    fn answers(&self) {
        let socket = UdpSocket::bind((self.address.ip(), 0)).expect("a socket");
        socket.connect(self.address).expect("an address");
        socket.set_read_timeout(Some(Duration::from_millis(100))).expect("a time-out");
        let until = Instant::now() + READY_WITHIN;
        let mut answer = [0; 512];
        // Nobody listens there at first, and says so.
        while socket.send(&BINDING).is_err() || socket.recv(&mut answer).is_err() {
            assert!(Instant::now() < until, "coturn does not answer at {}", self.address);
        }
        assert_eq!(answer[..2], [1, 1], "a binding response");
    }
}

impl Drop for Coturn {
    fn drop(&mut self) {
        self.end();
    }
}

fn run(address: SocketAddr, secret: &Token, home: &Path, more: &[&str]) -> Child {
    let file = |name: &str| home.join(name).display().to_string();
    let mut command = Command::new("turnserver");
    command.args([
        "-n",
        &format!("--listening-ip={}", address.ip()),
        "--relay-ip=127.0.0.1",
        &format!("--listening-port={}", address.port()),
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
    command.args(more).current_dir(home);
    let quiet = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    quiet.spawn().unwrap_or_else(|error| panic!("turnserver: {error}; install the package coturn"))
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

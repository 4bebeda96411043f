//! The sockets of a peer, and the runtime that the WebRTC library runs them on.
//!
//! The library takes its sockets from a `Runtime`. Ours puts everything on the peer's own thread,
//! gives sockets a receive buffer that a burst fits into, notes when something was last heard, and
//! notices when one of the library's tasks dies.

use std::{
    future::Future,
    io::{self, IoSliceMut},
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs, UdpSocket},
    pin::Pin,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll},
    time::{Duration, Instant},
};

use rtc::shared::ifaces::ifaces;
use tokio::{runtime::Handle, task};
use tokio_util::sync::CancellationToken;
use webrtc::runtime::{
    AsyncInterval, AsyncTcpListener, AsyncTcpStream, AsyncUdpSocket, JoinHandle, RecvMeta, Runtime,
    TokioRuntime, Transmit,
};

/// What a socket should hold while the peer's thread is busy. Linux' default of 208 KiB overflows
/// within a burst, and SCTP then stalls for up to a second.
const RECEIVE_BUFFER_BYTES: usize = 4 * 1024 * 1024;

/// SCTP receive window where the socket holds a burst of it.
const WINDOW_BYTES: u32 = 1024 * 1024;

/// SCTP receive window where the system does not grant the receive buffer: slower, but without
/// stalls.
const SMALL_WINDOW_BYTES: u32 = 64 * 1024;

/// More addresses than this are not offered: every one is tried with every one of the other end.
const MAX_ADDRESSES: usize = 12;

/// The SCTP receive window that the sockets of this machine can hold.
pub(super) fn receive_window() -> u32 {
    static WINDOW: OnceLock<u32> = OnceLock::new();
    *WINDOW.get_or_init(|| {
        let granted = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))
            .and_then(|probe| grow_receive_buffer(&probe))
            .unwrap_or(0);
        if granted >= 2 * WINDOW_BYTES as usize {
            return WINDOW_BYTES;
        }
        tracing::warn!(
            granted,
            wanted = RECEIVE_BUFFER_BYTES,
            "UDP receive buffers are small, transfers will be slower; \
             raise net.core.rmem_max to {RECEIVE_BUFFER_BYTES}"
        );
        SMALL_WINDOW_BYTES
    })
}

/// Asks for [`RECEIVE_BUFFER_BYTES`] and returns what the socket has now. Privileged processes get
/// it whatever the system's limit.
fn grow_receive_buffer(socket: &UdpSocket) -> io::Result<usize> {
    let sized = socket2::SockRef::from(socket);
    sized.set_recv_buffer_size(RECEIVE_BUFFER_BYTES)?;
    let granted = sized.recv_buffer_size()?;
    #[cfg(target_os = "linux")]
    if granted < RECEIVE_BUFFER_BYTES {
        let forced =
            rustix::net::sockopt::set_socket_recv_buffer_size_force(socket, RECEIVE_BUFFER_BYTES);
        if forced.is_ok() {
            return sized.recv_buffer_size();
        }
    }
    Ok(granted)
}

/// The addresses to listen on: every interface's, and the loopback for ends on the same host. Asked
/// anew whenever sockets are bound, so an ICE restart follows a change of networks.
#[derive(Debug, Clone, Copy)]
pub(super) struct LocalAddresses;

impl ToSocketAddrs for LocalAddresses {
    type Iter = std::vec::IntoIter<SocketAddr>;

    fn to_socket_addrs(&self) -> io::Result<Self::Iter> {
        let mut addresses = vec![SocketAddr::from((Ipv4Addr::LOCALHOST, 0))];
        // Without a list of interfaces the loopback still works.
        let interfaces = ifaces().unwrap_or_default();
        for address in interfaces.into_iter().filter_map(|interface| interface.addr) {
            let address = SocketAddr::new(address.ip(), 0);
            // IPv6 may be switched off, its loopback included.
            let is_loopback = address.ip() == Ipv6Addr::LOCALHOST;
            if (is_offered(address.ip()) || is_loopback) && !addresses.contains(&address) {
                addresses.push(address);
            }
        }
        addresses.truncate(MAX_ADDRESSES);
        Ok(addresses.into_iter())
    }
}

/// Whether the other end could reach this address at all.
fn is_offered(ip: IpAddr) -> bool {
    if ip.is_loopback() || ip.is_unspecified() || ip.is_multicast() {
        return false;
    }
    match ip {
        IpAddr::V4(ip) => !ip.is_link_local(),
        // Link-local ones mean nothing without their interface.
        IpAddr::V6(ip) => !ip.is_unicast_link_local(),
    }
}

/// When something was last heard on any socket of a peer.
#[derive(Debug)]
pub(super) struct Heard {
    started: Instant,
    /// Milliseconds after `started`, plus one; 0 for never.
    last: AtomicU64,
}

impl Heard {
    pub(super) fn new() -> Self {
        Self { started: Instant::now(), last: AtomicU64::new(0) }
    }

    fn note(&self, now: Instant) {
        let elapsed = now.saturating_duration_since(self.started).as_millis();
        self.last.store(elapsed as u64 + 1, Ordering::Relaxed);
    }

    /// How long ago, if ever.
    pub(super) fn silent_for(&self, now: Instant) -> Option<Duration> {
        let last = self.last.load(Ordering::Relaxed).checked_sub(1)?;
        let elapsed = now.saturating_duration_since(self.started);
        Some(elapsed.saturating_sub(Duration::from_millis(last)))
    }
}

/// The runtime of one peer: one thread, its sockets, and the news that a task died.
#[derive(Debug)]
pub(super) struct PeerRuntime {
    pub(super) thread: Handle,
    pub(super) heard: Arc<Heard>,
    /// Cancelled when one of the library's tasks panicked.
    pub(super) broken: CancellationToken,
}

impl Runtime for PeerRuntime {
    fn spawn(&self, future: Pin<Box<dyn Future<Output = ()> + Send>>) -> Box<dyn JoinHandle> {
        let broken = self.broken.clone();
        let task = self.thread.spawn(async move {
            let guard = broken.drop_guard();
            future.await;
            guard.disarm();
        });
        Box::new(Task(task.abort_handle()))
    }

    fn wrap_udp_socket(&self, socket: UdpSocket) -> io::Result<Arc<dyn AsyncUdpSocket>> {
        // A small buffer was reported once, by `receive_window`.
        let _ = grow_receive_buffer(&socket);
        let _inside = self.thread.enter();
        let socket = TokioRuntime.wrap_udp_socket(socket)?;
        Ok(Arc::new(HeardSocket { socket, heard: Arc::clone(&self.heard) }))
    }

    fn wrap_tcp_listener(
        &self,
        listener: std::net::TcpListener,
    ) -> io::Result<Arc<dyn AsyncTcpListener>> {
        let _inside = self.thread.enter();
        TokioRuntime.wrap_tcp_listener(listener)
    }

    fn connect_tcp<'a>(
        &'a self,
        remote: SocketAddr,
    ) -> Pin<Box<dyn Future<Output = io::Result<Arc<dyn AsyncTcpStream>>> + Send + 'a>> {
        let _inside = self.thread.enter();
        TokioRuntime.connect_tcp(remote)
    }

    fn resolve_host<'a>(
        &'a self,
        host: &'a str,
    ) -> Pin<Box<dyn Future<Output = io::Result<Vec<SocketAddr>>> + Send + 'a>> {
        let _inside = self.thread.enter();
        TokioRuntime.resolve_host(host)
    }

    fn sleep(&self, duration: Duration) -> Pin<Box<dyn Future<Output = ()> + Send + 'static>> {
        let _inside = self.thread.enter();
        TokioRuntime.sleep(duration)
    }

    fn interval(&self, period: Duration) -> Box<dyn AsyncInterval> {
        let _inside = self.thread.enter();
        TokioRuntime.interval(period)
    }

    fn block_on(&self, future: Pin<Box<dyn Future<Output = ()> + '_>>) {
        TokioRuntime.block_on(future);
    }

    fn yield_now(&self) -> Pin<Box<dyn Future<Output = ()> + Send + 'static>> {
        TokioRuntime.yield_now()
    }

    fn name(&self) -> &'static str {
        "halyard-peer"
    }
}

struct Task(task::AbortHandle);

impl JoinHandle for Task {
    fn detach(&self) {}

    fn abort(&self) {
        self.0.abort();
    }

    fn is_finished(&self) -> bool {
        self.0.is_finished()
    }
}

/// A socket that notes when it hears something.
#[derive(Debug)]
struct HeardSocket {
    socket: Arc<dyn AsyncUdpSocket>,
    heard: Arc<Heard>,
}

impl AsyncUdpSocket for HeardSocket {
    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }

    fn poll_send(&self, cx: &mut Context<'_>, transmit: &Transmit<'_>) -> Poll<io::Result<usize>> {
        self.socket.poll_send(cx, transmit)
    }

    fn poll_recv(
        &self,
        cx: &mut Context<'_>,
        bufs: &mut [IoSliceMut<'_>],
        meta: &mut [RecvMeta],
    ) -> Poll<io::Result<usize>> {
        let polled = self.socket.poll_recv(cx, bufs, meta);
        if matches!(polled, Poll::Ready(Ok(_))) {
            self.heard.note(Instant::now());
        }
        polled
    }

    fn max_gso_segments(&self) -> usize {
        self.socket.max_gso_segments()
    }

    fn max_gro_segments(&self) -> usize {
        self.socket.max_gro_segments()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_loopback_is_always_listened_on() {
        let addresses: Vec<_> = LocalAddresses.to_socket_addrs().unwrap().collect();
        assert!(addresses.contains(&SocketAddr::from((Ipv4Addr::LOCALHOST, 0))));
        assert!(addresses.len() <= MAX_ADDRESSES);
    }

    #[test]
    fn addresses_that_nobody_can_reach_are_not_offered() {
        for ip in ["127.0.0.1", "0.0.0.0", "169.254.3.4", "::1", "::", "fe80::1", "224.0.0.1"] {
            assert!(!is_offered(ip.parse().unwrap()), "{ip}");
        }
        for ip in ["10.0.0.7", "192.168.1.2", "2001:db8::1", "fd00::1"] {
            assert!(is_offered(ip.parse().unwrap()), "{ip}");
        }
    }

    #[test]
    fn silence_is_measured_from_the_last_packet() {
        let heard = Heard::new();
        let start = heard.started;
        assert_eq!(heard.silent_for(start), None);
        heard.note(start + Duration::from_secs(2));
        assert_eq!(heard.silent_for(start + Duration::from_secs(5)), Some(Duration::from_secs(3)));
    }

    #[test]
    fn the_window_fits_into_the_receive_buffer() {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let granted = grow_receive_buffer(&socket).unwrap();
        assert!(receive_window() as usize <= granted.max(SMALL_WINDOW_BYTES as usize));
    }
}

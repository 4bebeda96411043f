//! H.264 or VP8 over RTP that another program sends here (`rtp:PORT`), passed on without encoding it
//! again.
//!
//! Made for what people run already: `gst-launch-1.0 … ! rtph264pay ! udpsink` and
//! `ffmpeg … -c:v libx264 -f rtp`. Datagrams are [read](packet), put back [in order](reorder),
//! put together to pictures of [H.264](depacketize) or [VP8](vp8), and made fit for newcomers
//! ([`stream`]); those parts are pure. This file is the socket, its thread, and what people are told when nothing comes.
//!
//! Plain RTP has no way back to ask for a key frame. A newcomer gets the pictures since the last one,
//! kept by the [fan-out](super::fanout::gop) within its bounds.

pub mod depacketize;
pub mod packet;
pub mod reorder;
pub mod stream;
pub mod vp8;

use std::{
    io::{self, ErrorKind},
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket},
    sync::{
        Arc, Mutex, MutexGuard, OnceLock, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use bytes::Bytes;
use halyard_protocol::channel::VideoInfo;
use socket2::{Domain, Protocol, Socket, Type};
use tracing::{debug, info};

use self::stream::{Output, Seen, Stream, Unfit};
use super::{
    follow::Aim,
    frame::VideoCodec,
    keyframes::KeyframeReason,
    source::{Alarm, Sink, Source, SourceError, SourceEvent},
};

/// The name of the picture.
pub const NAME: &str = "rtp";

/// No picture for this long is told to people.
pub const SILENCE: Duration = Duration::from_secs(2);

/// The receive buffer asked of the system: senders put a whole key frame on the wire at once.
const RECEIVE_BUFFER: usize = 4 * 1024 * 1024;

/// How often the thread looks up from an idle socket.
const LOOK_UP: Duration = Duration::from_millis(100);

/// Receives on one address.
pub struct RtpSource {
    addr: SocketAddr,
    codec: VideoCodec,
    shared: Arc<Shared>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

struct Shared {
    info: Mutex<VideoInfo>,
    stop: AtomicBool,
    /// Where it receives, once started.
    local: OnceLock<SocketAddr>,
}

impl RtpSource {
    /// Will receive this codec on an address; the socket is opened by [`start`](Source::start). Port 0
    /// takes any free port.
    pub fn new(addr: SocketAddr, codec: VideoCodec) -> Self {
        let info = VideoInfo {
            name: NAME.to_owned(),
            codec: codec.word().to_owned(),
            width: 0,
            height: 0,
            fps: 0.0,
            strip: false,
            renditions: Vec::new(),
        };
        let shared =
            Shared { info: Mutex::new(info), stop: AtomicBool::new(false), local: OnceLock::new() };
        Self { addr, codec, shared: Arc::new(shared), thread: Mutex::new(None) }
    }

    /// Where it receives, once started.
    pub fn local_addr(&self) -> Option<SocketAddr> {
        self.shared.local.get().copied()
    }
}

impl Source for RtpSource {
    fn info(&self) -> VideoInfo {
        lock(&self.shared.info).clone()
    }

    fn start(&mut self, sink: Arc<dyn Sink>) -> Result<(), SourceError> {
        if self.shared.local.get().is_some() {
            return Err(SourceError::StartedBefore);
        }
        let bind = |source| SourceError::BindRtp { addr: self.addr, source };
        let socket = open(self.addr).map_err(bind)?;
        let local = socket.local_addr().map_err(bind)?;
        let codec = self.codec;
        info!(%local, "receiving {} over RTP", codec.name());
        let shared = self.shared.clone();
        shared.local.get_or_init(|| local);
        let thread = thread::Builder::new()
            .name("rtp".to_owned())
            .spawn(move || receive(&socket, (local, codec), &shared, &*Alarm(sink).0))
            .map_err(SourceError::Thread)?;
        *lock(&self.thread) = Some(thread);
        Ok(())
    }

    /// Goes on receiving when nobody watches: that costs little, and the next viewer starts at once.
    fn set_watched(&self, _rendition: usize, _watched: bool) {}

    fn request_keyframe(&self, _rendition: usize, _reason: KeyframeReason) {}

    fn aim(&self, _rendition: usize, _aim: Aim) {}

    fn makes_keyframes(&self) -> bool {
        false
    }

    fn stop(&self) {
        self.shared.stop.store(true, Ordering::Relaxed);
        let Some(thread) = lock(&self.thread).take() else { return };
        if let Some(local) = self.shared.local.get() {
            wake(*local);
        }
        if let Err(panic) = thread.join() {
            std::panic::resume_unwind(panic);
        }
    }
}

impl Drop for RtpSource {
    fn drop(&mut self) {
        if !thread::panicking() {
            self.stop();
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn open(addr: SocketAddr) -> io::Result<UdpSocket> {
    let socket = Socket::new(Domain::for_address(addr), Type::DGRAM, Some(Protocol::UDP))?;
    // As much as the system allows; less is no reason not to start.
    if let Err(error) = socket.set_recv_buffer_size(RECEIVE_BUFFER) {
        debug!(%error, "the receive buffer stays as it is");
    }
    socket.bind(&addr.into())?;
    socket.set_read_timeout(Some(LOOK_UP))?;
    Ok(socket.into())
}

/// Sends an empty datagram to our own socket, so that a thread that waits there looks up now. If that
/// fails it looks up within [`LOOK_UP`].
fn wake(mut local: SocketAddr) {
    let (loopback, any): (IpAddr, SocketAddr) = match local {
        SocketAddr::V4(_) => (Ipv4Addr::LOCALHOST.into(), (Ipv4Addr::UNSPECIFIED, 0).into()),
        SocketAddr::V6(_) => (Ipv6Addr::LOCALHOST.into(), (Ipv6Addr::UNSPECIFIED, 0).into()),
    };
    if local.ip().is_unspecified() {
        local.set_ip(loopback);
    }
    let sent = UdpSocket::bind(any).and_then(|socket| socket.send_to(&[], local));
    if let Err(error) = sent {
        debug!(%error, "could not wake the RTP thread");
    }
}

/// Receives until the source stops.
fn receive(
    socket: &UdpSocket,
    (local, codec): (SocketAddr, VideoCodec),
    shared: &Shared,
    sink: &dyn Sink,
) {
    let mut buffer = vec![0; 65_536];
    let mut stream = Stream::new(codec);
    let mut out = Vec::new();
    let mut watch = Watch::new(Instant::now());
    while !shared.stop.load(Ordering::Relaxed) {
        let got = socket.recv(&mut buffer);
        let now = Instant::now();
        match got {
            Ok(length) => {
                stream.datagram(&Bytes::copy_from_slice(&buffer[..length]), now, &mut out);
            }
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
            Err(error) => {
                // Linux tells of an unreachable peer here; there is nothing to do about it.
                debug!(%error, "receiving RTP");
                thread::yield_now();
            }
        }
        for output in out.drain(..) {
            match output {
                Output::Frame(frame) => {
                    if watch.picture(now) {
                        sink.event(SourceEvent::Back);
                    }
                    sink.frame(frame);
                }
                Output::Geometry(read) => {
                    let mut info = lock(&shared.info);
                    (info.width, info.height) = (read.width, read.height);
                    info.fps = read.fps.unwrap_or(0.0);
                    info!(width = read.width, height = read.height, fps = info.fps, "RTP picture");
                    let told = info.clone();
                    drop(info);
                    sink.event(SourceEvent::Info(told));
                }
                Output::Unfit(unfit) => {
                    sink.event(SourceEvent::Unfit { reason: advice(unfit) });
                }
                Output::Restarted => info!("another RTP sender took over"),
            }
        }
        if let Some(since) = watch.silence(now, stream.seen()) {
            sink.event(SourceEvent::Lost { reason: diagnosis(local, codec, since) });
        }
    }
}

/// Notices when pictures stop and come back.
#[derive(Debug)]
struct Watch {
    /// The last picture, or the start.
    last: Instant,
    /// What had been seen then.
    then: Seen,
    /// People know that nothing comes.
    told: bool,
}

impl Watch {
    fn new(now: Instant) -> Self {
        Self { last: now, then: Seen::default(), told: false }
    }

    /// A picture came. Says whether people must be told that it is back.
    fn picture(&mut self, now: Instant) -> bool {
        self.last = now;
        std::mem::take(&mut self.told)
    }

    /// Gives what came instead of pictures, once per silence.
    fn silence(&mut self, now: Instant, seen: Seen) -> Option<Seen> {
        if self.last == now {
            self.then = seen;
        }
        if self.told || now.saturating_duration_since(self.last) < SILENCE {
            return None;
        }
        self.told = true;
        Some(Seen {
            datagrams: seen.datagrams - self.then.datagrams,
            packets: seen.packets - self.then.packets,
            units: seen.units - self.then.units,
            frames: seen.frames,
        })
    }
}

/// What to change in a stream that browsers do not show well.
fn advice(unfit: Unfit) -> String {
    match unfit {
        Unfit::Format => {
            "Browsers do not show this H.264: it has more than 8 bits or is not 4:2:0. \
             Convert it before the encoder: `videoconvert ! video/x-raw,format=I420` (GStreamer), \
             `-pix_fmt yuv420p` (ffmpeg)."
        }
        Unfit::LooksAhead => {
            "This H.264 has B-frames, which come late and stutter in browsers. Turn \
             them off: `x264enc tune=zerolatency` (GStreamer), `-tune zerolatency` (ffmpeg)."
        }
    }
    .to_owned()
}

/// Why no picture comes, and what to do about it.
fn diagnosis(local: SocketAddr, codec: VideoCodec, since: Seen) -> String {
    let name = codec.name();
    if since.datagrams == 0 && since.frames == 0 {
        let encoder = match codec {
            VideoCodec::H264 => "-c:v libx264 -tune zerolatency",
            VideoCodec::Vp8 => "-c:v libvpx -deadline realtime",
        };
        format!(
            "nothing arrives on UDP {local} yet. Start the sender, for example: \
             ffmpeg -re -i FILE -an {encoder} -f rtp rtp://{local}"
        )
    } else if since.datagrams == 0 {
        format!("nothing arrives on UDP {local} any more. Is the sender running?")
    } else if since.packets == 0 || since.units == 0 {
        let (standard, gst, ffmpeg, port) = match codec {
            VideoCodec::H264 => {
                ("RFC 6184", "rtph264pay", "libx264", "rtp:PORT,codec=vp8 takes VP8")
            }
            VideoCodec::Vp8 => ("RFC 7741", "rtpvp8pay", "libvpx", "rtp:PORT takes H.264"),
        };
        format!(
            "what arrives on UDP {local} is no {name} over RTP ({standard}). Send it with \
             `{gst} ! udpsink` (GStreamer) or `-c:v {ffmpeg} -f rtp` (ffmpeg); {port}."
        )
    } else {
        let repeat = match codec {
            VideoCodec::H264 => {
                "with its parameter sets. Let the sender repeat them: `rtph264pay \
                 config-interval=-1` and `x264enc key-int-max=60` (GStreamer), `-g 60` (ffmpeg)."
            }
            VideoCodec::Vp8 => {
                "to begin with. Let the sender make them: `vp8enc keyframe-max-dist=60` (GStreamer), \
                 `-g 60` (ffmpeg)."
            }
        };
        format!("{name} arrives on UDP {local}, but no key frame {repeat}")
    }
}

#[cfg(test)]
mod tests;

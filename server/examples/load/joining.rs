//! Many peers that connect, upgrade and register at the same time.

use std::{io::ErrorKind, time::Instant};

use anyhow::{Result, bail, ensure};
use hdrhistogram::Histogram;
use mio::{Events, Interest, Poll, Token, net::TcpStream};

use crate::{
    crowd::SCRATCH_BYTES,
    report::histogram,
    socket::{Socket, client_frame, is_welcome, upgrade},
    target::Target,
};

/// How far one has come.
#[derive(PartialEq, Eq)]
enum Stage {
    Connecting,
    Upgrading,
    Registering,
    /// Told the server goodbye, and waits for it to close.
    Leaving,
}

struct Joiner {
    socket: Socket,
    stage: Stage,
    register: String,
    began: Instant,
}

/// What becomes of who has joined.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Then {
    Leave,
    Stay,
}

/// Joins under way.
pub(crate) struct Joining<'a> {
    target: &'a Target,
    then: Then,
    poll: Poll,
    under_way: Vec<Option<Joiner>>,
    scratch: Vec<u8>,
    upgrade: String,
    /// From the call to connect to the welcome.
    pub(crate) latencies: Histogram<u64>,
    pub(crate) joined: u64,
    /// Those who stayed, with what they were welcomed with.
    pub(crate) stayed: Vec<(Socket, String)>,
}

impl<'a> Joining<'a> {
    pub(crate) fn new(target: &'a Target, then: Then) -> Result<Self> {
        Ok(Self {
            target,
            then,
            poll: Poll::new()?,
            under_way: Vec::new(),
            scratch: vec![0; SCRATCH_BYTES],
            upgrade: upgrade(&target.host),
            latencies: histogram(),
            joined: 0,
            stayed: Vec::new(),
        })
    }

    /// Keeps `at_once` of them under way until `next` has no more to say or `until` says stop,
    /// and waits for those.
    pub(crate) fn run(
        &mut self,
        at_once: usize,
        mut next: impl FnMut() -> Option<String>,
        mut until: impl FnMut(&mut Self) -> Result<bool>,
    ) -> Result<()> {
        self.under_way = (0..at_once).map(|_| None).collect();
        let mut events = Events::with_capacity(1024);
        loop {
            let stop = until(self)?;
            let mut busy = false;
            for slot in 0..at_once {
                if self.under_way[slot].is_none()
                    && !stop
                    && let Some(register) = next()
                {
                    self.start(slot, register)?;
                }
                busy |= self.under_way[slot].is_some();
            }
            if !busy {
                return Ok(());
            }
            self.poll.poll(&mut events, Some(std::time::Duration::from_secs(10)))?;
            ensure!(!events.is_empty(), "joins got stuck: nothing was heard for 10 s");
            for event in &events {
                self.advance(event.token().0)?;
            }
        }
    }

    fn start(&mut self, slot: usize, register: String) -> Result<()> {
        let began = Instant::now();
        let mut stream = TcpStream::connect(self.target.addr)?;
        let both = Interest::READABLE | Interest::WRITABLE;
        self.poll.registry().register(&mut stream, Token(slot), both)?;
        let socket = Socket::over(stream);
        self.under_way[slot] = Some(Joiner { socket, stage: Stage::Connecting, register, began });
        Ok(())
    }

    fn advance(&mut self, slot: usize) -> Result<()> {
        let Some(joiner) = &mut self.under_way[slot] else { return Ok(()) };
        if joiner.stage == Stage::Connecting {
            if let Some(error) = joiner.socket.stream.take_error()? {
                return Err(error.into());
            }
            match joiner.socket.stream.peer_addr() {
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::NotConnected => return Ok(()),
                Err(error) => return Err(error.into()),
            }
            joiner.socket.stream.set_nodelay(true)?;
            joiner.socket.queue(self.upgrade.as_bytes());
            joiner.stage = Stage::Upgrading;
        }
        if joiner.stage == Stage::Upgrading {
            use std::io::Read;
            joiner.socket.flush()?;
            match joiner.socket.stream.read(&mut self.scratch) {
                Ok(read) => {
                    let head = &self.scratch[..read];
                    // Loopback and a small answer: it comes whole or not at all.
                    ensure!(
                        head.starts_with(b"HTTP/1.1 101") && head.ends_with(b"\r\n\r\n"),
                        "not upgraded: {}",
                        String::from_utf8_lossy(head)
                    );
                    joiner.socket.queue(&client_frame(&joiner.register));
                    joiner.stage = Stage::Registering;
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error.into()),
            }
        }
        let leaving = joiner.stage == Stage::Leaving;
        joiner.socket.flush()?;
        let mut welcome = None;
        let mut refused = None;
        let mut look = |_: u8, text: &[u8]| {
            if is_welcome(text) {
                welcome = Some(String::from_utf8_lossy(text).into_owned());
            } else if text.starts_with(br#"{"type":"error""#) {
                refused = Some(String::from_utf8_lossy(text).into_owned());
            }
        };
        while joiner.socket.read(&mut self.scratch, &mut look)? > 0 {}
        if let Some(refused) = refused {
            bail!("refused: {refused}");
        }
        if let Some(welcome) = welcome {
            self.latencies.saturating_record(joiner.began.elapsed().as_nanos() as u64);
            self.joined += 1;
            match self.then {
                Then::Leave => {
                    joiner.socket.queue(&client_frame(r#"{"type":"leave"}"#));
                    joiner.socket.flush()?;
                    joiner.stage = Stage::Leaving;
                }
                Then::Stay => {
                    if let Some(mut joiner) = self.under_way[slot].take() {
                        self.poll.registry().deregister(&mut joiner.socket.stream)?;
                        self.stayed.push((joiner.socket, welcome));
                    }
                    return Ok(());
                }
            }
        }
        if !joiner.socket.open {
            ensure!(leaving || joiner.stage == Stage::Leaving, "closed before it had joined");
            self.under_way[slot] = None;
        }
        Ok(())
    }
}

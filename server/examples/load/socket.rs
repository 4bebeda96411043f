//! One WebSocket, with as little of the client's own work as there can be.
//!
//! Frames are made beforehand and sent as they are; what is read is looked at and not copied. It
//! speaks to servers that are trusted to keep to RFC 6455.

use std::{
    io::{self, Read, Write},
    net::{Shutdown, SocketAddr},
    time::Duration,
};

use anyhow::{Context, Result, bail, ensure};
use mio::net::TcpStream;

pub(crate) const TEXT: u8 = 1;
pub(crate) const CLOSE: u8 = 8;
/// What every client frame is masked with. Servers take any.
const MASK: [u8; 4] = [0x5a, 0x21, 0xc3, 0x7e];
const ANSWER_WITHIN: Duration = Duration::from_secs(10);

/// A text as a frame of a client.
pub(crate) fn client_frame(text: &str) -> Vec<u8> {
    let mut frame = header(0x80 | TEXT, text.len(), 0x80);
    frame.extend_from_slice(&MASK);
    frame.extend(text.bytes().zip(MASK.iter().cycle()).map(|(byte, mask)| byte ^ mask));
    frame
}

/// The head of a frame without its mask.
pub(crate) fn header(first: u8, len: usize, masked: u8) -> Vec<u8> {
    let mut head = vec![first];
    match len {
        0..=125 => head.push(masked | len as u8),
        126..=0xffff => {
            head.push(masked + 126);
            head.extend_from_slice(&(len as u16).to_be_bytes());
        }
        _ => {
            head.push(masked + 127);
            head.extend_from_slice(&(len as u64).to_be_bytes());
        }
    }
    head
}

/// A frame at the beginning of these bytes: its first byte, where its payload is, and its mask.
pub(crate) struct Frame {
    pub(crate) opcode: u8,
    pub(crate) start: usize,
    pub(crate) end: usize,
    pub(crate) mask: Option<[u8; 4]>,
}

/// The first whole frame, if there is one.
pub(crate) fn parse(bytes: &[u8]) -> Option<Frame> {
    let (first, second) = (*bytes.first()?, *bytes.get(1)?);
    let (len, mut start) = match second & 0x7f {
        126 => (u16::from_be_bytes(*bytes.get(2..)?.first_chunk()?) as usize, 4),
        127 => (u64::from_be_bytes(*bytes.get(2..)?.first_chunk()?) as usize, 10),
        short => (usize::from(short), 2),
    };
    let mask = if second & 0x80 == 0 {
        None
    } else {
        start += 4;
        Some(*bytes.get(start - 4..)?.first_chunk()?)
    };
    let end = start + len;
    (bytes.len() >= end).then_some(Frame { opcode: first & 0xf, start, end, mask })
}

/// The request that makes a WebSocket of a connection.
pub(crate) fn upgrade(host: &str) -> String {
    format!(
        "GET /ws HTTP/1.1\r\nHost: {host}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    )
}

/// A connected WebSocket.
pub(crate) struct Socket {
    pub(crate) stream: TcpStream,
    partial: Vec<u8>,
    out: Vec<u8>,
    written: usize,
    pub(crate) open: bool,
}

impl Socket {
    pub(crate) fn over(stream: TcpStream) -> Self {
        Self { stream, partial: Vec::new(), out: Vec::new(), written: 0, open: true }
    }

    /// Connects, upgrades and registers, waiting for each answer. Gives the welcome, too.
    pub(crate) fn registered(
        addr: SocketAddr,
        host: &str,
        register: &str,
    ) -> Result<(Self, String)> {
        let mut stream = std::net::TcpStream::connect(addr).context("connecting")?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(ANSWER_WITHIN))?;
        stream.write_all(upgrade(host).as_bytes())?;
        let mut head = Vec::new();
        let mut byte = [0];
        while !head.ends_with(b"\r\n\r\n") {
            stream.read_exact(&mut byte).context("the answer to the upgrade")?;
            head.push(byte[0]);
        }
        let head = String::from_utf8_lossy(&head);
        ensure!(head.starts_with("HTTP/1.1 101"), "not upgraded: {head}");
        stream.write_all(&client_frame(register))?;
        let mut bytes = Vec::new();
        let mut chunk = [0; 16 * 1024];
        loop {
            while let Some(frame) = parse(&bytes) {
                let text = String::from_utf8_lossy(&bytes[frame.start..frame.end]).into_owned();
                bytes.drain(..frame.end);
                if is_welcome(text.as_bytes()) {
                    stream.set_nonblocking(true)?;
                    let mut socket = Self::over(TcpStream::from_std(stream));
                    socket.partial = bytes;
                    return Ok((socket, text));
                }
                if frame.opcode == TEXT && text.contains(r#""error""#) {
                    bail!("refused: {text}");
                }
            }
            let read = stream.read(&mut chunk).context("the answer to register")?;
            ensure!(read > 0, "closed instead of an answer to register");
            bytes.extend_from_slice(&chunk[..read]);
        }
    }

    /// Reads what there is and shows every frame. Closed sockets show up as `open == false`.
    ///
    /// What was read without filling `scratch` is taken for all there is. Behind it there may be
    /// the end of the stream: who waits for that reads until this says that it read nothing.
    pub(crate) fn read(
        &mut self,
        scratch: &mut [u8],
        mut each: impl FnMut(u8, &[u8]),
    ) -> Result<usize> {
        let mut total = 0;
        loop {
            let read = match self.stream.read(scratch) {
                Ok(0) => {
                    self.open = false;
                    return Ok(total);
                }
                Ok(read) => read,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(total),
                Err(error) if error.kind() == io::ErrorKind::ConnectionReset => {
                    self.open = false;
                    return Ok(total);
                }
                Err(error) => return Err(error.into()),
            };
            total += read;
            if self.partial.is_empty() {
                let used = show(&scratch[..read], &mut each);
                self.partial.extend_from_slice(&scratch[used..read]);
            } else {
                self.partial.extend_from_slice(&scratch[..read]);
                let used = show(&self.partial, &mut each);
                self.partial.drain(..used);
            }
            if read < scratch.len() {
                return Ok(total);
            }
        }
    }

    pub(crate) fn queue(&mut self, bytes: &[u8]) {
        self.out.extend_from_slice(bytes);
    }

    /// Bytes that wait to be written.
    pub(crate) fn waiting(&self) -> usize {
        self.out.len() - self.written
    }

    /// Writes what the kernel takes.
    pub(crate) fn flush(&mut self) -> Result<()> {
        self.flush_some(usize::MAX)
    }

    /// The same, but no more than so many bytes: copying a large message takes the time of several
    /// small ones.
    pub(crate) fn flush_some(&mut self, most: usize) -> Result<()> {
        let end = self.out.len().min(self.written.saturating_add(most));
        while self.written < end {
            match self.stream.write(&self.out[self.written..end]) {
                Ok(written) => self.written += written,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) => {
                    self.open = false;
                    return Err(error).context("writing");
                }
            }
        }
        if self.written == self.out.len() {
            self.out.clear();
            self.written = 0;
        }
        Ok(())
    }

    /// Drops the connection without the goodbye of WebSocket.
    pub(crate) fn cut(&self) {
        let _ = self.stream.shutdown(Shutdown::Both);
    }
}

fn show(bytes: &[u8], each: &mut impl FnMut(u8, &[u8])) -> usize {
    let mut used = 0;
    while let Some(frame) = parse(&bytes[used..]) {
        each(frame.opcode, &bytes[used + frame.start..used + frame.end]);
        used += frame.end;
    }
    used
}

/// Whether this is the answer to `register`.
pub(crate) fn is_welcome(text: &[u8]) -> bool {
    text.get(..64).unwrap_or(text).windows(15).any(|window| window == b"registered_auth")
}

/// Whether this is a message of another peer, and not one of the broker's own.
pub(crate) fn is_relayed(opcode: u8, text: &[u8]) -> bool {
    // The broker's own begin with their type; what it relays begins with the sender it put in
    // front, or is one of the messages that `target` makes.
    opcode == TEXT
        && (text.starts_with(br#"{"sender""#)
            || text.starts_with(br#"{"type":"offer""#)
            || text.starts_with(br#"{"type":"candidate""#))
}

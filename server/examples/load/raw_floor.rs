//! What the kernel costs by itself: one thread, epoll, and frames that are turned around.

use std::{
    collections::HashMap,
    io::{ErrorKind, Read},
    net::SocketAddr,
};

use anyhow::{Context, Result};
use mio::{Events, Interest, Poll, Token, net::TcpListener};
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

use crate::{
    crowd::SCRATCH_BYTES,
    floor::{Register, WELCOME},
    socket::{Frame, Socket, TEXT, header, parse},
};

const LISTENER: Token = Token(usize::MAX);

struct Guest {
    socket: Socket,
    upgraded: bool,
    pending: Vec<u8>,
    /// The other one of its room.
    other: Option<usize>,
}

#[derive(Default)]
struct House {
    guests: Vec<Option<Guest>>,
    free: Vec<usize>,
    alone: HashMap<String, usize>,
}

pub(crate) fn serve(addr: SocketAddr) -> Result<()> {
    let mut listener = TcpListener::bind(addr)?;
    println!("{}", listener.local_addr()?);
    let mut poll = Poll::new()?;
    poll.registry().register(&mut listener, LISTENER, Interest::READABLE)?;
    let mut events = Events::with_capacity(1024);
    let mut scratch = vec![0; SCRATCH_BYTES];
    let mut house = House::default();
    loop {
        poll.poll(&mut events, None)?;
        for event in &events {
            if event.token() != LISTENER {
                let number = event.token().0;
                if house.advance(number, &mut scratch).is_err() {
                    house.leave(number);
                }
                continue;
            }
            while let Ok((mut stream, _)) = listener.accept() {
                stream.set_nodelay(true)?;
                let number = house.free.pop().unwrap_or(house.guests.len());
                let both = Interest::READABLE | Interest::WRITABLE;
                poll.registry().register(&mut stream, Token(number), both)?;
                let socket = Socket::over(stream);
                let guest = Guest { socket, upgraded: false, pending: Vec::new(), other: None };
                if number == house.guests.len() {
                    house.guests.push(Some(guest));
                } else {
                    house.guests[number] = Some(guest);
                }
            }
        }
    }
}

impl House {
    fn leave(&mut self, number: usize) {
        let Some(guest) = self.guests[number].take() else { return };
        self.free.push(number);
        self.alone.retain(|_, alone| *alone != number);
        if let Some(other) = guest.other.and_then(|other| self.guests[other].as_mut()) {
            other.other = None;
        }
    }

    /// Reads what there is and turns it around. An error is the end of the socket.
    fn advance(&mut self, number: usize, scratch: &mut [u8]) -> Result<()> {
        let Some(mut guest) = self.guests[number].take() else { return Ok(()) };
        guest.socket.flush()?;
        let result = loop {
            match guest.socket.stream.read(scratch) {
                Ok(0) => break Err(anyhow::anyhow!("closed")),
                Ok(read) => {
                    let result = self.heard(&mut guest, number, &mut scratch[..read]);
                    if result.is_err() || read < scratch.len() {
                        break result;
                    }
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => break Ok(()),
                Err(error) => break Err(error.into()),
            }
        };
        if let Some(other) = guest.other.and_then(|other| self.guests[other].as_mut()) {
            let _ = other.socket.flush();
        }
        self.guests[number] = Some(guest);
        result
    }

    fn heard(&mut self, guest: &mut Guest, number: usize, bytes: &mut [u8]) -> Result<()> {
        if guest.pending.is_empty() {
            let used = self.frames(guest, number, bytes)?;
            guest.pending.extend_from_slice(&bytes[used..]);
        } else {
            let mut pending = std::mem::take(&mut guest.pending);
            pending.extend_from_slice(bytes);
            let used = self.frames(guest, number, &mut pending)?;
            pending.drain(..used);
            guest.pending = pending;
        }
        Ok(())
    }

    fn frames(&mut self, guest: &mut Guest, number: usize, bytes: &mut [u8]) -> Result<usize> {
        let mut used = 0;
        if !guest.upgraded {
            let text = String::from_utf8_lossy(bytes);
            let Some(end) = text.find("\r\n\r\n") else { return Ok(0) };
            let key = text.split("Sec-WebSocket-Key: ").nth(1).and_then(|k| k.split('\r').next());
            let accept = derive_accept_key(key.context("no key")?.as_bytes());
            guest.socket.queue(
                format!(
                    "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\n\
                     Upgrade: websocket\r\nSec-WebSocket-Accept: {accept}\r\n\r\n"
                )
                .as_bytes(),
            );
            guest.socket.flush()?;
            guest.upgraded = true;
            used = end + 4;
        }
        while let Some(Frame { start, end, mask, .. }) = parse(&bytes[used..]) {
            let payload = &mut bytes[used + start..used + end];
            let mask = mask.unwrap_or_default();
            for four in payload.chunks_mut(4) {
                for (byte, mask) in four.iter_mut().zip(mask) {
                    *byte ^= mask;
                }
            }
            if let Some(other) = guest.other.and_then(|other| self.guests[other].as_mut()) {
                other.socket.queue(&header(0x80 | TEXT, payload.len(), 0));
                other.socket.queue(payload);
            } else if let Ok(register) = serde_json::from_slice::<Register>(payload) {
                self.enter(guest, number, register);
            }
            if payload.starts_with(br#"{"type":"leave""#) {
                anyhow::bail!("it left");
            }
            used += end;
        }
        Ok(used)
    }

    fn enter(&mut self, guest: &mut Guest, number: usize, register: Register) {
        if let Some(first) = self.alone.remove(&register.room_id) {
            guest.other = Some(first);
            if let Some(first) = &mut self.guests[first] {
                first.other = Some(number);
            }
        } else {
            self.alone.insert(register.room_id, number);
        }
        guest.socket.queue(&header(0x80 | TEXT, WELCOME.len(), 0));
        guest.socket.queue(WELCOME.as_bytes());
        let _ = guest.socket.flush();
    }
}

//! Pairs of peers, registered and watched for events.

use anyhow::{Context, Result};
use mio::{Interest, Poll, Token};

use crate::{
    socket::{Socket, is_relayed},
    target::{Target, conversation},
};

/// What one system call may read.
pub(crate) const SCRATCH_BYTES: usize = 256 * 1024;

/// One of two peers of a room.
pub(crate) struct Peer {
    pub(crate) socket: Socket,
    frames: Vec<Vec<u8>>,
    next: usize,
}

impl Peer {
    /// Queues its next message to the other one.
    pub(crate) fn say(&mut self) {
        self.socket.queue(&self.frames[self.next]);
        self.next = (self.next + 1) % self.frames.len();
    }

    /// Reads; how many messages of the other one there were.
    pub(crate) fn hear(&mut self, scratch: &mut [u8]) -> Result<usize> {
        let mut heard = 0;
        let mut refused = None;
        self.socket.read(scratch, |opcode, text| {
            if is_relayed(opcode, text) {
                heard += 1;
            } else if text.starts_with(br#"{"type":"error""#) {
                refused = Some(String::from_utf8_lossy(text).into_owned());
            }
        })?;
        if let Some(refused) = refused {
            anyhow::bail!("the server refused a message: {refused}");
        }
        anyhow::ensure!(self.socket.open, "the server closed the socket of a peer");
        Ok(heard)
    }
}

/// Registers two peers in each room and watches them: the peers 2n and 2n + 1 are in room n, under
/// the tokens of their numbers.
pub(crate) fn pairs(target: &Target, rooms: usize, poll: &Poll) -> Result<Vec<Peer>> {
    let mut peers = Vec::with_capacity(rooms * 2);
    for number in 0..rooms * 2 {
        let name = |number: usize| format!("peer-{number}");
        let register = target.register(number / 2, &name(number), None);
        let (mut socket, _) = Socket::registered(target.addr, &target.host, &register)
            .with_context(|| format!("peer {number}"))?;
        poll.registry().register(
            &mut socket.stream,
            Token(number),
            Interest::READABLE | Interest::WRITABLE,
        )?;
        peers.push(Peer { socket, frames: conversation(&name(number ^ 1)), next: 0 });
    }
    Ok(peers)
}

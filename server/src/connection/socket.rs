//! A WebSocket on a stream, without a buffer of its own.
//!
//! All sockets of a thread are read into the same buffer and written from the same one, because a
//! task keeps the thread from the moment it reads until it has looked at what was read. What the
//! kernel does not take, and frames that are not whole, are the only bytes that a socket keeps.

use std::{
    cell::RefCell,
    future::poll_fn,
    io,
    pin::Pin,
    task::{Context, Poll, ready},
};

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};

use super::frames::{self, Frames, Heard, Unreadable};

/// Read with one system call: an offer and its candidates, or several sockets' worth of small talk.
const READ_BYTES: usize = 16 * 1024;
/// A socket that has this much to say at once lets the others have their turn.
const TURN_BYTES: usize = 32 * 1024;
/// Frames are gathered up to this before they are handed to the kernel.
const WRITE_BYTES: usize = 64 * 1024;
/// What a peer may still send after it was told goodbye. Closing with unread bytes would reset the
/// connection, and the peer would never see why.
const GOODBYE_BYTES: usize = 16 * 1024 * 1024;

thread_local! {
    static READ: RefCell<Vec<u8>> = RefCell::new(vec![0; READ_BYTES]);
    static WRITE: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// Why nothing more comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ended {
    /// The stream broke or was closed without a goodbye.
    Lost,
    /// What came cannot be read.
    Unreadable(Unreadable),
}

/// What a peer closed with.
#[derive(Debug, Clone, Copy)]
struct Goodbye {
    code: Option<u16>,
}

/// One WebSocket, this end being the server.
#[derive(Debug)]
pub(super) struct Socket<S> {
    stream: S,
    frames: Frames,
    /// What the kernel did not take.
    unsent: Vec<u8>,
    sent: usize,
    /// Bytes read in this turn.
    turn: usize,
    /// The peer's goodbye, to be answered with the same code.
    closed: Option<Goodbye>,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Socket<S> {
    /// On a stream that was just upgraded, of which `first` was read already.
    pub(super) fn new(stream: S, first: Vec<u8>) -> Self {
        let frames = Frames::of_a_stranger(first);
        Self { stream, frames, unsent: Vec::new(), sent: 0, turn: 0, closed: None }
    }

    /// It is a peer's from now on, who may send more than a stranger.
    pub(super) fn is_a_peers(&mut self) {
        self.frames.are_a_peers();
    }

    /// The next message. Nothing is lost when this is dropped while it waits.
    pub(super) async fn next(&mut self) -> Result<Heard, Ended> {
        poll_fn(|cx| self.poll_next(cx)).await
    }

    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Result<Heard, Ended>> {
        let mut heard = self.frames.next().map_err(Ended::Unreadable)?;
        while heard.is_none() {
            heard = ready!(self.poll_read(cx))?;
        }
        if let Some(Heard::Close(code)) = heard {
            self.closed = Some(Goodbye { code });
        }
        Poll::Ready(heard.ok_or(Ended::Lost))
    }

    fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Heard>, Ended>> {
        READ.with_borrow_mut(|buffer| {
            let mut buffer = ReadBuf::new(buffer);
            let read = Pin::new(&mut self.stream).poll_read(cx, &mut buffer);
            if read.is_pending() {
                self.turn = 0;
            }
            let fresh = buffer.filled_mut();
            if ready!(read).is_err() || fresh.is_empty() {
                return Poll::Ready(Err(Ended::Lost));
            }
            self.turn += fresh.len();
            Poll::Ready(self.frames.read(fresh).map_err(Ended::Unreadable))
        })
    }

    /// Whether it has been read so much without a pause that others should have their turn.
    pub(super) fn had_its_turn(&mut self) -> bool {
        let over = self.turn >= TURN_BYTES;
        if over {
            self.turn = 0;
        }
        over
    }

    /// Writes the frames that `gather` appends one after the other, until it says that there are no
    /// more, with as few system calls as they take. What was begun is finished by the next write if
    /// this is dropped while it waits.
    pub(super) async fn write(
        &mut self,
        mut gather: impl FnMut(&mut Vec<u8>) -> bool,
    ) -> io::Result<()> {
        poll_fn(|cx| {
            loop {
                ready!(self.poll_unsent(cx))?;
                if !self.write_gathered(cx, &mut gather)? {
                    return Pin::new(&mut self.stream).poll_flush(cx);
                }
            }
        })
        .await
    }

    /// Writes what one call appends.
    pub(super) async fn write_once(&mut self, append: impl FnOnce(&mut Vec<u8>)) -> io::Result<()> {
        let mut append = Some(append);
        self.write(|out| append.take().map(|append| append(out)).is_some()).await
    }

    fn poll_unsent(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.sent < self.unsent.len() {
            let left = &self.unsent[self.sent..];
            match ready!(Pin::new(&mut self.stream).poll_write(cx, left))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                more => self.sent += more,
            }
        }
        self.unsent = Vec::new();
        self.sent = 0;
        Poll::Ready(Ok(()))
    }

    /// One system call's worth of frames. Keeps what the kernel does not take.
    fn write_gathered(
        &mut self,
        cx: &mut Context<'_>,
        gather: &mut impl FnMut(&mut Vec<u8>) -> bool,
    ) -> io::Result<bool> {
        WRITE.with_borrow_mut(|out| {
            out.clear();
            // A single large message should not be held on to for ever.
            out.shrink_to(WRITE_BYTES * 2);
            while out.len() < WRITE_BYTES && gather(out) {}
            if out.is_empty() {
                return Ok(false);
            }
            let written = match Pin::new(&mut self.stream).poll_write(cx, out) {
                Poll::Ready(written) => written?,
                Poll::Pending => 0,
            };
            self.unsent.extend_from_slice(&out[written..]);
            Ok(true)
        })
    }

    /// Says goodbye and lets the peer read that: the socket is closed for writing, and for reading
    /// when the peer has closed its side. A goodbye of the peer's is answered with its own code.
    pub(super) async fn close(&mut self, code: u16, reason: &str) {
        let said = match self.closed {
            Some(theirs) => theirs.code.map(|code| (code, "")),
            None => Some((code, reason)),
        };
        // An error means that the peer is gone already.
        let _ = self.write_once(|out| frames::write_close(said, out)).await;
        let _ = self.stream.shutdown().await;
        let mut unread = vec![0; READ_BYTES];
        let mut drained = 0;
        while drained < GOODBYE_BYTES {
            match self.stream.read(&mut unread).await {
                Ok(0) | Err(_) => return,
                Ok(bytes) => drained += bytes,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use futures_util::{SinkExt, StreamExt};
    use tokio::io::{DuplexStream, duplex};
    use tokio_tungstenite::{
        WebSocketStream,
        tungstenite::{Message, protocol::Role},
    };

    use super::*;

    async fn pair(buffer: usize) -> (Socket<DuplexStream>, WebSocketStream<DuplexStream>) {
        let (ours, theirs) = duplex(buffer);
        let client = WebSocketStream::from_raw_socket(theirs, Role::Client, None).await;
        (Socket::new(ours, Vec::new()), client)
    }

    /// A gathering of texts of these lengths.
    fn texts(lengths: &[usize]) -> impl FnMut(&mut Vec<u8>) -> bool + use<> {
        let mut lengths: VecDeque<usize> = lengths.iter().copied().collect();
        move |out| match lengths.pop_front() {
            Some(len) => {
                frames::write_text(&"x".repeat(len), out);
                true
            }
            None => false,
        }
    }

    #[tokio::test]
    async fn what_the_kernel_takes_in_small_pieces_arrives_whole() {
        let (mut socket, mut client) = pair(100).await;
        let lengths = [10, 200_000, 0, 70_000, 1];
        let read = tokio::spawn(async move {
            let mut read = Vec::new();
            while read.len() < lengths.len() {
                read.push(client.next().await.expect("open").expect("a message").len());
            }
            read
        });
        socket.write(texts(&lengths)).await.expect("written");
        assert_eq!(read.await.expect("no panic"), lengths);
        assert_eq!(socket.unsent.capacity(), 0, "an idle socket keeps no buffer");
    }

    #[tokio::test]
    async fn a_write_that_is_given_up_does_not_spoil_the_goodbye() {
        let (mut socket, mut client) = pair(100).await;
        tokio::select! {
            biased;

            _ = socket.write(texts(&[5000, 10])) => panic!("nobody reads"),
            () = std::future::ready(()) => {}
        }
        let close = tokio::spawn(async move { socket.close(4002, "too slow").await });
        for len in [5000, 10] {
            assert_eq!(client.next().await.expect("open").expect("a message").len(), len);
        }
        let Some(Ok(Message::Close(Some(frame)))) = client.next().await else {
            panic!("no goodbye");
        };
        assert_eq!(u16::from(frame.code), 4002);
        assert!(client.next().await.is_none());
        drop(client);
        close.await.expect("no panic");
    }

    #[tokio::test]
    async fn a_goodbye_is_answered_with_its_own_code_and_a_vanished_peer_is_lost() {
        let (mut socket, mut client) = pair(1000).await;
        client.send(Message::text("hello")).await.expect("sent");
        assert_eq!(socket.next().await, Ok(Heard::Text("hello".into())));
        let frame = tokio_tungstenite::tungstenite::protocol::CloseFrame {
            code: 1001.into(),
            reason: "".into(),
        };
        client.close(Some(frame)).await.expect("sent");
        assert_eq!(socket.next().await, Ok(Heard::Close(Some(1001))));
        let close = tokio::spawn(async move { socket.close(1000, "goodbye").await });
        let Some(Ok(Message::Close(Some(frame)))) = client.next().await else {
            panic!("no answer");
        };
        assert_eq!(u16::from(frame.code), 1001);
        drop(client);
        close.await.expect("no panic");

        let (mut socket, client) = pair(1000).await;
        drop(client);
        assert_eq!(socket.next().await, Err(Ended::Lost));
    }

    #[tokio::test]
    async fn who_talks_without_a_pause_has_its_turn_and_then_others_have_theirs() {
        let (mut socket, mut client) = pair(1024 * 1024).await;
        for _ in 0..4 {
            client.send(Message::text("x".repeat(READ_BYTES))).await.expect("sent");
        }
        let mut turns = 0;
        for _ in 0..4 {
            socket.next().await.expect("a message");
            turns += usize::from(socket.had_its_turn());
        }
        assert_eq!(turns, 2, "each of {TURN_BYTES} bytes, of four times {READ_BYTES}");
    }
}

//! Frames of RFC 6455 from the bytes that they came in, and back: the server's side of WebSocket,
//! without a socket.
//!
//! A library's socket keeps its buffers for as long as it lives, several kilobytes of them, and
//! most of a broker's sockets are idle. Here an idle socket keeps nothing: what was read is looked
//! at where it was read to, and only what is not whole yet is kept. Frame headers and the rules of
//! close codes are tungstenite's.

use std::io::Cursor;

use halyard_protocol::limits::MAX_SIGNAL_BYTES;
use tokio_tungstenite::tungstenite::{
    Bytes,
    protocol::frame::{
        FrameHeader,
        coding::{CloseCode, Control, Data, OpCode},
    },
};

use crate::rooms::Text;

/// The most that a control frame may carry (RFC 6455, 5.5).
const MAX_CONTROL_BYTES: usize = 125;

/// Largest message before a registration succeeded. A `register` has two tokens and at most 16 KiB
/// of metadata; strangers should not be able to fill the memory with offers that are for nobody.
pub(super) const STRANGERS_BYTES: usize = 64 * 1024;

/// What a peer sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Heard {
    Text(Text),
    /// Or a part of one: nothing here takes any.
    Binary,
    /// To be answered with the same bytes.
    Ping(Bytes),
    Pong,
    /// With this code, if it says one.
    Close(Option<u16>),
}

impl Heard {
    /// Its size in bytes.
    pub(super) fn len(&self) -> usize {
        match self {
            Self::Text(text) => text.len(),
            Self::Ping(payload) => payload.len(),
            Self::Binary | Self::Pong | Self::Close(_) => 0,
        }
    }
}

/// Why nothing more can be read. Each has a close code of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum Unreadable {
    /// A message is larger than [`MAX_SIGNAL_BYTES`], or for a stranger [`STRANGERS_BYTES`].
    #[error("the message is too big")]
    TooBig,
    /// A text is not one.
    #[error("the text is not UTF-8")]
    InvalidUtf8,
    /// The peer breaks the rules of WebSocket.
    #[error("this is not how WebSocket works")]
    Protocol,
}

/// What was read and is not whole yet.
#[derive(Debug)]
pub(super) struct Frames {
    /// The largest message.
    most: usize,
    kept: Vec<u8>,
    /// How much of `kept` is used up.
    used: usize,
    /// The beginning of a text that comes in several frames.
    fragments: Option<Vec<u8>>,
}

impl Default for Frames {
    fn default() -> Self {
        Self { most: MAX_SIGNAL_BYTES, kept: Vec::new(), used: 0, fragments: None }
    }
}

impl Frames {
    /// Those of somebody who has not registered, starting with what was read already.
    pub(super) fn of_a_stranger(kept: Vec<u8>) -> Self {
        Self { kept, most: STRANGERS_BYTES, ..Self::default() }
    }

    /// They are a peer's from now on.
    pub(super) fn are_a_peers(&mut self) {
        self.most = MAX_SIGNAL_BYTES;
    }

    /// The next message of what is kept, if it is whole.
    pub(super) fn next(&mut self) -> Result<Option<Heard>, Unreadable> {
        let (heard, used) = first(&mut self.kept[self.used..], &mut self.fragments, self.most)?;
        self.used += used;
        if self.used == self.kept.len() {
            self.kept = Vec::new();
            self.used = 0;
        }
        Ok(heard)
    }

    /// The next message once this was read, too; the rest of it is kept. To be called after
    /// [`next`](Self::next) had nothing more.
    pub(super) fn read(&mut self, fresh: &mut [u8]) -> Result<Option<Heard>, Unreadable> {
        if !self.kept.is_empty() {
            self.kept.drain(..self.used);
            self.used = 0;
            self.kept.extend_from_slice(fresh);
            return self.next();
        }
        let (heard, used) = first(fresh, &mut self.fragments, self.most)?;
        self.kept.extend_from_slice(&fresh[used..]);
        Ok(heard)
    }
}

/// The first message in these bytes, and how many of them are used up.
fn first(
    bytes: &mut [u8],
    fragments: &mut Option<Vec<u8>>,
    most: usize,
) -> Result<(Option<Heard>, usize), Unreadable> {
    let mut used = 0;
    while let Some((header, start, end)) = frame(&bytes[used..], most)? {
        let payload = &mut bytes[used + start..used + end];
        used += end;
        unmask(payload, header.mask.unwrap_or_default());
        if let Some(heard) = message(&header, payload, fragments, most)? {
            return Ok((Some(heard), used));
        }
    }
    Ok((None, used))
}

/// The head of the first frame and where its payload is, once all of it is there. What can never be
/// accepted is refused before that.
fn frame(bytes: &[u8], most: usize) -> Result<Option<(FrameHeader, usize, usize)>, Unreadable> {
    let mut cursor = Cursor::new(bytes);
    let parsed = FrameHeader::parse(&mut cursor).map_err(|_| Unreadable::Protocol)?;
    let Some((header, len)) = parsed else { return Ok(None) };
    if header.rsv1 || header.rsv2 || header.rsv3 || header.mask.is_none() {
        return Err(Unreadable::Protocol);
    }
    let most = match header.opcode {
        OpCode::Control(_) => MAX_CONTROL_BYTES,
        OpCode::Data(_) => most,
    };
    if len > most as u64 {
        return Err(match header.opcode {
            OpCode::Control(_) => Unreadable::Protocol,
            OpCode::Data(_) => Unreadable::TooBig,
        });
    }
    let start = cursor.position() as usize;
    let end = start + len as usize;
    Ok((bytes.len() >= end).then_some((header, start, end)))
}

/// What a frame says; nothing where more of it has to come.
fn message(
    header: &FrameHeader,
    payload: &[u8],
    fragments: &mut Option<Vec<u8>>,
    most: usize,
) -> Result<Option<Heard>, Unreadable> {
    match (header.opcode, fragments.as_mut()) {
        (OpCode::Control(_), _) if !header.is_final => Err(Unreadable::Protocol),
        (OpCode::Control(Control::Ping), _) => {
            Ok(Some(Heard::Ping(Bytes::copy_from_slice(payload))))
        }
        (OpCode::Control(Control::Pong), _) => Ok(Some(Heard::Pong)),
        (OpCode::Control(Control::Close), _) => close(payload).map(Some),
        (OpCode::Data(Data::Binary), None) => Ok(Some(Heard::Binary)),
        (OpCode::Data(Data::Text), None) if header.is_final => text(payload).map(Some),
        (OpCode::Data(Data::Text), None) => {
            *fragments = Some(payload.to_vec());
            Ok(None)
        }
        (OpCode::Data(Data::Continue), Some(begun)) => {
            if begun.len() + payload.len() > most {
                return Err(Unreadable::TooBig);
            }
            begun.extend_from_slice(payload);
            if !header.is_final {
                return Ok(None);
            }
            let whole = text(begun)?;
            *fragments = None;
            Ok(Some(whole))
        }
        // A message inside another, the rest of none, or what only later versions know.
        (OpCode::Data(_) | OpCode::Control(Control::Reserved(_)), _) => Err(Unreadable::Protocol),
    }
}

fn text(bytes: &[u8]) -> Result<Heard, Unreadable> {
    let text = std::str::from_utf8(bytes).map_err(|_| Unreadable::InvalidUtf8)?;
    Ok(Heard::Text(Text::from(text)))
}

fn close(payload: &[u8]) -> Result<Heard, Unreadable> {
    let Some((code, reason)) = payload.split_first_chunk() else {
        return if payload.is_empty() { Ok(Heard::Close(None)) } else { Err(Unreadable::Protocol) };
    };
    let code = u16::from_be_bytes(*code);
    if !CloseCode::from(code).is_allowed() {
        return Err(Unreadable::Protocol);
    }
    std::str::from_utf8(reason).map_err(|_| Unreadable::InvalidUtf8)?;
    Ok(Heard::Close(Some(code)))
}

fn unmask(payload: &mut [u8], mask: [u8; 4]) {
    let [a, b, c, d] = mask;
    let twice = u64::from_ne_bytes([a, b, c, d, a, b, c, d]);
    let (eights, rest) = payload.as_chunks_mut();
    for eight in eights {
        *eight = (u64::from_ne_bytes(*eight) ^ twice).to_ne_bytes();
    }
    for (byte, mask) in rest.iter_mut().zip(mask.iter().cycle()) {
        *byte ^= mask;
    }
}

/// Appends a text as a frame of the server.
pub(super) fn write_text(text: &str, out: &mut Vec<u8>) {
    write(OpCode::Data(Data::Text), text.as_bytes(), out);
}

/// Appends a ping without a payload.
pub(super) fn write_ping(out: &mut Vec<u8>) {
    write(OpCode::Control(Control::Ping), &[], out);
}

/// Appends the answer to a ping.
pub(super) fn write_pong(payload: &[u8], out: &mut Vec<u8>) {
    write(OpCode::Control(Control::Pong), payload, out);
}

/// Appends a goodbye. The reason must fit into a control frame.
pub(super) fn write_close(code: Option<(u16, &str)>, out: &mut Vec<u8>) {
    let mut payload = Vec::new();
    if let Some((code, reason)) = code {
        payload.extend_from_slice(&code.to_be_bytes());
        payload.extend_from_slice(reason.as_bytes());
    }
    debug_assert!(payload.len() <= MAX_CONTROL_BYTES, "the reason is too long");
    write(OpCode::Control(Control::Close), &payload, out);
}

fn write(opcode: OpCode, payload: &[u8], out: &mut Vec<u8>) {
    let header = FrameHeader { opcode, ..FrameHeader::default() };
    // Writing into memory cannot fail.
    let _ = header.format(payload.len() as u64, out);
    out.extend_from_slice(payload);
}

#[cfg(test)]
mod tests {
    use std::io::{self, Read, Write};

    use proptest::prelude::*;
    use tokio_tungstenite::tungstenite::{Message, WebSocket, protocol::Role};

    use super::*;

    /// A stream that keeps what is written and is read from its beginning.
    #[derive(Default)]
    struct Tape {
        bytes: Vec<u8>,
        at: usize,
    }

    impl Read for Tape {
        fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
            let read = (&self.bytes[self.at..]).read(into)?;
            self.at += read;
            Ok(read)
        }
    }

    impl Write for Tape {
        fn write(&mut self, from: &[u8]) -> io::Result<usize> {
            self.bytes.write(from)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// What a client library makes of these messages.
    fn from_a_client(messages: impl IntoIterator<Item = Message>) -> Vec<u8> {
        let mut client = WebSocket::from_raw_socket(Tape::default(), Role::Client, None);
        for message in messages {
            client.send(message).expect("written");
        }
        std::mem::take(&mut client.get_mut().bytes)
    }

    /// A masked frame, made by hand.
    fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
        let mask = [1, 2, 3, 4];
        let mut bytes = vec![first, 0x80 | payload.len() as u8];
        bytes.extend(mask);
        bytes.extend(payload.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask));
        bytes
    }

    /// Reads these bytes in pieces of at most `piece`.
    fn heard(bytes: &[u8], piece: usize) -> Result<Vec<Heard>, Unreadable> {
        let (mut frames, mut heard) = (Frames::default(), Vec::new());
        for piece in bytes.chunks(piece) {
            let mut next = frames.read(&mut piece.to_vec())?;
            while let Some(message) = next {
                heard.push(message);
                next = frames.next()?;
            }
        }
        assert!(frames.kept.is_empty(), "{} bytes are kept", frames.kept.len());
        assert_eq!(frames.kept.capacity(), 0, "an idle socket keeps no buffer");
        Ok(heard)
    }

    proptest! {
        #[test]
        fn what_a_client_library_writes_is_read_however_it_is_cut(
            texts in prop::collection::vec("(?s).{0,300}", 1..8),
            piece in 1_usize..700,
        ) {
            let bytes = from_a_client(texts.iter().map(|text| Message::text(text.clone())));
            let expected: Vec<_> =
                texts.iter().map(|text| Heard::Text(Text::from(text.as_str()))).collect();
            prop_assert_eq!(heard(&bytes, piece), Ok(expected));
        }

        #[test]
        fn nothing_that_is_sent_makes_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let mut frames = Frames::default();
            let mut next = frames.read(&mut bytes.clone());
            while let Ok(Some(_)) = next {
                next = frames.next();
            }
        }
    }

    #[test]
    fn a_client_library_reads_texts_of_every_length() {
        let lengths = [0, 1, 125, 126, 65_535, 65_536, 200_000];
        let mut bytes = Vec::new();
        for len in lengths {
            write_text(&"x".repeat(len), &mut bytes);
        }
        write_close(Some((4002, "too slow")), &mut bytes);
        let tape = Tape { bytes, at: 0 };
        let mut client = WebSocket::from_raw_socket(tape, Role::Client, None);
        for len in lengths {
            let text = client.read().expect("a message").into_text().expect("a text");
            assert_eq!(text.len(), len);
        }
        let Ok(Message::Close(Some(close))) = client.read() else { panic!("no goodbye") };
        assert_eq!((u16::from(close.code), close.reason.as_str()), (4002, "too slow"));
    }

    #[test]
    fn a_text_in_pieces_is_one_text_and_a_ping_may_come_between() {
        let bytes = [
            frame(0x01, "h\u{e4}".as_bytes().split_at(2).0),
            frame(0x89, b"there?"),
            frame(0x00, "h\u{e4}".as_bytes().split_at(2).1),
            frame(0x80, b"!"),
            frame(0x8a, b""),
            frame(0x88, &[0x03, 0xe9, b'x']),
        ]
        .concat();
        let expected = vec![
            Heard::Ping(Bytes::from_static(b"there?")),
            Heard::Text(Text::from("h\u{e4}!")),
            Heard::Pong,
            Heard::Close(Some(1001)),
        ];
        for piece in [1, 2, 7, 1000] {
            assert_eq!(heard(&bytes, piece), Ok(expected.clone()));
        }
    }

    #[test]
    fn what_breaks_the_rules_is_refused() {
        for (what, bytes, why) in [
            ("no mask", vec![0x81, 0x01, b'x'], Unreadable::Protocol),
            ("reserved bits", frame(0xc1, b"x"), Unreadable::Protocol),
            ("a reserved opcode", frame(0x83, b"x"), Unreadable::Protocol),
            ("the rest of nothing", frame(0x80, b"x"), Unreadable::Protocol),
            (
                "a text in a text",
                [frame(0x01, b"x"), frame(0x81, b"y")].concat(),
                Unreadable::Protocol,
            ),
            ("a ping in pieces", frame(0x09, b"x"), Unreadable::Protocol),
            ("a long ping", vec![0x89, 0xfe, 0x00, 0x7e, 1, 2, 3, 4], Unreadable::Protocol),
            ("half a close code", frame(0x88, &[3]), Unreadable::Protocol),
            ("a close code that is never sent", frame(0x88, &[0x03, 0xed]), Unreadable::Protocol),
            ("a text that is none", frame(0x81, &[0xff]), Unreadable::InvalidUtf8),
            ("a reason that is none", frame(0x88, &[3, 0xe8, 0xff]), Unreadable::InvalidUtf8),
        ] {
            assert_eq!(heard(&bytes, 1000), Err(why), "{what}");
        }
    }

    #[test]
    fn what_is_too_big_is_refused_before_it_is_there() {
        let mut head = vec![0x81, 0xff];
        head.extend((MAX_SIGNAL_BYTES as u64 + 1).to_be_bytes());
        head.extend([0; 4]);
        assert_eq!(Frames::default().read(&mut head), Err(Unreadable::TooBig));

        let piece = "x".repeat(MAX_SIGNAL_BYTES / 2 + 1);
        let mut frames = Frames::default();
        for (first, expected) in [(0x01, Ok(None)), (0x80, Err(Unreadable::TooBig))] {
            let mut bytes = from_a_client([Message::text(piece.as_str())]);
            bytes[0] = first;
            assert_eq!(frames.read(&mut bytes), expected, "more than that in pieces");
        }
    }

    #[test]
    fn binary_is_told_apart() {
        let bytes = from_a_client([Message::binary(vec![1, 2, 3])]);
        assert_eq!(heard(&bytes, 1000), Ok(vec![Heard::Binary]));
    }
}

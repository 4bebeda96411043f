//! The binary messages of the `bulk` lane.
//!
//! ```text
//!  byte 0      1..4      4..8         8..16     16..
//!  version 1   zero      transfer id  offset    bytes of the file
//! ```
//! Numbers are big-endian. The offset lets a receiver tell a restart from a continuation, and
//! notice a sender that skips.

use bytes::{Buf, BufMut, Bytes, BytesMut};

use super::files::TransferId;
use crate::limits::CHUNK_BYTES;

/// Some bytes of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chunk {
    /// Which transfer.
    pub transfer: TransferId,
    /// Where they belong.
    pub offset: u64,
    /// At most [`CHUNK_BYTES`].
    pub bytes: Bytes,
}

/// A binary message is not a chunk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ChunkError {
    /// Shorter than the header.
    #[error("a chunk of {0} bytes is shorter than its header of 16")]
    TooShort(usize),
    /// Another version, or not a chunk at all.
    #[error("a chunk of version {0}, version 1 is accepted")]
    Version(u8),
    /// More bytes than a chunk may carry.
    #[error("a chunk carries {0} bytes, at most {max} are accepted", max = CHUNK_BYTES)]
    TooLong(usize),
    /// The chunk would end beyond the largest file.
    #[error("a chunk ends beyond 2^64 bytes")]
    Overflow,
}

impl Chunk {
    /// Bytes before the payload.
    pub const HEADER_BYTES: usize = 16;
    const VERSION: u8 = 1;

    /// The header for `len` bytes at `offset`, with room for them behind it.
    pub fn header(transfer: TransferId, offset: u64, len: usize) -> BytesMut {
        let mut message = BytesMut::with_capacity(Self::HEADER_BYTES + len);
        message.put_u8(Self::VERSION);
        message.put_bytes(0, 3);
        message.put_u32(transfer);
        message.put_u64(offset);
        message
    }

    /// The message.
    pub fn encode(&self) -> BytesMut {
        let mut message = Self::header(self.transfer, self.offset, self.bytes.len());
        message.extend_from_slice(&self.bytes);
        message
    }

    /// Reads a message without copying its bytes.
    pub fn decode(mut message: Bytes) -> Result<Self, ChunkError> {
        if message.len() < Self::HEADER_BYTES {
            return Err(ChunkError::TooShort(message.len()));
        }
        let version = message.get_u8();
        if version != Self::VERSION {
            return Err(ChunkError::Version(version));
        }
        message.advance(3);
        let transfer = message.get_u32();
        let offset = message.get_u64();
        if message.len() > CHUNK_BYTES {
            return Err(ChunkError::TooLong(message.len()));
        }
        if offset.checked_add(message.len() as u64).is_none() {
            return Err(ChunkError::Overflow);
        }
        Ok(Self { transfer, offset, bytes: message })
    }
}

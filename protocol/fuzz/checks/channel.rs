//! Whatever arrives on a data channel is read or refused, and reads the same when said again.

use bytes::Bytes;
use halyard_protocol::{
    channel::{Chunk, Message, legacy::LegacyMessage},
    limits::{CHUNK_BYTES, MAX_NAME_PART_BYTES},
    transfer::RelativeName,
};

pub fn check(data: &[u8]) {
    if let Ok(chunk) = Chunk::decode(Bytes::copy_from_slice(data)) {
        assert!(chunk.bytes.len() <= CHUNK_BYTES);
        assert!(chunk.offset.checked_add(chunk.bytes.len() as u64).is_some());
        let again = Chunk::decode(chunk.encode().freeze()).expect("our own");
        assert_eq!(again, chunk);
    }
    let Ok(text) = std::str::from_utf8(data) else { return };
    match Message::decode(text) {
        Ok(message) => {
            Message::decode(&message.encode()).expect("our own words");
        }
        Err(error) => assert!(text.starts_with(error.prefix)),
    }
    let legacy = LegacyMessage::decode(text);
    assert_eq!(LegacyMessage::decode(&legacy.encode()), legacy);
    if let Ok(name) = RelativeName::new(text) {
        let inside = |path: &str| {
            std::path::Path::new(path).components().all(|component| {
                matches!(component, std::path::Component::Normal(part) if part.len() <= MAX_NAME_PART_BYTES)
            })
        };
        assert!(inside(name.as_str()) && inside(&name.part()));
    }
}

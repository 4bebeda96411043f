//! Whatever arrives on a signaling socket is read, refused, or relayed with its true sender.

use halyard_protocol::{
    ids::{PeerId, RoomId},
    link::JoinLink,
    signal::{ClientMessage, Envelope, Filters, Metadata, ServerMessage},
};

pub fn check(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    if let Ok(envelope) = Envelope::parse(text)
        && let Ok(sender) = PeerId::new("true-sender")
    {
        let stamped = envelope.stamped(text, &sender);
        if envelope.kind.sender_field().is_some() {
            let again = Envelope::parse(&stamped).expect("what is relayed can be read");
            assert_eq!(again.kind, envelope.kind);
            assert_eq!(again.target, envelope.target);
            assert_eq!(again.sender.as_deref(), Some(sender.as_str()));
        } else {
            assert_eq!(stamped, text);
        }
    }
    if let Ok(message) = serde_json::from_str::<ClientMessage>(text) {
        let said = serde_json::to_string(&message).expect("it has a text");
        serde_json::from_str::<ClientMessage>(&said).expect("our own words");
    }
    if let Ok(message) = serde_json::from_str::<ServerMessage>(text)
        && !matches!(message, ServerMessage::Unknown)
    {
        serde_json::from_str::<ServerMessage>(&message.to_json()).expect("our own words");
    }
    if let (Ok(mut metadata), Ok(filters)) =
        (serde_json::from_str::<Metadata>(text), serde_json::from_str::<Filters>(text))
    {
        let _ = filters.matches("worker", &metadata);
        metadata.merge(metadata.clone());
    }
    let _ = RoomId::new(text);
    if let Ok(link) = JoinLink::parse(text) {
        assert!(!link.to_string().contains('#'), "the secret is behind the #");
    }
}

//! What existing clients and their broker said to each other, read by our codecs.
//!
//! `test_files/wire/legacy/legacy-99bbad3.jsonl` is a transcript of the original broker: for each
//! case what a client sent and what came back, with ids and tokens replaced by words in `<>`.

use halyard_protocol::signal::{ClientMessage, Envelope, EnvelopeError, Kind, ServerMessage};
use serde_json::Value;

struct Case {
    name: String,
    /// The frame's text, for cases on the WebSocket.
    sent: Option<String>,
    replies: Vec<Value>,
}

fn transcript() -> Vec<Case> {
    let path =
        concat!(env!("CARGO_MANIFEST_DIR"), "/../test_files/wire/legacy/legacy-99bbad3.jsonl");
    let text = std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{path}: {error}"));
    // Room ids have an alphabet, and times are numbers; the rest of the stand-ins are fine as names.
    let text = text.replace("<room>", "4d7f5fe9").replace("\"<num>\"", "1763000000.5");
    let case = |line: &str| {
        let value: Value = serde_json::from_str(line).unwrap_or_else(|e| panic!("{line}: {e}"));
        let sent = match &value["sent"] {
            Value::String(text) => Some(text.clone()),
            Value::Object(object) if object.contains_key("http") => None,
            // "Target sees" cases: nothing was sent, something arrived.
            Value::Object(object) if object.is_empty() && value["case"] != "no type" => None,
            object => Some(object.to_string()),
        };
        Case {
            name: value["case"].as_str().expect("a name").to_owned(),
            sent,
            replies: value["replies"].as_array().expect("a list").clone(),
        }
    };
    text.lines().map(case).collect()
}

#[test]
fn everything_that_clients_sent_has_its_envelope() {
    let mut read = 0;
    for Case { name, sent, replies } in transcript() {
        let Some(sent) = sent else { continue };
        let said = replies.iter().find_map(|reply| reply["message"].as_str());
        match Envelope::parse(&sent) {
            Ok(envelope) => {
                read += 1;
                assert_eq!(
                    Some(envelope.kind),
                    serde_json::from_str::<Value>(&sent).expect("JSON")["type"]
                        .as_str()
                        .and_then(Kind::from_type),
                    "{name}"
                );
            }
            // Refused by the original in the same words.
            Err(error @ (EnvelopeError::Json | EnvelopeError::UnknownType(_))) => {
                assert_eq!(said, Some(&*error.to_string()), "{name}");
            }
        }
    }
    assert!(read > 30, "{read} of the transcript's messages were read");
}

#[test]
fn what_clients_sent_and_the_broker_took_is_read_whole() {
    let mut read = 0;
    for Case { name, sent, replies } in transcript() {
        let Some(sent) = sent else { continue };
        let refused = replies.iter().any(|reply| {
            reply["type"] == "error" && reply["code"] != "PEER_NOT_FOUND"
                || !reply["error"].is_null()
        });
        let ours = Envelope::parse(&sent).is_ok_and(|envelope| {
            !matches!(envelope.kind, Kind::MeshConnect | Kind::MeshAnswer | Kind::IceCandidate)
        });
        // An offer to nobody was dropped by the original without a word.
        if refused || !ours || name == "offer no target" {
            continue;
        }
        if let Err(error) = serde_json::from_str::<ClientMessage>(&sent) {
            panic!("{name}: {error}: {sent}");
        }
        read += 1;
    }
    assert!(read > 20, "{read} of the transcript's messages were read");
}

#[test]
fn what_the_original_broker_said_is_read_by_our_clients() {
    let (mut read, mut unknown) = (0, Vec::new());
    for Case { name, replies, .. } in transcript() {
        for reply in replies.iter().filter(|reply| reply["type"].is_string()) {
            let message: ServerMessage = serde_json::from_value(reply.clone())
                .unwrap_or_else(|error| panic!("{name}: {error}: {reply}"));
            read += 1;
            match message {
                ServerMessage::Unknown => {
                    unknown.push(reply["type"].as_str().expect("a string").to_owned());
                }
                ServerMessage::Error(error) => {
                    let words = reply["message"].as_str().or(reply["reason"].as_str());
                    let ours = if error.message.is_empty() { error.reason } else { error.message };
                    assert_eq!(Some(&*ours), words, "{name}");
                }
                ServerMessage::RegisteredAuth(registered) => {
                    assert_eq!(registered.peer_id.as_str(), reply["peer_id"], "{name}");
                    assert_eq!(registered.ice_servers.len(), 2, "{name}");
                    let list = reply["peer_list"].as_array().expect("a list");
                    assert_eq!(registered.peer_list.len(), list.len(), "{name}");
                }
                _ => {}
            }
        }
    }
    assert!(read > 30, "{read} of the transcript's replies were read");
    // The worker mesh is not spoken by our own clients.
    unknown.sort();
    unknown.dedup();
    assert_eq!(unknown, ["ice_candidate", "mesh_answer", "mesh_offer"]);
}

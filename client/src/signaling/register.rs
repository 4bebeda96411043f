//! The first words on every socket.

use futures_util::{Sink, SinkExt, Stream, StreamExt};
use halyard_protocol::signal::{ClientMessage, Register, Registered, ServerError, ServerMessage};
use tokio_tungstenite::tungstenite::{self, Message};

use super::SignalError;
use crate::api::LONGEST_WAIT;

/// What may come before the answer; more is no broker of ours.
const BEFORE: usize = 16;

/// Sends `register` and waits for the answer. Whatever else is said before it is given back beside
/// it. The caller limits the time.
pub(super) async fn register<S>(
    socket: &mut S,
    words: Register,
) -> Result<(Registered, Vec<ServerMessage>), SignalError>
where
    S: Stream<Item = Result<Message, tungstenite::Error>>
        + Sink<Message, Error = tungstenite::Error>
        + Unpin,
{
    let lost = |error: tungstenite::Error| SignalError::Lost { reason: error.to_string() };
    send(socket, &ClientMessage::Register(words)).await?;
    let mut before = Vec::new();
    loop {
        let text = match socket.next().await {
            Some(Ok(Message::Text(text))) => text,
            Some(Ok(Message::Close(frame))) => {
                let code = frame.as_ref().map(|frame| u16::from(frame.code));
                return Err(code.and_then(SignalError::of_close).unwrap_or(SignalError::Lost {
                    reason: frame.map_or_else(
                        || "closed during registration".into(),
                        |frame| printable(&frame.reason),
                    ),
                }));
            }
            // Pings are answered by the library.
            Some(Ok(_)) => continue,
            Some(Err(error)) => return Err(lost(error)),
            None => return Err(SignalError::Lost { reason: "closed during registration".into() }),
        };
        match serde_json::from_str::<ServerMessage>(&text) {
            Ok(ServerMessage::RegisteredAuth(registered)) => return Ok((*registered, before)),
            Ok(ServerMessage::Error(error)) => return Err(refused(error)),
            Ok(ServerMessage::RoomClosed { reason }) => {
                return Err(SignalError::RoomClosed { reason: printable(&reason) });
            }
            Ok(ServerMessage::Ping) => send(socket, &ClientMessage::Pong).await?,
            Ok(message) if before.len() < BEFORE => before.push(message),
            Ok(_) => return Err(SignalError::Lost { reason: "it does not register us".into() }),
            Err(error) => {
                tracing::debug!(bytes = text.len(), %error, "a message that does not fit");
            }
        }
    }
}

/// Encodes and sends.
pub(super) async fn send<S>(socket: &mut S, message: &ClientMessage) -> Result<(), SignalError>
where
    S: Sink<Message, Error = tungstenite::Error> + Unpin,
{
    let text = super::queue::encode(message)?;
    socket
        .send(Message::text(text))
        .await
        .map_err(|error| SignalError::Lost { reason: error.to_string() })
}

fn refused(error: ServerError) -> SignalError {
    let message = if error.message.is_empty() { error.reason } else { error.message };
    SignalError::Refused {
        code: error.code,
        message: printable(&message),
        retry_after: error
            .retry_after
            .map(|seconds| std::time::Duration::from_secs(seconds).min(LONGEST_WAIT)),
    }
}

/// Somebody else's words, fit for a terminal.
pub(super) fn printable(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(300).collect()
}

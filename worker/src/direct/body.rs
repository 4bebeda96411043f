//! A request's body, bounded, and refused in words.

use std::time::Duration;

use axum::{
    body::{BodyDataStream, Bytes},
    extract::{FromRequest, Request},
    http::StatusCode,
};
use futures_util::StreamExt;
use tokio::time::timeout;

use super::{MAX_BODY_BYTES, refusal::Refusal};

/// What is thrown away of a body that is too large, so that its sender comes to read why. Closing
/// with bytes unread resets the connection, and the refusal may go with it.
const THROWN_AWAY_BYTES: usize = 16 * 1024 * 1024;
/// How long that may take.
const THROWN_AWAY_WITHIN: Duration = Duration::from_secs(2);

/// The whole body.
pub(super) struct Body(pub(super) Bytes);

impl<S: Send + Sync> FromRequest<S> for Body {
    type Rejection = Refusal;

    async fn from_request(request: Request, _: &S) -> Result<Self, Refusal> {
        let mut stream = request.into_body().into_data_stream();
        let mut whole = Vec::new();
        while let Some(piece) = stream.next().await {
            let piece = piece
                .map_err(|error| Refusal::bad(format!("the body could not be read: {error}")))?;
            if whole.len() + piece.len() > MAX_BODY_BYTES {
                let _ = timeout(THROWN_AWAY_WITHIN, throw_away(stream)).await;
                let words =
                    format!("the body is too large; at most {MAX_BODY_BYTES} bytes are read");
                return Err(Refusal::new(
                    StatusCode::PAYLOAD_TOO_LARGE,
                    "MESSAGE_TOO_LARGE",
                    words,
                ));
            }
            whole.extend_from_slice(&piece);
        }
        Ok(Self(whole.into()))
    }
}

async fn throw_away(mut rest: BodyDataStream) {
    let mut bytes = 0;
    while let Some(Ok(piece)) = rest.next().await {
        bytes += piece.len();
        if bytes > THROWN_AWAY_BYTES {
            return;
        }
    }
}

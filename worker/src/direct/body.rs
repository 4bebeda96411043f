//! A request's body, bounded, and refused in words.

use axum::{
    body::Bytes,
    extract::{FromRequest, Request},
    http::StatusCode,
};

use super::{MAX_BODY_BYTES, refusal::Refusal};

/// The whole body.
pub(super) struct Body(pub(super) Bytes);

impl<S: Send + Sync> FromRequest<S> for Body {
    type Rejection = Refusal;

    async fn from_request(request: Request, state: &S) -> Result<Self, Refusal> {
        let read = Bytes::from_request(request, state).await;
        read.map(Self).map_err(|error| {
            if error.status() == StatusCode::PAYLOAD_TOO_LARGE {
                let words =
                    format!("the body is too large; at most {MAX_BODY_BYTES} bytes are read");
                Refusal::new(StatusCode::PAYLOAD_TOO_LARGE, "MESSAGE_TOO_LARGE", words)
            } else {
                Refusal::bad(format!("the body could not be read: {error}"))
            }
        })
    }
}

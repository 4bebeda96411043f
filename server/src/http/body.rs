//! JSON bodies, refused in our own words.

use axum::{
    body::Bytes,
    extract::{FromRequest, Request},
    http::StatusCode,
};
use serde::de::DeserializeOwned;

use super::{MAX_BODY_BYTES, error::RestError};

/// A JSON object; an empty body reads as an empty one, because some calls need nothing.
pub(super) struct Body<T>(pub(super) T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for Body<T> {
    type Rejection = RestError;

    async fn from_request(request: Request, state: &S) -> Result<Self, RestError> {
        let bytes =
            Bytes::from_request(request, state).await.map_err(|rejection| {
                match rejection.status() {
                    StatusCode::PAYLOAD_TOO_LARGE => RestError::new(
                        StatusCode::PAYLOAD_TOO_LARGE,
                        "LIMIT_EXCEEDED",
                        format!("the body is larger than {MAX_BODY_BYTES} bytes"),
                    ),
                    _ => RestError::invalid("the body could not be read"),
                }
            })?;
        let text: &[u8] = if bytes.trim_ascii().is_empty() { b"{}" } else { &bytes };
        serde_json::from_slice(text)
            .map(Self)
            .map_err(|error| RestError::invalid(format!("the body is not accepted: {error}")))
    }
}

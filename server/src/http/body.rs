//! JSON bodies, refused in our own words.

use axum::{
    body::Bytes,
    extract::{FromRequest, Request},
    http::StatusCode,
};
use serde::de::DeserializeOwned;
use tokio::time::timeout;

use super::{App, MAX_BODY_BYTES, error::RestError};
use crate::rooms::echo;

/// A JSON object; an empty body reads as an empty one, because some calls need nothing.
pub(super) struct Body<T>(pub(super) T);

impl<T: DeserializeOwned> FromRequest<App> for Body<T> {
    type Rejection = RestError;

    async fn from_request(request: Request, app: &App) -> Result<Self, RestError> {
        // A body that never ends would hold its connection for ever.
        let within = app.broker.settings.timing.request_within;
        let bytes = timeout(within, Bytes::from_request(request, app)).await.map_err(|_| {
            RestError::new(
                StatusCode::REQUEST_TIMEOUT,
                "TIMED_OUT",
                "the body did not arrive in time; send it at once",
            )
        })?;
        let bytes = bytes.map_err(|rejection| match rejection.status() {
            StatusCode::PAYLOAD_TOO_LARGE => RestError::new(
                StatusCode::PAYLOAD_TOO_LARGE,
                "LIMIT_EXCEEDED",
                format!("the body is larger than {MAX_BODY_BYTES} bytes"),
            ),
            _ => RestError::invalid("the body could not be read"),
        })?;
        let text: &[u8] = if bytes.trim_ascii().is_empty() { b"{}" } else { &bytes };
        serde_json::from_slice(text).map(Self).map_err(|error| {
            // What the reader says may repeat the sender's words.
            let why = echo(&error.to_string());
            RestError::invalid(format!("the body is not accepted: {why}"))
        })
    }
}

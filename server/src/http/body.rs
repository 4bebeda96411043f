//! JSON bodies, refused in our own words.

use axum::{
    extract::{FromRequest, Request},
    http::StatusCode,
};
use serde::de::DeserializeOwned;

use super::{App, MAX_BODY_BYTES, error::RestError};
use crate::{
    body::{BodyError, whole},
    rooms::echo,
};

/// A JSON object; an empty body reads as an empty one, because some calls need nothing.
pub(super) struct Body<T>(pub(super) T);

impl<T: DeserializeOwned> FromRequest<App> for Body<T> {
    type Rejection = RestError;

    async fn from_request(request: Request, app: &App) -> Result<Self, RestError> {
        let within = app.broker.settings.timing.request_within;
        let bytes = whole(request.into_body(), MAX_BODY_BYTES, within).await?;
        let text: &[u8] = if bytes.trim_ascii().is_empty() { b"{}" } else { &bytes };
        serde_json::from_slice(text).map(Self).map_err(|error| {
            // What the reader says may repeat the sender's words.
            let why = echo(&error.to_string());
            RestError::invalid(format!("the body is not accepted: {why}"))
        })
    }
}

impl From<BodyError> for RestError {
    fn from(error: BodyError) -> Self {
        let (status, code) = match error {
            BodyError::TooLarge(_) => (StatusCode::PAYLOAD_TOO_LARGE, "LIMIT_EXCEEDED"),
            BodyError::Late(_) => (StatusCode::REQUEST_TIMEOUT, "TIMED_OUT"),
            BodyError::Broken(_) => return Self::invalid("the body could not be read"),
        };
        Self::new(status, code, error.to_string())
    }
}

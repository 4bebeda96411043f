//! Refusals of REST calls.

use axum::{
    Json,
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use serde_json::json;

use crate::{broker::RoomError, identity::VerifyError, store::StoreError};

/// A refusal: `{"code","message"}`, and `detail` with the same text, which existing clients read.
#[derive(Debug)]
pub(super) struct RestError {
    status: StatusCode,
    code: &'static str,
    message: String,
}

/// Seconds after which a backend may be back.
const RETRY_AFTER: &str = "5";

impl RestError {
    pub(super) fn new(status: StatusCode, code: &'static str, message: impl Into<String>) -> Self {
        Self { status, code, message: message.into() }
    }

    /// The call means nothing.
    pub(super) fn invalid(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "INVALID_MESSAGE", message)
    }

    /// Nobody knows who is calling.
    pub(super) fn unauthorized(message: impl Into<String>) -> Self {
        Self::new(StatusCode::UNAUTHORIZED, "INVALID_IDENTITY", message)
    }

    /// The caller may not do this.
    pub(super) fn forbidden(message: impl Into<String>) -> Self {
        Self::new(StatusCode::FORBIDDEN, "FORBIDDEN", message)
    }

    /// A backend does not answer.
    pub(super) fn unavailable() -> Self {
        Self::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "UNAVAILABLE",
            "a backend does not answer; try again in a few seconds",
        )
    }
}

impl IntoResponse for RestError {
    fn into_response(self) -> Response {
        let body = json!({ "code": self.code, "message": self.message, "detail": self.message });
        let mut response = (self.status, Json(body)).into_response();
        let headers = response.headers_mut();
        match self.status {
            StatusCode::UNAUTHORIZED => {
                headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
            }
            StatusCode::SERVICE_UNAVAILABLE => {
                headers.insert(header::RETRY_AFTER, HeaderValue::from_static(RETRY_AFTER));
            }
            _ => {}
        }
        response
    }
}

impl From<RoomError> for RestError {
    fn from(error: RoomError) -> Self {
        let message = error.to_string();
        match error {
            RoomError::NotFound => Self::new(StatusCode::NOT_FOUND, "ROOM_NOT_FOUND", message),
            RoomError::Expired => Self::new(StatusCode::GONE, "ROOM_EXPIRED", message),
            RoomError::NotOwner => Self::forbidden(message),
            RoomError::Ttl { .. } | RoomError::Name | RoomError::Role => Self::invalid(message),
            RoomError::Store(StoreError::TooMany { .. }) => {
                Self::new(StatusCode::TOO_MANY_REQUESTS, "LIMIT_EXCEEDED", message)
            }
            RoomError::Store(error) => {
                tracing::error!(%error, "the room store failed");
                Self::unavailable()
            }
        }
    }
}

impl From<VerifyError> for RestError {
    fn from(error: VerifyError) -> Self {
        match error {
            VerifyError::Unavailable => Self::unavailable(),
            error => Self::unauthorized(format!("Token verification failed: {error}")),
        }
    }
}

/// There is nothing at this path.
pub(super) async fn not_found() -> RestError {
    RestError::new(StatusCode::NOT_FOUND, "NOT_FOUND", "Not Found")
}

/// There is something, but not for this method.
pub(super) async fn method_not_allowed() -> RestError {
    RestError::new(StatusCode::METHOD_NOT_ALLOWED, "METHOD_NOT_ALLOWED", "Method Not Allowed")
}

//! Refusals of REST calls.

use std::time::Duration;

use axum::{
    Json,
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use serde_json::json;

use crate::{
    broker::RoomError,
    identity::{SignInError, VerifyError},
    limits::{Limit, TooOften},
    store::StoreError,
    time::whole_seconds,
};

/// A refusal: `{"code","message"}`, and `detail` with the same text, which existing clients read.
#[derive(Debug)]
pub(super) struct RestError {
    status: StatusCode,
    code: &'static str,
    message: String,
    retry_after: Option<Duration>,
    limit: Option<Limit>,
}

/// When a backend that did not say so itself may be back.
const RETRY_AFTER: Duration = Duration::from_secs(5);

/// Goes with an answer, so that whoever counts it need not read it.
#[derive(Debug, Clone, Copy)]
pub(super) struct RefusalCode(pub(super) &'static str);

/// The same for the limit that was reached.
#[derive(Debug, Clone, Copy)]
pub(super) struct ReachedLimit(pub(super) Limit);

impl RestError {
    pub(super) fn new(status: StatusCode, code: &'static str, message: impl Into<String>) -> Self {
        Self { status, code, message: message.into(), retry_after: None, limit: None }
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
    pub(super) fn unavailable(retry_after: Option<Duration>) -> Self {
        Self::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "UNAVAILABLE",
            "a backend does not answer; try again in a few seconds",
        )
        .retry_after(retry_after.unwrap_or(RETRY_AFTER))
    }

    /// The caller does it too often, or has too many.
    pub(super) fn too_often(refused: &TooOften) -> Self {
        let status = StatusCode::TOO_MANY_REQUESTS;
        Self::new(status, "LIMIT_EXCEEDED", refused.to_string())
            .over(refused.limit)
            .retry_after(refused.retry_after)
    }

    /// Names the limit that was reached, for who counts.
    pub(super) fn over(mut self, limit: Limit) -> Self {
        self.limit = Some(limit);
        self
    }

    /// Says when trying again may help.
    pub(super) fn retry_after(mut self, wait: Duration) -> Self {
        self.retry_after = Some(wait);
        self
    }

    /// The same refusal in other words.
    pub(super) fn saying(mut self, message: impl Into<String>) -> Self {
        self.message = message.into();
        self
    }
}

impl IntoResponse for RestError {
    fn into_response(self) -> Response {
        let body = json!({ "code": self.code, "message": self.message, "detail": self.message });
        let mut response = (self.status, Json(body)).into_response();
        let headers = response.headers_mut();
        if self.status == StatusCode::UNAUTHORIZED {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        if let Some(wait) = self.retry_after {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(whole_seconds(wait)));
        }
        response.extensions_mut().insert(RefusalCode(self.code));
        if let Some(limit) = self.limit {
            response.extensions_mut().insert(ReachedLimit(limit));
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
            RoomError::Refused(_) => Self::unavailable(None).saying(message),
            RoomError::Store(StoreError::TooMany { .. }) => {
                Self::new(StatusCode::TOO_MANY_REQUESTS, "LIMIT_EXCEEDED", message)
                    .over(Limit::RoomsPerIdentity)
            }
            RoomError::Store(error) => {
                tracing::error!(%error, "the room store failed");
                Self::unavailable(match error {
                    StoreError::Unavailable { retry_after, .. } => Some(retry_after),
                    _ => None,
                })
            }
        }
    }
}

impl From<VerifyError> for RestError {
    fn from(error: VerifyError) -> Self {
        match error {
            VerifyError::Unavailable { retry_after } => Self::unavailable(Some(retry_after)),
            error => Self::unauthorized(format!("Token verification failed: {error}")),
        }
    }
}

impl From<SignInError> for RestError {
    fn from(error: SignInError) -> Self {
        tracing::error!(%error, "a sign-in failed");
        Self::unavailable(match error {
            SignInError::Unavailable { retry_after, .. } => Some(retry_after),
            SignInError::Provider(_) => None,
        })
        .saying(
            "Anonymous sign-in failed: the identity provider does not answer; try again in a few \
             seconds",
        )
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

//! No, in the broker's own form: a status, a code and words.

use axum::{
    Json,
    http::{HeaderName, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use serde_json::json;

use crate::{agent::DirectRefused, media::UnknownTrack, whep::PatchError};

/// When to try again where nothing better is known, in seconds.
const TRY_AGAIN: &str = "5";

/// Why a request was refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Refusal {
    status: StatusCode,
    code: &'static str,
    message: String,
    /// One more header that belongs to it.
    header: Option<(HeaderName, &'static str)>,
}

impl Refusal {
    pub(super) fn new(status: StatusCode, code: &'static str, message: impl Into<String>) -> Self {
        // What each status goes with (RFC 9110 and RFC 6750).
        let header = match status {
            StatusCode::UNAUTHORIZED => {
                Some((header::WWW_AUTHENTICATE, "Bearer realm=\"halyard\""))
            }
            StatusCode::SERVICE_UNAVAILABLE | StatusCode::TOO_MANY_REQUESTS => {
                Some((header::RETRY_AFTER, TRY_AGAIN))
            }
            _ => None,
        };
        Self { status, code, message: message.into(), header }
    }

    pub(super) fn bad(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "INVALID_MESSAGE", message)
    }

    pub(super) fn forbidden(message: impl Into<String>) -> Self {
        Self::new(StatusCode::FORBIDDEN, "FORBIDDEN", message)
    }

    /// Somebody has more than its share.
    pub(super) fn share(message: impl Into<String>) -> Self {
        Self::new(StatusCode::TOO_MANY_REQUESTS, "LIMIT_EXCEEDED", message)
    }

    pub(super) fn token() -> Self {
        Self::new(
            StatusCode::UNAUTHORIZED,
            "INVALID_TOKEN",
            "this needs the room's token as \"Authorization: Bearer TOKEN\"; it stands behind # in the \
             join link",
        )
    }

    pub(super) fn wrong_token() -> Self {
        Self::token()
            .with(header::WWW_AUTHENTICATE, "Bearer realm=\"halyard\", error=\"invalid_token\"")
    }

    pub(super) fn track(unknown: &UnknownTrack) -> Self {
        Self::new(StatusCode::NOT_FOUND, "UNKNOWN_TRACK", unknown.to_string())
    }

    /// A picture that is passed on in a codec that this way does not send.
    pub(super) fn codec(codec: &str) -> Self {
        let words = format!(
            "this picture is {codec}, which is passed on as it is, and WHEP sends H.264 here; the page \
             and `halyard` show it. Let its source send H.264 or raw pictures, or name another picture \
             with ?track=NAME"
        );
        Self::new(StatusCode::NOT_ACCEPTABLE, "NOT_H264", words)
    }

    pub(super) fn revoked() -> Self {
        Self {
            message: "this token was replaced; ask the room's owner for the new link".to_owned(),
            ..Self::wrong_token()
        }
    }

    pub(super) fn ticket() -> Self {
        Self {
            message: "this ticket was used, or its 30 seconds are over; get a new one with POST \
                      /mjpeg/ticket and the room's token"
                .to_owned(),
            ..Self::wrong_token()
        }
    }

    pub(super) fn unconfirmed() -> Self {
        Self {
            message: "whether this token is good cannot be found out now; try again in a few \
                      seconds"
                .to_owned(),
            ..Self::stopping()
        }
    }

    pub(super) fn stopping() -> Self {
        Self::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "UNAVAILABLE",
            "the worker is starting or stopping; try again",
        )
    }

    /// Another body than what is accepted.
    pub(super) fn media_type(accepted: &str) -> Self {
        Self::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "UNSUPPORTED_MEDIA_TYPE",
            format!("the content type must be {accepted}"),
        )
    }

    #[cfg(test)]
    pub(super) fn status(&self) -> StatusCode {
        self.status
    }

    /// Whether it may be otherwise in a moment.
    pub(super) fn may_pass(&self) -> bool {
        self.status == StatusCode::SERVICE_UNAVAILABLE
    }

    /// With one more header, in place of the one it may have.
    #[must_use]
    pub(super) fn with(self, name: HeaderName, value: &'static str) -> Self {
        Self { header: Some((name, value)), ..self }
    }
}

impl From<DirectRefused> for Refusal {
    fn from(refused: DirectRefused) -> Self {
        let (status, code) = match &refused {
            DirectRefused::Busy(_) => (StatusCode::SERVICE_UNAVAILABLE, "LIMIT_EXCEEDED"),
            DirectRefused::BadOffer(_) => (StatusCode::BAD_REQUEST, "INVALID_MESSAGE"),
            DirectRefused::NoSuchPeer(_) => (StatusCode::NOT_FOUND, "PEER_NOT_FOUND"),
            DirectRefused::NoSuchSession => (StatusCode::NOT_FOUND, "SESSION_NOT_FOUND"),
            DirectRefused::Patch(PatchError::NoPrecondition) => {
                (StatusCode::PRECONDITION_REQUIRED, "PRECONDITION_REQUIRED")
            }
            DirectRefused::Patch(PatchError::OtherSession) => {
                (StatusCode::PRECONDITION_FAILED, "PRECONDITION_FAILED")
            }
            DirectRefused::Patch(PatchError::Busy) => (StatusCode::CONFLICT, "CONFLICT"),
            DirectRefused::NoPicture => (StatusCode::CONFLICT, "NO_PICTURE"),
            DirectRefused::WebrtcOff => (StatusCode::NOT_IMPLEMENTED, "WEBRTC_OFF"),
        };
        let refusal = Self::new(status, code, refused.to_string());
        if status == StatusCode::CONFLICT {
            return refusal.with(header::RETRY_AFTER, TRY_AGAIN);
        }
        refusal
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let body = Json(json!({"code": self.code, "message": self.message}));
        let mut response = (self.status, body).into_response();
        if let Some((name, value)) = self.header {
            response.headers_mut().insert(name, HeaderValue::from_static(value));
        }
        response
    }
}

//! No, in the broker's own form: a status, a code and words.

use axum::{
    Json,
    http::StatusCode,
    response::{IntoResponse, Response},
};
use serde_json::json;

use crate::{agent::DirectRefused, media::UnknownTrack};

/// Why a request was refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Refusal {
    pub(super) status: StatusCode,
    pub(super) code: &'static str,
    pub(super) message: String,
}

impl Refusal {
    pub(super) fn bad(message: impl Into<String>) -> Self {
        Self { status: StatusCode::BAD_REQUEST, code: "INVALID_MESSAGE", message: message.into() }
    }

    pub(super) fn token() -> Self {
        Self {
            status: StatusCode::UNAUTHORIZED,
            code: "INVALID_TOKEN",
            message: "this needs the room's token as \"Authorization: Bearer TOKEN\"; it stands \
                      behind # in the join link"
                .to_owned(),
        }
    }

    pub(super) fn track(unknown: &UnknownTrack) -> Self {
        Self { status: StatusCode::NOT_FOUND, code: "UNKNOWN_TRACK", message: unknown.to_string() }
    }

    pub(super) fn revoked() -> Self {
        Self {
            message: "this token was replaced; ask the room's owner for the new link".to_owned(),
            ..Self::token()
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
        Self {
            status: StatusCode::SERVICE_UNAVAILABLE,
            code: "UNAVAILABLE",
            message: "the worker is starting or stopping; try again".to_owned(),
        }
    }
}

impl From<DirectRefused> for Refusal {
    fn from(refused: DirectRefused) -> Self {
        let (status, code) = match &refused {
            DirectRefused::Busy(_) => (StatusCode::SERVICE_UNAVAILABLE, "LIMIT_EXCEEDED"),
            DirectRefused::BadOffer(_) => (StatusCode::BAD_REQUEST, "INVALID_MESSAGE"),
            DirectRefused::NoSuchPeer(_) => (StatusCode::NOT_FOUND, "PEER_NOT_FOUND"),
        };
        Self { status, code, message: refused.to_string() }
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let body = Json(json!({"code": self.code, "message": self.message}));
        (self.status, body).into_response()
    }
}

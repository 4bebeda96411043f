//! A request's body, refused in words.

use std::time::Duration;

use axum::{
    body::Bytes,
    extract::{FromRequest, Request},
    http::StatusCode,
};
use halyard_server::body::{BodyError, whole};

use super::refusal::Refusal;

/// Largest body. A session description without trickle, with three fingerprints and a dozen
/// candidates, stays below 16 KiB.
const MAX_BODY_BYTES: usize = 64 * 1024;

/// How long a body may take: a few packets on the slowest link that shows a picture.
const BODY_WITHIN: Duration = Duration::from_secs(10);

/// The whole body.
pub(super) struct Body(pub(super) Bytes);

impl<S: Send + Sync> FromRequest<S> for Body {
    type Rejection = Refusal;

    async fn from_request(request: Request, _: &S) -> Result<Self, Refusal> {
        Ok(Self(whole(request.into_body(), MAX_BODY_BYTES, BODY_WITHIN).await?))
    }
}

impl From<BodyError> for Refusal {
    fn from(error: BodyError) -> Self {
        let (status, code) = match error {
            BodyError::TooLarge(_) => (StatusCode::PAYLOAD_TOO_LARGE, "MESSAGE_TOO_LARGE"),
            BodyError::Late(_) => (StatusCode::REQUEST_TIMEOUT, "TIMED_OUT"),
            BodyError::Broken(_) => (StatusCode::BAD_REQUEST, "INVALID_MESSAGE"),
        };
        Self::new(status, code, error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use futures_util::stream;
    use tokio::time::{Instant, timeout};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn who_sends_a_body_by_the_drop_is_told_and_waited_for_no_longer() {
        let since = Instant::now();
        let drips = stream::unfold((), async |()| {
            tokio::time::sleep(Duration::from_secs(1)).await;
            Some((Ok::<_, Infallible>("x"), ()))
        });
        let request = Request::new(axum::body::Body::from_stream(drips));
        let read = timeout(Duration::from_mins(1), Body::from_request(request, &())).await;
        let refusal = read.expect("an answer within a minute").err().expect("a refusal");
        assert_eq!(refusal.status(), StatusCode::REQUEST_TIMEOUT);
        assert_eq!(since.elapsed(), BODY_WITHIN);
    }
}

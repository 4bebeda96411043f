//! A request's body, bounded in bytes and in time.

use std::time::Duration;

use axum::body::{Body, BodyDataStream, Bytes};
use futures_util::StreamExt;
use tokio::time::timeout;

/// What is thrown away of a body that is too large, so that its sender comes to read why. Closing
/// with bytes unread resets the connection, and the refusal may go with it.
const THROWN_AWAY_BYTES: usize = 16 * 1024 * 1024;
/// How long that may take.
const THROWN_AWAY_WITHIN: Duration = Duration::from_secs(2);

/// Why a body was not read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BodyError {
    /// More than may be.
    #[error("the body is too large; at most {0} bytes are read")]
    TooLarge(usize),
    /// One that never ends would hold its connection for ever.
    #[error("the body did not arrive within {} s; send it at once", .0.as_secs())]
    Late(Duration),
    /// The connection failed, or what came is no body.
    #[error("the body could not be read: {0}")]
    Broken(String),
}

/// The whole body, where it has at most `most` bytes and is here `within` this time.
///
/// # Errors
///
/// Where it is neither. Of one that is too large the rest is then thrown away, up to 16 MiB and two
/// seconds, so that the answer reaches its sender.
pub async fn whole(body: Body, most: usize, within: Duration) -> Result<Bytes, BodyError> {
    let mut pieces = body.into_data_stream();
    let read = timeout(within, read(&mut pieces, most)).await;
    let read = read.unwrap_or(Err(BodyError::Late(within)));
    if let Err(BodyError::TooLarge(_)) = read {
        let _ = timeout(THROWN_AWAY_WITHIN, throw_away(pieces)).await;
    }
    read
}

async fn read(pieces: &mut BodyDataStream, most: usize) -> Result<Bytes, BodyError> {
    let mut whole = Vec::new();
    while let Some(piece) = pieces.next().await {
        let piece = piece.map_err(|error| BodyError::Broken(error.to_string()))?;
        if whole.len() + piece.len() > most {
            return Err(BodyError::TooLarge(most));
        }
        whole.extend_from_slice(&piece);
    }
    Ok(whole.into())
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

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use futures_util::stream;
    use tokio::time::Instant;

    use super::*;

    const SOON: Duration = Duration::from_secs(10);

    fn body(pieces: &[&'static str]) -> Body {
        let pieces: Vec<_> = pieces.iter().copied().map(Ok::<_, Infallible>).collect();
        Body::from_stream(stream::iter(pieces))
    }

    #[tokio::test]
    async fn a_body_is_read_up_to_its_last_byte_that_may_be() {
        assert_eq!(whole(body(&["ab", "cd"]), 4, SOON).await.as_deref(), Ok(&b"abcd"[..]));
        assert_eq!(whole(body(&["ab", "cde"]), 4, SOON).await, Err(BodyError::TooLarge(4)));
        assert_eq!(whole(Body::empty(), 0, SOON).await.as_deref(), Ok(&b""[..]));
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_that_never_ends_is_given_up_whether_it_is_small_or_too_large() {
        let since = Instant::now();
        let drips = stream::unfold((), async |()| {
            tokio::time::sleep(Duration::from_secs(1)).await;
            Some((Ok::<_, Infallible>("x"), ()))
        });
        let late = whole(Body::from_stream(drips), 1000, SOON).await;
        assert_eq!(late, Err(BodyError::Late(SOON)));
        assert_eq!(since.elapsed(), SOON);

        let since = Instant::now();
        let large = body(&["xx"]).into_data_stream().chain(stream::pending());
        assert_eq!(whole(Body::from_stream(large), 1, SOON).await, Err(BodyError::TooLarge(1)));
        assert_eq!(since.elapsed(), THROWN_AWAY_WITHIN);
    }
}

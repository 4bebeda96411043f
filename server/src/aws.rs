//! What all AWS clients of the broker share: where they are configured, how long they may take,
//! and which of their errors mean that the service is not there.

use std::{error::Error, time::Duration};

use aws_config::{
    BehaviorVersion, ConfigLoader, SdkConfig, retry::RetryConfig, timeout::TimeoutConfig,
};
use aws_sdk_dynamodb::{
    config::http::HttpResponse,
    error::{ProvideErrorMetadata, SdkError},
};

/// Longest wait for a connection.
const CONNECT_WITHIN: Duration = Duration::from_secs(2);
/// Longest one attempt may take.
const ATTEMPT_WITHIN: Duration = Duration::from_secs(3);
/// Longest that an operation may take with all its attempts.
pub(crate) const OPERATION_WITHIN: Duration = Duration::from_secs(8);
/// Attempts in all. Throttling and broken connections are tried again after a random moment.
const ATTEMPTS: u32 = 3;

/// The configuration with these limits, before it is loaded: region, credentials and endpoints come
/// from `AWS_…` variables, `~/.aws`, or the role of the machine or container.
pub fn loader() -> ConfigLoader {
    let timeouts = TimeoutConfig::builder()
        .connect_timeout(CONNECT_WITHIN)
        .operation_attempt_timeout(ATTEMPT_WITHIN)
        .operation_timeout(OPERATION_WITHIN)
        .build();
    aws_config::defaults(BehaviorVersion::latest())
        .timeout_config(timeouts)
        .retry_config(RetryConfig::standard().with_max_attempts(ATTEMPTS))
}

/// No region, so no service can be found.
#[derive(Debug, thiserror::Error)]
#[error(
    "no AWS region is set; set AWS_REGION, or region in ~/.aws/config, like AWS_REGION=eu-central-1"
)]
pub struct NoRegion;

/// Loads the configuration as this machine has it.
pub async fn load() -> Result<SdkConfig, NoRegion> {
    let config = loader().load().await;
    if config.region().is_none() { Err(NoRegion) } else { Ok(config) }
}

/// Words of AWS for "later". They come with status 400.
const THROTTLED: &[&str] = &[
    "InternalErrorException",
    "LimitExceededException",
    "ProvisionedThroughputExceededException",
    "RequestLimitExceeded",
    "SlowDown",
    "Throttling",
    "ThrottlingException",
    "TooManyRequestsException",
];

/// What an error means where it means that the service is not there: no answer, 5xx, throttling.
pub(crate) fn outage<E>(error: &SdkError<E, HttpResponse>) -> Option<String>
where
    E: ProvideErrorMetadata + Error + 'static,
{
    match error {
        SdkError::ServiceError(answer) => {
            let status = answer.raw().status().as_u16();
            let throttled = answer.err().code().is_some_and(|code| THROTTLED.contains(&code));
            (status >= 500 || status == 429 || throttled).then(|| said(error))
        }
        _ => Some(said(error)),
    }
}

/// Everything an error says, in one line. Never what was sent, which may be secret.
pub(crate) fn said<E>(error: &SdkError<E, HttpResponse>) -> String
where
    E: ProvideErrorMetadata + Error + 'static,
{
    if let SdkError::ServiceError(answer) = error {
        let (status, error) = (answer.raw().status().as_u16(), answer.err());
        return match (error.code(), error.message()) {
            (Some(code), Some(message)) => format!("{code}: {message}"),
            (Some(code), None) => code.to_owned(),
            (None, _) => format!("an answer with status {status} and no AWS error in it"),
        };
    }
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}

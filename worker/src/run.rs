//! `run`: a worker of somebody else's broker.

use tokio_util::sync::CancellationToken;
use url::Url;

use crate::{
    agent::{Agent, AgentError, Plan},
    config::Settings,
    report::Reports,
    wiring::{Parts, StartError},
};

/// Why `run` failed.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The worker's own parts did not start.
    #[error(transparent)]
    Start(#[from] StartError),
    /// The worker's place is gone, or it never had one.
    #[error(transparent)]
    Agent(#[from] AgentError),
}

/// Serves at this broker until `stop` fires.
pub async fn run(
    settings: Settings,
    server: Url,
    reports: Reports,
    stop: CancellationToken,
) -> Result<(), RunError> {
    let parts = Parts::start(&settings).await?;
    let agent = Agent {
        plan: Plan {
            server,
            given: settings.room,
            state_file: settings.state_file,
            ttl: settings.room_ttl,
            metadata: parts.metadata(),
            trust: settings.trust,
        },
        shared: parts.shared(),
        presence: parts.presence(),
        max_sessions: settings.max_sessions,
        direct: None,
        rights_lease: settings.rights_lease,
        relay_only: settings.relay_only,
        webrtc: settings.webrtc,
        reports,
    };
    let result = agent.run(stop, |_| {}).await;
    parts.stop().await;
    Ok(result?)
}

//! What all commands that join a room share.

use std::{
    cell::Cell,
    convert::Infallible,
    time::{Duration, SystemTime},
};

use halyard_protocol::{channel::Severity, link::JoinLink};
use tokio::sync::broadcast::error::RecvError;
use tokio_util::sync::CancellationToken;
use url::Url;

use super::{
    exit::CliError,
    output::{Output, printable},
    settings::Settings,
    state::State,
};
use crate::{
    api::Api,
    session::{Session, SessionEvent, SessionOptions},
};

/// A worker that was there may be away for this long: a night without a network, or a new disk.
const HOLD_ON: Duration = Duration::from_hours(24);

/// Everything a command has to do with.
pub(super) struct Context<'a> {
    pub(super) settings: Settings,
    pub(super) output: Output,
    pub(super) stop: &'a CancellationToken,
    /// Somebody else tells what happens beside the command.
    hushed: Cell<bool>,
}

/// While this lives, nothing is told beside the command.
pub(super) struct Hushed<'a>(&'a Cell<bool>);

impl Drop for Hushed<'_> {
    fn drop(&mut self) {
        self.0.set(false);
    }
}

impl<'a> Context<'a> {
    pub(super) fn new(settings: Settings, output: Output, stop: &'a CancellationToken) -> Self {
        Self { settings, output, stop, hushed: Cell::new(false) }
    }

    /// Leaves it to the caller to tell what happens beside the command.
    pub(super) fn hush(&self) -> Hushed<'_> {
        self.hushed.set(true);
        Hushed(&self.hushed)
    }

    /// Whether that is so.
    pub(super) fn is_hushed(&self) -> bool {
        self.hushed.get()
    }

    /// The join link that was typed first, or made of the settings.
    pub(super) fn link(&self, words: &mut Vec<String>) -> Result<JoinLink, CliError> {
        self.settings.take_link(words)
    }

    /// Fails when more was typed than the command takes.
    pub(super) fn nothing_more(words: &[String]) -> Result<(), CliError> {
        match words.first() {
            None => Ok(()),
            Some(word) => Err(CliError::usage(format!("{word:?} is one word too many"))),
        }
    }

    /// Calls of this server.
    pub(super) fn api(&self, server: Url) -> Result<Api, CliError> {
        Ok(Api::with(server, self.settings.trust.clone())?)
    }

    /// How the settings want a session to be. A link without a token is the owner's: then the
    /// identity that made rooms on this server comes.
    pub(super) fn options(&self, link: &JoinLink) -> Result<SessionOptions, CliError> {
        let mut options = SessionOptions {
            relay_only: self.settings.relay_only,
            trust: self.settings.trust.clone(),
            choice: self.settings.choice.clone(),
            ..SessionOptions::default()
        };
        if let Some(wait) = self.settings.wait {
            options.worker_wait = wait;
        }
        if link.token().is_none() {
            let kept = State::open(self.settings.state_dir.as_deref())?.identity(link.server());
            match kept.filter(|identity| identity.is_fresh(SystemTime::now())) {
                Some(identity) => options.identity = Some(identity),
                None => {
                    return Err(CliError::usage(
                        "the link carries no token: use the whole link with what stands behind \
                         #, or set HALYARD_TOKEN",
                    ));
                }
            }
        }
        Ok(options)
    }

    /// The same for a command that follows what takes hours: once it was connected, it waits for the
    /// worker, the broker and the network to come back.
    pub(super) fn patient_options(&self, link: &JoinLink) -> Result<SessionOptions, CliError> {
        Ok(SessionOptions { return_wait: Some(HOLD_ON), ..self.options(link)? })
    }

    /// Joins, does something, and says goodbye whatever came of it.
    pub(super) async fn in_session<T>(
        &self,
        link: JoinLink,
        options: SessionOptions,
        work: impl AsyncFnOnce(&Session) -> Result<T, CliError>,
    ) -> Result<T, CliError> {
        let opening = async { Ok::<_, CliError>(Session::open(link, options).await?) };
        let session = self.unless_stopped(opening).await?;
        let done = async {
            session.ready().await?;
            work(&session).await
        };
        let result = tokio::select! {
            // The command's own words for the end of the session go before ours.
            biased;
            result = self.unless_stopped(done) => result,
            error = session.ended() => Err(error.into()),
            never = self.tell(&session) => match never {},
        };
        session.close().await;
        result
    }

    /// The result, or that the user ended it.
    pub(super) async fn unless_stopped<T>(
        &self,
        work: impl Future<Output = Result<T, CliError>>,
    ) -> Result<T, CliError> {
        tokio::select! {
            biased;
            () = self.stop.cancelled() => Err(CliError::interrupted()),
            result = work => result,
        }
    }

    /// Tells people what happens beside their command.
    async fn tell(&self, session: &Session) -> Infallible {
        let mut events = session.events();
        loop {
            match events.recv().await {
                Ok(event) => {
                    if let Some(words) = remark(&event)
                        && !self.is_hushed()
                    {
                        self.output.note(words);
                    }
                }
                Err(RecvError::Lagged(_)) => {}
                Err(RecvError::Closed) => return std::future::pending().await,
            }
        }
    }
}

/// What people should know while they wait for something else.
pub(super) fn remark(event: &SessionEvent) -> Option<String> {
    Some(match event {
        SessionEvent::Connected { again: true, .. } => "connected again".into(),
        SessionEvent::Silent => "nothing is heard from the worker, trying again".into(),
        SessionEvent::Disconnected { reason } => {
            format!("the connection is gone ({}), making another", printable(reason))
        }
        SessionEvent::SignalLost { reason, retry_in } if *retry_in == Duration::MAX => {
            format!("the server does not let us back in: {}", printable(reason))
        }
        SessionEvent::CommandWaits { name } => {
            format!("{} waits for a connection", printable(name))
        }
        SessionEvent::Bye { reason } => format!("the worker said goodbye: {}", printable(reason)),
        SessionEvent::Notice(notice) if notice.severity != Severity::Info => {
            format!("worker: {}", printable(&notice.message))
        }
        _ => return None,
    })
}

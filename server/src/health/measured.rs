//! Backends whose calls are timed and noticed.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use async_trait::async_trait;
use halyard_protocol::{access::Access, ids::RoomId, token::Token};
use tracing::Instrument;

use super::Health;
use crate::{
    identity::{DeleteUserError, IdentityProvider, SignInError, SignedIn, Subject, VerifyError},
    metrics::{Backend, Metrics},
    secret::TokenHash,
    store::{Found, RoomRecord, RoomStore, StoreError},
    time::Now,
};

/// A backend, with a clock beside it.
pub struct Measured<T: ?Sized> {
    metrics: Arc<Metrics>,
    health: Arc<Health>,
    backend: Backend,
    inner: Arc<T>,
}

/// What a call says about the backend.
enum Sign {
    /// It works, whatever the answer.
    Answered,
    /// It does not work.
    Failed,
    /// Perhaps it does not.
    Odd,
}

impl<T: ?Sized> Measured<T> {
    async fn call<A, E>(
        &self,
        operation: &'static str,
        call: impl Future<Output = Result<A, E>>,
        sign: impl FnOnce(&E) -> Sign,
    ) -> Result<A, E> {
        let asked = Instant::now();
        let span = tracing::info_span!(
            target: crate::SPANS,
            "backend call",
            otel.kind = "client",
            otel.status_code = tracing::field::Empty,
            backend = self.backend.word(),
            operation,
        );
        let answer = call.instrument(span.clone()).await;
        let now = Instant::now();
        let sign = answer.as_ref().err().map_or(Sign::Answered, sign);
        let took: Duration = now.saturating_duration_since(asked);
        let failed = !matches!(sign, Sign::Answered);
        self.metrics.called(self.backend, operation, took, failed);
        if failed {
            span.record("otel.status_code", "ERROR");
        }
        match sign {
            Sign::Answered => self.health.answered(self.backend, now),
            Sign::Failed => self.health.failed(self.backend, now),
            Sign::Odd => self.health.suspect(self.backend),
        }
        answer
    }
}

impl Measured<dyn RoomStore> {
    /// Measures a store.
    pub fn store(
        inner: Arc<dyn RoomStore>,
        metrics: &Arc<Metrics>,
        health: &Arc<Health>,
    ) -> Arc<dyn RoomStore> {
        let (metrics, health) = (Arc::clone(metrics), Arc::clone(health));
        Arc::new(Self { metrics, health, backend: Backend::Store, inner })
    }
}

impl Measured<dyn IdentityProvider> {
    /// Measures an identity provider.
    pub fn identity(
        inner: Arc<dyn IdentityProvider>,
        metrics: &Arc<Metrics>,
        health: &Arc<Health>,
    ) -> Arc<dyn IdentityProvider> {
        let (metrics, health) = (Arc::clone(metrics), Arc::clone(health));
        Arc::new(Self { metrics, health, backend: Backend::Identity, inner })
    }
}

fn of_store(error: &StoreError) -> Sign {
    match error {
        StoreError::TooMany { .. } | StoreError::Gone => Sign::Answered,
        StoreError::Backend(_) | StoreError::Unavailable { .. } => Sign::Failed,
    }
}

fn of_sign_in(error: &SignInError) -> Sign {
    match error {
        SignInError::Provider(_) | SignInError::Unavailable { .. } => Sign::Failed,
    }
}

#[async_trait]
impl RoomStore for Measured<dyn RoomStore> {
    async fn create(&self, room: &RoomRecord, most: usize, now: u64) -> Result<bool, StoreError> {
        self.call("create", self.inner.create(room, most, now), of_store).await
    }

    async fn get(&self, id: &RoomId, now: u64) -> Result<Found, StoreError> {
        self.call("get", self.inner.get(id, now), of_store).await
    }

    async fn extend(
        &self,
        id: &RoomId,
        expires_at: u64,
        now: u64,
    ) -> Result<RoomRecord, StoreError> {
        self.call("extend", self.inner.extend(id, expires_at, now), of_store).await
    }

    async fn rotate(
        &self,
        id: &RoomId,
        access: Access,
        token: TokenHash,
        now: u64,
    ) -> Result<RoomRecord, StoreError> {
        self.call("rotate", self.inner.rotate(id, access, token, now), of_store).await
    }

    async fn ban(
        &self,
        id: &RoomId,
        subject: &Subject,
        now: u64,
    ) -> Result<RoomRecord, StoreError> {
        self.call("ban", self.inner.ban(id, subject, now), of_store).await
    }

    async fn delete(&self, id: &RoomId) -> Result<bool, StoreError> {
        self.call("delete", self.inner.delete(id), of_store).await
    }

    async fn owned_by(&self, owner: &Subject, now: u64) -> Result<Vec<RoomRecord>, StoreError> {
        self.call("owned_by", self.inner.owned_by(owner, now), of_store).await
    }

    async fn sweep(&self, before: u64, most: usize) -> Result<usize, StoreError> {
        self.call("sweep", self.inner.sweep(before, most), of_store).await
    }

    async fn probe(&self, now: u64) -> Result<(), StoreError> {
        self.call("probe", self.inner.probe(now), of_store).await
    }

    fn expires_by_itself(&self) -> bool {
        self.inner.expires_by_itself()
    }
}

#[async_trait]
impl IdentityProvider for Measured<dyn IdentityProvider> {
    async fn sign_in(&self, renew: Option<Subject>, now: Now) -> Result<SignedIn, SignInError> {
        self.call("sign_in", self.inner.sign_in(renew, now), of_sign_in).await
    }

    async fn verify(&self, token: &Token, now: Now) -> Result<Subject, VerifyError> {
        // Most tokens are verified with a key that is known already, so an answer does not say that
        // the provider is there. Nor does a failure say that it is not: a token that names a key
        // which nobody knows is refused for a while, and whoever sends such tokens must not be able
        // to make the broker unready. It makes the provider be asked.
        let asked = Instant::now();
        let answer = self.inner.verify(token, now).await;
        let odd = matches!(answer, Err(VerifyError::Unavailable { .. }));
        self.metrics.called(self.backend, "verify", asked.elapsed(), odd);
        if odd {
            self.health.suspect(self.backend);
        }
        answer
    }

    fn jwks(&self) -> Option<serde_json::Value> {
        self.inner.jwks()
    }

    fn keeps_users(&self) -> bool {
        self.inner.keeps_users()
    }

    async fn delete_user(&self, subject: &Subject) -> Result<(), DeleteUserError> {
        self.call("delete_user", self.inner.delete_user(subject), |_| Sign::Odd).await
    }

    async fn sweep_users(&self, now: Now, most: usize) -> Result<usize, DeleteUserError> {
        self.call("sweep_users", self.inner.sweep_users(now, most), |_| Sign::Odd).await
    }

    async fn probe(&self) -> Result<(), SignInError> {
        self.call("probe", self.inner.probe(), of_sign_in).await
    }
}

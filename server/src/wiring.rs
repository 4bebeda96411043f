//! The one place that names concrete backends.

#[cfg(feature = "aws")]
mod aws;

use std::sync::Arc;

#[cfg(feature = "aws")]
use crate::identity::MemoryJournal;
use crate::{
    Settings,
    broker::Broker,
    health::{Health, Measured},
    ice::IceConfig,
    identity::{EmbeddedIdentity, IdentityProvider, Journal, load_or_create},
    limits::Limiter,
    metrics::{Backend, Metrics},
    rooms::{Hall, RoomLimits},
    server::BindError,
    settings::{BusKind, IdentityKind, StoreKind},
    store::{EmbeddedStore, MemoryStore, RoomStore},
};

/// Opens what the settings name. Blocks on the disk.
pub fn open(settings: Settings) -> Result<Broker, BindError> {
    #[cfg(feature = "aws")]
    let mut aws = aws::Aws::default();
    // Where users of a pool are written down: with the rooms, if those are durable.
    let (store, journal): (Arc<dyn RoomStore>, Option<Arc<dyn Journal>>) =
        match (&settings.store, &settings.data_dir) {
            (StoreKind::Memory, _) => (Arc::new(MemoryStore::default()), None),
            (StoreKind::Embedded, Some(dir)) => {
                let store = Arc::new(EmbeddedStore::open(dir)?);
                (store.clone(), Some(store))
            }
            (StoreKind::Embedded, None) => {
                return Err(BindError::Settings(
                    "store = \"embedded\" needs data_dir: rooms are kept in a file there"
                        .to_owned(),
                ));
            }
            #[cfg(feature = "aws")]
            (StoreKind::DynamoDb { table }, _) => {
                let store = aws.store(table)?;
                (store.clone(), Some(store))
            }
            #[cfg(not(feature = "aws"))]
            (StoreKind::DynamoDb { .. }, _) => {
                return Err(not_built("store = \"dynamodb\"", "aws"));
            }
        };
    let identity: Arc<dyn IdentityProvider> = match &settings.identity {
        IdentityKind::Embedded => Arc::new(match &settings.data_dir {
            Some(dir) => EmbeddedIdentity::new(&load_or_create(dir)?, settings.identity_ttl)?,
            None => EmbeddedIdentity::in_memory(settings.identity_ttl)?,
        }),
        #[cfg(feature = "aws")]
        IdentityKind::Cognito(pool) => aws.identity(pool, durable(journal, &settings)?)?,
        #[cfg(not(feature = "aws"))]
        IdentityKind::Cognito(_) => return Err(not_built("identity = \"cognito\"", "aws")),
    };
    #[cfg(not(feature = "aws"))]
    drop(journal);
    if let BusKind::Nats(_) = &settings.bus {
        return Err(not_built("bus = \"nats://…\"", "nats"));
    }
    let limits = RoomLimits {
        max_peers: settings.limits.max_peers_per_room,
        max_rooms: settings.limits.max_rooms,
        resume_window: settings.timing.resume_window,
    };
    let hall = Hall::watched_by(limits, identity.keeps_users().then(Arc::default));
    let limiter = Limiter::new(&settings.limits);
    let metrics = Arc::new(Metrics::new());
    let bus: &[Backend] = match &settings.bus {
        BusKind::Local => &[],
        BusKind::Nats(_) => &[Backend::Bus],
    };
    let health = Arc::new(Health::new(Arc::clone(&metrics), bus));
    let store = Measured::store(store, &metrics, &health);
    let identity = Measured::identity(identity, &metrics, &health);
    let ice = IceConfig::new(&settings);
    Ok(Broker { hall, store, identity, ice, health, metrics, limiter, settings })
}

/// A journal that survives this program, wherever there is a place for one.
#[cfg(feature = "aws")]
fn durable(
    journal: Option<Arc<dyn Journal>>,
    settings: &Settings,
) -> Result<Arc<dyn Journal>, BindError> {
    match (journal, &settings.data_dir) {
        (Some(journal), _) => Ok(journal),
        (None, Some(dir)) => Ok(Arc::new(EmbeddedStore::open(dir)?)),
        (None, None) => {
            tracing::warn!(
                "without data_dir or store = \"dynamodb\" nobody remembers the users that this \
                 broker makes: those that it has not deleted when it stops stay in the pool"
            );
            Ok(Arc::new(MemoryJournal::default()))
        }
    }
}

/// A setting that this program was built without.
fn not_built(setting: &str, feature: &str) -> BindError {
    BindError::Settings(format!(
        "{setting} needs a program that was built with --features {feature}; the published images \
         are"
    ))
}

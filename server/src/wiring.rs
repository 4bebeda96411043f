//! The one place that names concrete backends.

#[cfg(feature = "aws")]
mod aws;

use std::sync::Arc;

use crate::{
    Settings,
    broker::Broker,
    health::{Health, Measured},
    ice::IceConfig,
    identity::{EmbeddedIdentity, IdentityProvider, load_or_create},
    limits::Limiter,
    metrics::{Backend, Metrics},
    rooms::{Hall, RoomLimits},
    server::BindError,
    settings::{BusKind, IdentityKind, StoreKind},
    store::{EmbeddedStore, MemoryStore, RoomStore},
};

/// Opens what the settings name. Blocks on the disk.
pub fn open(settings: Settings) -> Result<Broker, BindError> {
    let identity: Arc<dyn IdentityProvider> = match &settings.identity {
        IdentityKind::Embedded => Arc::new(match &settings.data_dir {
            Some(dir) => EmbeddedIdentity::new(&load_or_create(dir)?, settings.identity_ttl)?,
            None => EmbeddedIdentity::in_memory(settings.identity_ttl)?,
        }),
        IdentityKind::Cognito(_) => return Err(not_built("identity = \"cognito\"", "aws")),
    };
    let store: Arc<dyn RoomStore> = match (&settings.store, &settings.data_dir) {
        (StoreKind::Memory, _) => Arc::new(MemoryStore::default()),
        (StoreKind::Embedded, Some(dir)) => Arc::new(EmbeddedStore::open(dir)?),
        (StoreKind::Embedded, None) => {
            return Err(BindError::Settings(
                "store = \"embedded\" needs data_dir: rooms are kept in a file there".to_owned(),
            ));
        }
        #[cfg(feature = "aws")]
        (StoreKind::DynamoDb { table }, _) => aws::store(table)?,
        #[cfg(not(feature = "aws"))]
        (StoreKind::DynamoDb { .. }, _) => return Err(not_built("store = \"dynamodb\"", "aws")),
    };
    if let BusKind::Nats(_) = &settings.bus {
        return Err(not_built("bus = \"nats://…\"", "nats"));
    }
    let hall = Hall::new(RoomLimits {
        max_peers: settings.limits.max_peers_per_room,
        max_rooms: settings.limits.max_rooms,
        resume_window: settings.timing.resume_window,
    });
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

/// A setting that this program was built without.
fn not_built(setting: &str, feature: &str) -> BindError {
    BindError::Settings(format!(
        "{setting} needs a program that was built with --features {feature}; the published images \
         are"
    ))
}

//! The one place that names concrete backends.

#[cfg(feature = "aws")]
mod aws;

use std::sync::Arc;

#[cfg(feature = "nats")]
use crate::bus::NatsBus;
#[cfg(feature = "aws")]
use crate::identity::MemoryJournal;
use crate::{
    Settings,
    broker::Broker,
    bus::{Bus, LocalBus},
    health::{Health, Measured},
    ice::IceConfig,
    identity::{EmbeddedIdentity, IdentityProvider, Journal, load, load_or_create},
    limits::Limiter,
    metrics::{Backend, Metrics},
    rooms::{Hall, RoomLimits},
    server::BindError,
    settings::{BusKind, IdentityKind, StoreKind},
    store::{EmbeddedStore, MemoryStore, RoomStore},
};

/// Opens what the settings name. Blocks on the disk.
pub fn open(settings: Settings) -> Result<Broker, BindError> {
    refuse_what_cannot_be_shared(&settings)?;
    #[cfg(feature = "aws")]
    let mut aws = aws::Aws::default();
    // What is on this machine is looked at before what is elsewhere.
    let shared_key = match (&settings.identity, &settings.identity_key) {
        (IdentityKind::Embedded, Some(path)) => Some(load(path)?),
        _ => None,
    };
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
        IdentityKind::Embedded => Arc::new(match (&shared_key, &settings.data_dir) {
            (Some(key), _) => EmbeddedIdentity::new(key, settings.identity_ttl)?,
            (None, Some(dir)) => {
                EmbeddedIdentity::new(&load_or_create(dir)?, settings.identity_ttl)?
            }
            (None, None) => EmbeddedIdentity::in_memory(settings.identity_ttl)?,
        }),
        #[cfg(feature = "aws")]
        IdentityKind::Cognito(pool) => aws.identity(pool, durable(journal, &settings)?)?,
        #[cfg(not(feature = "aws"))]
        IdentityKind::Cognito(_) => return Err(not_built("identity = \"cognito\"", "aws")),
    };
    #[cfg(not(feature = "aws"))]
    drop(journal);
    assemble(settings, store, identity)
}

/// A broker over these backends, whatever the settings name.
pub fn assemble(
    settings: Settings,
    store: Arc<dyn RoomStore>,
    identity: Arc<dyn IdentityProvider>,
) -> Result<Broker, BindError> {
    let limits = RoomLimits {
        max_peers: settings.limits.max_peers_per_room,
        max_rooms: settings.limits.max_rooms,
        resume_window: settings.timing.resume_window,
    };
    let watch = identity.keeps_users().then(Arc::default);
    let metrics = Arc::new(Metrics::new());
    let hall = Hall::with(limits, watch, bus(&settings, &metrics)?);
    let limiter = Limiter::new(&settings.limits, &settings.timing);
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

/// Subjects begin with the name of what the rooms are kept in: servers of one table are one broker,
/// and those of another table on the same NATS are none of their business.
#[cfg(feature = "nats")]
fn bus(settings: &Settings, metrics: &Arc<Metrics>) -> Result<Arc<dyn Bus>, BindError> {
    let nats = match &settings.bus {
        BusKind::Local => return Ok(Arc::new(LocalBus::default())),
        BusKind::Nats(nats) => nats,
    };
    let table = match &settings.store {
        StoreKind::DynamoDb { table } => table,
        StoreKind::Memory | StoreKind::Embedded => "rooms",
    };
    let url = settings.node_url.as_ref().map(ToString::to_string);
    Ok(Arc::new(NatsBus::new(nats, &format!("halyard.{table}"), url, Arc::clone(metrics))?))
}

#[cfg(not(feature = "nats"))]
fn bus(settings: &Settings, _metrics: &Arc<Metrics>) -> Result<Arc<dyn Bus>, BindError> {
    match &settings.bus {
        BusKind::Local => Ok(Arc::new(LocalBus::default())),
        BusKind::Nats(_) => Err(not_built("bus = \"nats://…\"", "nats")),
    }
}

/// Several servers need one store and one word for who somebody is.
fn refuse_what_cannot_be_shared(settings: &Settings) -> Result<(), BindError> {
    if let BusKind::Local = settings.bus {
        return Ok(());
    }
    if !matches!(settings.store, StoreKind::DynamoDb { .. }) {
        return Err(BindError::Settings(format!(
            "bus = \"nats://…\" needs a store that several servers share, and store is {}; set \
             store = \"dynamodb\", or bus = \"local\" for one server by itself",
            settings.store
        )));
    }
    if settings.identity == IdentityKind::Embedded && settings.identity_key.is_none() {
        return Err(BindError::Settings(
            "bus = \"nats://…\" with identity = \"embedded\" needs identity_key: a signing key that \
             every server reads, or one does not believe the identities of another; copy the \
             identity-key.p8 that a server made in its data_dir to all of them (mode 600) and name \
             it, or set identity = \"cognito\""
                .to_owned(),
        ));
    }
    Ok(())
}

/// A setting that this program was built without.
#[cfg(not(all(feature = "aws", feature = "nats")))]
fn not_built(setting: &str, feature: &str) -> BindError {
    BindError::Settings(format!(
        "{setting} needs a program that was built with --features {feature}; the published images \
         are"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::NatsSettings;

    fn shared() -> Settings {
        let servers = vec!["nats://127.0.0.1:1".to_owned()];
        let bus = BusKind::Nats(NatsSettings { servers, credentials: None, token: None });
        Settings { bus, ..Settings::default() }
    }

    async fn refused(settings: Settings) -> String {
        let opened = tokio::task::spawn_blocking(move || open(settings).map(|_| ()));
        opened.await.expect("no panic").expect_err("refused").to_string()
    }

    #[tokio::test]
    async fn several_servers_without_a_store_or_a_key_in_common_do_not_start() {
        let message = refused(shared()).await;
        assert!(message.contains("store is memory; set store = \"dynamodb\""), "{message}");
        let store = StoreKind::DynamoDb { table: "rooms".to_owned() };
        let message = refused(Settings { store, ..shared() }).await;
        assert!(message.contains("needs identity_key"), "{message}");
    }
}

//! This server's own TLS: 1.2 and 1.3, HTTP/1.1, and a certificate that may be renewed while
//! everybody stays connected.
//!
//! New connections get the newest certificate that was good; those that are open keep theirs.

mod files;
mod validity;
mod watch;

use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwap;
use rustls::{
    ServerConfig,
    server::{ClientHello, ResolvesServerCert},
    sign::CertifiedKey,
};

use self::files::{Fingerprint, read};
pub use self::{
    files::TlsError,
    validity::{Standing, Validity},
    watch::watch,
};
use crate::settings::TlsSettings;

/// The certificate as it is now.
#[derive(Debug)]
pub struct Certificate {
    settings: TlsSettings,
    current: ArcSwap<CertifiedKey>,
    /// What was looked at last, good or not.
    seen: Mutex<Fingerprint>,
}

impl Certificate {
    /// Reads the files. Blocks on the disk.
    pub fn open(settings: TlsSettings) -> Result<Arc<Self>, TlsError> {
        let files = read(&settings)?;
        let key = files.certified(&settings)?;
        files::warn_of_readers(&settings.key);
        Ok(Arc::new(Self {
            settings,
            current: ArcSwap::from_pointee(key),
            seen: Mutex::new(files.fingerprint()),
        }))
    }

    /// Reads the files again and takes what is new and good. `None` where nothing is new. Blocks on
    /// the disk.
    pub fn reload(&self) -> Option<Result<(), TlsError>> {
        let files = match read(&self.settings) {
            Ok(files) => files,
            Err(error) => return Some(Err(error)),
        };
        let fingerprint = files.fingerprint();
        {
            let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
            if *seen == fingerprint {
                return None;
            }
            *seen = fingerprint;
        }
        Some(files.certified(&self.settings).map(|key| {
            self.current.store(Arc::new(key));
            files::warn_of_readers(&self.settings.key);
        }))
    }

    /// From when until when the newest one is good, where that can be read.
    pub fn validity(&self) -> Option<Validity> {
        Validity::of(&self.current.load().cert)
    }

    /// Which file it came from.
    fn path(&self) -> std::path::Display<'_> {
        self.settings.cert.display()
    }

    /// What connections are accepted with.
    pub fn acceptor(self: &Arc<Self>) -> Result<tokio_rustls::TlsAcceptor, TlsError> {
        let versions = [&rustls::version::TLS13, &rustls::version::TLS12];
        let mut config = ServerConfig::builder_with_provider(files::provider())
            .with_protocol_versions(&versions)
            .map_err(|error| TlsError::Setup(error.to_string()))?
            .with_no_client_auth()
            .with_cert_resolver(Arc::new(Newest(Arc::clone(self))));
        // WebSocket over HTTP/2 would be another handshake.
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Arc::new(config).into())
    }
}

/// Whatever is newest, for everybody: there is one name.
#[derive(Debug)]
struct Newest(Arc<Certificate>);

impl ResolvesServerCert for Newest {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.0.current.load_full())
    }
}

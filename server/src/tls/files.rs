//! From two PEM files to a certificate and its key.

use std::{
    fs,
    io::{self, Read},
    path::{Path, PathBuf},
    sync::Arc,
};

use rustls::{crypto::CryptoProvider, sign::CertifiedKey};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};
use sha2::{Digest, Sha256};

use crate::settings::TlsSettings;

/// Larger is no certificate chain; a device file would never end.
const MAX_BYTES: u64 = 1024 * 1024;

/// Why a certificate cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file cannot be read: it is not there, or not for this user.
    #[error("cannot read {path}: {source}; tls_cert and tls_key name files in PEM")]
    Read {
        /// Which.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// There is no certificate in it, or a damaged one.
    #[error("{path} holds no certificate chain in PEM: {why}")]
    Certificate {
        /// Which.
        path: PathBuf,
        /// What is wrong.
        why: String,
    },
    /// There is no key in it, or a damaged or locked one.
    #[error("{path} holds no private key in PEM that can be used (without a password): {why}")]
    Key {
        /// Which.
        path: PathBuf,
        /// What is wrong; nothing of the key.
        why: String,
    },
    /// The key is that of another certificate.
    #[error("{key} is not the key of the certificate in {cert}; give both of one issue")]
    Mismatch {
        /// The certificate.
        cert: PathBuf,
        /// The key.
        key: PathBuf,
    },
    /// TLS itself could not be set up.
    #[error("TLS could not be set up: {0}")]
    Setup(String),
}

/// What stands in the files, while it is looked at.
pub(super) struct Files {
    cert: Vec<u8>,
    key: Vec<u8>,
}

/// What stood in them. Compared instead of times, which are coarse, and because what a link points
/// to changes without the link.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Fingerprint([u8; 32]);

pub(super) fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::aws_lc_rs::default_provider())
}

pub(super) fn read(settings: &TlsSettings) -> Result<Files, TlsError> {
    Ok(Files { cert: read_one(&settings.cert)?, key: read_one(&settings.key)? })
}

fn read_one(path: &Path) -> Result<Vec<u8>, TlsError> {
    let failed = |source| TlsError::Read { path: path.to_owned(), source };
    let mut bytes = Vec::new();
    let file = fs::File::open(path).map_err(failed)?;
    file.take(MAX_BYTES).read_to_end(&mut bytes).map_err(failed)?;
    Ok(bytes)
}

impl Files {
    pub(super) fn fingerprint(&self) -> Fingerprint {
        let mut hash = Sha256::new();
        hash.update((self.cert.len() as u64).to_be_bytes());
        hash.update(&self.cert);
        hash.update(&self.key);
        Fingerprint(hash.finalize().into())
    }

    /// What they are, if they are good and belong together.
    pub(super) fn certified(&self, settings: &TlsSettings) -> Result<CertifiedKey, TlsError> {
        let bad_cert = |why: String| TlsError::Certificate { path: settings.cert.clone(), why };
        let chain: Vec<_> = CertificateDer::pem_slice_iter(&self.cert)
            .collect::<Result<_, _>>()
            .map_err(|error| bad_cert(error.to_string()))?;
        if chain.is_empty() {
            return Err(bad_cert("there is no CERTIFICATE block".to_owned()));
        }
        let bad_key = |why: String| TlsError::Key { path: settings.key.clone(), why };
        let key =
            PrivateKeyDer::from_pem_slice(&self.key).map_err(|error| bad_key(error.to_string()))?;
        CertifiedKey::from_der(chain, key, &provider()).map_err(|error| match error {
            rustls::Error::InconsistentKeys(_) => {
                TlsError::Mismatch { cert: settings.cert.clone(), key: settings.key.clone() }
            }
            rustls::Error::InvalidCertificate(why) => bad_cert(why.to_string()),
            error => bad_key(error.to_string()),
        })
    }
}

/// Says that others of this machine may read the key.
#[cfg(unix)]
pub(super) fn warn_of_readers(key: &Path) {
    use std::os::unix::fs::PermissionsExt;

    if fs::metadata(key).is_ok_and(|data| data.permissions().mode() & 0o007 != 0) {
        tracing::warn!("everybody on this machine may read {}; chmod o= it", key.display());
    }
}

#[cfg(not(unix))]
pub(super) fn warn_of_readers(_: &Path) {}
